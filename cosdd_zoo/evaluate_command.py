"""`cosdd-zoo evaluate`: results against references, as a table, CSV, JSON and figures of a model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosdd_zoo.options import Axes, Overwrite

if TYPE_CHECKING:
    from cosdd_zoo.report.scores import Score

REFERENCE_HELP = "Clean images, of the results' names or in their order; one for all is enough. Can be given often."
NOISY_HELP = "The noisy images: references are brought to their scale (a s + b) first, as in the paper."
REFERENCE_AXES_HELP = "Axes of the references, where they differ from --axes."


def evaluate(
    results: Annotated[list[str], typer.Argument(help="Denoised images: files, folders or globs.")],
    reference: Annotated[list[str], typer.Option(help=REFERENCE_HELP)],
    noisy: Annotated[list[str] | None, typer.Option(help=NOISY_HELP)] = None,
    axes: Axes = None,
    reference_axes: Annotated[str | None, typer.Option(help=REFERENCE_AXES_HELP)] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    card: Annotated[Path | None, typer.Option(help="Write the means into this model card's figures.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """How good are results where the truth is known? PSNR, SSIM, MicroSSIM, bias and FRC of each file and of all."""
    from rich.console import Console
    from rich.progress import track

    from cosdd_zoo.data.beside import beside
    from cosdd_zoo.errors import OutputError
    from cosdd_zoo.export.card import read_card, with_figures
    from cosdd_zoo.report.scores import as_csv, as_figures, mean_score, score_files

    if card is not None:
        read_card(card)  # what is wrong with it is better said before the work than after
    if csv is not None and csv.exists() and not overwrite:
        raise OutputError(f"{csv} is there already: choose another --csv, or use --overwrite.")
    done = score_files(results, reference, noisy or (), axes=axes, reference_axes=reference_axes)
    scores = list(track(done, "Comparing", console=Console(stderr=True), transient=True))
    mean = mean_score(scores)
    if as_json:
        files, whole = ([json.loads(s.model_dump_json()) for s in own] for own in (scores, [mean]))  # null for infinity
        print(json.dumps({"files": files, "all": whole[0]}, indent=2))
    else:
        _print([*scores, mean])
    if csv is not None:
        with beside(csv, overwrite) as part:
            part.write_text(as_csv([*scores, mean]), encoding="utf-8")
    if card is not None:
        text = with_figures(card, as_figures(mean))
        with beside(card, overwrite=True) as part:
            part.write_text(text, encoding="utf-8")


def _print(scores: Sequence[Score]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold")
    for heading in ("PSNR", "affine PSNR", "SSIM", "MicroSSIM", "bias", "slope", "FRC (px)"):
        table.add_column(heading, justify="right")
    for s in scores:
        table.add_row(
            s.file, f"{s.psnr_db:.2f}", f"{s.affine_psnr_db:.2f}", f"{s.ssim:.4f}", f"{s.micro_ssim:.4f}",
            f"{s.bias:.3g}", f"{s.bias_slope:+.3f}", f"{s.frc_px:.2f}",
            style="bold" if s is scores[-1] else None,
        )  # fmt: skip
    Console().print(table)
