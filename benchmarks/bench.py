"""All sides on the same frames, with the same metric and the same wall-clock budget, in one run.

    python benchmarks/bench.py --minutes 10 --data stripes ar1 --sides noisy gaussian ours-tiny [--real FOLDER]
        [--authors-code CLONE] [--seed 0] [--cores 1] [--out benchmarks/results/bench]

Each side is a process of its own, bound to CORES of the processor's cores; as many run beside one another as there are
cores for. FOLDER: the real sets. Every row goes into OUT.json as soon as it is there, with its command, seed, machine
and date; rows that are there already are not measured again. OUT.md is the table, OUT_images holds each row's first
frame. A side that cannot do a job is a row that says why.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import queue
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

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


class Task(NamedTuple):
    data: str
    side: str


def main() -> None:
    given = arguments().parse_args()
    store = Store(given.out)
    tasks = [Task(name, side) for name in given.data for side in given.sides]
    tasks = [t for t in tasks if not store.has(key(t, given))]
    groups: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    for cores in core_groups(given.cores):
        groups.put(cores)
    cache = {name: dataset(name, given.real, given.seed) for name in dict.fromkeys(t.data for t in tasks)}

    def work(task: Task) -> None:
        cores = groups.get()
        try:
            print(f"{datetime.datetime.now():%H:%M} {task.data}, {task.side}, cores {cores}", file=sys.stderr)
            found = measured(task.side, cache[task.data], given, cores)
            store.add([{**key(task, given), **facts(given, len(cores)), **row} for row in found])
        finally:
            groups.put(cores)

    with ThreadPoolExecutor(max_workers=groups.qsize()) as pool:
        list(pool.map(work, tasks))
    print(table(store.rows))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--data", nargs="+", choices=NAMES, default=["stripes", "ar1", "checkerboard"])
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--real", type=Path)
    parser.add_argument("--authors-code", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bench")
    return parser


def core_groups(n: int) -> list[list[int]]:
    """The cores that this process may use, n at a time; all in one group where there are fewer."""
    cores = sorted(os.sched_getaffinity(0))
    return [cores[k : k + n] for k in range(0, len(cores) - n + 1, n)] or [cores]


def key(task: Task, given: argparse.Namespace) -> Row:
    return {"data": task.data, "side": task.side, "minutes": given.minutes, "seed": given.seed}


class Store:
    """The rows, on disk after each."""

    def __init__(self, out: Path) -> None:
        self.out, self.lock = out, threading.Lock()
        path = out.with_suffix(".json")
        self.rows: list[Row] = json.loads(path.read_text()) if path.exists() else []

    def has(self, row: Row) -> bool:
        return any(row.items() <= r.items() for r in self.rows)

    def add(self, rows: list[Row]) -> None:
        with self.lock:
            self.rows += rows
            self.out.with_suffix(".json").write_text(json.dumps(self.rows, indent=1) + "\n")
            self.out.with_suffix(".md").write_text(table(self.rows))


def measured(side: str, data: Dataset, given: argparse.Namespace, cores: list[int]) -> list[Row]:
    """One row for each way in which the side denoises; scores over the frames that have a truth."""
    bound = ["taskset", "-c", ",".join(map(str, cores)), sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            data.noisy,
            Path(folder) / "job",
            given.minutes,
            given.seed,
            data.noise_axis,
            n_frames=len(data.truth),
            truth=data.truth,
            pairs=pairs(side, data),
            authors_code=given.authors_code,
        )
        try:
            results = measure(side, job, bound)
        except (SkippedError, RuntimeError) as reason:
            print(f"{data.name}, {side}: {reason}", file=sys.stderr)
            return [{"row": side, "skipped": str(reason)}]
    noisy = data.noisy[: len(data.truth)]
    images = given.out.with_name(f"{given.out.name}_images")
    images.mkdir(parents=True, exist_ok=True)
    names = [f"{data.name}_{m.result.row}_{given.minutes:g}min_seed{given.seed}.tif" for m in results]
    names = [name.replace(" ", "-").replace("'", "").replace(",", "") for name in names]
    for name, m in zip(names, results, strict=True):
        tifffile.imwrite(images / name, m.result.image[0])
    return [
        {
            "row": m.result.row,
            "image": name,
            **scores(m.result.image, data.truth, noisy, data.noise_axis)._asdict(),
            "training_s": round(m.result.training_s, 1),
            "inference_s": round(m.result.inference_s, 2),
            "peak_gib": round(m.peak_bytes / 2**30, 2),
            "steps": m.result.steps,
            "note": m.result.note,
        }
        for name, m in zip(names, results, strict=True)
    ]


def pairs(side: str, data: Dataset) -> Pairs | None:
    """Second exposures for n2n; for care the clean images of the frames that are not scored."""
    if side == "n2n" and data.second is not None:
        return Pairs(data.noisy, data.second)
    if side == "care" and data.clean is not None:
        return Pairs(data.noisy[len(data.truth) :], data.clean)
    return None


def facts(given: argparse.Namespace, n_cores: int) -> Row:
    command = f"make bench MINUTES={given.minutes:g} SEED={given.seed}"
    machine = f"{n_cores} of {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
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
