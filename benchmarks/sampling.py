"""Is drawn noise like the real noise? `cosdd-zoo sample` against images whose noise is known, or measured.

    python benchmarks/sampling.py RUN NOISY [TRUTH] [--axes TYX]

For copies of the truth, where there is one, copies of denoised frames, and reconstructions: the largest difference of
the noise's correlation at lags 1 to 10 along the noise axis, and the difference of its variance in classes of grey
value, from those of the real noise. With a truth the noise is noisy minus truth, and the drawn noise is a copy
minus what it was made of. Without one both are measured in the images alone, in the same way: differences of high
order across the lines (cosdd_zoo.report.measures), so that signal cannot be taken for noise. What is drawn has the
noisy images' signal, so the classes are the same pixels on both sides: those of about one grey value in these.

Noise that is correlated across the lines too has more variance than these differences see. So where no truth is given,
the darkest DARK of the pixels, which need be flat for that, are compared as they are: the variance of their grey
values, those of specks drawn in to SPECK deviations, and their correlation with the next line.

Asked for: correlation within 0.03, variance within 10 %.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cosdd_zoo
from cosdd_zoo.data.canvas import to_dtype
from cosdd_zoo.data.images import open_image
from cosdd_zoo.noise.autocorrelation import autocorrelation
from cosdd_zoo.noise.lines import Axis
from cosdd_zoo.report.measures import correlation_of, variance_of

N_LAGS, N_CLASSES, MOST_FRAMES = 10, 10, 24
N_SAMPLES = 16
DARK, SPECK = 0.45, 5.0
Frames = NDArray[np.float64]  # [S, Y, X]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("noisy", type=Path)
    parser.add_argument("truth", type=Path, nargs="?")
    parser.add_argument("--axes")
    arguments = parser.parse_args()
    noisy = frames(arguments.noisy, arguments.axes)
    truth = frames(arguments.truth, arguments.axes) if arguments.truth else None
    drawer, denoiser = cosdd_zoo.noise_model(arguments.run), cosdd_zoo.load(arguments.run)
    axis: Axis = "y" if drawer.network.noise_axis == "y" else "x"
    denoised = np.stack([denoiser.denoise(x, N_SAMPLES).mean for x in noisy]).astype(np.float64)
    kinds: dict[str, tuple[Frames, Frames]] = {}
    for name, clean in (("copies of the truth", truth), ("copies of denoised frames", denoised)):
        if clean is not None:
            kinds[name] = np.stack([as_float(drawer.add(s, copy=n)) for n, s in enumerate(clean)]), clean
    redrawn = [drawer.redraw(x, copy=n) for n, x in enumerate(noisy)]
    kinds["reconstructions"] = np.stack([as_float(r.noisy) for r in redrawn]), np.stack([r.signal for r in redrawn])
    print(
        "| images | correlation, largest difference | variance, by grey value from dark to bright | largest | median |"
    )
    print("|---|---|---|---|---|")
    for name, (drawn, clean) in kinds.items():
        if truth is None:
            apart, ratio = measured(noisy, drawn, axis)
        else:
            apart, ratio = known(noisy - truth, truth, drawn - clean, clean, axis)
        off = np.abs(ratio - 1)
        said = " ".join(f"{r - 1:+.0%}" for r in ratio)
        print(f"| {name} | {apart:.3f} | {said} | {off.max():.0%} | {np.median(off):.0%} |")
    if truth is None:
        across_lines = -1 if axis == "y" else -2
        print(f"\n| the darkest {DARK:.0%} of the pixels | variance | correlation with the next line |\n|---|---|---|")
        for name, image in {"noisy": noisy, **{n: drawn for n, (drawn, _) in kinds.items()}}.items():
            variance, correlation = dark_of(image, denoised, noisy, across_lines)
            print(f"| {name} | {variance:.3f} | {correlation:.3f} |")


def frames(path: Path, axes: str | None) -> Frames:
    image = open_image(path, axes)
    return np.stack([image.read_item(i, 2)[0] for i in range(min(image.n_items(2), MOST_FRAMES))]).astype(np.float64)


def as_float(image: NDArray[np.generic]) -> Frames:
    return to_dtype(image, np.float64).array


def known(noise: Frames, truth: Frames, drawn: Frames, clean: Frames, axis: Axis) -> tuple[float, Frames]:
    """Largest difference of the correlation, and ratios of the variance in classes of the truth."""
    r, found = (autocorrelation(e, N_LAGS).along(axis) for e in (noise, drawn))
    edges = np.quantile(truth, np.linspace(0, 1, N_CLASSES + 1))
    edges[0], edges[-1] = -np.inf, np.inf
    ratios = []
    for low, high in pairwise(edges):
        real, made = noise[(truth >= low) & (truth < high)], drawn[(clean >= low) & (clean < high)]
        if len(real) and len(made):
            ratios.append(made.var() / real.var())
    return float(np.abs(r - found).max()), np.array(ratios)


def measured(noisy: Frames, drawn: Frames, axis: Axis) -> tuple[float, Frames]:
    """The same of noisy images whose truth nobody knows."""
    apart = float(np.abs(correlation_of(noisy, axis) - correlation_of(drawn, axis)).max())
    real, made = (variance_of(v, noisy, axis) for v in (noisy, drawn))
    groups = np.array_split(np.arange(len(real.level)), N_CLASSES)
    return apart, np.array([made.variance[g].sum() / real.variance[g].sum() for g in groups])


def dark_of(image: Frames, denoised: Frames, noisy: Frames, across_lines: int) -> tuple[float, float]:
    """Where the denoised frames are darkest: variance in the image, and correlation with the next line."""
    dark = denoised <= np.quantile(denoised, DARK)
    middle = float(np.median(noisy[dark]))
    reach = SPECK * 1.4826 * max(float(np.median(np.abs(noisy[dark] - middle))), 0.5)
    kept = np.clip(image, middle - reach, middle + reach)
    n = image.shape[across_lines]
    (a, b), (here, there) = ([v.take(range(k, n - 1 + k), across_lines) for k in (0, 1)] for v in (kept, dark))
    both = here & there
    return float(kept[dark].var()), float(np.corrcoef(a[both], b[both])[0, 1])


if __name__ == "__main__":
    main()
