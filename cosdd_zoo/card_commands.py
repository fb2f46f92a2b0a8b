"""`cosdd-zoo card`: begin a model card, check it, and write a model's measured figures into it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cosdd_zoo.options import Axes, Images, Model, Overwrite

card = typer.Typer(no_args_is_help=True, help="Model cards: the words and figures of a package.")

CardFile = Annotated[Path, typer.Argument(help="The model card, a Markdown file with settings at its top.")]
TRUTH_HELP = "Clean images of the same names' order, or one clean frame for each image. Can be given several times."


@card.command()
def new(
    path: Annotated[Path, typer.Argument(help="The file to write, e.g. model_cards/actin.md.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a card to be filled in: each setting is explained where it stands."""
    from cosdd_zoo.data.beside import beside
    from cosdd_zoo.export.card import template

    with beside(path, overwrite) as part:
        part.write_text(template(), encoding="utf-8")
    typer.echo(f"{path}  (replace every <...> and the text at the end, then: cosdd-zoo card check {path})")


@card.command()
def check(path: CardFile) -> None:
    """Can a package be made with this card? Says what is missing or wrong, and which figures are not measured yet."""
    from cosdd_zoo.export.card import missing_sections, placeholders, read_card

    found = read_card(path)
    missing = [name for name in placeholders(found) if name not in found.figures]
    named = [a.name for a in found.authors] + [m.name or m.github_user for m in found.maintainers]
    typer.echo(f"{path}  (complete; {len(found.figures)} figures)")
    typer.echo(f"name: {found.name}\nlicense: {found.license}\nnamed: {', '.join(named)}")
    if lacking := missing_sections(found):
        typer.echo(f"The text lacks the sections: {', '.join(lacking)}. Users look for them: add them.", err=True)
    if missing:
        typer.echo(f"Named in the text and not measured yet: {', '.join(missing)}. See cosdd-zoo card fill.", err=True)


@card.command()
def fill(
    path: CardFile,
    model: Model,
    images: Images,
    truth: Annotated[list[str] | None, typer.Option(help=TRUTH_HELP)] = None,
    samples: Annotated[int | None, typer.Option(min=0, help="As for denoise.")] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Measure the direct denoiser.")] = False,
    axes: Axes = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Denoise images, measure the noise that was found and, with --truth, PSNRs, and write them into the card."""
    from cosdd_zoo import api
    from cosdd_zoo.data.beside import beside
    from cosdd_zoo.export.card import read_card, with_figures
    from cosdd_zoo.export.evaluation import evaluate

    read_card(path)  # what is wrong with it is better said before the work than after
    figures = evaluate(api.load(model, device), images, truth or (), n_samples=samples, direct=direct, axes=axes)
    text = with_figures(path, figures)
    with beside(path, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")
    for name, value in figures.items():
        typer.echo(f"{name}: {value}")
    typer.echo(f"{path}  ({len(figures)} figures written)")
