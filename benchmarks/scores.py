r"""How far a denoised image is from the truth, in the figures that papers give.

PSNR         10 log10(R^2 / MSE),  R = max - min of the truth; the truth on the noisy image's scale      [dB]
affine PSNR  the same after a least-squares fit a y + b of the denoised image to the truth               [dB]
SSIM         Wang et al. 2004, Gaussian window of 1.5 px, data range R; torchmetrics
MicroSSIM    Ashesh et al. 2024, whose offset and range are fitted to the data; package microssim
beyond       RMS of the residual's autocorrelation at lags off the noise axis (noise.autocorrelation)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import psnr
from cosdd_zoo.data.similarity import affine_psnr, ssim
from cosdd_zoo.noise.autocorrelation import beyond_axis

Frames = NDArray[np.generic]  # [S, Y, X]


class Scores(NamedTuple):
    psnr_db: float
    affine_psnr_db: float
    ssim: float
    micro_ssim: float | None  # None where the package microssim is not installed
    beyond: float


def scores(denoised: Frames, truth: Frames, noisy: Frames, noise_axis: str) -> Scores:
    """All figures of the same frames, over all their pixels together; MicroSSIM and SSIM averaged over frames."""
    return Scores(
        psnr(denoised, truth),
        affine_psnr(denoised, truth),
        ssim(denoised, truth),
        micro_ssim(denoised, truth),
        # an image that is returned as it came has no residual
        0.0 if np.array_equal(noisy, denoised) else beyond_axis(noisy - denoised.astype(np.float64), noise_axis),
    )


def micro_ssim(denoised: Frames, truth: Frames) -> float | None:
    """MicroSSIM fitted to these frames."""
    try:
        from microssim import MicroSSIM
    except ImportError:
        return None
    measure = MicroSSIM()
    y, s = (np.asarray(v, np.float64) for v in (denoised, truth))
    measure.fit(s, y)
    return float(np.mean([measure.score(a, b) for a, b in zip(s, y, strict=True)]))
