"""What reading crops from disk takes of a training step: TIFFs of several kinds, lazily read, none of them in memory.

    python benchmarks/loading.py [--preset tiny] [--frames 250] [--steps 60] [--folder FOLDER]

Frames are 1024 x 1024, uint16: 250 are twice what the package keeps of decoded pages. FOLDER lies where the files shall
be written, by default where temporary files go. Of each kind a training of STEPS steps, and as many batches read alone.
On a GPU the training reads the next batch while it computes, and waits for what is not there yet; on a CPU it reads
when it needs one. Prints a Markdown table. The files were just written, so that the system may still hold them: a cold
disk is slower.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tifffile

import cosdd_zoo
from cosdd_zoo.config import preset
from cosdd_zoo.data.ahead import Ahead
from cosdd_zoo.data.crops import Crops
from cosdd_zoo.training.train import prepare

SIDE_PX = 1024
WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--folder")
    given = parser.parse_args()
    print("| files | reading a batch, ms | a step, ms | of it waiting, ms | share |\n|---|---|---|---|---|", flush=True)
    for name, write in KINDS.items():
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            write(Path(folder) / "images", given.frames)
            batch_ms = 1e3 * batch_s(Path(folder) / "images", given.preset, given.steps)
            step_ms, waiting_ms = (1e3 * s for s in step_s(Path(folder), given.preset, given.steps))
        share = f"{100 * waiting_ms / step_ms:.2f} %"
        print(f"| {name} | {batch_ms:.2f} | {step_ms:.1f} | {waiting_ms:.2f} | {share} |", flush=True)


def frame(k: int) -> np.ndarray:
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / (20.0 + k % 7)
    return np.random.default_rng(k).poisson(100.0 + 50.0 * np.sin(x + k) * np.cos(y)).astype(np.uint16)


def one_stack(folder: Path, n: int) -> None:
    folder.mkdir()
    tifffile.imwrite(folder / "stack.tif", (frame(k) for k in range(n)), shape=(n, SIDE_PX, SIDE_PX), dtype=np.uint16)


def one_compressed(folder: Path, n: int) -> None:
    folder.mkdir()
    how = {"shape": (n, SIDE_PX, SIDE_PX), "dtype": np.uint16, "compression": "zlib", "metadata": {"axes": "TYX"}}
    tifffile.imwrite(folder / "stack.tif", (frame(k) for k in range(n)), **how)


def many_files(folder: Path, n: int) -> None:
    folder.mkdir()
    for k in range(n):
        tifffile.imwrite(folder / f"{k:04}.tif", frame(k))


def many_compressed(folder: Path, n: int) -> None:
    folder.mkdir()
    for k in range(n):
        tifffile.imwrite(folder / f"{k:04}.tif", frame(k), compression="zlib")


def one_store(folder: Path, n: int) -> None:
    """OME-Zarr of one large plane, as slide scanners make it."""
    import zarr

    side = math.isqrt(n) * SIDE_PX
    group = zarr.create_group(str(folder / "stack.ome.zarr"))
    level: Any = group.create_array("0", shape=(side, side), chunks=(512, 512), dtype=np.uint16)
    for k, (y, x) in enumerate(np.ndindex(side // SIDE_PX, side // SIDE_PX)):
        level[y * SIDE_PX : (y + 1) * SIDE_PX, x * SIDE_PX : (x + 1) * SIDE_PX] = frame(k)
    axes = [{"name": a, "type": "space"} for a in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
    group.attrs.update({"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}})


KINDS: dict[str, Callable[[Path, int], None]] = {
    "one stack": one_stack,
    "one stack, zlib": one_compressed,
    "a file a frame": many_files,
    "a file a frame, zlib": many_compressed,
    "one OME-Zarr plane, chunks of 512 px": one_store,
}


def batch_s(images: Path, name: str, n: int) -> float:
    """Median of one batch of the preset's crops."""
    config = preset(name, axes="TYX" if (images / "stack.tif").exists() else "YX")
    prepared = prepare([images], config)
    crops = Crops(prepared.images, prepared.split.training, prepared.config)
    size = config.training.crops_per_device
    found = []
    for k in range(n + WARM_UP):
        began = time.perf_counter()
        np.stack([crops[i] for i in range(k * size, (k + 1) * size)])
        found.append(time.perf_counter() - began)
    return statistics.median(found[WARM_UP:])


def step_s(folder: Path, name: str, n: int) -> tuple[float, float]:
    """Of a training, the seconds of a step and those in it that it waited for its crops."""
    axes = "TYX" if (folder / "images" / "stack.tif").exists() else "YX"
    how = {"preset": name, "axes": axes, "quiet": True, "validate_every": 10_000, "validation_crops": 1}
    made: list[Ahead[Any]] = []

    def kept(batches: Any, in_thread: bool) -> Ahead[Any]:
        made.append(Ahead(batches, in_thread))
        return made[-1]

    with mock.patch("cosdd_zoo.training.train.Ahead", kept):
        run = cosdd_zoo.train([folder / "images"], folder / "run", max_steps=n, **how)
    *_, last = csv.DictReader((run.folder / "metrics.csv").open())
    return float(last["seconds"]) / n, made[0].waited_s / n


if __name__ == "__main__":
    main()
