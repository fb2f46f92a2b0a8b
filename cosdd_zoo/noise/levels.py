r"""The noise's variance against the grey value: what a photon counts for, and what noise there is without light.

    V(s) = read_noise^2 + gain (s - offset)
    E[d^2] = V(l),   l = sum_m w_m x_m,   w_m = C(p, m)^2 / C(2p, p)       d of noise.lines, of the lines m = 0 .. p

so d^2 is regressed on l, exactly where V is a line. But l is noisy itself, which would make the slope too small, and
shares its noise with d^2. Lines further away do not, since noise is independent from line to line: what they predict
of l stands in for it (two-stage least squares, the blurred lines at some distances being the instruments). Each pixel
is weighted by 1 / V^2, as the error of d^2 is in proportion to V. Errors are those of independent bands of lines.

Noise that remembers, as a detector that is slower than its pixels makes it, has the variance of the pixels before too:

    e_i = sum_k h_k sqrt(V(s_i-k)) w_i-k      E[e_i^2] = sum_k h_k^2 V(s_i-k),      r(k) = h_k of AR(1): h_k^2 ~ r(k)^2

Where the signal changes as fast as it forgets, the slope on l alone is too small. So l's mean under r(k)^2, before or
after the pixel, is a second regressor wherever it tells anything beside l; the level is then their mixture.

`offset` is the darkest grey value there is (1st percentile): where no place is dark, it and the read noise are too
large, while the gain is not. Of an EMCCD the gain holds its excess noise factor, 2.

Letters: N pixels, G groups of about one grey value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import blur_along, gaussian_blur
from cosdd_zoo.noise.lines import CERTAIN, ORDER, Floats, across, band_of, without_outliers

Trend = Literal["rises", "falls", "constant"]
N_GROUPS = 24
MOST_PX = 2**21
"""Pixels of all frames together: more change nothing."""
DISTANCES_PX = (4, 6, 9)
"""Of the instruments' lines, which d does not see: one at least is not where a period of the signal turns."""
BLURS_PX = (1.5, 6.0)
"""Sigmas of their blur along the lines."""
BAND_PX = 16
DARK = 0.01
STEADY = 0.2
"""A relative change of V over the grey values, from the darkest to the brightest, that is none yet."""
MEMORY_PX = 12
REMEMBERS, SURE = 0.1, 4.0
"""Weight of the other pixels below which nothing is remembered, and errors that the second slope must be from 0."""
CLIPPED_PX, MAX_CLIPPED = 6.0, 0.02
"""Pixels around which a larger share is clipped do not count, unless that leaves hardly any."""


class Lines(NamedTuple):
    """A frame, the lines of noise along its last axis; all [Y, X]."""

    noise: Floats  # the frame, or the difference of two over sqrt(2)
    grey: Floats  # the frame, or the mean of the two
    clipped: NDArray[np.bool_]

    def turned(self) -> Lines:
        """x and y exchanged."""
        return Lines(self.noise.T, self.grey.T, self.clipped.T)


class Levels(NamedTuple):
    """The variance-mean curve and its line."""

    level: Floats  # [G], grey value
    variance: Floats  # [G]
    error: Floats  # [G], standard error of the variance
    gain: float  # grey values per photon: the slope
    gain_error: float
    offset: float  # grey value of the darkest places
    read_noise: float  # standard deviation there, in grey values
    curvature: float  # largest distance of a parabola from the line, relative to V

    @property
    def trend(self) -> Trend:
        change = self.gain * float(self.level[-1] - self.level[0])
        is_seen = abs(change) > STEADY * float(np.mean(self.variance)) and abs(self.gain) > 3 * self.gain_error
        return "constant" if not is_seen else "rises" if change > 0 else "falls"

    def at(self, level: Floats | float) -> Floats:
        """The line's variance, nowhere below 0."""
        return np.maximum(self.read_noise**2 + self.gain * (np.asarray(level, np.float64) - self.offset), 0.0)


class _Sampled(NamedTuple):
    squares: Floats  # [N], d^2
    level: Floats  # [N, M], l, and where noise remembers l's means over the pixels before, and after
    beside: Floats  # [N, M, instruments], those of each
    is_whole: NDArray[np.bool_]  # [N]
    band: NDArray[np.int64]  # [N]


def levels_of(frames: Sequence[Lines], has_offsets: bool = False) -> Levels:
    """The curve of some frames. has_offsets: lines have offsets, which are taken from d and their variance added again:
    they are so few that by chance alone they would change the slope. Raises ValueError where there is no noise.
    """
    step = max(1, -(-sum(f.grey.size for f in frames) // MOST_PX))
    noise = [without_outliers(across(frame.noise)) for frame in frames]
    offsets = [d.mean(axis=1, keepdims=True) * has_offsets for d in noise]
    noise = [d - o for d, o in zip(noise, offsets, strict=True)]
    added = float(np.mean([np.mean(o**2) for o in offsets]))
    memory = _memory(noise)
    parts = [_sampled(frame, d, memory, step) for frame, d in zip(frames, noise, strict=True)]
    first = np.cumsum([0] + [int(p.band.max()) + 1 for p in parts])
    squares, level, beside, is_whole = (np.concatenate([p[k] for p in parts]) for k in range(4))
    band = np.concatenate([p.band + n for p, n in zip(parts, first[:-1], strict=True)])
    if is_whole.sum() >= 0.05 * len(is_whole):
        squares, level, beside, band = (v[is_whole] for v in (squares, level, beside, band))
    typical = float(squares.mean())
    if typical <= 0:
        raise ValueError("there is no noise in it")
    weight = np.ones(len(squares))
    for _ in range(3):
        seen = _seen(beside, level, squares, weight, band)
        offset = float(np.quantile(seen, DARK))
        line, error = _fitted(seen - offset, squares, weight, band)
        weight = 1 / np.maximum(line[0] + line[1] * (seen - offset), 0.05 * typical) ** 2
    groups = np.array_split(np.argsort(seen, kind="stable"), N_GROUPS)
    x, y, spread = np.array([_group(seen[g], squares[g], band[g]) for g in groups]).T
    read_noise = math.sqrt(max(line[0] + added, 0.0))
    return Levels(x, y + added, spread, line[1], error, offset, read_noise, _curvature(x - offset, y, line))


def _sampled(frame: Lines, d: Floats, memory: Floats, step: int) -> _Sampled:
    """Every step-th pixel along the lines."""
    n, reach = len(d), max(DISTANCES_PX) - ORDER // 2
    weights = [math.comb(ORDER, m) ** 2 / math.comb(2 * ORDER, ORDER) for m in range(ORDER + 1)]
    level = np.asarray(sum(w * frame.grey[m : m + n] for m, w in enumerate(weights)))[reach : n - reach]
    centre = np.arange(reach, n - reach) + ORDER // 2
    blurred = [blur_along(frame.grey, sigma, -1) for sigma in BLURS_PX]
    beside = [(b[centre - o] + b[centre + o]) / 2 for b in blurred for o in DISTANCES_PX]
    share = gaussian_blur(frame.clipped, CLIPPED_PX) if frame.clipped.any() else np.zeros(frame.clipped.shape)
    squares = d[reach : n - reach, ::step] ** 2
    height, width = squares.shape
    bands = band_of(-(-height // BAND_PX), -(-width // BAND_PX), BAND_PX * step).reshape(-1, -(-width // BAND_PX))
    band = bands.repeat(BAND_PX, 0).repeat(BAND_PX, 1)[:height, :width].ravel()
    ways = (0, 1, -1) if 1 - memory[0] > REMEMBERS else (0,)
    each = [[_over(image, memory, way)[:, ::step].ravel() for image in (level, *beside)] for way in ways]
    return _Sampled(
        squares.ravel(),
        np.stack([columns[0] for columns in each], 1),
        np.stack([np.stack(columns[1:], 1) for columns in each], 1),
        share[centre][:, ::step].ravel() <= MAX_CLIPPED,
        band,
    )


def _memory(noise: Sequence[Floats]) -> Floats:
    """[1 + K], r(k)^2 of the noise along the lines, up to where it is no more than chance, of sum 1."""
    square = max(float(np.mean([np.mean(d**2) for d in noise])), 1e-300)
    chance = CERTAIN / math.sqrt(sum(d.size for d in noise))
    weights = [1.0]
    for k in range(1, min(MEMORY_PX, *(d.shape[1] // 2 for d in noise))):
        r = float(np.mean([np.mean(d[:, k:] * d[:, :-k]) for d in noise])) / square
        if r < chance:
            break
        weights.append(r**2)
    return np.asarray(weights) / sum(weights)


def _over(image: Floats, memory: Floats, way: int) -> Floats:
    """Mean over each pixel and those before (1) or after it (-1) along the lines, whose ends go on; 0: as it is."""
    if way == 0:
        return image
    out, columns = np.zeros_like(image), np.arange(image.shape[1])
    for k, weight in enumerate(memory):
        out += weight * image[:, np.clip(columns - way * k, 0, len(columns) - 1)]
    return out


def _seen(beside: Floats, level: Floats, squares: Floats, weight: Floats, band: NDArray[np.int64]) -> Floats:
    """The level that the noise has seen, by the instruments: of the pixel alone, unless those before or after it surely
    tell more.
    """
    (best,) = _predicted(beside[:, 0], level[:, :1], weight)
    most = SURE
    for way in range(1, level.shape[1]):
        both = [0, way]
        here, other = _predicted(beside[:, both].reshape(len(level), -1), level[:, both], weight)
        change = other - here
        design = np.stack([np.ones(len(here)), here - here.mean(), change - change.mean()], 1)
        inverse = np.linalg.pinv((design * weight[:, None]).T @ design)
        found = inverse @ ((design * weight[:, None]).T @ squares)
        left = weight * (squares - design @ found)
        influence = np.stack([np.bincount(band, left * column) for column in design.T], 1) @ inverse
        sure = float(found[2]) / max(float(np.sqrt((influence[:, 2] ** 2).sum())), 1e-300)
        if sure > most and found[1] > 0:
            best, most = here + min(float(found[2] / found[1]), 1.0) * change, sure
    return best


def _predicted(beside: Floats, level: Floats, weight: Floats) -> list[Floats]:
    """What the instruments [N, I] tell of levels [N, M]: M of [N]; on one scale, so that no digits are lost."""
    design = np.ones((len(beside), 1 + beside.shape[1]))
    design[:, 1:] = (beside - level.mean()) / max(float(level.std()), 1e-300)
    weighted = design * weight[:, None]
    found, *_ = np.linalg.lstsq(weighted.T @ design, weighted.T @ level, rcond=None)
    return list((design @ found).T)


def _fitted(x: Floats, y: Floats, weight: Floats, band: NDArray[np.int64]) -> tuple[tuple[float, float], float]:
    """Intercept and slope, and the slope's error; a constant and infinity where x is one."""
    mean = float(np.average(x, weights=weight))
    height = float(np.average(y, weights=weight))
    square = float(np.average((x - mean) ** 2, weights=weight))
    if square <= 1e-12 * max(mean**2, float(np.abs(x).max()) ** 2):
        return (height, 0.0), math.inf
    slope = float(np.average((x - mean) * (y - height), weights=weight)) / square
    left = y - height - slope * (x - mean)
    influence = np.bincount(band, weight * (x - mean) * left) / (weight.sum() * square)
    error = float(np.sqrt((influence**2).sum())) if len(influence) > 1 else math.inf
    return (height - slope * mean, slope), error


def _group(x: Floats, y: Floats, band: NDArray[np.int64]) -> tuple[float, float, float]:
    """Means of both, and the error of y's."""
    mean = float(y.mean())
    summed = np.bincount(band, y - mean)
    return float(x.mean()), mean, float(np.sqrt((summed**2).sum())) / len(y)


def _curvature(x: Floats, y: Floats, line: tuple[float, float]) -> float:
    if np.ptp(x) <= 0:
        return 0.0
    straight = line[0] + line[1] * x
    floor = np.maximum(np.abs(straight), 0.1 * float(y.mean()))
    scaled = (x - x.mean()) / np.ptp(x)
    design = np.vander(scaled, 3)
    found, *_ = np.linalg.lstsq(design / floor[:, None], y / floor, rcond=None)
    return float(np.abs((design @ found - straight) / floor).max())
