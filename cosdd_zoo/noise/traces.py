r"""What was done to images before they came here, and which of their pixels are not to be believed.

JPEG        coefficients of the 8 x 8 cosine transform lie on a lattice:   |< exp(2 pi i c / q) >| near 1
resampling  white noise has as much power near the Nyquist frequency as elsewhere, and noise of lines has across them;
            a blur, or a shift or turn by part of a pixel, takes it away along both axes (noise.spectrum)
drift       the peak of the phase correlation of consecutive frames
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.noise.lines import Floats

JPEG_SIDE_PX = 384
"""Of the part of an image that is searched for JPEG's lattice."""
JPEG_LATTICE = 0.6
"""|< exp >| that a lattice has at least, in half of the coefficients; chance gives 1 / sqrt(blocks)."""
N_BLOCKS, FEWEST_BLOCKS = 128, 16
"""Those of most contrast, whose coefficients are of many values, and of them those that JPEG did not clip."""
RESAMPLED = 0.75
"""Power near the Nyquist frequency, over the mean, below which no unprocessed noise is along both axes (0.9 to 1.1).
"""
DRIFT_BLUR_PX, DRIFT_AROUND_PX = 1.5, 8.0
BETTER = 2.0
"""Times the usual height of the correlation's surface, by which a shift must fit better than none."""
FARTHEST = 0.125
"""Of a side, that a frame may be shifted by: what is further is chance."""
SAME = 0.5
"""Correlation of two blurred frames that show the same thing."""


MOST_PX, MOST_VALUES, AROUND = 2**22, 2**20, 31


class Pixels(NamedTuple):
    """Grey values and how they are used."""

    step: float  # between neighbouring grey values; 0 if continuous
    n_values: int  # different ones
    used_share: float  # of the grey values, those that occur where they are to be expected
    low: float
    high: float
    low_share: float  # of the pixels, at the lowest value, where they pile up on it; else 0
    high_share: float


def pixels_of(frames: Sequence[NDArray[Any]]) -> Pixels:
    """Of some frames of any shape; of many pixels every so-manyth."""
    every = max(1, sum(f.size for f in frames) // MOST_PX)
    while every > 1 and any(every % f.shape[-1] == 0 or f.shape[-1] % every == 0 for f in frames):
        every += 1  # every column has its turn
    grey, counts = np.unique(np.concatenate([f.ravel()[::every] for f in frames]), return_counts=True)
    n = int(counts.sum())
    grey = grey.astype(np.float64)
    whole = bool(np.array_equal(grey, np.rint(grey)) and np.abs(grey).max() < 2**53)
    step = float(np.gcd.reduce(np.diff(grey).astype(np.int64))) if whole and len(grey) > 1 else 0.0
    low, high = (_piled(counts[::way]) / n for way in (1, -1))
    inner = slice(1 if low else 0, len(grey) - 1 if high else len(grey))
    used = _used(grey[inner], counts[inner], step) if step else 1.0
    return Pixels(step, len(grey), used, float(grey[0]), float(grey[-1]), low, high)


def _piled(from_end: NDArray[np.int64]) -> int:
    """The count of the value at an end, if it is far more frequent than the next ones let expect: counts of photons,
    as of all that is log-concave, fall ever faster.
    """
    at_end, *others = (int(c) for c in from_end[:6])
    if not others or at_end < max(20, 3 * max(others)):
        return 0
    falls = others[0] / max(others[1], 1) if len(others) > 1 else 1.0
    return at_end if at_end / max(others[0], 1) > 2 * falls else 0


def _used(grey: Floats, counts: NDArray[np.int64], step: float) -> float:
    """Share of the grey values that occur, of those that should: which have five pixels or more on average around."""
    if len(grey) < 2 or (grey[-1] - grey[0]) / step > MOST_VALUES:
        return 1.0
    full = np.zeros(round((grey[-1] - grey[0]) / step) + 1)
    full[np.rint((grey - grey[0]) / step).astype(int)] = counts
    width = min(AROUND, len(full))
    around = np.convolve(full, np.ones(width) / width, "same")
    expected = around >= 5
    return float((full[expected] > 0).mean()) if expected.any() else 1.0


def is_jpeg(image: Floats, step: float = 1.0, only_here: bool = False) -> bool:
    """Whether an image [Y, X] went through JPEG, wherever its grid of 8 x 8 px begins, or only with its first pixel;
    blocks of one colour decide nothing.
    """
    height, width = (min(n, JPEG_SIDE_PX) for n in image.shape)
    part = image[:height, :width] / (step or 1.0)
    n = 1 if only_here else 8
    return any(_on_a_lattice(part[y:, x:]) for y in range(n) for x in range(n))


def _on_a_lattice(part: Floats) -> bool:
    ny, nx = (n // 8 for n in part.shape)
    if ny * nx < FEWEST_BLOCKS:
        return False
    blocks = part[: 8 * ny, : 8 * nx].reshape(ny, 8, nx, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    contrast = blocks.std(axis=(1, 2))
    varies = contrast > 0.5
    whole = varies & (blocks.min(axis=(1, 2)) > part.min()) & (blocks.max(axis=(1, 2)) < part.max())
    chosen = whole if whole.sum() >= FEWEST_BLOCKS else varies
    blocks = blocks[chosen][np.argsort(-contrast[chosen], kind="stable")[:N_BLOCKS]]
    if len(blocks) < FEWEST_BLOCKS:
        return False
    c = _DCT @ blocks @ _DCT.T
    found = n_asked = 0
    for i, j in _ASKED:
        values = c[:, i, j]
        spread = 1.4826 * np.median(np.abs(values - np.median(values)))  # not that of a few bright blocks
        q = np.arange(3, max(4, min(64, int(1.5 * spread))))
        if len(q) < 2:
            continue
        n_asked += 1
        phase = (2 * np.pi * (values[:, None] / q % 1)).astype(np.float32)
        found += bool(np.hypot(np.cos(phase).mean(axis=0), np.sin(phase).mean(axis=0)).max() > JPEG_LATTICE)
        if n_asked - found > 0.5 * len(_ASKED):
            return False
    return n_asked >= 4 and found >= 0.5 * n_asked


_ASKED = [(i, j) for i in range(4) for j in range(4) if 0 < i + j <= 4]
"""Frequencies (y, x) whose coefficients are asked: the low ones, which JPEG keeps several values of."""
_K = np.arange(8)
_DCT = (
    np.sqrt(2 / 8)
    * np.cos(np.pi * (2 * _K[None, :] + 1) * _K[:, None] / 16)
    / np.where(_K == 0, np.sqrt(2), 1)[:, None]
)


def is_resampled(along_x: float, along_y: float) -> bool:
    """Whether noise lacks power near the Nyquist frequency along both axes (Spectrum.at_nyquist): it was blurred,
    turned, enlarged or shifted by part of a pixel. Of a detector's noise at least one is about 1.
    """
    return max(along_x, along_y) < RESAMPLED


def drift(first: Floats, second: Floats) -> tuple[float, float]:
    """(dy, dx) in px by which the second frame [Y, X] is shifted against the first; to about a tenth of a pixel. NaN
    where they do not show the same thing, 0 where no shift fits better than none.
    """
    blurred = [gaussian_blur(f, DRIFT_BLUR_PX) for f in (first, second)]
    if not all(f.std() > 0 for f in blurred):
        return math.nan, math.nan
    a, b = (np.fft.rfft2(_windowed(f - gaussian_blur(f, DRIFT_AROUND_PX))) for f in blurred)
    surface = np.fft.irfft2(b * np.conj(a), s=first.shape)
    at = np.unravel_index(int(np.argmax(surface)), surface.shape)
    dy, dx = _around(surface, at, 0), _around(surface, at, 1)
    moved = np.roll(blurred[1], (-round(dy), -round(dx)), (0, 1))
    alike = np.corrcoef(gaussian_blur(blurred[0], 2).ravel(), gaussian_blur(moved, 2).ravel())[0, 1]
    if alike <= SAME or max(abs(dy), abs(dx)) > FARTHEST * min(first.shape):
        return math.nan, math.nan
    chance = 1.4826 * float(np.median(np.abs(surface - np.median(surface))))
    return (dy, dx) if surface[at] - surface[0, 0] > BETTER * chance else (0.0, 0.0)


def _windowed(frame: Floats) -> Floats:
    return np.asarray((frame - frame.mean()) * np.outer(*(np.hanning(n) for n in frame.shape)))


def _around(peak: Floats, at: tuple[np.intp, ...], axis: int) -> float:
    """The place of a peak along an axis, by a parabola through it and its neighbours; half of the range is negative."""
    n = peak.shape[axis]
    i = int(at[axis])
    line = np.take(peak, at[1 - axis], 1 - axis)
    before, here, after = (float(line[(i + k) % n]) for k in (-1, 0, 1))
    bend = before - 2 * here + after
    place = i + (0.5 * (before - after) / bend if bend < 0 else 0.0)
    return place - n if place > n / 2 else place
