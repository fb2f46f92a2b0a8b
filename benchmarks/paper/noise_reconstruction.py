"""Has the model learned the noise? Noise drawn from it against the noise that is there (the paper's Fig. 5).

    python benchmarks/paper/noise_reconstruction.py RUN NOISY TRUTH -o FOLDER        after `make demo`:
    ... cosdd-demo/run cosdd-demo/noisy.tif simulated -o benchmarks/results/paper

TRUTH is an image file on NOISY's scale, or "simulated" for the demo's stack. Writes noise_reconstruction.png and prints
a Markdown table: the autocorrelation along the noise axis, and the variance in ten classes of brightness. Real noise is
noisy - truth; drawn noise is a synthetic image minus its own signal (cosdd_zoo.noise.synthesis).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

import cosdd_zoo
from cosdd_zoo.demo import simulated_scene
from cosdd_zoo.noise.autocorrelation import autocorrelation
from cosdd_zoo.noise.synthesis import synthesise

matplotlib.use("Agg")
from matplotlib import pyplot as plt

N_CLASSES = 10
MAX_LAG_PX = 10

Frames = NDArray[np.float64]  # [S, Y, X]


class Noise(NamedTuple):
    name: str
    noise: Frames
    signal: Frames


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("noisy", type=Path)
    parser.add_argument("truth")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    noisy = as_frames(tifffile.imread(arguments.noisy))
    truth = simulated_scene().truth if arguments.truth == "simulated" else tifffile.imread(arguments.truth)
    truth = as_frames(truth)
    denoiser = cosdd_zoo.load(arguments.run)
    drawn = draw(denoiser, noisy)
    axis = denoiser.config.network.noise_axis
    both = [Noise("real", noisy - truth, truth), drawn]
    arguments.output.mkdir(parents=True, exist_ok=True)
    lags = {n.name: autocorrelation(n.noise, MAX_LAG_PX).along("x" if axis == "none" else axis) for n in both}
    edges = np.quantile(truth, np.linspace(0, 1, N_CLASSES + 1))
    classes = {n.name: variances(n, edges) for n in both}
    print_tables(lags, classes)
    draw_figure(lags, classes, arguments.output / "noise_reconstruction.png")


def as_frames(image: NDArray[np.generic]) -> Frames:
    return np.asarray(image, np.float64).reshape(-1, *image.shape[-2:])


def draw(denoiser: cosdd_zoo.Denoiser, noisy: Frames) -> Noise:
    """One synthetic image of each frame."""
    frames = [torch.tensor(x, dtype=torch.float32)[None, None] for x in noisy]
    made = [synthesise(denoiser.engine, x, 0, item) for item, x in enumerate(frames)]
    signal = np.stack([m.signal[0, 0].numpy() for m in made]).astype(np.float64)
    return Noise("drawn", np.stack([m.noisy[0, 0].numpy() for m in made]) - signal, signal)


def variances(noise: Noise, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[classes, 2]: mean signal and variance of the noise in each class of brightness."""
    of = np.digitize(noise.signal, edges[1:-1])
    return np.array([(noise.signal[of == k].mean(), noise.noise[of == k].var()) for k in range(N_CLASSES)])


def print_tables(lags: dict[str, NDArray[np.float64]], classes: dict[str, NDArray[np.float64]]) -> None:
    print("| lag, px | " + " | ".join(str(k + 1) for k in range(MAX_LAG_PX)) + " |")
    print("|---" * (MAX_LAG_PX + 1) + "|")
    for name, values in lags.items():
        print(f"| {name} noise, correlation | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    print("\n| brightness of the truth, grey levels | " + " | ".join(f"{m:.0f}" for m, _ in classes["real"]) + " |")
    print("|---" * (N_CLASSES + 1) + "|")
    for name, found in classes.items():
        print(f"| {name} noise, variance | " + " | ".join(f"{v:.0f}" for _, v in found) + " |")


def draw_figure(lags: dict[str, NDArray[np.float64]], classes: dict[str, NDArray[np.float64]], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for name, mark in (("real", "o"), ("drawn", "x")):
        left.plot(range(1, MAX_LAG_PX + 1), lags[name], marker=mark, label=f"{name} noise")
        right.plot(*classes[name].T, marker=mark, label=f"{name} noise")
    left.set(xlabel="lag along the noise axis [px]", ylabel="autocorrelation")
    right.set(xlabel="signal [grey levels]", ylabel="variance of the noise [grey levels²]")
    left.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
