r"""How alike two images are, beyond the squared error.

    SSIM         (2 m_x m_y + C1)(2 c_xy + C2) / ((m_x^2 + m_y^2 + C1)(v_x + v_y + C2)),  mean over the image
    MicroSSIM    max_a SSIM(x, a y),  x and y less their 3rd percentile, over the largest x      Ashesh et al. 2024
    FRC(q)       Re sum F_x conj(F_y) / sqrt(sum |F_x|^2 sum |F_y|^2),  sums over the ring of frequency q

m, v and c are local means, variances and covariance: in a Gaussian window of 1.5 px for SSIM (Wang et al. 2004), in one
of 7 x 7 px for MicroSSIM. C1 = (0.01 R)^2, C2 = (0.03 R)^2, R = max - min of the truth. The FRC's resolution is the
period at which it first falls below 1/7, or two pixels where it never does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import structural_similarity_index_measure

from cosdd_zoo.data.metrics import Image, blur_along, psnr

Floats = NDArray[np.float64]
WINDOW_PX = 7
BACKGROUND_PERCENT = 3
ONE_SEVENTH = 1 / 7
SMOOTH_RINGS = 3
LEAST_PX = 11
"""Sides of the smallest image that SSIM has a window for."""


class RingCorrelation(NamedTuple):
    frequency: Floats  # [Q], 1 / px
    correlation: Floats  # [Q]
    resolution_px: float


def affine_psnr(image: Image, truth: Image) -> float:
    """PSNR of a y + b with the a and b of least squares, in dB: brightness and contrast are forgiven."""
    y, s = (np.asarray(v, np.float64) for v in (image, truth))
    centred = y - y.mean()
    square = float(np.mean(centred**2))
    slope = float(np.mean(centred * s)) / square if square > 0 else 0.0
    return psnr(slope * centred + s.mean(), s)


def ssim(image: Image, truth: Image) -> float:
    """Of images [Y, X] or [S, Y, X]; 1 for equal ones. Raises ValueError below 11 px."""
    y, s = (torch.as_tensor(np.asarray(v, np.float64)).reshape(-1, 1, *v.shape[-2:]) for v in (image, truth))
    if min(y.shape[-2:]) < LEAST_PX:
        raise ValueError(f"the images are {y.shape[-2]} x {y.shape[-1]} px: SSIM needs {LEAST_PX}")
    spread = float(s.max() - s.min())
    if spread == 0:
        return 1.0 if bool((y == s).all()) else 0.0
    found = structural_similarity_index_measure(y, s, sigma=1.5, data_range=spread)
    assert isinstance(found, torch.Tensor)
    return float(found)


def micro_ssim(image: Image, truth: Image) -> float:
    """Of images [Y, X]: blind to the offset and the contrast of `image`, and not fooled by a large dark background.

    a is fitted with uniform windows and the score has Gaussian ones, as in the authors' package.
    Raises ValueError below 11 px.
    """
    y, s = (np.asarray(v, np.float64) for v in (image, truth))
    if min(y.shape) < LEAST_PX:
        raise ValueError(f"the images are {y.shape[-2]} x {y.shape[-1]} px: SSIM needs {LEAST_PX}")
    y, s = (v - np.percentile(v, BACKGROUND_PERCENT) for v in (y, s))
    scale = float(s.max())
    if scale <= 0:
        return 0.0
    y, s = y / scale, s / scale
    uniform, gaussian = (_moments(s, y, mean, n) for mean, n in ((_uniform, WINDOW_PX), (_gaussian, LEAST_PX)))
    tried = np.linspace(-4.6, 4.6, 47)
    best = float(tried[int(np.argmax([_scaled_ssim(uniform, a) for a in tried]))])
    step = float(tried[1] - tried[0])
    return _scaled_ssim(gaussian, _peak(lambda a: _scaled_ssim(uniform, a), best - step, best + step))


def fourier_ring_correlation(first: Image, second: Image) -> RingCorrelation:
    """Of two images [Y, X] of the same thing, under a Hann window; rings are 1 / shorter side wide."""
    images = [np.asarray(v, np.float64) for v in (first, second)]
    window = np.outer(*(np.hanning(n) for n in images[0].shape))
    a, b = (np.fft.fft2((v - v.mean()) * window) for v in images)
    fy, fx = np.fft.fftfreq(a.shape[0])[:, None], np.fft.fftfreq(a.shape[1])[None]
    n_rings = min(a.shape) // 2
    ring = np.rint(np.hypot(fy, fx) * min(a.shape)).astype(int).ravel()
    cross, aa, bb = (
        np.bincount(ring, v.ravel())[: n_rings + 1] for v in ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
    )
    found = cross[1:] / np.maximum(np.sqrt(aa * bb)[1:], 1e-300)
    frequency = np.arange(1, n_rings + 1) / min(a.shape)
    smooth = np.convolve(np.pad(found, SMOOTH_RINGS // 2, mode="edge"), np.ones(SMOOTH_RINGS) / SMOOTH_RINGS, "valid")
    below = np.flatnonzero(smooth < ONE_SEVENTH)
    return RingCorrelation(frequency, found, float(1 / frequency[below[0]]) if len(below) else 2.0)


class _Moments(NamedTuple):
    mean_s: Floats
    mean_y: Floats
    var_s: Floats
    var_y: Floats
    covariance: Floats
    spread: float  # R


def _moments(s: Floats, y: Floats, mean: Callable[[Floats], Floats], width_px: int) -> _Moments:
    ms, my, ss, yy, sy = (mean(v) for v in (s, y, s * s, y * y, s * y))
    sample = width_px**2 / (width_px**2 - 1)
    spread = float(s.max() - s.min())
    return _Moments(ms, my, sample * (ss - ms**2), sample * (yy - my**2), sample * (sy - ms * my), spread)


def _scaled_ssim(m: _Moments, log_a: float) -> float:
    a = float(np.exp(log_a))
    c1, c2 = (0.01 * m.spread) ** 2, (0.03 * m.spread) ** 2
    above = (2 * a * m.mean_s * m.mean_y + c1) * (2 * a * m.covariance + c2)
    below = (m.mean_s**2 + a**2 * m.mean_y**2 + c1) * (m.var_s + a**2 * m.var_y + c2)
    return float((above / below).mean())


def _uniform(image: Floats) -> Floats:
    total = np.pad(image, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    k = WINDOW_PX
    return np.asarray((total[k:, k:] - total[:-k, k:] - total[k:, :-k] + total[:-k, :-k]) / k**2)


def _gaussian(image: Floats) -> Floats:
    margin = LEAST_PX // 2
    blurred = blur_along(blur_along(image, 1.5, -2, 3.5), 1.5, -1, 3.5)
    return blurred[margin:-margin, margin:-margin]


def _peak(f: Callable[[float], float], low: float, high: float, n: int = 30) -> float:
    """Where a function with one peak between low and high has it, by golden sections."""
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(n):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if f(a) > f(b) else (a, high)
    return float(low + high) / 2
