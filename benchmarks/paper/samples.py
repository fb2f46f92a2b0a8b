"""How many posterior samples does a mean need? PSNR against their number, opposite pairs against independent ones.

    python benchmarks/paper/samples.py RUN NOISY TRUTH -o FOLDER          TRUTH as in noise_reconstruction.py

Samples 2 j and 2 j + 1 have opposite latents' noise; independent ones are every second sample. "0" are the latents'
means, decoded once. Writes samples.png and prints Markdown tables: of PSNR, with the number that comes within 0.05 dB
of 100, and of the samples' standard deviation, divided by their number and by one less, against that of all
independent ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import tifffile
from noise_reconstruction import Frames, as_frames

import cosdd_zoo
from cosdd_zoo.data.metrics import psnr
from cosdd_zoo.demo import simulated_scene

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COUNTS = (1, 2, 4, 8, 10, 16, 32, 100)
N_FRAMES = 4
SIZE_PX = 512


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("noisy", type=Path)
    parser.add_argument("truth")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    noisy = as_frames(tifffile.imread(arguments.noisy))
    truth = simulated_scene().truth if arguments.truth == "simulated" else tifffile.imread(arguments.truth)
    cut = np.s_[:N_FRAMES, :SIZE_PX, :SIZE_PX]
    noisy, truth = noisy[cut].astype(np.float32), as_frames(truth)[cut]
    denoiser = cosdd_zoo.load(arguments.run)
    means = psnr(denoiser.denoise(noisy, n_samples=0, axes="SYX").mean, truth)
    samples = [np.asarray(s, np.float64) for s in denoiser.samples(noisy, n_samples=2 * max(COUNTS), axes="SYX")]
    curves = {"opposite pairs": scores(samples, truth), "independent": scores(samples[::2], truth)}
    print("| samples | 0 | " + " | ".join(map(str, COUNTS)) + " |\n" + "|---" * (len(COUNTS) + 2) + "|")
    for name, curve in curves.items():
        print(f"| {name} | {means:.2f} | " + " | ".join(f"{v:.2f}" for v in curve) + " |")
    for name, curve in curves.items():
        enough = next(k for k, v in zip(COUNTS, curve, strict=True) if v >= curve[-1] - 0.05)
        print(f"\nwithin 0.05 dB of 100 {name}: {enough}", end="")
    print("\n\n| samples | " + " | ".join(map(str, COUNTS[1:])) + " |\n" + "|---" * len(COUNTS) + "|")
    known = np.sqrt(np.mean(np.var(samples[::2], axis=0, ddof=1)))
    for name, drawn, less in (("pairs, k", samples, 0), ("pairs, k - 1", samples, 1), ("independent", samples[::2], 1)):
        spreads = [np.sqrt(np.mean(np.var(drawn[:k], axis=0, ddof=less))) / known for k in COUNTS[1:]]
        print(f"| {name} | " + " | ".join(f"{spread:.3f}" for spread in spreads) + " |")
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for name, curve in curves.items():
        axes.plot(COUNTS, curve, marker="o", label=name)
    axes.axhline(means, color="grey", linestyle="--", label="latents' means, one pass")
    axes.set(xscale="log", xlabel="posterior samples averaged", ylabel="PSNR [dB]")
    axes.legend()
    figure.savefig(arguments.output / "samples.png", dpi=120)


def scores(samples: list[Frames], truth: Frames) -> list[float]:
    """PSNR of the mean of the first so many samples, in dB."""
    total = np.cumsum(samples[: max(COUNTS)], axis=0)
    return [psnr(total[k - 1] / k, truth) for k in COUNTS]


if __name__ == "__main__":
    main()
