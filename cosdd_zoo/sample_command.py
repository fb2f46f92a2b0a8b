"""`cosdd-zoo sample`: images with the camera's own noise, as a model has learned it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from cosdd_zoo.errors import ConfigError
from cosdd_zoo.options import Axes, Overwrite, Quiet

if TYPE_CHECKING:
    from cosdd_zoo.data.canvas import Format
    from cosdd_zoo.data.finding import Source
    from cosdd_zoo.synthetic.files import Made
    from cosdd_zoo.synthetic.noise_model import Kind, NoiseModel

RUN_HELP = "A run folder or a checkpoint (.safetensors); a package lacks the part that draws noise."
IMAGES_HELP = "Clean or denoised images, in the camera's grey values; noisy ones for --kind reconstructions."
KIND_HELP = (
    "copies: the images with noise on them. reconstructions: of noisy images, a plausible signal and new noise on it. "
    "prior: images of nothing, without IMAGES."
)
SIZE_HELP = "Of images of the prior, in px along y and x, as 512x512; of volumes along z, y and x."
EXPOSURE_HELP = "Factor of the signal above the camera's pedestal: 0.5 shows what half the light would give."
FORMAT_HELP = "same (as the input), tiff (for ImageJ), ome-tiff or ome-zarr."


def sample(
    run: Annotated[Path, typer.Argument(help=RUN_HELP, show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the images.")],
    images: Annotated[list[str] | None, typer.Argument(help=IMAGES_HELP, show_default=False)] = None,
    kind: Annotated[str, typer.Option(help=KIND_HELP)] = "copies",
    copies: Annotated[int, typer.Option("--copies", "-n", min=1, help="Of each image, each with other noise.")] = 1,
    size: Annotated[str | None, typer.Option(help=SIZE_HELP)] = None,
    exposure: Annotated[float, typer.Option(min=0.0, help=EXPOSURE_HELP)] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed and image make the same noise.")] = 0,
    axes: Axes = None,
    format: Annotated[str, typer.Option(help=FORMAT_HELP)] = "same",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into subfolders too.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw images with the camera's own noise: NAME_noisy of clean images, to train or plan with."""
    from cosdd_zoo import api
    from cosdd_zoo.data.beside import make_folder
    from cosdd_zoo.data.canvas import Format
    from cosdd_zoo.data.finding import find_sources
    from cosdd_zoo.synthetic.noise_model import Kind

    kinds = (*get_args(Kind), "prior")
    if kind not in kinds:
        raise ConfigError(f"--kind {kind!r} is not known: choose {', '.join(kinds[:-1])} or {kinds[-1]}.")
    if format not in get_args(Format):
        raise ConfigError(f"--format {format!r} is not known: choose one of {', '.join(get_args(Format))}.")
    if kind == "prior":
        if images or size is None:
            raise ConfigError("Images of the prior need no IMAGES, but a --size such as 512x512.")
        if format not in ("same", "tiff") or axes or recursive:
            raise ConfigError(
                "Images of the prior are TIFF files of their own: leave out --format, --axes, --recursive."
            )
    elif size is not None or not images:
        wrong = "--size is for --kind prior" if size is not None else "IMAGES are missing"
        raise ConfigError(f"{wrong}: cosdd-zoo sample RUN IMAGES... -o FOLDER, or --kind prior --size 512x512.")
    if not math.isfinite(exposure):
        raise ConfigError(f"--exposure {exposure} is no factor: give one such as 0.5.")
    if exposure != 1.0 and kind != "copies":
        raise ConfigError(f"--exposure changes clean images: it does not go with --kind {kind}.")
    model = api.noise_model(run, device)
    make_folder(output)
    if size is not None:
        made = _of_nothing(model, _sizes(size), output, copies, seed, overwrite, quiet)
    else:
        sources = find_sources(images or [], recursive, but=output)
        how = {"n_copies": copies, "seed": seed, "exposure": exposure, "overwrite": overwrite}
        made = _of_images(model, sources, output, kind, format, axes, quiet, how)  # type: ignore[arg-type]
    for one in made:
        typer.echo(f"{one.noisy}" + (f"  (its signal: {one.signal.name})" if one.signal else ""))
        if one.note:
            typer.secho(f"{one.noisy}: {one.note}", fg="yellow", err=True)


def _of_images(
    model: NoiseModel,
    sources: Sequence[Source],
    folder: Path,
    kind: Kind,
    format: Format,
    axes: str | None,
    quiet: bool,
    how: dict[str, object],
) -> Iterator[Made]:
    from cosdd_zoo.data.images import open_image
    from cosdd_zoo.data.results import finish_stores
    from cosdd_zoo.inference.progress import steps
    from cosdd_zoo.synthetic.files import check_free, check_places, paths_of, sample_file

    n: int = how["n_copies"]  # type: ignore[assignment]
    made_of = {p.resolve() for s in sources for k in range(n) for p in paths_of(s, folder, kind, k, n, format)}
    sources = [s for s in sources if s.path.resolve() not in made_of]  # what an earlier run has left in the folder
    paths = check_places(sources, folder, kind, n, format)
    if not how["overwrite"]:
        check_free(paths)
    opened = [open_image(source.path, axes) for source in sources]
    for image in opened:
        model.groups(image)  # what does not fit is better said before the work than after
    done: list[tuple[Source, Path]] = []
    try:
        with steps("sample", len(sources), quiet) as advance:
            for source, image in zip(sources, opened, strict=True):
                for one in sample_file(model, source, image, folder, kind, format=format, advance=advance, **how):  # type: ignore[arg-type]
                    done += [(source, path) for path in (one.noisy, one.signal) if path is not None]
                    yield one
    finally:
        finish_stores(folder, done)


def _of_nothing(
    model: NoiseModel, size: Sequence[int], folder: Path, n: int, seed: int, overwrite: bool, quiet: bool
) -> Iterator[Made]:
    from cosdd_zoo.inference.progress import steps
    from cosdd_zoo.synthetic.files import sample_prior

    with steps("sample", 1.0, quiet) as advance:
        yield from sample_prior(model, size, folder, n_copies=n, seed=seed, overwrite=overwrite, advance=advance)


def _sizes(size: str) -> list[int]:
    parts = size.lower().replace(",", "x").split("x")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ConfigError(f"--size {size!r} is no size: give pixels along the axes, such as 512x512.")
    return [int(part) for part in parts]
