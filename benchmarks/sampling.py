"""Is drawn noise like the real noise? `cosdd-zoo sample` against images whose noise is known, or measured.

    python benchmarks/sampling.py RUN NOISY [TRUTH] [--axes TYX]
    python benchmarks/sampling.py RUN NOISY --long-exposure FILE

For copies of the truth, where there is one, copies of denoised frames, and reconstructions: the largest difference of
the noise's correlation at lags 1 to 10 along the noise axis, and the difference of its variance in classes of grey
value, from those of the real noise. With a truth the noise is noisy minus truth, and the drawn noise is a copy
minus what it was made of. Without one both are measured in the images alone, in the same way: differences of high
order across the lines (cosdd_zoo.report.measures), so that signal cannot be taken for noise. What is drawn has the
noisy images' signal, so the classes are the same pixels on both sides: those of about one grey value in these.

Noise that is correlated across the lines too has more variance than these differences see. A long exposure of the same
field (other grey values, saturation and noise of its own) says where there is nothing but noise: no pixel of it within
REACH px is above its darkest value. There, with the long exposure, two things are done:

- grey values are compared as they are: their variance, those of specks drawn in to SPECK deviations, their correlation
  with the next line, at shifts along it of 0 to SHIFTS px;
- in the noisy image each piece of a line is exchanged for a piece, as long, of another line more than APART lines away.
  That leaves the values and the correlation along the lines as they were, and none across. What the differences then
  say against the image as it was is their own error; drawn noise is compared with that image too. Means of EXCHANGES.

Asked for: correlation within 0.03, variance within 10 %.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

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

HEADER = "correlation with the next line, shifted along it"
N_LAGS, N_CLASSES, MOST_FRAMES = 10, 10, 24
N_SAMPLES = 16
REACH, SPECK, SHIFTS, APART, EXCHANGES = 2, 5.0, 12, 20, 5
Frames = NDArray[np.float64]  # [S, Y, X]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("noisy", type=Path)
    parser.add_argument("truth", type=Path, nargs="?")
    parser.add_argument("--axes")
    parser.add_argument("--long-exposure", type=Path)
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
    if arguments.long_exposure is not None:
        without_signal(noisy, {name: drawn for name, (drawn, _) in kinds.items()}, arguments.long_exposure, axis)


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


def without_signal(noisy: Frames, kinds: dict[str, Frames], path: Path, axis: Axis) -> None:
    """Prints what this can say where the long exposure shows nothing."""
    long = frames(path, None)
    if axis == "y":
        noisy, long, kinds = (noisy.mT, long.mT, {name: drawn.mT for name, drawn in kinds.items()})
    blurred = np.stack([gaussian_blur(image, 1.0) for image in long])
    around = torch.nn.functional.max_pool2d(torch.from_numpy(blurred), 2 * REACH + 1, 1, REACH).numpy()
    empty = around <= long.min() + 0.5
    exchanges = [exchanged(noisy, empty, np.random.default_rng(n)) for n in range(EXCHANGES)]
    variances = [variance_of(image, noisy, "x").variance for image in exchanges]
    middle = float(np.median(noisy[empty]))
    reach = SPECK * 1.4826 * max(float(np.median(np.abs(noisy[empty] - middle))), 0.5)
    print(f"\nThe long exposure shows nothing in {empty.mean():.0%} of the pixels.\n")
    print(
        f"| image | variance, by grey value, against the exchanged | there: variance, all | without specks | {HEADER} |"
    )
    print("|---|---|---|---|---|")
    for name, image in {"noisy": noisy, "exchanged": exchanges[0], **kinds}.items():
        groups = np.array_split(np.arange(len(variances[0])), N_CLASSES)
        here, real = variance_of(image, noisy, "x").variance, np.mean(variances, 0)
        ratio = " ".join(f"{here[g].sum() / real[g].sum() - 1:+.0%}" for g in groups)
        kept = np.clip(image, middle - reach, middle + reach)
        r = " ".join(f"{next_line(kept, empty, shift):.2f}" for shift in range(SHIFTS + 1))
        print(f"| {name} | {ratio} | {image[empty].var():.3f} | {kept[empty].var():.3f} | {r} |", flush=True)


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
