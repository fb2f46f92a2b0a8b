"""A side in a process of its own: arrays handed over as .npy, wall time and peak memory measured there.

    for m in measure("bm3d", Job(noisy, Path("work/bm3d"))):
        print(m.result.row, psnr(m.result.image, truth), m.wall_s, m.peak_bytes)

In a job's folder: job/ (what the side is given), rows/ (what it gave), log.txt (what it said), the side's own files.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sides import SIDES
from sides.interface import Job, Pairs, Result, SkippedError

HERE = Path(__file__).parents[1]
ARRAYS = ("noisy", "truth", "pairs_noisy", "pairs_target")
NUMBERS = ("minutes", "seed", "noise_axis", "n_frames", "n_samples")


class Measured(NamedTuple):
    result: Result
    wall_s: float  # of the whole side's process up to this row: start, imports, training, denoising
    peak_bytes: int  # resident, up to this row


def measure(name: str, job: Job, python: Sequence[str] = (sys.executable,)) -> list[Measured]:
    """Run one side to its end. python: the interpreter, with whatever shall stand before it (nice, taskset).

    Raises SkippedError, with a sentence, where the side cannot do this job, RuntimeError where it broke.
    """
    missing = [need for need in SIDES[name].needs if getattr(job, need) is None]
    if missing:
        raise SkippedError(f"{name} needs {' and '.join(missing)}")
    write_job(name, job)
    command = [*python, "-m", "sides", name, str(job.folder.resolve())]
    with (job.folder / "log.txt").open("w") as log:
        code = subprocess.run(command, cwd=HERE, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if (job.folder / "skipped.txt").exists():
        raise SkippedError((job.folder / "skipped.txt").read_text())
    if code == -signal.SIGKILL:
        raise RuntimeError(f"{name} was killed from outside, as systems do when memory runs out: run this side alone")
    if code != 0:
        said = (job.folder / "log.txt").read_text().strip().splitlines()
        raise RuntimeError(f"{name} ended with code {code}: {said[-1] if said else 'nothing said'}; see {job.folder}")
    return read_rows(job.folder)


def write_job(name: str, job: Job) -> None:
    """Only what the side needs: a truth that is not there cannot be looked at."""
    needs = SIDES[name].needs
    folder = job.folder / "job"
    folder.mkdir(parents=True)
    arrays = {"noisy": job.noisy}
    if "truth" in needs and job.truth is not None:
        arrays["truth"] = job.truth
    if "pairs" in needs and job.pairs is not None:
        arrays |= {"pairs_noisy": job.pairs.noisy, "pairs_target": job.pairs.target}
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", array)
    settings = {key: getattr(job, key) for key in NUMBERS}
    settings["authors_code"] = str(job.authors_code.resolve()) if job.authors_code and "authors_code" in needs else None
    (folder / "job.json").write_text(json.dumps(settings, indent=1))


def read_job(folder: Path) -> Job:
    settings = json.loads((folder / "job/job.json").read_text())
    code = settings.pop("authors_code")
    paths = {key: folder / f"job/{key}.npy" for key in ARRAYS}
    arrays = {key: np.load(path) for key, path in paths.items() if path.exists()}
    pairs = Pairs(arrays["pairs_noisy"], arrays["pairs_target"]) if "pairs_noisy" in arrays else None
    return Job(
        arrays["noisy"],
        folder,
        truth=arrays.get("truth"),
        pairs=pairs,
        authors_code=Path(code) if code else None,
        **settings,
    )


def run_here(name: str, folder: Path) -> None:
    """What the side's process does."""
    job = read_job(folder)
    rows = folder / "rows"
    rows.mkdir()
    try:
        for k, result in enumerate(SIDES[name].denoise()(job)):
            check(result, job)
            np.save(rows / f"{k}.npy", result.image)
            facts = {**result._asdict(), "image": None, "wall_s": age_s(), "peak_bytes": peak_bytes()}
            (rows / f"{k}.json").write_text(json.dumps(facts, indent=1))
    except SkippedError as reason:
        (folder / "skipped.txt").write_text(str(reason))


def read_rows(folder: Path) -> list[Measured]:
    measured = []
    for path in sorted((folder / "rows").glob("*.json"), key=lambda p: int(p.stem)):
        facts = json.loads(path.read_text())
        wall_s, peak = facts.pop("wall_s"), facts.pop("peak_bytes")
        result = Result(**{**facts, "image": np.load(path.with_suffix(".npy"))})
        measured.append(Measured(result, wall_s, peak))
    return measured


def check(result: Result, job: Job) -> None:
    if result.image.shape != job.shown.shape or result.image.dtype != np.float32:
        raise ValueError(f"{result.row}: {result.image.dtype} {result.image.shape}, not float32 {job.shown.shape}")
    if not np.isfinite(result.image).all():
        raise ValueError(f"{result.row}: pixels that are not finite")


def age_s() -> float:
    """Seconds since this process was started."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        return uptime_s - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return time.perf_counter() - _IMPORTED


def peak_bytes() -> int:
    """Peak resident memory of this process.

    Linux's ru_maxrss begins at what the parent held when it started this process, so its own high-water mark is read.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


_IMPORTED = time.perf_counter()
