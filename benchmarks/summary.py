"""The README's table and picture of the benchmark, from the rows that bench.py has left.

    python benchmarks/summary.py [--bench results/bench] [--minutes 10] [--real FOLDER] [--picture docs/benchmark.png]
        [--drawn stripes]

Prints the table: PSNR in dB, the best of the ways in which a side denoises, one column a data set. With --picture it
draws as well, from the frames that bench.py keeps: the WINDOW_PX of the first frame in which the truth varies most.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d

from datasets import dataset

HERE = Path(__file__).parent
Row = dict[str, Any]
Image = NDArray[np.floating[Any]]

DATA = ("stripes", "ar1", "checkerboard", "actin", "w2s")
SIDES = {
    "noisy": "nothing done",
    "gaussian": "best Gaussian (oracle)",
    "bm3d": "BM3D, correlated",
    "n2v": "N2V",
    "n2v2": "N2V2",
    "structn2v": "structN2V",
    "hdn": "HDN",
    "hdn36": "HDN36",
    "authors": "COSDD, authors' code as published",
    "authors-unshuffled": "COSDD, authors' code, no image lost",
    "ours-tiny": "**cosdd_zoo, `tiny`**",
    "n2n": "*N2N, given a second exposure*",
    "care": "*CARE, given clean images*",
}
TOLD_MORE = ("gaussian", "n2n", "care")
"""Sides that see more than noisy images: no rivals, but marks."""
PANELS = {
    "noisy": "noisy",
    "bm3d": "BM3D",
    "structn2v": "structN2V",
    "authors": "COSDD, authors' code",
    "ours-tiny": "cosdd_zoo",
}
WINDOW_PX = 96


BENCH = HERE / "results" / "bench"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--drawn", nargs="+", choices=DATA, default=["stripes"])
    given = parser.parse_args()
    rows = measured(given.bench, given.minutes, given.seed)
    print(table(rows))
    if given.picture is not None:
        images = given.bench.with_name(f"{given.bench.name}_images")
        draw(rows, images, given.drawn, given.real, given.picture)


def measured(bench: Path = BENCH, minutes: float = 10.0, seed: int = 0) -> list[Row]:
    """Rows with a score."""
    rows = json.loads(bench.with_suffix(".json").read_text())
    return [r for r in rows if "psnr_db" in r and (r["minutes"], r["seed"]) == (minutes, seed)]


def best(rows: Iterable[Row], data: str, side: str) -> Row | None:
    """That of the side's ways of denoising with the highest PSNR."""
    here = [r for r in rows if (r["data"], r["side"]) == (data, side)]
    return max(here, key=lambda r: float(r["psnr_db"]), default=None)


def table(rows: list[Row]) -> str:
    """Markdown. The best of each data set in bold, of those that see noisy images alone."""
    lines = ["| | " + " | ".join(f"`{d}`" for d in DATA) + " |", "|---" * (len(DATA) + 1) + "|"]
    found = {(d, s): best(rows, d, s) for d in DATA for s in SIDES}
    for side, name in SIDES.items():
        cells = []
        for data in DATA:
            row = found[data, side]
            rivals = [r["psnr_db"] for s in SIDES if s not in TOLD_MORE and (r := found[data, s]) is not None]
            is_best = row is not None and side not in TOLD_MORE and row["psnr_db"] == max(rivals)
            cells.append("" if row is None else f"**{row['psnr_db']:.2f}**" if is_best else f"{row['psnr_db']:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: list[Row], images: Path, drawn: list[str], real: Path | None, path: Path) -> None:
    """One line of panels a data set. Raises FileNotFoundError where a frame of a panel was not kept."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n = len(PANELS) + 1
    figure, axes = plt.subplots(len(drawn), n, figsize=(1.75 * n, 2.05 * len(drawn)), squeeze=False)
    for line, data in zip(axes, drawn, strict=True):
        truth = dataset(data, real, int(rows[0]["seed"])).truth[0]
        window = busiest(truth)
        low, high = np.percentile(truth[window], [0.5, 99.8])
        panels = [(name, *frame(rows, images, data, side)) for side, name in PANELS.items()]
        for panel, (name, image, psnr_db) in zip(line, [*panels, ("truth", truth, None)], strict=True):
            panel.imshow(image[window], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            panel.set_title(name if psnr_db is None else f"{name}\n{psnr_db:.2f} dB", fontsize=8)
            panel.set_axis_off()
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight", pad_inches=0.05)


def frame(rows: list[Row], images: Path, data: str, side: str) -> tuple[Image, float]:
    row = best(rows, data, side)
    if row is None or not (images / row.get("image", "-")).is_file():
        raise FileNotFoundError(f"no frame of {side} on {data} in {images}: run bench.py for this row")
    return tifffile.imread(images / row["image"]), float(row["psnr_db"])


def busiest(truth: Image) -> tuple[slice, slice]:
    """The window with the largest variance."""
    image = torch.as_tensor(truth - truth.mean())[None]
    variance = avg_pool2d(image**2, WINDOW_PX, stride=1) - avg_pool2d(image, WINDOW_PX, stride=1) ** 2
    y, x = divmod(int(variance.argmax()), variance.size(-1))
    return slice(y, y + WINDOW_PX), slice(x, x + WINDOW_PX)


if __name__ == "__main__":
    main()
