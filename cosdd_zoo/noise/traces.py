r"""What was done to images before they came here, and which of their pixels are not to be believed.

JPEG        coefficients of the 8 x 8 cosine transform lie on a lattice:   |< exp(2 pi i c / q) >| near 1
resampling  white noise has as much power near the Nyquist frequency as elsewhere, and noise of lines has across them;
            a blur, or a shift or turn by part of a pixel, takes it away along both axes (noise.spectrum)
drift       the peak of the phase correlation of consecutive frames
"""

from __future__ import annotations

import math
from collections import Counter
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
N_BLOCKS = 400
RESAMPLED = 0.75
"""Power near the Nyquist frequency, over the mean, below which no unprocessed noise is along both axes (0.9 to 1.1).
"""
FARTHEST = 0.125
"""Of a side, that a frame may be shifted by: what is further is chance."""
SAME = 0.5
"""Correlation of two blurred frames that show the same thing."""


class Pixels(NamedTuple):
    """Grey values and how they are used."""

    step: float  # between neighbouring grey values; 0 if continuous
    n_values: int  # different ones
    used_share: float  # of the steps between the 1st and the 99th percentile, those that occur
    low: float
    high: float
    low_share: float  # of the pixels, at the lowest value, where they pile up on it; else 0
    high_share: float


def pixels_of(frames: Sequence[NDArray[Any]]) -> Pixels:
    """Of some frames of any shape."""
    values: Counter[float] = Counter()
    n = 0
    for frame in frames:
        found, counts = np.unique(frame, return_counts=True)
        n += frame.size
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            values[value] += count
    ordered = sorted(values)
    grey = np.asarray(ordered, np.float64)
    whole = bool(np.array_equal(grey, np.rint(grey)) and np.abs(grey).max() < 2**53)
    step = float(np.gcd.reduce(np.diff(grey).astype(np.int64))) if whole and len(grey) > 1 else 0.0
    share = 1.0
    if step:
        cumulative = np.cumsum([values[v] for v in ordered]) / n
        first, last = grey[np.searchsorted(cumulative, 0.01)], grey[np.searchsorted(cumulative, 0.99)]
        inside = (grey >= first) & (grey <= last)
        share = float(inside.sum() / ((last - first) / step + 1))
    low, high = (_piled(ordered[::way], values, n) for way in (1, -1))
    return Pixels(step, len(ordered), share, ordered[0], ordered[-1], low, high)


def _piled(from_end: list[float], values: Counter[float], n: int) -> float:
    """The share of the value at an end, if it is far more frequent than the next ones."""
    at_end, *others = from_end[:6]
    usual = max((values[v] for v in others), default=0)
    return values[at_end] / n if values[at_end] >= max(20, 3 * usual) else 0.0


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
    if ny * nx < 16:
        return False
    blocks = part[: 8 * ny, : 8 * nx].reshape(ny, 8, nx, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    spread = blocks.std(axis=(1, 2))
    blocks = blocks[spread > 0.5][:: max(1, int((spread > 0.5).sum()) // N_BLOCKS)]
    if len(blocks) < 16:
        return False
    c = np.einsum("ij,bjk,lk->bil", _DCT, blocks, _DCT)
    found = n_asked = 0
    for i, j in _ASKED:
        values = c[:, i, j]
        q = np.arange(3, max(4, min(64, int(1.5 * values.std()))))
        if len(q) < 2:
            continue
        n_asked += 1
        on = np.abs(np.exp(2j * np.pi * values[:, None] / q).mean(axis=0)).max()
        found += bool(on > JPEG_LATTICE)
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
    where they do not show the same thing.
    """
    blurred = [gaussian_blur(f, 1.5) for f in (first, second)]
    a, b = (np.fft.rfft2(_windowed(f)) for f in blurred)
    cross = b * np.conj(a)
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-12 * np.abs(cross).max() + 1e-300) ** 0.8, s=first.shape)
    at = np.unravel_index(int(np.argmax(peak)), peak.shape)
    dy, dx = _around(peak, at, 0), _around(peak, at, 1)
    moved = np.roll(blurred[1], (-round(dy), -round(dx)), (0, 1))
    alike = np.corrcoef(gaussian_blur(blurred[0], 2).ravel(), gaussian_blur(moved, 2).ravel())[0, 1]
    is_near = max(abs(dy), abs(dx)) <= FARTHEST * min(first.shape)
    return (dy, dx) if alike > SAME and is_near else (math.nan, math.nan)


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
