"""Twenty short `tiny` trainings, easy and nasty: does any diverge or collapse?

    python benchmarks/stability.py REAL [STEPS] [PART PARTS]       REAL: the folder of the real sets

Prints a Markdown table. "loss" is NLL + KL at validation; a training has diverged when it is not finite, and collapsed
when its KL is below 0.003 nats a pixel. PSNR in dB, of frames without what was done to them. PART PARTS: only every
PARTS-th training, from PART on, so that two cores can share the work.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cosdd_zoo
from cosdd_zoo.data.metrics import best_gaussian, psnr
from datasets import Dataset, dataset

Change = Callable[[NDArray[np.generic]], NDArray[np.generic]]


def as_it_is(noisy: NDArray[np.generic]) -> NDArray[np.generic]:
    return noisy


def as_float(noisy: NDArray[np.generic]) -> NDArray[np.generic]:
    """Continuous values far from one: 1e-4 of the grey values, and no grid."""
    return (noisy * 1e-4 + np.random.default_rng(0).uniform(0, 1e-4, noisy.shape)).astype(np.float32)


def with_hot_pixels(noisy: NDArray[np.generic]) -> NDArray[np.generic]:
    """One pixel in 2000 at the end of the range."""
    hot = np.random.default_rng(0).random(noisy.shape) < 1 / 2000
    return np.where(hot, np.iinfo(noisy.dtype).max, noisy).astype(noisy.dtype)


def saturated(noisy: NDArray[np.generic]) -> NDArray[np.generic]:
    """Clipped where the brightest 3 % are."""
    return np.minimum(noisy, np.quantile(noisy, 0.97).astype(noisy.dtype))


def nearly_empty(noisy: NDArray[np.generic]) -> NDArray[np.generic]:
    """One frame of signal among the dark corners of the others."""
    empty = np.random.default_rng(0).poisson(3, noisy.shape).astype(noisy.dtype) + np.quantile(noisy, 0.01).astype(int)
    return np.concatenate([noisy[:1], empty[1:]]).astype(noisy.dtype)


def few_levels(noisy: NDArray[np.generic]) -> NDArray[np.generic]:
    """About eight grey values."""
    return (noisy.astype(np.float64) / (noisy.std() * 0.7)).clip(0, 255).astype(np.uint8)


TRAININGS: list[tuple[str, int, Change]] = [
    *[(name, seed, as_it_is) for name in ("stripes", "ar1", "checkerboard") for seed in (0, 1)],
    *[("actin", seed, as_it_is) for seed in (0, 1, 2)],
    *[("stripes", 0, change) for change in (as_float, with_hot_pixels, saturated, nearly_empty, few_levels)],
    *[("actin", 0, change) for change in (with_hot_pixels, saturated)],
    *[(name, 0, as_it_is) for name in ("bpae1", "w2s", "sem", "emccd")],
]
"""Data set, seed, and what is done to its noisy frames."""


def main(folder: str, steps: str = "500", part: str = "0", parts: str = "1") -> None:
    print(
        "| data | changed | seed | steps | skipped | loss | KL | diverged | collapsed | noisy | Gaussian | denoised |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, seed, change in TRAININGS[int(part) :: int(parts)]:
        cells = [
            name,
            change.__name__.replace("_", " "),
            seed,
            *row(dataset(name, Path(folder)), seed, change, int(steps)),
        ]
        print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def row(data: Dataset, seed: int, change: Change, steps: int) -> list[object]:
    noisy = change(data.noisy)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"axes": "SYX", "noise_axis": data.noise_axis, "seed": seed, "validate_every": 500}
        run = cosdd_zoo.train(noisy, Path(folder) / "run", max_steps=steps, quiet=True, **settings)
        facts = run.facts
        kl = sum(facts["validation_kl_per_level"])
        head = [facts["steps"], facts["skipped_steps"], f"{facts['validation_loss']:.3f}", f"{kl:.4f}"]
        head += [not math.isfinite(facts["validation_loss"]), facts["collapsed"]]
        if change not in (as_it_is, with_hot_pixels):
            return [*head, "", "", ""]
        scored = data.noisy[: len(data.truth)]
        denoised = cosdd_zoo.load(run.folder).denoise(scored, 0, axes="SYX").mean
        scores = (psnr(scored, data.truth), best_gaussian(scored, data.truth).psnr, psnr(denoised, data.truth))
        return [*head, *(f"{s:.2f}" for s in scores)]


if __name__ == "__main__":
    main(*sys.argv[1:])
