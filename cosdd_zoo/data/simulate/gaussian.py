"""Gaussian blur along one axis, and what it does to white noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.float64]  # [Y, X]


def blur(image: Frame, sigma_px: float, axis: int) -> Frame:
    """Gaussian blur along one axis, by FFT: periodic, so callers draw a margin and cut it off."""
    spectrum = np.fft.fft(image, axis=axis)
    transfer = np.expand_dims(_transfer(image.shape[axis], sigma_px), 1 - axis)
    return np.asarray(np.fft.ifft(spectrum * transfer, axis=axis).real)


def unit_blur(white: Frame, sigma_px: float, axis: int) -> Frame:
    """`blur` of white noise, scaled so that its expected variance stays what it was."""
    return np.asarray(blur(white, sigma_px, axis) / np.sqrt(np.mean(_transfer(white.shape[axis], sigma_px) ** 2)))


def _transfer(length_px: int, sigma_px: float) -> NDArray[np.float64]:
    """What a unit-area Gaussian does to each of the FFT's frequencies, [length]."""
    return np.asarray(np.exp(-2.0 * (np.pi * sigma_px * np.fft.fftfreq(length_px)) ** 2))
