"""All sides on the same frames, with the same metric and the same wall-clock budget, in one run.

    python benchmarks/bench.py --minutes 10 --data stripes ar1 --sides noisy gaussian ours-tiny [--real FOLDER]
        [--peers PYTHON] [--authors-code CLONE] [--seed 0] [--out benchmarks/results/bench]

Each side is a process of its own, one after another, with all cores. PYTHON: the interpreter of the environment that
holds the other denoisers (extra `bench`); ours run with this one. FOLDER: the real sets. Every row goes into OUT.json
as soon as it is there, with its command, seed, machine and date; rows that are there already are not measured again.
OUT.md is the table. A side that cannot do a job is a row that says why.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import cosdd_zoo
from datasets import NAMES, Dataset, dataset
from scores import scores
from sides import SIDES
from sides.interface import Job, Pairs, SkippedError
from sides.process import measure

Row = dict[str, Any]
COLUMNS = (
    "psnr_db",
    "affine_psnr_db",
    "ssim",
    "micro_ssim",
    "beyond",
    "training_s",
    "inference_s",
    "peak_gib",
    "steps",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--data", nargs="+", choices=NAMES, default=["stripes", "ar1", "checkerboard"])
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--real", type=Path)
    parser.add_argument("--peers")
    parser.add_argument("--authors-code", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bench")
    given = parser.parse_args()
    store = given.out.with_suffix(".json")
    rows: list[Row] = json.loads(store.read_text()) if store.exists() else []
    for name in given.data:
        data = dataset(name, given.real, given.seed)
        for side in given.sides:
            key = {"data": name, "side": side, "minutes": given.minutes, "seed": given.seed}
            if not any(key.items() <= row.items() for row in rows):
                rows += [{**key, **facts(given), **found} for found in measured(side, data, given)]
                store.write_text(json.dumps(rows, indent=1) + "\n")
                given.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def measured(side: str, data: Dataset, given: argparse.Namespace) -> list[Row]:
    """One row for each way in which the side denoises; scores over the frames that have a truth."""
    python = given.peers if given.peers and not side.startswith(("ours", "noisy", "gaussian")) else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            data.noisy,
            Path(folder),
            given.minutes,
            given.seed,
            data.noise_axis,
            # those of the oracle's frames alone are scored, so it chooses by them
            truth=data.truth if len(data.truth) == len(data.noisy) else None,
            pairs=pairs(side, data),
            authors_code=given.authors_code,
        )
        if side == "gaussian":
            job = job._replace(noisy=data.noisy[: len(data.truth)], truth=data.truth)
        try:
            results = measure(side, job, [python])
        except (SkippedError, RuntimeError) as reason:
            print(f"{data.name}, {side}: {reason}", file=sys.stderr)
            return [{"row": side, "skipped": str(reason)}]
    n = len(data.truth)
    return [
        {
            "row": m.result.row,
            **scores(m.result.image[:n], data.truth, data.noisy[:n], data.noise_axis)._asdict(),
            "training_s": round(m.result.training_s, 1),
            "inference_s": round(m.result.inference_s, 2),
            "peak_gib": round(m.peak_bytes / 2**30, 2),
            "steps": m.result.steps,
            "note": m.result.note,
        }
        for m in results
    ]


def pairs(side: str, data: Dataset) -> Pairs | None:
    """Second exposures for n2n; for care clean frames other than those that are scored, which only simulations have."""
    if side != "n2n" or data.second is None:
        return None
    return Pairs(data.noisy, data.second)


def facts(given: argparse.Namespace) -> Row:
    command = (
        f"python benchmarks/bench.py --minutes {given.minutes:g} --seed {given.seed} (and the row's data and side)"
    )
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return {
        "command": command,
        "machine": machine,
        "date": str(datetime.date.today()),
        "version": cosdd_zoo.__version__,
    }


def table(rows: list[Row]) -> str:
    """Markdown, one table a data set, the best PSNR first."""
    lines = ["# Benchmark", "", " ".join((__doc__ or "").split("\n\n")[0].split()), ""]
    for name, minutes in sorted({(row["data"], row["minutes"]) for row in rows}):
        here = [row for row in rows if (row["data"], row["minutes"]) == (name, minutes)]
        here.sort(key=lambda row: -row.get("psnr_db", -np.inf))
        lines += [f"## {name}, {minutes:g} minutes", "", "| side | seed | " + " | ".join(COLUMNS) + " | date |"]
        lines += ["|---" * (len(COLUMNS) + 3) + "|"]
        for row in here:
            cells = [row["skipped"]] if "skipped" in row else [shown(row[c]) for c in COLUMNS]
            lines += [f"| {row['row']} | {row['seed']} | " + " | ".join(cells) + f" | {row['date']} |"]
        lines += ["", f"Machine: {here[-1]['machine']}. Command: `{here[-1]['command']}`.", ""]
    return "\n".join(lines)


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}".rstrip("0").rstrip(".")


if __name__ == "__main__":
    main()
