"""`cosdd-zoo report`: whether a run's result may be believed, as a page, JSON and a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosdd_zoo.errors import ConfigError, OutputError
from cosdd_zoo.options import Axes, Overwrite, Quiet

if TYPE_CHECKING:
    from cosdd_zoo.report.reported import Reported

PAGE, FACTS = "report.html", "report.json"
RUN_HELP = "A run folder or a checkpoint (.safetensors)."
IMAGES_HELP = "Noisy images to look at; by default those of the training."
OUTPUT_HELP = f"The folder for {PAGE} and {FACTS}; the run's own by default, none with --json."
REFERENCE_HELP = "Clean images, each matched by name to its image, or in order: a folder, a quoted glob, given often."
REPEAT_HELP = "Other noisy images of the same things, given likewise. Consecutive frames are found without."
SAMPLES_HELP = "Posterior samples, a multiple of 4; 32 by default, 16 of large networks on a CPU."
FRAMES_HELP = "Frames to look at, spread over the images; 3 by default, 1 of large networks on a CPU."
SIDE_HELP = "Their middle, so many px wide at most; 512 by default, 256 of large networks on a CPU."


def report(
    run: Annotated[Path, typer.Argument(help=RUN_HELP)],
    images: Annotated[list[str] | None, typer.Argument(help=IMAGES_HELP, show_default=False)] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help=OUTPUT_HELP)] = None,
    reference: Annotated[list[str] | None, typer.Option(help=REFERENCE_HELP)] = None,
    repeat: Annotated[list[str] | None, typer.Option(help=REPEAT_HELP)] = None,
    samples: Annotated[int | None, typer.Option(min=4, help=SAMPLES_HELP)] = None,
    frames: Annotated[int | None, typer.Option(min=1, help=FRAMES_HELP)] = None,
    side_px: Annotated[int | None, typer.Option(min=32, help=SIDE_HELP)] = None,
    axes: Axes = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """After training: may the result be believed, and where not? Lights, pictures and curves on one page."""
    from cosdd_zoo import api
    from cosdd_zoo.data.beside import refuse_what_is_there
    from cosdd_zoo.inference.progress import steps

    folder = output or (None if as_json else run if run.is_dir() else run.parent)
    if folder is not None and not overwrite:
        refuse_what_is_there(folder, (PAGE, FACTS))
    if folder is not None:
        _check_writable(folder)
    if samples is not None and samples % 4:
        raise ConfigError(f"--samples {samples} is no multiple of 4: give {samples // 4 * 4 + 4}.")
    with steps("report", 1.0, quiet) as advance:
        found = api.report(
            run, images or None, reference=reference, repeat=repeat, axes=axes, n_samples=samples, n_items=frames,
            side_px=side_px, device=device, advance=advance,
        )  # fmt: skip
    if as_json:
        typer.echo(found.facts.model_dump_json(indent=2))
    else:
        _print(found)
    if folder is not None:
        typer.echo(f"{_write(found, folder, overwrite)}  (open it in a browser)", err=as_json)


def _check_writable(folder: Path) -> None:
    """Before the work. Raises OutputError where nothing can be written."""
    import os

    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise OutputError(
            f"Nothing can be written into {folder}, since {there} is no folder or not yours: choose another -o."
        )


def _write(found: Reported, folder: Path, overwrite: bool) -> Path:
    from cosdd_zoo.data.beside import write_together
    from cosdd_zoo.report.report_page import report_page

    texts = {FACTS: found.facts.model_dump_json(indent=2) + "\n", PAGE: report_page(found)}
    write_together(folder, texts, overwrite)
    return folder / PAGE


def _print(found: Reported) -> None:
    from cosdd_zoo.report.report_page import MARKS

    colours = {"good": "green", "fair": "yellow", "bad": "red", "unknown": None}
    facts = found.facts
    several = len(facts.channels) > 1
    lights = [("", c) for c in facts.checks]
    lights += [(f"{own.name}: " if several else "", c) for own in facts.channels for c in own.checks]
    for name, check in lights:
        light = typer.style(f"{MARKS[check.light]:<8}", fg=colours[check.light])
        typer.echo(f"{light} {name}{check.title}. {check.found}" + (f" {check.advice}" if check.advice else ""))
    typer.secho(facts.verdict, fg=colours[facts.light], bold=True)
