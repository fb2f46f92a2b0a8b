"""What the commands take: options that several of them share, and for `train` one for each setting of the schema."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo

from cosdd_zoo.config import DataConfig, NetworkConfig, TrainingConfig
from cosdd_zoo.presets import PRESETS

Images = Annotated[
    list[str], typer.Argument(help="Noisy images: files, folders, stores or globs (TIFF, OME-Zarr, NPY, PNG).")
]
Model = Annotated[Path, typer.Argument(help="A run folder, a checkpoint (.safetensors) or a package (.zip).")]
Axes = Annotated[str | None, typer.Option(help="Axes of the files, letters of STCZYX; by default their metadata.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]

NOT_FLAGS = {"n_channels", "downsample", "blocks", "images"}
"""Settings that come from the images or with a model, or that only a YAML file can hold."""


def setting(name: str, field: FieldInfo) -> inspect.Parameter:
    """One command-line option for one field of the schema."""
    kinds = [a for a in (get_args(field.annotation) or (field.annotation,)) if isinstance(a, type)]
    kind: Any = next((k for k in (bool, float, int) if k in kinds), str)
    kind = type(get_args(field.annotation)[0]) if not kinds else kind
    choices = [str(a) for a in get_args(field.annotation) if isinstance(a, (str, int))]
    text = f"{field.description}" + (f" ({', '.join(choices)})" if choices else "")
    option = typer.Option(help=text, show_default=False)
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def train_signature() -> inspect.Signature:
    """The signature of `train` with every setting of the schema as an option."""
    own: dict[str, tuple[Any, Any]] = {
        "images": (Annotated[list[str] | None, typer.Argument(help="Noisy images: files, folders or globs.")], None),
        "output": (Annotated[Path | None, typer.Option("--output", "-o", help="The run folder to make.")], None),
        "resume": (Annotated[Path | None, typer.Option(help="Continue this run exactly.")], None),
        "preset": (Annotated[str | None, typer.Option(help=f"{', '.join(PRESETS)}; tiny by default.")], None),
        "config": (Annotated[Path | None, typer.Option(help="Settings in YAML, as --dry-run prints them.")], None),
        "dry_run": (Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings and sizes.")], False),
        "overwrite": (Overwrite, False),
        "tensorboard": (Annotated[bool, typer.Option("--tensorboard", help="Also log to TensorBoard.")], False),
        "quiet": (Quiet, False),
    }
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in own.items()
    ]
    for section in (NetworkConfig, TrainingConfig, DataConfig):
        parameters += [setting(n, f) for n, f in section.model_fields.items() if n not in NOT_FLAGS]
    return inspect.Signature(parameters)


def with_signature(function: Callable[..., None], signature: inspect.Signature) -> Callable[..., None]:
    def command(**values: Any) -> None:
        values["images"] = values["images"] or []
        function(**values)

    command.__doc__ = function.__doc__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
    return command
