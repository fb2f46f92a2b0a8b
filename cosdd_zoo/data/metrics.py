r"""How far an image is from the truth.

    PSNR = 10 log10(R^2 / MSE),   R = max(truth) - min(truth)          [dB]

Where truth and noisy image are on different scales (another exposure, another gain), the truth is first brought to the
noisy image's scale by least squares: a * truth + b, with R that of the fitted truth. The image is never fitted: a
denoiser that darkens its input pays for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]  # any shape and real dtype; the last two axes are [Y, X] where it matters

GAUSSIAN_SIGMAS_PX = tuple(np.round(np.arange(0.3, 6.01, 0.1), 1).tolist())
_TRUNCATE = 4.0  # a Gaussian is cut off at so many sigmas


class BestGaussian(NamedTuple):
    psnr: float  # dB
    sigma_px: float


def psnr(image: Image, truth: Image) -> float:
    """PSNR of `image` in dB, over all their pixels together; both of one shape. Infinite for equal images."""
    if image.shape != truth.shape:
        raise ValueError(f"the image has shape {image.shape}, the truth {truth.shape}: give two of the same shape")
    truth = np.asarray(truth, np.float64)
    mse = float(np.mean((np.asarray(image, np.float64) - truth) ** 2))
    data_range = float(truth.max() - truth.min())
    return float("inf") if mse == 0.0 else float(10.0 * np.log10(data_range**2 / mse))


def affine_fit(truth: Image, noisy: Image) -> NDArray[np.float64]:
    """`truth` on the scale of `noisy`: a * truth + b with the a and b of least squares over all pixels."""
    truth, noisy = np.asarray(truth, np.float64), np.asarray(noisy, np.float64)
    centred = truth - truth.mean()
    slope = np.mean(centred * (noisy - noisy.mean())) / np.mean(centred**2)
    return np.asarray(slope * centred + noisy.mean())


def affine_psnr(image: Image, truth: Image, noisy: Image) -> float:
    """PSNR of `image` in dB against the truth on the scale of `noisy`, the image that it was denoised from."""
    return psnr(image, affine_fit(truth, noisy))


def best_gaussian(noisy: Image, truth: Image) -> BestGaussian:
    """The Gaussian blur of `noisy` nearest to `truth`: an oracle, for no one knows the truth when choosing sigma."""
    scores = [BestGaussian(psnr(gaussian_blur(noisy, sigma), truth), sigma) for sigma in GAUSSIAN_SIGMAS_PX]
    return max(scores)


def gaussian_blur(image: Image, sigma_px: float) -> NDArray[np.float64]:
    """Blur along the last two axes; beyond a border the image goes on mirrored, border pixel included."""
    return blur_along(blur_along(image, sigma_px, -2), sigma_px, -1)


def blur_along(image: Image, sigma_px: float, axis: int, truncate: float = _TRUNCATE) -> NDArray[np.float64]:
    """Blur along one axis; beyond a border the image goes on mirrored, border pixel included. truncate: in sigmas."""
    radius = max(1, int(truncate * sigma_px + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    return _convolve(np.asarray(image, np.float64), kernel / kernel.sum(), axis)


def _convolve(image: NDArray[np.float64], kernel: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Convolve along one axis with a symmetric `kernel` of odd length."""
    radius, length = len(kernel) // 2, image.shape[axis]
    padding = [(0, 0)] * image.ndim
    padding[axis] = (radius, radius)
    padded = np.pad(image, padding, mode="symmetric")
    part = [slice(None)] * image.ndim

    def shifted(k: int) -> NDArray[np.float64]:
        part[axis] = slice(k, k + length)
        return padded[tuple(part)]

    out = kernel[radius] * image
    for k in range(radius):
        out += kernel[k] * (shifted(k) + shifted(2 * radius - k))
    return np.asarray(out)
