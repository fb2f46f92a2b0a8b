"""`cosdd-zoo denoise`: many files in, many files out, and what became of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosdd_zoo.errors import ConfigError
from cosdd_zoo.options import Axes, Overwrite, Quiet

if TYPE_CHECKING:
    from cosdd_zoo.inference.batch import Log, Outcome

MODEL_HELP = "A run folder, a checkpoint (.safetensors) or a package (.zip)."
IMAGES_HELP = "Noisy images: files, folders or globs (TIFF, NPY, PNG)."
SAMPLES_HELP = "Posterior samples to average; 100 on a GPU, 16 on a CPU. 0: the latents' means, in one pass."
RESUME_HELP = "Go on with a run that broke off: what is done stays, to the same bytes."
REPEAT_HELP = "Do again what the cosdd-denoise.json of an earlier run says, into another folder."


def denoise(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the denoised TIFFs.")],
    model: Annotated[Path | None, typer.Argument(help=MODEL_HELP, show_default=False)] = None,
    images: Annotated[list[str] | None, typer.Argument(help=IMAGES_HELP, show_default=False)] = None,
    samples: Annotated[int | None, typer.Option(min=0, help=SAMPLES_HELP)] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Use the direct denoiser: one pass.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Also write NAME_std.tif.")] = False,
    float32: Annotated[bool, typer.Option("--float32", help="Write float32 rather than the input's dtype.")] = False,
    axes: Axes = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the posterior samples.")] = 0,
    tile_px: Annotated[int | None, typer.Option(min=1, help="Side of the windows of large images.")] = None,
    halo_px: Annotated[int | None, typer.Option(min=0, help="Context around the windows.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help=RESUME_HELP)] = False,
    repeat: Annotated[Path | None, typer.Option(help=REPEAT_HELP)] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first file that fails.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Denoise images: TIFFs under the same names, with the same axes, pixel size and dtype.

    A file that cannot be denoised stops no other: it is named at the end, and the exit code is 2. The log
    cosdd-denoise.json lies beside the results.
    """
    from cosdd_zoo import api
    from cosdd_zoo.data.beside import make_folder
    from cosdd_zoo.data.finding import find_images
    from cosdd_zoo.inference.batch import Settings, denoise_files, read_log
    from cosdd_zoo.inference.progress import steps

    log = read_log(repeat) if repeat else None
    if log is not None and (model or images):
        raise ConfigError("--repeat takes model and images from the log: leave them out.")
    model, images = (Path(log.model), [f.input for f in log.files]) if log else (model, images)
    if model is None or not images:
        raise ConfigError("MODEL or IMAGES are missing: cosdd-zoo denoise MODEL IMAGES... -o FOLDER.")
    denoiser = api.load(model, device)
    count = denoiser.default_samples if samples is None else samples
    given = Settings(count, direct, uncertainty, float32, axes, seed, tile_px, halo_px)
    settings = log.settings if log else given
    if log is not None:
        _check_model(log, denoiser.digest)
    files = find_images(images)
    make_folder(output)
    how = _how(settings.samples, settings.direct, denoiser.device.type)
    with steps("denoise", len(files), quiet) as advance:
        found = denoise_files(
            denoiser, model, files, output, settings,
            resume=resume, overwrite=overwrite, fail_fast=fail_fast, advance=advance,
        )  # fmt: skip
        failed = [outcome for outcome in found if not _said(outcome, output, how)]
    if failed:
        typer.secho(f"{len(failed)} of {len(files)} files could not be denoised:", fg="red", err=True)
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
        typer.echo(f"{folder / outcome.output}  ({how}{clipped})")
        if outcome.std:
            typer.echo(f"{folder / outcome.std}  (posterior standard deviation)")
    return outcome.status != "failed"


def _how(samples: int, direct: bool, device: str) -> str:
    how = "direct denoiser" if direct else f"mean of {samples} samples" if samples else "the latents' means"
    return f"{how} on {device}"


def _check_model(log: Log, digest: str) -> None:
    """Raises ConfigError where the model is no longer that of the log."""
    if log.model_sha256 != digest:
        raise ConfigError(
            f"{log.model} is no longer the model of the log: it has other weights. Give the model and the images "
            f"themselves to denoise with it."
        )
