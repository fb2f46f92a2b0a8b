"""Every variant of a package in every runtime, as a table: `make conformance` writes docs/conformance.md.

    python tests/conformance/matrix.py -o docs/conformance.md [--work FOLDER]

Exits with 1 when a cell fails.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtimes import (
    APART_STD,
    CORES,
    Python,
    Runtime,
    RuntimeFailed,
    environment,
    judged,
    newest_spec,
    overlay,
    specs_with,
)
from variants import VARIANTS, made

TRAINED = Path(__file__).parents[1] / "kept" / "direct-two-channels.zip"
HEAD = """# Conformance

Packages of random weights, one of each kind that `cosdd-zoo export` makes, in the runtimes of the programs that open
them. Written by `make conformance` on {date}: {machine}, Python {python}.

Each cell is a run: `yes`, or what failed below the table. In bioimageio.core: the package is loaded, core's own test
passes for each format of its weights (with GitHub's answer about the card's account replaced by a yes), an image of an
odd size and 16 bits is denoised, and a larger one in blocks. In bioimageio.spec: the description loads without an error
or a warning.
"""
CORE = """## bioimageio.core

Each row is an environment of its own: "installed" is this project's, and in the others pip chose what their versions
ask for, with pydantic below 2.14, on which both versions of bioimageio.spec break.
"""
BLOCKS = """
In blocks against whole, largest difference in standard deviations of the image; the blocks lie on the grid of the
model's coarsest map. Random weights see further than any halo, and samples belong to places, of which blocks have
others: this says that blocks run, and not how well those of trained models fit together.
"""
BLOCKS_OF_TRAINED = """
Of a trained package (tests/kept/direct-two-channels.zip, 300 steps): on the grid, and away from the image's edges by
the halo, at most {bound} is asked. Core 0.10.2 pads blocks by the halo but not whole images, so that they differ at the
image's edges. Off the grid, here by a last block that core moves back by 27 px, the coarser maps see other pixels.
"""
SPEC = """
## bioimageio.spec

Each version lies over the installed packages. {newest}
"""

Column = dict[str, dict[str, Any]]
Columns = dict[Runtime, Column]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".conformance"))
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    packages = {name: made(name, given.work) for name in VARIANTS}
    newest = newest_spec()
    cores = {r: column(r, environment, given.work / "environments", packages, [TRAINED]) for r in CORES}
    specs = {r: column(r, overlay, given.work / "runtimes", packages) for r in specs_with(newest)}
    wrong = failures(cores | specs)
    given.output.write_text(text(cores, specs, newest, wrong), encoding="utf-8")
    print("\n".join([*wrong, f"{given.output}: {len(wrong)} failures in {len(cores | specs)} runtimes"]))
    return 1 if wrong else 0


def column(
    runtime: Runtime,
    made_by: Callable[[Runtime, Path], Python],
    folder: Path,
    packages: dict[str, Path],
    trained: list[Path] | None = None,
) -> Column:
    """What a runtime says of each package; of a runtime that cannot be run, nothing but why."""
    print(runtime.name, *runtime.needs, file=sys.stderr)
    names = [*packages, *([TRAINED.stem] if trained else [])]
    try:
        found = judged(runtime, made_by(runtime, folder), list(packages.values()), trained or [])
    except RuntimeFailed as error:
        return {name: {"versions": {}, "cells": {"not run": {"ok": False, "detail": str(error)}}} for name in names}
    return dict(zip(names, found, strict=True))


def text(cores: Columns, specs: Columns, newest: str | None, wrong: list[str]) -> str:
    head = HEAD.format(date=datetime.date.today(), machine=platform.machine(), python=platform.python_version())
    asked = f"The newest of which pip knew was {newest}." if newest else "Which is the newest, pip could not tell."
    parts = [
        head,
        CORE,
        versions(cores),
        "",
        table(cores),
        BLOCKS,
        table(cores, "blocks"),
        BLOCKS_OF_TRAINED.format(bound=APART_STD),
        blocks_of_trained(cores),
        SPEC.format(newest=asked),
        table(specs),
        *(["\n## What fails\n", *(f"- {line}" for line in wrong)] if wrong else []),
    ]
    return "\n".join(parts) + "\n"


def label(runtime: Runtime, column: Column) -> str:
    """A row's name: the versions that were really run; those that were wanted where nothing was."""
    found = next(iter(column.values()))["versions"]
    if runtime not in CORES:
        return runtime.name
    if not found:
        wanted = ", ".join(runtime.needs).replace("bioimageio.", "").replace("==", " ")
        return f"{wanted} ({runtime.name})" if wanted else runtime.name
    return f"core {found['bioimageio.core']}, spec {found['bioimageio.spec']} ({runtime.name})"


def was_run(column: Column) -> bool:
    return "not run" not in next(iter(column.values()))["cells"]


def versions(cores: Columns) -> str:
    names = ("torch", "numpy", "pydantic", "onnxruntime")
    rows = {}
    for runtime, column in cores.items():
        found = next(iter(column.values()))["versions"]
        rows[label(runtime, column)] = [found.get(name, "-") for name in names]
    return markdown(names, rows)


def table(columns: Columns, detail: str = "") -> str:
    """Yes or NO for each variant and runtime, or the detail of one of the cells; of what was not run, a sentence."""

    def entry(column: Column, name: str) -> str:
        cells = column[name]["cells"]
        if not was_run(column):
            return f"NO: {cells['not run']['detail']}" if name == next(iter(VARIANTS)) else "NO"
        return str(cells[detail]["detail"]) if detail else "yes" if all(c["ok"] for c in cells.values()) else "NO"

    return markdown(VARIANTS, {label(r, c): [entry(c, name) for name in VARIANTS] for r, c in columns.items()})


def blocks_of_trained(cores: Columns) -> str:
    places = ("away from the edges", "on the grid", "off the grid")

    def entry(column: Column, place: str) -> str:
        apart = column[TRAINED.stem]["cells"].get("blocks", {}).get("apart")
        return f"{apart[place]:.2g}" if apart else "NO"

    rows = {label(r, c): [entry(c, place) for place in places] for r, c in cores.items()}
    return markdown(("on the grid, away from the edges", "on the grid, everywhere", "off the grid"), rows)


def markdown(names: Any, rows: dict[str, list[str]]) -> str:
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])


def failures(columns: Columns) -> list[str]:
    return [sentence for runtime, column in columns.items() for sentence in failures_of(runtime, column)]


def failures_of(runtime: Runtime, column: Column) -> list[str]:
    name = label(runtime, column)
    if not was_run(column):
        return [f"{name}: {next(iter(column.values()))['cells']['not run']['detail']}"]
    wrong = [
        f"{name}, {package}, {cell}: {found['detail']}"
        for package, judgement in column.items()
        for cell, found in judgement["cells"].items()
        if not found["ok"]
    ]
    apart = column.get(TRAINED.stem, {}).get("cells", {}).get("blocks", {}).get("apart")
    if apart and apart["away from the edges"] > APART_STD:
        wrong.append(f"{name}, {TRAINED.stem}, blocks: {apart['away from the edges']:.2g} std apart on the grid")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
