r"""The noise along the lines of single images, of which nobody knows the signal.

    d = sum_m (-1)^m C(p, m) x_m / sqrt(C(2p, p)),      m = 0 .. p across the lines, p = 6
    r(k) = sum d_j d_j+k / sum d_j^2                    j along a line; sums over blocks without structure

A difference of high order across the lines takes away any signal that is smooth there, while noise that is independent
from line to line keeps its variance and its correlation along the line, whatever it is. So r of lines along x is the
noise's own if the noise is correlated along x alone, and 0 at k > 0 if it is correlated along y alone or not at all.

Signal that is left is largest at edges, which the gradient of the blurred image shows, so blocks where that is small
are used alone. Blocks of a brightness make a group with an r of its own, for signal-dependent noise would give all say
to bright ones. The error of r is that of a ratio of sums over independent bands of blocks (linearised).

Letters: N blocks, K lags.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import gaussian_blur

Floats = NDArray[np.float64]
Axis = Literal["x", "y"]
BLOCK_PX = 16
ORDER = 6
"""Of the difference across lines: it keeps a 64th of the power at half the Nyquist frequency, and all at Nyquist."""
BLUR_PX = 2.0
"""Sigma of the blur before the gradient that tells structure: noise alone has a 400th of its variance there."""
STEEPEST = 2.0
"""Blocks of up to so many times the structure of the flattest ones count as flat."""
FLATTEST = 0.1
"""Share of the blocks that is flat by definition."""
N_GROUPS = 16
MIN_IN_GROUP = 16
FARTHEST = 6.0
FEW_BANDS, PART_PX = 6, 64
MAX_CLIPPED = 0.02
"""Share of pixels at an end of the range above which a block is left out."""


class Blocks(NamedTuple):
    """Sums over square blocks of differences across the lines along one axis."""

    products: Floats  # [K + 1, N], mean of d_j d_j+k over the block; k = 0 is the noise's variance
    level: Floats  # [N], mean grey value
    structure: Floats  # [N], mean squared gradient of the blurred image
    is_whole: NDArray[np.bool_]  # [N], hardly a pixel is clipped, and noise is more than rounding
    band: NDArray[np.int64]  # [N], blocks of about independent noise have different numbers

    @property
    def n_lags(self) -> int:
        return len(self.products) - 1


class Correlation(NamedTuple):
    """Of noise along lines, at lags 1 .. K."""

    r: Floats  # [K]
    error: Floats  # [K], standard error; infinite where there is one band only
    n_bands: int

    @property
    def strength(self) -> float:
        """|r| of the near lag where it stands out most; 0 where none stands out."""
        r, error = self.r[:NEAR_PX], self.error[:NEAR_PX]
        return float(np.max(np.abs(r) * (np.abs(r) > CERTAIN * error), initial=0.0))


NEAR_PX = 12
"""Noise that is correlated is so at one of these lags; of many more one would stand out by chance."""
CERTAIN = 4.0
"""Standard errors that make a correlation certain: one in 16,000 by chance at a lag."""


def blocks_along(
    x: Floats,
    axis: Axis,
    n_lags: int,
    clipped: NDArray[np.bool_] | None = None,
    brightness: Floats | None = None,
    step: float = 0.0,
) -> Blocks:
    """Blocks of one image x [Y, X] for the noise along `axis`.

    brightness: [Y, X], whose means are the blocks' levels, where x is the difference of two images. step: between
    grey values; where the noise is less than that, rounding is all there is to see.
    Raises ValueError for an image of fewer than 23 px along an axis.
    """
    lines = x if axis == "x" else x.T
    grey = lines if brightness is None else brightness if axis == "x" else brightness.T
    if min(lines.shape) < BLOCK_PX + ORDER + 1:
        raise ValueError(f"the image is {x.shape[0]} x {x.shape[1]} px: at least {BLOCK_PX + ORDER + 1} are needed")
    d = without_outliers(across(lines))
    n_lags = min(n_lags, d.shape[1] // 2)
    counts = (d.shape[0] // BLOCK_PX, d.shape[1] // BLOCK_PX)
    products = np.stack([_means(_shifted(d, k), counts).ravel() for k in range(n_lags + 1)])
    at_end = np.zeros(lines.shape, bool) if clipped is None else (clipped if axis == "x" else clipped.T)
    inner = slice(ORDER // 2, ORDER // 2 + d.shape[0])
    level, structure, share = (
        _means(image[inner].astype(np.float64), counts).ravel() for image in (grey, _steepness(lines), at_end)
    )
    is_whole = (share <= MAX_CLIPPED) & (products[0] >= step**2)
    return Blocks(products, level, structure, is_whole, band_of(*counts, BLOCK_PX))


def together(parts: Sequence[Blocks], repeats: bool = False) -> Blocks:
    """The blocks of several images. repeats: their noise is about the same, so that bands of one place are one band.

    Raises ValueError for no parts.
    """
    if not parts:
        raise ValueError("there are no blocks")
    k = min(part.n_lags for part in parts)
    first = np.cumsum([0] + [0 if repeats else int(part.band.max()) + 1 for part in parts])
    return Blocks(
        np.concatenate([part.products[: k + 1] for part in parts], axis=1),
        np.concatenate([part.level for part in parts]),
        np.concatenate([part.structure for part in parts]),
        np.concatenate([part.is_whole for part in parts]),
        np.concatenate([part.band + n for part, n in zip(parts, first[:-1], strict=True)]),
    )


def flat(blocks: Blocks) -> NDArray[np.bool_]:
    """[N], the blocks that show no more structure, for their noise, than the flattest ones, and are not clipped."""
    usable = usable_blocks(blocks)
    index = np.flatnonzero(usable)
    if not len(index):
        return usable
    structure = np.empty(len(index))
    for group in groups_of(blocks.level[index]):  # the single block's variance would be chosen along with it
        structure[group] = blocks.structure[index[group]] / np.median(blocks.products[0, index[group]])
    usable[index] = structure <= STEEPEST * float(np.quantile(structure, FLATTEST))
    return usable


def usable_blocks(blocks: Blocks) -> NDArray[np.bool_]:
    """[N], those with noise in them that is not clipped; clipped ones too where hardly any is not."""
    whole = blocks.is_whole if blocks.is_whole.sum() >= MIN_IN_GROUP else np.ones_like(blocks.is_whole)
    return np.asarray(whole & (blocks.products[0] > 0))


def spread_out(values: NDArray[Any], shapes: Sequence[tuple[int, ...]], axis: Axis) -> list[NDArray[Any]]:
    """The values of all blocks [N] at their pixels, and 0 at others, of images of these shapes one after another."""
    images, first = [], 0
    for shape in shapes:
        image = np.zeros(shape, values.dtype)
        lines = image if axis == "x" else image.T
        counts = ((lines.shape[0] - ORDER) // BLOCK_PX, lines.shape[1] // BLOCK_PX)
        n = counts[0] * counts[1]
        part = values[first : first + n].reshape(counts).repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)
        lines[ORDER // 2 : ORDER // 2 + part.shape[0], : part.shape[1]] = part
        images.append(image)
        first += n
    return images


def groups_of(level: Floats, n_groups: int = N_GROUPS) -> list[NDArray[np.int64]]:
    """Indices of blocks of about one brightness each, the darkest first."""
    order = np.argsort(level, kind="stable")
    n = max(1, min(n_groups, len(order) // MIN_IN_GROUP))
    return [np.asarray(g) for g in np.array_split(order, n) if len(g)]


def correlation(blocks: Blocks, chosen: NDArray[np.bool_]) -> Correlation:
    """Of the chosen blocks [N], each group of one brightness on its own. Raises ValueError where none is chosen."""
    index = np.flatnonzero(chosen)
    if not len(index):
        raise ValueError("no block is flat")
    k = blocks.n_lags
    total, influence = np.zeros(k), np.zeros((k, len(index)))
    for group in groups_of(blocks.level[index]):
        p = blocks.products[:, index[group]]
        variance = p[0].mean()
        r = p[1:].mean(axis=1) / variance
        total += len(group) * r
        influence[:, group] = (p[1:] - r[:, None] * p[0]) / variance
    n = len(index)
    _, where = np.unique(blocks.band[index], return_inverse=True)
    summed = np.stack([np.bincount(where, row) for row in influence])
    n_bands = summed.shape[1]
    clustered = np.sqrt((summed**2).sum(axis=1) * n_bands / max(1, n_bands - 1)) / n * _for_few(n_bands - 1)
    alone = np.sqrt((influence**2).sum(axis=1)) / n
    return Correlation(total / n, np.maximum(clustered, alone) if n_bands > 1 else np.full(k, np.inf), n_bands)


def without_outliers(d: Floats) -> Floats:
    """d [Y, X], no further from 0 than 6 deviations of its block, by the median, which hits and hot pixels leave alone.

    A block of which half is 0, as where single photons are counted, stays as it is.
    """
    counts = tuple(-(-n // BLOCK_PX) for n in d.shape)
    padding = [(0, k * BLOCK_PX - n) for k, n in zip(counts, d.shape, strict=True)]
    tiles = np.pad(np.abs(d), padding, mode="reflect" if min(d.shape) > BLOCK_PX else "edge")
    tiles = tiles.reshape(counts[0], BLOCK_PX, counts[1], BLOCK_PX)
    typical = np.median(tiles.transpose(0, 2, 1, 3).reshape(*counts, -1), axis=-1)
    limit = np.where(typical > 0, FARTHEST * typical / 0.6745, np.inf)
    limit = limit.repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)[: d.shape[0], : d.shape[1]]
    return np.clip(d, -limit, limit)


def band_of(n_rows: int, n_columns: int, block_px: int) -> NDArray[np.int64]:
    """[rows * columns], the band of each block: its row, as noise goes on along lines; where rows are few, parts of
    them that are longer than the noise is usually correlated.
    """
    each = -(-PART_PX // block_px) if n_rows < FEW_BANDS else n_columns
    parts = -(-n_columns // each)
    rows, columns = np.divmod(np.arange(n_rows * n_columns), n_columns)
    return np.asarray(rows * parts + columns // each)


def error_of_mean(values: Floats, group: NDArray[np.int64]) -> float:
    """Standard error of the mean of values [N], of which those of one group, as pixels of a line, go together."""
    _, where = np.unique(group, return_inverse=True)
    summed = np.bincount(where, values - values.mean())
    return float(np.sqrt((summed**2).sum()) / len(values))


def _for_few(n: int) -> float:
    """Student's quantile over the normal one at CERTAIN, for n degrees of freedom (Cornish and Fisher's expansion)."""
    return 1 + 4.25 / max(n, 1) + 16 / max(n, 1) ** 2


def across(lines: Floats) -> Floats:
    """The difference of order p across lines [Y, X], along y: [Y - p, X]; white noise keeps its variance."""
    d = np.diff(lines, ORDER, axis=0)
    return np.asarray(d / math.sqrt(math.comb(2 * ORDER, ORDER)))


def _shifted(d: Floats, k: int) -> Floats:
    """d_j d_j+k; of the last k pixels of a line, which have no partner, those of the middle in their place."""
    product = d[:, : d.shape[1] - k] * d[:, k:]
    return np.concatenate([product, product[:, product.shape[1] - k :]], axis=1) if k else product


def _means(values: Floats, counts: tuple[int, int]) -> Floats:
    """Means over square blocks, from the first pixel on: [counts]; what is left at the ends is not looked at."""
    height, width = (n * BLOCK_PX for n in counts)
    return np.asarray(values[:height, :width].reshape(counts[0], BLOCK_PX, counts[1], BLOCK_PX).mean(axis=(1, 3)))


def _steepness(lines: Floats) -> Floats:
    blurred = gaussian_blur(lines, BLUR_PX)
    dy, dx = np.gradient(blurred)
    return np.asarray(dy**2 + dx**2)
