"""`cosdd-zoo denoise`: many files in, many files out, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from cosdd_zoo.errors import ConfigError
from cosdd_zoo.options import Axes, Overwrite, Quiet

if TYPE_CHECKING:
    from cosdd_zoo.inference.batch import Log, Outcome
    from cosdd_zoo.inference.files import Settings

MODEL_HELP = "A run folder, a checkpoint (.safetensors) or a package (.zip)."
IMAGES_HELP = "Noisy images: files, folders, stores or globs (TIFF, OME-Zarr, NPY, PNG, and what readers add)."
SAMPLES_HELP = (
    "Posterior samples to average; 100 on a GPU, 16 on a CPU. 0: the latents' means, in one pass. auto: as many as "
    "--tolerance asks for."
)
TOLERANCE_HELP = "With --samples auto: the mean's error, in standard deviations of the noise."
CHANNELS_HELP = "Channels to denoise, by name or number from 0: GFP,2. A model of one channel takes each on its own."
OTHERS_HELP = "What becomes of the other channels: copy or drop."
FORMAT_HELP = "same (as the input), tiff (for ImageJ), ome-tiff or ome-zarr."
COMPRESSION_HELP = "default (TIFF none, OME-Zarr zstd), none, zlib, zstd or lzw (TIFF only)."
TILE_HELP = "Side of the windows that large images are cut into; by the free memory."
RESUME_HELP = "Go on with a run that broke off: what is done stays, to the same bytes."
CLUSTER_HELP = "Spread the work by Dask: local, slurm, or a scheduler's address."
WORKERS_HELP = "Processes (local; all cores by default) or jobs (slurm)."
STRICT_HELP = "Refuse images whose noise or grey values are not of the kind that the model was trained on."
REPEAT_HELP = "Do again what the cosdd-denoise.json of an earlier run says, into another folder."


def denoise(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the denoised images.")],
    model: Annotated[Path | None, typer.Argument(help=MODEL_HELP, show_default=False)] = None,
    images: Annotated[list[str] | None, typer.Argument(help=IMAGES_HELP, show_default=False)] = None,
    samples: Annotated[str | None, typer.Option(help=SAMPLES_HELP)] = None,
    tolerance: Annotated[float, typer.Option(min=0.001, help=TOLERANCE_HELP)] = 0.02,
    direct: Annotated[bool, typer.Option("--direct", help="Use the direct denoiser: one pass.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Also write NAME_denoised_std, float32.")] = False,
    float32: Annotated[bool, typer.Option("--float32", help="Write float32 rather than the input's dtype.")] = False,
    axes: Axes = None,
    channels: Annotated[str | None, typer.Option(help=CHANNELS_HELP)] = None,
    others: Annotated[str, typer.Option(help=OTHERS_HELP)] = "copy",
    format: Annotated[str, typer.Option(help=FORMAT_HELP)] = "same",
    compression: Annotated[str, typer.Option(help=COMPRESSION_HELP)] = "default",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into subfolders too.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the posterior samples.")] = 0,
    tile_px: Annotated[int | None, typer.Option(min=1, help=TILE_HELP)] = None,
    halo_px: Annotated[int | None, typer.Option(min=0, help="Context around the windows.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help=RESUME_HELP)] = False,
    repeat: Annotated[Path | None, typer.Option(help=REPEAT_HELP)] = None,
    cluster: Annotated[str | None, typer.Option(help=CLUSTER_HELP)] = None,
    workers: Annotated[int | None, typer.Option(min=1, help=WORKERS_HELP)] = None,
    strict: Annotated[bool, typer.Option("--strict", help=STRICT_HELP)] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first file that fails.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Denoise images: NAME_denoised in the same format, with the same axes, pixel sizes, channels and dtype.

    Folders keep their structure. A file that cannot be denoised stops no other: it is named at the end, and the exit
    code is 2. The log cosdd-denoise.json lies beside the results.
    """
    from cosdd_zoo import api
    from cosdd_zoo.data.beside import make_folder
    from cosdd_zoo.data.canvas import Compression, Format
    from cosdd_zoo.data.finding import find_sources
    from cosdd_zoo.inference.batch import Doing, denoise_files, one_after_another, read_log
    from cosdd_zoo.inference.files import Settings
    from cosdd_zoo.inference.progress import steps
    from cosdd_zoo.noise.profile import judge_of

    log = read_log(repeat) if repeat else None
    if log is not None and (model or images):
        raise ConfigError("--repeat takes model and images from the log: leave them out.")
    model = Path(log.model) if log else model
    if model is None or not (images or (log and log.files)):
        raise ConfigError("MODEL or IMAGES are missing: cosdd-zoo denoise MODEL IMAGES... -o FOLDER.")
    denoiser = api.load(model, device)
    is_auto = samples == "auto"
    count = denoiser.default_samples if samples is None or is_auto else _count(samples)
    given = Settings(
        count, direct, uncertainty, float32, axes, seed, tile_px, halo_px, tolerance if is_auto else 0.0, channels,
        _one_of("--others", others, ("copy", "drop")), _one_of("--format", format, get_args(Format)),
        _one_of("--compression", compression, get_args(Compression)), strict,
    )  # fmt: skip
    if log is not None and given != Settings(denoiser.default_samples):
        raise ConfigError("--repeat takes the settings from the log: leave --samples, --format and the like out.")
    settings = log.settings if log else given
    if log is not None:
        _check_model(log, denoiser.digest)
    judge = judge_of(denoiser.facts)
    if settings.strict and judge is None:
        raise ConfigError(
            f"{model.name} holds no profile of its training images (it was imported, or made by an older version, or "
            "by other software), so no image can be compared with them: leave --strict out."
        )
    sources = [f.source for f in log.files] if log else find_sources(images or [], recursive, but=output)
    make_folder(output)
    how = f"{_how(settings, denoiser.is_foreign)} on {denoiser.device.type}"
    with ExitStack() as stack:
        doing: Doing = one_after_another
        if cluster:
            from cosdd_zoo.inference.cluster import Cluster, connected

            # workers have folders of their own that they are in
            output, model, sources = output.resolve(), model.resolve(), [s.resolved() for s in sources]
            client = stack.enter_context(connected(cluster, workers))
            doing = Cluster(client, api.load, model, device)
        advance = stack.enter_context(steps("denoise", len(sources), quiet))
        found = denoise_files(
            denoiser, model, sources, output, settings,
            resume=resume, overwrite=overwrite, fail_fast=fail_fast, advance=advance, doing=doing,
            judge=judge,
        )  # fmt: skip
        failed = [outcome for outcome in found if not _said(outcome, output, how)]
    if failed:
        typer.secho(f"{len(failed)} of {len(sources)} images could not be denoised:", fg="red", err=True)
        for outcome in failed:
            typer.echo(f"{outcome.input}: {outcome.error}", err=True)
        raise typer.Exit(2)


def _said(outcome: Outcome, folder: Path, how: str) -> bool:
    """Prints what became of a file; whether it is denoised."""
    if outcome.status == "skipped":
        typer.echo(f"{folder / outcome.output}  (was done before)")
    elif outcome.status == "done":
        n = outcome.n_saturated
        clipped = f", {n} of {outcome.n_pixels} pixels saturated" if n else ""
        drawn = f", {outcome.n_samples:g} a window" if how.startswith("mean of samples") else ""
        typer.echo(f"{folder / outcome.output}  ({how}{drawn}{clipped})")
        if outcome.note:
            typer.echo(f"{folder / outcome.output}: {outcome.note}", err=True)
        if outcome.std:
            typer.echo(f"{folder / outcome.std}  (posterior standard deviation)")
    return outcome.status != "failed"


def _how(settings: Settings, is_foreign: bool) -> str:
    if is_foreign:
        return "by bioimageio.core, float32,"
    if settings.direct:
        return "direct denoiser"
    if settings.tolerance:
        return "mean of samples"
    return f"mean of {settings.samples} samples" if settings.samples else "the latents' means"


def _count(samples: str) -> int:
    if not samples.isdigit():
        raise ConfigError(f"--samples {samples!r} is no number: give one from 0 on, or auto.")
    return int(samples)


def _one_of(option: str, value: str, known: Sequence[str]) -> Any:
    if value not in known:
        raise ConfigError(f"{option} {value!r} is not known: choose {', '.join(known[:-1])} or {known[-1]}.")
    return value


def _check_model(log: Log, digest: str) -> None:
    """Raises ConfigError where the model is no longer that of the log."""
    if log.model_sha256 != digest:
        raise ConfigError(
            f"{log.model} is no longer the model of the log: it has other weights. Give the model and the images "
            f"themselves to denoise with it."
        )
