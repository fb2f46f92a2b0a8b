"""Is drawn noise like the real noise? `cosdd-zoo sample` against images whose noise is known, or measured.

    python benchmarks/sampling.py RUN NOISY [TRUTH] [--axes TYX]
    python benchmarks/sampling.py RUN NOISY --long-exposure FILE [--draws 8]

For copies of the truth, where there is one, copies of denoised frames, and reconstructions: the largest difference of
the noise's correlation at lags 1 to 10 along the noise axis, and the difference of its variance in classes of grey
value, from those of the real noise. Of a single frame they are means of some draws; how far one draw is from another
(standard deviation) is how far the real frame is from the mean of its kind by chance, too.

With a truth the noise is noisy minus truth, and the drawn noise is a copy minus what it was made of. Without one both
are measured in the images alone, in the same way: differences of high order across the lines
(cosdd_zoo.report.measures), so that signal cannot be taken for noise. Each image has its own variance-mean curve, from
the darkest tenth of its pixels to the brightest, as in the report. The same pixels for both will not do: one that is
dark in an image is not as dark in the next of the same kind. How much that makes is printed, of pairs of draws.

Noise that is correlated across the lines too has more variance than these differences see. A long exposure of the same
field (other grey values, saturation and noise of its own) says where there is nothing but noise: no pixel of it within
REACH px is above its darkest value. There, with the long exposure, two things are done:

- grey values are compared as they are: their variance, those of specks drawn in to SPECK deviations, their correlation
  with the next line, at shifts along it of 0 to SHIFTS px;
- in the noisy image each piece of a line is exchanged for a piece, as long, of another line more than APART lines away.
  That leaves the values and the correlation along the lines as they were, and none across. What the differences then
  say against the image as it was is their own error; drawn noise is compared with it too: with the mean of EXCHANGES.

Asked for: correlation within 0.03, variance within 10 %.
"""

from __future__ import annotations

import argparse
from itertools import pairwise, permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import cosdd_zoo
from cosdd_zoo.data.canvas import to_dtype
from cosdd_zoo.data.images import open_image
from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.noise.autocorrelation import autocorrelation
from cosdd_zoo.noise.lines import Axis
from cosdd_zoo.report.measures import correlation_of, variance_of

TABLE = """| images | draws | correlation, largest off | variance, by grey value, from dark to bright | largest | s.d. |
|---|---|---|---|---|---|"""
HEADER = "correlation with the next line, shifted along it"
N_LAGS, N_CLASSES, MOST_FRAMES, PAIRED = 10, 10, 24, 4
N_SAMPLES = 16
REACH, SPECK, SHIFTS, APART, EXCHANGES = 2, 5.0, 12, 20, 10
Frames = NDArray[np.float64]  # [S, Y, X]


class Draw(NamedTuple):
    """An image for each noisy one."""

    noisy: Frames
    signal: Frames


class Found(NamedTuple):
    """Of one draw."""

    apart: float  # largest difference of the correlation
    ratio: NDArray[np.float64]  # of the variance, by grey value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("noisy", type=Path)
    parser.add_argument("truth", type=Path, nargs="?")
    parser.add_argument("--axes")
    parser.add_argument("--long-exposure", type=Path)
    parser.add_argument("--draws", type=int, default=8)
    arguments = parser.parse_args()
    noisy = frames(arguments.noisy, arguments.axes)
    truth = frames(arguments.truth, arguments.axes) if arguments.truth else None
    kinds = drawn(arguments.run, noisy, truth, arguments.draws)
    axis: Axis = "y" if cosdd_zoo.noise_model(arguments.run).network.noise_axis == "y" else "x"
    print(TABLE)
    for name, draws in kinds.items():
        if truth is None:
            table_row(name, [measured(noisy, draw.noisy, axis) for draw in draws])
        else:
            table_row(name, [known(noisy - truth, truth, d.noisy - d.signal, d.signal, axis) for d in draws])
    if truth is None and len(noisy) == 1:
        for name, draws in kinds.items():
            pairs = permutations([draw.noisy for draw in draws[:PAIRED]], 2)
            found = [Found(apart(a, b, axis), curve(b, a, axis) / curve(a, a, axis)) for a, b in pairs]
            table_row(f"{name}, one against another, by one's pixels", found)
    if arguments.long_exposure is not None:
        without_signal(noisy, kinds, arguments.long_exposure, axis)


def drawn(run: Path, noisy: Frames, truth: Frames | None, n_draws: int) -> dict[str, list[Draw]]:
    """n_draws: of a single frame."""
    drawer, denoiser = cosdd_zoo.noise_model(run), cosdd_zoo.load(run)
    denoised = np.stack([denoiser.denoise(x, N_SAMPLES).mean for x in noisy]).astype(np.float64)
    seeds = np.arange((n_draws if len(noisy) == 1 else 1) * len(noisy)).reshape(-1, len(noisy))
    kinds: dict[str, list[Draw]] = {}
    for name, clean in (("copies of the truth", truth), ("copies of denoised frames", denoised)):
        if clean is not None:
            kinds[name] = [
                Draw(
                    np.stack([as_float(drawer.add(s, copy=int(n))) for s, n in zip(clean, copies, strict=True)]), clean
                )
                for copies in seeds
            ]
    redrawn = [[drawer.redraw(x, copy=int(n)) for x, n in zip(noisy, copies, strict=True)] for copies in seeds]
    kinds["reconstructions"] = [
        Draw(np.stack([as_float(r.noisy) for r in each]), np.stack([r.signal for r in each])) for each in redrawn
    ]
    return kinds


def table_row(name: str, found: list[Found]) -> None:
    ratios = np.stack([f.ratio for f in found])
    mean = ratios.mean(0) - 1
    most = int(np.abs(mean).argmax())
    said = " ".join(f"{r:+.0%}" for r in mean)
    spread = f"{ratios[:, most].std(ddof=1):.1%}" if len(ratios) > 1 else ""
    off = max(f.apart for f in found)
    print(f"| {name} | {len(found)} | {off:.3f} | {said} | {abs(mean[most]):.1%} | {spread} |", flush=True)


def frames(path: Path, axes: str | None) -> Frames:
    image = open_image(path, axes)
    return np.stack([image.read_item(i, 2)[0] for i in range(min(image.n_items(2), MOST_FRAMES))]).astype(np.float64)


def as_float(image: NDArray[np.generic]) -> Frames:
    return to_dtype(image, np.float64).array


def known(noise: Frames, truth: Frames, made: Frames, clean: Frames, axis: Axis) -> Found:
    """The variance in classes of the truth."""
    r, found = (autocorrelation(e, N_LAGS).along(axis) for e in (noise, made))
    edges = np.quantile(truth, np.linspace(0, 1, N_CLASSES + 1))
    edges[0], edges[-1] = -np.inf, np.inf
    ratios = []
    for low, high in pairwise(edges):
        here, there = noise[(truth >= low) & (truth < high)], made[(clean >= low) & (clean < high)]
        if len(here) and len(there):
            ratios.append(there.var() / here.var())
    return Found(float(np.abs(r - found).max()), np.array(ratios))


def measured(noisy: Frames, made: Frames, axis: Axis) -> Found:
    """The same of noisy images whose truth nobody knows."""
    return Found(apart(noisy, made, axis), curve(made, made, axis) / curve(noisy, noisy, axis))


def apart(images: Frames, others: Frames, axis: Axis) -> float:
    return float(np.abs(correlation_of(images, axis) - correlation_of(others, axis)).max())


def curve(images: Frames, grey: Frames, axis: Axis) -> NDArray[np.float64]:
    """Variance of the noise in images, from the tenth of the pixels that is darkest in grey to the brightest."""
    variance = variance_of(images, grey, axis).variance
    return np.array([group.mean() for group in np.array_split(variance, N_CLASSES)])


def without_signal(noisy: Frames, kinds: dict[str, list[Draw]], path: Path, axis: Axis) -> None:
    """Prints what this can say where the long exposure shows nothing."""
    long = frames(path, None)
    images = {name: [draw.noisy for draw in draws] for name, draws in kinds.items()}
    if axis == "y":
        noisy, long, images = noisy.mT, long.mT, {name: [x.mT for x in each] for name, each in images.items()}
    blurred = np.stack([gaussian_blur(image, 1.0) for image in long])
    around = torch.nn.functional.max_pool2d(torch.from_numpy(blurred), 2 * REACH + 1, 1, REACH).numpy()
    empty = around <= long.min() + 0.5
    exchanges = [exchanged(noisy, empty, np.random.default_rng(n)) for n in range(EXCHANGES)]
    real = np.mean([curve(image, image, "x") for image in exchanges], 0)
    middle = float(np.median(noisy[empty]))
    reach = SPECK * 1.4826 * max(float(np.median(np.abs(noisy[empty] - middle))), 0.5)
    print(f"\nThe long exposure shows nothing in {empty.mean():.0%} of the pixels. Against the exchanged image:\n")
    print(TABLE)
    every = {"noisy": [noisy], "exchanged": exchanges, **images}
    for name, each in every.items():
        table_row(name, [Found(apart(exchanges[0], x, "x"), curve(x, x, "x") / real) for x in each])
    print(f"\n| there | variance, all | without specks | {HEADER} |")
    print("|---|---|---|---|")
    for name, each in every.items():
        kept = [np.clip(x, middle - reach, middle + reach) for x in each]
        r = " ".join(f"{np.mean([next_line(x, empty, shift) for x in kept]):.2f}" for shift in range(SHIFTS + 1))
        variances = [np.mean([x[empty].var() for x in v]) for v in (each, kept)]
        print(f"| {name} | {variances[0]:.3f} | {variances[1]:.3f} | {r} |", flush=True)


def exchanged(noisy: Frames, empty: NDArray[np.bool_], rng: np.random.Generator) -> Frames:
    """The pieces of lines where empty is true, each from elsewhere; a piece that is the longest stays."""
    image = noisy.copy()
    for frame, there, source in zip(image, empty, noisy, strict=True):
        edges = np.diff(np.pad(there, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        (lines, starts), (_, ends) = np.nonzero(edges == 1), np.nonzero(edges == -1)
        lengths = ends - starts
        for line, start, n in zip(lines, starts, lengths, strict=True):
            spare = np.where(np.abs(lines - line) > APART, lengths - n + 1, 0).clip(0)
            if spare.any():
                k = rng.choice(len(lines), p=spare / spare.sum())
                first = starts[k] + rng.integers(spare[k])
                frame[line, start : start + n] = source[lines[k], first : first + n]
    return image


def next_line(image: Frames, there: NDArray[np.bool_], shift: int) -> float:
    """Pearson's correlation of pixels with those of the next line, shifted along it."""
    n = image.shape[-1] - shift
    both = there[:, :-1, :n] & there[:, 1:, shift:]
    return float(np.corrcoef(image[:, :-1, :n][both], image[:, 1:, shift:][both])[0, 1])


if __name__ == "__main__":
    main()
