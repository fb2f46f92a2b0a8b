r"""Stacks with exact ground truth: frames of a scene, or of given images, seen through one of the noises.

    signal    s = PEDESTAL + g f                                          [grey levels], what x is on average
    noisy     x = round(s + e),   clipped to 0..65535
    photons   f = photons * (DARK + (1 - DARK) max(0, (v - low) / (high - low)))      of given images v, see LOW_HIGH

e is the noise that a kind of `noises` adds to expected photons f. The same seed gives the same stack; frame i of a
scene has the same truth under every noise, and among any number of frames.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.simulate.gaussian import Frame
from cosdd_zoo.data.simulate.noises import PEDESTAL, Noise, Stripes
from cosdd_zoo.data.simulate.scenes import PEAK_PHOTONS, SCENES
from cosdd_zoo.errors import ImageError

DARK = 0.03  # photons where a given image is darkest, over `photons`: no specimen is without haze
LOW_HIGH = (0.1, 99.9)  # percentiles of all given pixels that become dark and bright: single pixels decide nothing
WHITE = 65535


class Simulated(NamedTuple):
    noisy: NDArray[np.uint16]  # [S, Y, X]
    signal: NDArray[np.float32]  # [S, Y, X], the expectation of noisy, in its grey levels

    @property
    def n_clipped(self) -> int:
        """Noisy pixels at either end of the range: more than a few, and the signal is not their expectation."""
        return int(np.sum((self.noisy == 0) | (self.noisy == WHITE)))


def confocal_stack(n_frames: int = 24, size: int = 256, seed: int = 0) -> Simulated:
    """The stack of the demo: filaments and cells under the default stripes, `n_frames` of `size` x `size` px."""
    return scene_stack(Stripes(), "filaments", n_frames, size, seed=seed)


def scene_stack(
    noise: Noise,
    scene: str = "filaments",
    n_frames: int = 24,
    size: int = 256,
    photons: float = PEAK_PHOTONS,
    seed: int = 0,
) -> Simulated:
    """Draw `n_frames` independent frames [size, size] of a scene of SCENES, and expose each once.

    photons: of the brightest places, about; fewer are noisier. Raises KeyError for a scene that there is not.
    """
    rngs = _generators(n_frames, seed)
    frames = [SCENES[scene](size, rng) * (photons / PEAK_PHOTONS) for rng in rngs]
    return _exposed(frames, noise, rngs)


def photon_stack(noise: Noise, photons: NDArray[Any], seed: int = 0) -> Simulated:
    """Expose each frame of the expected `photons` [S, Y, X] once; all >= 0. See `to_photons` for images in other units.

    Raises ValueError for a negative or infinite number of photons.
    """
    frames = [np.asarray(frame, np.float64) for frame in photons]
    return _exposed(frames, noise, _generators(len(frames), seed))


def to_photons(images: NDArray[Any], photons: float = PEAK_PHOTONS) -> NDArray[np.float64]:
    """Clean images [S, Y, X] of any real dtype, unit and offset as expected photons, all by one factor.

    photons: of the brightest places, where the images have their 99.9th percentile. Raises ImageError where the images
    are constant.
    """
    values = np.asarray(images, np.float64)
    low, high = np.percentile(values, LOW_HIGH)
    if low == high:
        raise ImageError(
            f"The clean images are {low:g} nearly everywhere, so there is nothing to scale to photons. Give others."
        )
    return np.asarray(photons * (DARK + (1 - DARK) * np.maximum(0.0, (values - low) / (high - low))))


def _generators(n_frames: int, seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, frame]) for frame in range(n_frames)]


def _exposed(photons: list[Frame], noise: Noise, rngs: list[np.random.Generator]) -> Simulated:
    noisy = [_digitised(noise.expose(f, rng)) for f, rng in zip(photons, rngs, strict=True)]
    return Simulated(np.stack(noisy), np.stack([(PEDESTAL + noise.gain * f).astype(np.float32) for f in photons]))


def _digitised(grey: Frame) -> NDArray[np.uint16]:
    """Grey levels above the pedestal as the camera stores them."""
    return np.clip(np.rint(PEDESTAL + grey), 0, WHITE).astype(np.uint16)
