"""One short `tiny` training on every noisy image of a folder: does any posterior collapse, any training diverge?

    python benchmarks/no_collapse.py DATA [MINUTES] [FILES...]       DATA: folders of TIFFs, two levels

Prints a Markdown table: KL in nats per pixel (collapsed below 0.003), the share of the data's variance that the signal
decoder explains, skipped steps, and PSNR in dB where DATA holds a truth of the same name.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile

import cosdd_zoo
from cosdd_zoo.data.metrics import affine_fit, best_gaussian, psnr

TRUTHS = {"_low": "_gt", "_raw": "_gt", "_noisy": "_gt"}
AVERAGES = {"_noisy": "_avg5"}


def main(data: str, minutes: str = "1", *names: str) -> None:
    print("| file | steps | KL | explained | skipped | collapsed | noisy | best Gaussian | denoised |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in sorted(Path(data).glob("*/*.tif")):
        is_truth = any(mark in path.stem for mark in ("_gt", "_avg5"))
        if not is_truth and (not names or path.stem in names):
            print(row(path, float(minutes)), flush=True)


def row(path: Path, minutes: float) -> str:
    x = tifffile.imread(path)
    noise_axis = "y" if "stripes" in path.stem else "x"
    axes = "YX" if x.ndim == 2 else "SYX"
    with tempfile.TemporaryDirectory() as folder:
        run = cosdd_zoo.train(
            [path],
            Path(folder) / "run",
            axes=axes,
            noise_axis=noise_axis,
            max_time=minutes,
            quiet=True,
            validate_every=500,
        )
        f = run.facts
        scores = ["", "", ""]
        truth = truth_of(path, x)
        if truth is not None:
            n = min(len(truth), 4)
            noisy, s = x.reshape(-1, *x.shape[-2:])[:n], truth[:n]
            y = cosdd_zoo.load(run.folder).denoise(noisy, 8, axes="SYX").mean
            scores = [f"{v:.2f}" for v in (psnr(noisy, s), best_gaussian(noisy, s).psnr, psnr(y, s))]
    kl = sum(f["validation_kl_per_level"])
    explained = 1.0 - f["validation_signal_error"]
    cells = [path.stem, f["steps"], f"{kl:.4f}", f"{explained:.2f}", f["skipped_steps"], f["collapsed"], *scores]
    return "| " + " | ".join(str(c) for c in cells) + " |"


def truth_of(path: Path, x: np.ndarray) -> np.ndarray | None:
    """The truth [S, Y, X] on the noisy image's scale, if there is one."""
    for mark, other in [*TRUTHS.items(), *AVERAGES.items()]:
        candidate = path.with_name(path.name.replace(mark, other))
        if candidate != path and candidate.exists():
            truth = tifffile.imread(candidate)
            planes = x.reshape(-1, *x.shape[-2:])
            truth = np.broadcast_to(truth.reshape(-1, *x.shape[-2:]), planes.shape) if len(planes) else truth
            return np.stack([affine_fit(s, p) for s, p in zip(truth, planes, strict=True)])
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
