r"""Signal-dependent, row-correlated noise, estimated from noisy images alone, for BM3D, HDN and structN2V.

    r(y)     = (x(y-1) - 2 x(y) + x(y+1)) / sqrt(6)
               across the lines: a steady slope of the signal cancels, and the noise, independent between lines, keeps
               its variance
    v(m)     = max(gain m + offset, floor)
               variance of r against the mean m: of patches in steps of brightness, those with least structure
    f(x)     = integral from min x to x of dm / sqrt(v(m))            noise of variance one at any brightness
    E f(x)   ~ f(m) - v'(m) / (4 sqrt(v(m)))                          what a mean of f's must be inverted by
    c(h)     = E[r(x) r(x+h)] of f's images, over the flattest patches of each step of brightness
    PSD(k)   = Y X sum_h c(h) exp(-2 pi i h k / X)                    the same for every frequency across the lines

The noise axis is the last. That lines are independent is what COSDD assumes as well: both are told the noise axis.
Patch sizes, shares and weights are those that served BM3D best, judged with the truth, on crops of six data sets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sides.interface import SkippedError

Floats = NDArray[np.float64]

VARIANCE_PATCH_PX = 16
CORRELATION_PATCH_PX = 32
MAX_LAG_PX = 24
STEPS = 12  # of brightness, equally wide in its square root, so that noise of about the same size is together
MIN_PATCHES = 4  # a step with fewer says nothing
LOW_QUANTILE = 0.25  # of a step's variances: structure can only raise them
FLAT_SHARE = 0.25  # of a step's patches
WEIGHT_FLOOR = 0.05
SMALL_SHARE = 0.02  # about what the estimate of c errs by on a few frames
GRID = 4096


class VarianceLine(NamedTuple):
    """v(m) = max(gain m + offset, floor)"""

    gain: float  # >= 0
    offset: float
    floor: float

    def at(self, m: Floats) -> Floats:
        return np.maximum(self.gain * m + self.offset, self.floor)


class Stabiliser(NamedTuple):
    """x -> f(x) and back, tabulated; beyond the table's ends f goes on straight."""

    m: Floats  # [GRID]
    f: Floats  # [GRID], of one pixel
    mean_f: Floats  # [GRID], of the mean of many pixels, increasing

    def forward(self, x: Floats) -> Floats:
        return straight(x, self.m, self.f)

    def backward(self, f: Floats) -> Floats:
        return straight(f, self.mean_f, self.m)


def stabiliser(x: Floats) -> Stabiliser:
    """Fitted to a stack [S, Y, X]. Raises SkippedError where there is no noise."""
    m = np.linspace(x.min(), x.max(), GRID)
    variance = variance_line(x).at(m)
    std = np.sqrt(variance)
    f = np.concatenate([[0.0], np.cumsum(0.5 * (1.0 / std[1:] + 1.0 / std[:-1]) * np.diff(m))])
    mean_f = f - 0.25 * np.gradient(variance, m) / std
    return Stabiliser(m, f, np.maximum.accumulate(mean_f + 1e-9 * np.arange(GRID)))


def variance_line(x: Floats) -> VarianceLine:
    """v(m) of a stack [S, Y, X]. Raises SkippedError where there is no noise."""
    means = patches(x[:, 1:-1], VARIANCE_PATCH_PX).mean((1, 2))
    variances = (patches(across(x), VARIANCE_PATCH_PX) ** 2).mean((1, 2))
    root = np.sqrt(means - means.min())
    steps = [s for s in steps_of(root) if np.quantile(variances[s], LOW_QUANTILE) > 0.0]
    if not steps:
        raise SkippedError("no noise was found to estimate")
    means = np.array([means[s].mean() for s in steps])
    return fitted(means, np.array([np.quantile(variances[s], LOW_QUANTILE) for s in steps]))


def fitted(means: Floats, variances: Floats) -> VarianceLine:
    """By least squares: of relative errors, but the darkest steps weigh no more than the brighter ones."""
    weights = 1.0 / np.maximum(variances, WEIGHT_FLOOR * variances.max())
    design = np.stack([means, np.ones_like(means)], axis=1) * weights[:, None]
    gain, offset = np.linalg.lstsq(design, variances * weights, rcond=None)[0]
    if gain <= 0.0:
        gain, offset = 0.0, np.median(variances)
    return VarianceLine(float(gain), float(offset), float(0.5 * variances.min()))


def correlation(f: Floats, is_white: bool) -> Floats:
    """c(h), h = 0..., of stabilised images [S, Y, X]; c(0) alone where the noise is white."""
    residuals = patches(across(f), CORRELATION_PATCH_PX)
    inside = patches(f[:, 1:-1], CORRELATION_PATCH_PX)
    structure = blocks(inside).std((1, 2))  # what eight pixels' means leave of the noise is little
    flat = [s[np.argsort(structure[s])[: max(2, int(FLAT_SHARE * len(s)))]] for s in steps_of(inside.mean((1, 2)))]
    if is_white:
        return np.array([np.mean([(residuals[s] ** 2).mean() for s in flat])])
    length = residuals.shape[-1]
    lags = range(min(MAX_LAG_PX, length - 1) + 1)
    c = np.array(
        [np.mean([(residuals[s][..., : length - h] * residuals[s][..., h:]).mean() for s in flat]) for h in lags]
    )
    return c * np.cos(0.5 * np.pi * np.arange(len(c)) / len(c)) ** 2


def reach_px(c: Floats) -> int:
    """How far the noise of a pixel tells of its neighbours': the lag before |c| falls below two hundredths of c(0)."""
    small = np.abs(c[1:]) < SMALL_SHARE * c[0]
    return int(np.argmax(small)) if small.any() else len(c) - 1


def power_spectrum(c: Floats, shape: tuple[int, int]) -> Floats:
    """PSD [Y, X] of noise whose correlation along a line is c(h) and between lines zero."""
    height, width = shape
    covariance = np.zeros(width)
    n = min(len(c), (width + 1) // 2)
    covariance[:n] = c[:n]
    covariance[width - n + 1 :] = c[1:n][::-1]
    line = np.maximum(np.fft.fft(covariance).real, 1e-3 * c[0])
    return np.broadcast_to(line * height * width, shape).copy()


def steps_of(brightness: Floats) -> list[NDArray[np.intp]]:
    """Indices of the patches of each step of brightness that has enough; all of them if none has."""
    edges = np.linspace(brightness.min(), brightness.max(), STEPS + 1)[1:-1]
    step = np.digitize(brightness, edges)
    found = [np.flatnonzero(step == k) for k in range(STEPS)]
    return [s for s in found if len(s) >= MIN_PATCHES] or [np.arange(len(brightness))]


def across(x: Floats) -> Floats:
    return (x[:, :-2] - 2.0 * x[:, 1:-1] + x[:, 2:]) / np.sqrt(6.0)


def patches(x: Floats, side_px: int) -> Floats:
    """Squares side by side, [N, P, P]; what is left over at the far borders is not used."""
    p = min(side_px, *x.shape[1:])
    n_y, n_x = x.shape[1] // p, x.shape[2] // p
    cut = x[:, : n_y * p, : n_x * p].reshape(len(x), n_y, p, n_x, p)
    return cut.swapaxes(2, 3).reshape(-1, p, p)


def blocks(x: Floats) -> Floats:
    """Means of 8 x 8 blocks."""
    b = min(8, *x.shape[1:])
    n_y, n_x = x.shape[1] // b, x.shape[2] // b
    return x[:, : n_y * b, : n_x * b].reshape(len(x), n_y, b, n_x, b).mean((2, 4))


def straight(x: Floats, xs: Floats, ys: Floats) -> Floats:
    """Linear interpolation in a table, and its end slopes beyond it."""
    inside = np.interp(x, xs, ys)
    span = max(1, len(xs) // 100)
    first = (ys[span] - ys[0]) / (xs[span] - xs[0])
    last = (ys[-1] - ys[-1 - span]) / (xs[-1] - xs[-1 - span])
    return inside + np.minimum(x - xs[0], 0.0) * first + np.maximum(x - xs[-1], 0.0) * last
