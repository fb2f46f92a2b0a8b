"""`cosdd-zoo inspect`: what the noise is like, as a table, a page, JSON and settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosdd_zoo.options import Axes, Images, Overwrite, Quiet

if TYPE_CHECKING:
    from cosdd_zoo.noise.inspected import Inspected

PAGE, FACTS, SETTINGS = "inspect.html", "inspect.json", "settings.yaml"
OUTPUT_HELP = f"The folder for {PAGE}, {FACTS} and {SETTINGS}; cosdd-inspect by default, none with --json."
CHANNELS_HELP = "Channels to inspect, by name or number from 0; all by default."


def inspect(
    images: Images,
    output: Annotated[Path | None, typer.Option("--output", "-o", help=OUTPUT_HELP)] = None,
    axes: Axes = None,
    channels: Annotated[str | None, typer.Option(help=CHANNELS_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Before training: what is the noise like, does COSDD suit it, and with which settings?"""
    from rich.console import Console

    from cosdd_zoo import api
    from cosdd_zoo.data.beside import refuse_what_is_there

    folder = output or (None if as_json else Path("cosdd-inspect"))
    if folder is not None and not overwrite:
        refuse_what_is_there(folder, (PAGE, FACTS, SETTINGS))
    console = Console(stderr=True, quiet=quiet)
    with console.status("Looking at the noise"):
        found = api.inspect(images, axes=axes, channels=channels)
    if as_json:
        typer.echo(found.facts.model_dump_json(indent=2))
    else:
        _print(found)
    if folder is not None:
        with console.status("Drawing"):
            page = _write(found, folder, overwrite)
        typer.echo(f"{page}  (open it in a browser)", err=as_json)


def _write(found: Inspected, folder: Path, overwrite: bool) -> Path:
    from cosdd_zoo.data.beside import write_together
    from cosdd_zoo.noise.advice import as_yaml
    from cosdd_zoo.report.inspect_page import inspect_page

    title = f"Found by cosdd-zoo {found.facts.cosdd_zoo} in {', '.join(found.facts.images[:3])}."
    texts = {
        FACTS: found.facts.model_dump_json(indent=2) + "\n",
        SETTINGS: as_yaml(found.advice.settings, title),
        PAGE: inspect_page(found),
    }
    write_together(folder, texts, overwrite)
    return folder / PAGE


def _print(found: Inspected) -> None:
    from rich.console import Console
    from rich.table import Table

    from cosdd_zoo.report.inspect_page import rows

    console = Console()
    for channel in found.facts.channels:
        table = Table(title=channel.name if len(found.facts.channels) > 1 else None, box=None, pad_edge=False)
        for heading in ("", "found", ""):
            table.add_column(heading, overflow="fold")
        for name, value, meaning in rows(channel):
            table.add_row(name, value, f"[dim]{meaning}[/dim]")
        console.print(table)
    typer.echo()
    typer.secho(found.facts.verdict, fg={"yes": "green", "partly": "yellow", "no": "red"}[found.facts.suits])
    for warning in found.facts.warnings:
        typer.secho(f"- {warning}", fg="yellow")
    typer.echo()
    for setting in found.advice.settings:
        typer.echo(f"{setting.name}: {setting.value}  # {setting.reason}")
