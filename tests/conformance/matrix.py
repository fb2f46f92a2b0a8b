"""Every variant of a package in every runtime, as a table: `make conformance` writes docs/conformance.md.

    python tests/conformance/matrix.py -o docs/conformance.md [--work FOLDER]

Exits with 1 when a cell fails.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from pathlib import Path
from typing import Any

from runtimes import CORES, SPECS, Runtime, judged
from variants import VARIANTS, made

HEAD = """# Conformance

Packages of random weights, one of each kind that `cosdd-zoo export` makes, in the runtimes of the programs that open
them. Written by `make conformance` on {date}: {machine}, Python {python}.

Each cell is a run: `yes`, or what failed below the table. In bioimageio.core: the package is loaded, core's own test
passes (with GitHub's answer about the card's account replaced by a yes), an image of an odd size and 16 bits is
denoised, and a larger one in blocks. In bioimageio.spec: the description loads without an error or a warning.
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".conformance"))
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    packages = {name: made(name, given.work) for name in VARIANTS}
    columns = {r: column(r, given.work, packages) for r in (*CORES, *SPECS)}
    given.output.write_text(text(columns), encoding="utf-8")
    wrong = failures(columns)
    print("\n".join([*wrong, f"{given.output}: {len(wrong)} of {len(columns) * len(VARIANTS)} cells fail"]))
    return 1 if wrong else 0


def column(runtime: Runtime, work: Path, packages: dict[str, Path]) -> dict[str, dict[str, Any]]:
    print(runtime.name, file=sys.stderr)
    found = judged(runtime, work / "runtimes", list(packages.values()))
    return dict(zip(packages, found, strict=True))


Columns = dict[Runtime, dict[str, dict[str, Any]]]


def text(columns: Columns) -> str:
    cores = {r: c for r, c in columns.items() if r in CORES}
    specs = {r: c for r, c in columns.items() if r in SPECS}
    head = HEAD.format(date=datetime.date.today(), machine=platform.machine(), python=platform.python_version())
    versions = next(iter(cores.values()))["direct"]["versions"]
    others = ", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy", "pydantic"))
    wrong = [f"- {line}" for line in failures(columns)]
    parts = [
        head,
        f"## bioimageio.core\n\nWith {others}.\n",
        table(cores),
        "\nIn blocks against whole, largest difference. Random weights see further than any halo: this says that\n"
        "blocks run, and not how well those of trained models fit together.\n",
        table(cores, "blocks"),
        "\n## bioimageio.spec\n",
        table(specs),
        *(["\n## What fails\n", *wrong] if wrong else []),
    ]
    return "\n".join(parts) + "\n"


def table(columns: Columns, detail: str = "") -> str:
    """Yes or NO for each variant and runtime, or the detail of one of the cells."""

    def entry(found: dict[str, Any]) -> str:
        cells = found["cells"]
        return str(cells[detail]["detail"]) if detail else "yes" if all(c["ok"] for c in cells.values()) else "NO"

    lines = ["| | " + " | ".join(VARIANTS) + " |", "|---" * (len(VARIANTS) + 1) + "|"]
    for runtime, column in columns.items():
        lines.append(f"| {runtime.name} | " + " | ".join(entry(column[name]) for name in VARIANTS) + " |")
    return "\n".join(lines)


def failures(columns: Columns) -> list[str]:
    return [
        f"{runtime.name}, {name}, {cell}: {found['detail']}"
        for runtime, column in columns.items()
        for name, judgement in column.items()
        for cell, found in judgement["cells"].items()
        if not found["ok"]
    ]


if __name__ == "__main__":
    sys.exit(main())
