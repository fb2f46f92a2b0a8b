r"""The two-dimensional autocorrelation of noise, or of what a denoiser took for noise.

    r(dy, dx) = < e(y, x) e(y + dy, x + dx) > / < e^2 >,     e the residual minus its mean, < > over all pairs of pixels

Noise that is correlated along x alone has r = 0 wherever dy != 0. A residual noisy - denoised of a perfect denoiser has
the noise's own r; what it has at lags across the noise axis is signal that was removed, or noise that was spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Autocorrelation(NamedTuple):
    r: NDArray[np.float64]  # [2 m + 1, 2 m + 1], of the lags -m .. m along y and x; r[m, m] = 1
    n_pairs: NDArray[np.float64]  # of each lag, in all images together

    @property
    def max_lag_px(self) -> int:
        return len(self.r) // 2

    def along(self, axis: str) -> NDArray[np.float64]:
        """r at lags 1 .. m along "x" or "y"."""
        m = self.max_lag_px
        return self.r[m, m + 1 :] if axis == "x" else self.r[m + 1 :, m]


def autocorrelation(residual: NDArray[Any], max_lag_px: int = 10) -> Autocorrelation:
    """The autocorrelation of images [S, Y, X] or [Y, X], each minus its own mean, over all their pairs of pixels.

    Raises ValueError for an image that is not larger than `max_lag_px` along both axes, or constant.
    """
    images = np.asarray(residual, np.float64).reshape(-1, *residual.shape[-2:])
    height, width = images.shape[1:]
    if min(height, width) <= max_lag_px:
        raise ValueError(f"the images are {height} x {width} px: lags up to {max_lag_px} px need more")
    lags = np.arange(-max_lag_px, max_lag_px + 1)
    total = np.zeros((len(lags), len(lags)))
    for image in images:
        total += _sums(image - image.mean(), lags)
    n_pairs = len(images) * np.outer(height - np.abs(lags), width - np.abs(lags)).astype(np.float64)
    mean = total / n_pairs
    variance = mean[max_lag_px, max_lag_px]
    if variance <= 0:
        raise ValueError("the images are constant: there is nothing to correlate")
    return Autocorrelation(mean / variance, n_pairs)


def masked_autocorrelation(
    residuals: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_]], max_lag_px: int = 10
) -> Autocorrelation:
    """The same over pairs of pixels that are both in the mask, of images [Y, X] whose mean is about 0.

    Raises ValueError where no pair of some lag is, or the residuals are constant.
    """
    lags = np.arange(-max_lag_px, max_lag_px + 1)
    total, n_pairs = np.zeros((len(lags), len(lags))), np.zeros((len(lags), len(lags)))
    for residual, mask in zip(residuals, masks, strict=True):
        total += _sums(np.where(mask, residual, 0.0), lags)
        n_pairs += np.rint(_sums(mask.astype(np.float64), lags))
    if n_pairs.min() < 1:
        raise ValueError(f"no two pixels of the mask are {max_lag_px} px apart")
    mean = total / n_pairs
    if mean[max_lag_px, max_lag_px] <= 0:
        raise ValueError("the images are constant: there is nothing to correlate")
    return Autocorrelation(mean / mean[max_lag_px, max_lag_px], n_pairs)


def beyond_axis(residual: NDArray[Any], noise_axis: str, max_lag_px: int = 5) -> float:
    """Root mean square of r at all lags but those along the noise axis ("x", "y" or "none"), in [0, 1].

    About 1 / sqrt(number of pixels) for noise that is correlated along that axis alone.
    """
    found = autocorrelation(residual, max_lag_px)
    m = max_lag_px
    counted = np.ones_like(found.r, dtype=bool)
    counted[m, m] = False
    if noise_axis == "x":
        counted[m] = False
    elif noise_axis == "y":
        counted[:, m] = False
    return float(np.sqrt(np.mean(found.r[counted] ** 2)))


def _sums(e: NDArray[np.float64], lags: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of e(y, x) e(y + dy, x + dx) for each pair of lags, by a zero-padded FFT: [lags, lags]."""
    shape = [n + len(lags) for n in e.shape]
    power = np.abs(np.fft.rfft2(e, shape)) ** 2
    return np.asarray(np.fft.irfft2(power, shape)[np.ix_(lags, lags)])
