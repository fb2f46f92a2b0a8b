"""The command line: parse, call one function, print. Results go to stdout, progress and warnings to stderr.

torch is imported inside the commands, so that `cosdd-zoo --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosdd_zoo.card_commands import card
from cosdd_zoo.config import read_yaml, resolve, to_yaml
from cosdd_zoo.denoise_command import denoise
from cosdd_zoo.errors import ConfigError, CosddError, PackageError
from cosdd_zoo.evaluate_command import evaluate
from cosdd_zoo.inspect_command import inspect
from cosdd_zoo.options import Axes, Images, Overwrite, Quiet, train_signature, with_signature
from cosdd_zoo.presets import PRESETS
from cosdd_zoo.report_command import report
from cosdd_zoo.sample_command import sample
from cosdd_zoo.upload_command import upload
from cosdd_zoo.version import __version__

if TYPE_CHECKING:
    from cosdd_zoo.export.check import CheckReport

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Denoise microscopy images whose noise is correlated along rows or columns, trained on nothing but them.",
)

app.add_typer(card, name="card")
app.command()(inspect)
app.command()(denoise)
app.command()(report)
app.command()(evaluate)
app.command()(sample)
app.command()(upload)

NOISE_HELP = "stripes, pickup, ar1, checkerboard, emccd, scmos, or uncorrelated for comparison."
CLEAN_HELP = "filaments (by default), nuclei or lattice; or clean images: a file, a folder or a glob."
TEACHER_HELP = "Posterior samples averaged for each target, 2 by default. 0: the latents' means."
SIDE_HELP = "The only size along y and x, so that Fiji cuts tiles of it; by default any size is taken."
TARGET_HELP = "fiji, icy, qupath, ilastik, core, zoo or all (by default); can be given several times."


def main() -> None:
    """Run the command line; a CosddError is one red line and exit code 1."""
    debug = "--debug" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--debug"]
    try:
        app()
    except CosddError as error:
        if debug:
            raise
        typer.secho(str(error), fg="red", err=True)
        raise SystemExit(1) from None


@app.callback()
def common(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False) -> None:
    pass


def train(
    images: list[str], output: Path | None, resume: Path | None, preset: str | None, config: Path | None, **rest: Any
) -> None:
    """Train a model on noisy images alone: a run folder with config, metrics, previews and checkpoints."""
    dry_run, overwrite = rest.pop("dry_run"), rest.pop("overwrite")
    tensorboard, quiet = rest.pop("tensorboard"), rest.pop("quiet")
    settings = {name: value for name, value in rest.items() if value is not None}
    from cosdd_zoo import api
    from cosdd_zoo.noise.auto import with_found_axis
    from cosdd_zoo.training.start import settled

    if dry_run:
        file = read_yaml(config) if config else None
        settings = with_found_axis(images, file, settings, lambda said: typer.echo(f"# {said}"))
        _dry_run(images, settled(preset, file, settings).config)
        return
    if resume is not None:
        run = api.resume(resume, images or None, quiet=quiet, **settings)
    elif output is None or not images:
        missing = "-o RUN" if images else "IMAGES"
        raise ConfigError(f"{missing} is missing: cosdd-zoo train IMAGES... -o RUN, or cosdd-zoo train --resume RUN.")
    else:
        file = read_yaml(config) if config else None
        run = api.train(
            images, output, preset=preset, config=file, overwrite=overwrite, tensorboard=tensorboard, quiet=quiet,
            **settings,
        )  # fmt: skip
    _print_run(run)


def _print_run(run: Any) -> None:
    from cosdd_zoo.training.recorder import warnings_of

    facts = run.facts
    typer.echo(f"{run.model}  ({facts['steps']} steps, {facts['minutes']} min, stopped by {run.stopped_by})")
    for sentence in warnings_of(facts):
        typer.secho(sentence, fg="yellow", err=True)
    if run.stopped_by in ("SIGINT", "SIGTERM"):
        typer.echo(f"Interrupted. Continue with: cosdd-zoo train --resume {run.folder}", err=True)
    else:
        typer.echo(f"Whether its result may be believed: cosdd-zoo report {run.folder}", err=True)


def _dry_run(images: list[str], config: Any) -> None:
    from cosdd_zoo.training.train import estimate, prepare

    config = prepare(images, config).config if images else config
    figures = estimate(config)
    memory = figures.pop("memory_gib")
    typer.echo(to_yaml(config))
    counts = ", ".join(f"{name} {int(n):,}" for name, n in figures.items())
    typer.echo(f"# parameters: {counts}\n# memory of a training step: about {memory:.1f} GiB")


app.command("train")(with_signature(train, train_signature()))


@app.command()
def distill(
    run: Annotated[Path, typer.Argument(help="The model to learn from: a run folder or a checkpoint (.safetensors).")],
    images: Images,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder to make.")],
    samples: Annotated[int | None, typer.Option(min=0, help=TEACHER_HELP)] = None,
    features: Annotated[int | None, typer.Option(min=1, help="Feature maps; by default the model's.")] = None,
    levels: Annotated[int | None, typer.Option(min=1, help="Levels, the finest; by default the model's.")] = None,
    max_time: Annotated[float | None, typer.Option(help="Minutes of training at most.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimiser steps at most.")] = None,
    config: Annotated[Path | None, typer.Option(help="Further settings in YAML, as for train.")] = None,
    axes: Axes = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a direct denoiser, one fast pass, to predict what a trained model returns; `train --resume` continues."""
    from cosdd_zoo import api

    given = {"max_time": max_time, "max_steps": max_steps, "axes": axes, "device": device}
    settings = {name: value for name, value in given.items() if value is not None}
    made = api.distill(
        run, images, output, n_samples=samples, n_features=features, n_levels=levels,
        config=read_yaml(config) if config else None, overwrite=overwrite, quiet=quiet, **settings,
    )  # fmt: skip
    _print_run(made)


@app.command("import-authors")
def import_authors(
    checkpoint: Annotated[Path, typer.Argument(help="final_model.ckpt, as the authors' training.py wrote it.")],
    config: Annotated[Path, typer.Argument(help="training-config.yaml, which lies beside it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder to make.")],
    overwrite: Overwrite = False,
) -> None:
    """Make a run of a model that the method's authors' own code has trained. Nothing in their file is executed."""
    from cosdd_zoo import api

    made = api.import_authors(checkpoint, config, output, overwrite=overwrite)
    n = made.network
    sizes = f"{n.n_dims}-D, {n.n_channels} channels, {n.n_levels} levels, {n.n_features} features"
    direct = "with" if n.direct else "without"
    typer.echo(f"{made.model}  ({sizes}, noise axis {n.noise_axis}, {direct} direct denoiser)")
    for note in made.notes:
        typer.echo(note, err=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder or a checkpoint (.safetensors).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The package to write, ending in .zip.")],
    card: Annotated[Path, typer.Option(help="The model card: model_cards/NAME.md.")],
    samples: Annotated[
        int | None, typer.Option(min=0, help="Posterior samples averaged, 8 by default; 0: one pass.")
    ] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Export the direct denoiser: one pass.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Standard deviation as further channels.")] = False,
    processing: Annotated[str, typer.Option(help="graph (statistics inside) or rdf (explicit).")] = "graph",
    side_px: Annotated[int | None, typer.Option(min=1, help=SIDE_HELP)] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--with", help="onnx: the same model as ONNX beside it, for browsers.")
    ] = None,
    sample: Annotated[Path | None, typer.Option(help="Image for test and cover; by default a training image.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a model to one zip for Fiji, ilastik, QuPath and bioimageio.core, and test it."""
    from cosdd_zoo import api

    if unknown := set(formats or []) - {"onnx"}:
        raise ConfigError(f"--with {min(unknown)} is unknown: TorchScript is always there, and onnx can be added.")
    report = api.export(
        run, output, card=card, n_samples=samples, direct=direct, uncertainty=uncertainty, processing=processing,
        side_px=side_px, with_onnx=bool(formats), sample=sample, overwrite=overwrite,
    )  # fmt: skip
    typer.echo(f"{report.path}  ({report.path.stat().st_size / 1e6:.1f} MB, bioimageio.core: {report.status})")
    _print_check(report.check)


@app.command()
def check(
    package: Annotated[Path, typer.Argument(help="A package (.zip), ours or anybody's.")],
    target: Annotated[list[str] | None, typer.Option(help=TARGET_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Does a package run in Fiji, Icy, QuPath, ilastik, bioimageio.core and the zoo? Exit code 1 if it fails in one of
    them or could not be run, 2 (with --json) if it cannot be opened.
    """
    from cosdd_zoo import api

    try:
        report = api.check(package, target or ["all"])
    except PackageError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"path": str(package), "passed": False, "error": str(error)}, indent=2))
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        _print_check(report)
    if not report.passed:
        raise typer.Exit(1)


def _print_check(report: CheckReport) -> None:
    from cosdd_zoo.export.table import lines

    colours = {"holds": "green", "fails": "red", "unknown": "yellow"}
    for line in lines(report):
        first = line.partition(" ")[0]
        typer.echo(typer.style(first, fg=colours[first]) + line[len(first) :] if first in colours else line)


@app.command()
def simulate(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for noisy.tif and truth.tif.")],
    noise: Annotated[str | None, typer.Option(help=NOISE_HELP)] = None,
    clean: Annotated[str | None, typer.Option(help=CLEAN_HELP)] = None,
    frames: Annotated[int | None, typer.Option(help="Frames, 24 by default; given images are taken in turn.")] = None,
    size: Annotated[int | None, typer.Option(help="Side in px, 256 by default, cut from given images.")] = None,
    photons: Annotated[
        float | None, typer.Option(help="Photons in the brightest places, 40 by default; fewer are noisier.")
    ] = None,
    axes: Axes = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and settings make the same files; 0.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings in YAML: a simulation.yaml, changed or not.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a noisy stack whose truth is known, to try settings on or to compare methods with."""
    from cosdd_zoo.data.metrics import psnr
    from cosdd_zoo.data.simulate.folder import EXAMPLE, resolve_simulation, write_simulation

    file = read_yaml(config, EXAMPLE) if config else None
    settings = resolve_simulation(
        noise, file, clean=clean, axes=axes, n_frames=frames, size_px=size, photons=photons, seed=seed
    )
    written = write_simulation(settings, output, overwrite)
    stack, kind = written.stack, settings.noise
    shape = " x ".join(map(str, stack.noisy.shape))
    clipped = f", {stack.n_clipped} of {stack.noisy.size} pixels clipped" if stack.n_clipped else ""
    noisy_db = psnr(stack.noisy, stack.signal)
    typer.echo(f"{written.noisy}  ({shape} px, {kind.kind}, noise axis {kind.axis}, {noisy_db:.2f} dB{clipped})")
    typer.echo(f"{written.truth}  (the expectation of each noisy pixel)")
    typer.echo(f"{written.settings}  (repeats both with --config)")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")] = Path("cosdd-demo"),
    real: Annotated[bool, typer.Option("--real", help="One real confocal frame instead of a simulated stack.")] = False,
    max_time: Annotated[float | None, typer.Option(min=0.01, help="Minutes of training.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """The main job from end to end on data that ships with the package: train, denoise, export, check."""
    from cosdd_zoo.demo import run_demo

    for line in run_demo(output, real=real, max_time=max_time, overwrite=overwrite, quiet=quiet):
        typer.echo(line)


@app.command()
def info() -> None:
    """Versions, devices and presets."""
    from importlib.metadata import version

    import torch

    from cosdd_zoo.devices import devices

    typer.echo(f"cosdd-zoo {__version__}, Python {sys.version.split()[0]}")
    for name in ("torch", "lightning", "bioimageio.core", "bioimageio.spec", "tifffile", "numpy"):
        typer.echo(f"{name} {version(name)}")
    typer.echo(f"devices: {', '.join(devices())}; {torch.get_num_threads()} threads")
    for name in PRESETS:
        network = resolve(name, None, {}).network
        typer.echo(
            f"preset {name}: {network.n_features} features, {network.n_latents} latents, {network.n_levels} levels"
        )


if __name__ == "__main__":
    main()
