r"""A simulated confocal stack with exact ground truth, for the demo and the tests.

    photons   f = BACKGROUND + cells + filaments * PSF           [photons per pixel], different in every frame
    signal    s = PEDESTAL + GAIN * f                            the expectation of the noisy pixel, in grey levels
    noisy     x = round(PEDESTAL + GAIN * Poisson(f) + READ_STD * n + ROW_STD * r),   clipped to 0..65535

n is white and standard normal. r is white normal noise blurred along x alone by a Gaussian of ROW_SIGMA_PX and brought
back to unit variance: what a detector's electronics add along a scan line, and what separates this stack from data
that a blind-spot network can denoise. Its correlation at lag k is exp(-k^2 / (4 ROW_SIGMA_PX^2)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.float64]  # [Y, X]

# The scene, in photons per pixel. A brighter scene would be a task of another level: these make the noisy PSNR 22 dB.
BACKGROUND = 1.0
CELL_PHOTONS = (2.0, 5.0)  # of a cell's body; a nucleus has NUCLEUS_CONTRAST times that
NUCLEUS_CONTRAST = (0.4, 1.8)
CELL_RADIUS_PX = (24.0, 44.0)
CELL_AREA_PX = 120**2  # one cell for as many pixels
TEXTURE_STD = 0.25  # relative, at two grain sizes
TEXTURE_GRAINS_PX = (2.0, 6.0)
FILAMENT_PHOTONS = (8.0, 32.0)  # on the crest of a straight filament
FILAMENT_AREA_PX = 45**2  # one filament for as many pixels
FILAMENT_LENGTH_PX = (60.0, 260.0)
FILAMENT_PERSISTENCE_PX = 70.0  # length over which a filament forgets its direction
FILAMENT_BEND_PX = 12.0  # length over which a bend is rounded off
BEAD_PERIOD_PX = (20.0, 60.0)
BEAD_CONTRAST = 0.3
PSF_SIGMA_PX = 1.4  # a filament is three pixels wide at half its height

# The camera, in grey levels.
PEDESTAL = 100.0
GAIN = 4.0
READ_STD = 13.0
ROW_STD = 12.0
ROW_SIGMA_PX = 1.5

_STEP_PX = 0.5  # between the points of a filament
_MARGIN_PX = 16  # drawn around the frame and cut off, so that nothing wraps around


class Simulated(NamedTuple):
    noisy: NDArray[np.uint16]  # [S, Y, X]
    signal: NDArray[np.float32]  # [S, Y, X], the expectation of noisy, in its grey levels


def confocal_stack(n_frames: int = 24, size: int = 256, seed: int = 0) -> Simulated:
    """Draw `n_frames` independent frames of `size` x `size` px; the same seed gives the same stack.

    The formula and its constants stand at the head of this module. Frames share nothing but their statistics.
    """
    rngs = [np.random.default_rng([seed, frame]) for frame in range(n_frames)]
    photons = [draw_scene(size, rng) for rng in rngs]
    noisy = [expose(f, rng) for f, rng in zip(photons, rngs, strict=True)]
    return Simulated(np.stack(noisy), np.stack([(PEDESTAL + GAIN * f).astype(np.float32) for f in photons]))


def draw_scene(size: int, rng: np.random.Generator) -> Frame:
    """Expected photons of one frame [size, size]: a background, cells with nuclei, filaments over all of it."""
    canvas = size + 2 * _MARGIN_PX
    scene = BACKGROUND + _cells(canvas, rng) + _filaments(canvas, rng)
    return scene[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]


def expose(photons: Frame, rng: np.random.Generator) -> NDArray[np.uint16]:
    """The noisy image of expected `photons` [Y, X]; the noise is independent from line to line."""
    height, width = photons.shape
    white = rng.standard_normal((height, width))
    row = unit_blur(rng.standard_normal((height, width + 2 * _MARGIN_PX)), ROW_SIGMA_PX, axis=1)
    grey = GAIN * rng.poisson(photons) + READ_STD * white + ROW_STD * row[:, _MARGIN_PX:-_MARGIN_PX]
    return np.clip(np.rint(PEDESTAL + grey), 0, 65535).astype(np.uint16)


def blur(image: Frame, sigma_px: float, axis: int) -> Frame:
    """Gaussian blur along one axis, by FFT: periodic, so callers draw a margin and cut it off."""
    spectrum = np.fft.fft(image, axis=axis)
    transfer = np.expand_dims(_transfer(image.shape[axis], sigma_px), 1 - axis)
    return np.asarray(np.fft.ifft(spectrum * transfer, axis=axis).real)


def unit_blur(white: Frame, sigma_px: float, axis: int) -> Frame:
    """`blur` of white noise, scaled so that its expected variance stays what it was."""
    return np.asarray(blur(white, sigma_px, axis) / np.sqrt(np.mean(_transfer(white.shape[axis], sigma_px) ** 2)))


def _transfer(length_px: int, sigma_px: float) -> Frame:
    """What a unit-area Gaussian does to each of the FFT's frequencies, [length]."""
    return np.asarray(np.exp(-2.0 * (np.pi * sigma_px * np.fft.fftfreq(length_px)) ** 2))


def _cells(canvas: int, rng: np.random.Generator) -> Frame:
    """Soft ellipses with a nucleus each, all sharing one texture; [canvas, canvas] photons."""
    cells = np.zeros((canvas, canvas))
    for _ in range(max(1, round(canvas**2 / CELL_AREA_PX))):
        centre = rng.uniform(0, canvas, 2)
        radii = rng.uniform(*CELL_RADIUS_PX, 2)
        angle = rng.uniform(0, np.pi)
        contrast = rng.uniform(*NUCLEUS_CONTRAST) - 1.0
        body = _soft_ellipse(canvas, centre, radii, angle, edge_px=2.5)
        nucleus = _soft_ellipse(canvas, centre + rng.normal(0, 4, 2), 0.45 * radii, angle, edge_px=1.5)
        cells = np.maximum(cells, rng.uniform(*CELL_PHOTONS) * body * (1.0 + contrast * nucleus))
    return cells * _texture(canvas, rng)


def _soft_ellipse(canvas: int, centre: Frame, radii: Frame, angle: float, edge_px: float) -> Frame:
    """1 inside and 0 outside, with a logistic edge; `centre` [2] and `radii` [2] in px."""
    y, x = np.mgrid[:canvas, :canvas] - centre[:, None, None]
    along = (x * np.cos(angle) + y * np.sin(angle)) / radii[0]
    across = (y * np.cos(angle) - x * np.sin(angle)) / radii[1]
    outside_px = (np.hypot(along, across) - 1.0) * radii.mean()
    return np.asarray(0.5 * (1.0 - np.tanh(outside_px / (2.0 * edge_px))))


def _texture(canvas: int, rng: np.random.Generator) -> Frame:
    """A positive factor around 1 with fine and coarse grain, [canvas, canvas]."""
    grain = np.zeros((canvas, canvas))
    for sigma_px in TEXTURE_GRAINS_PX:
        white = rng.standard_normal((canvas, canvas))
        grain += unit_blur(unit_blur(white, sigma_px, 0), sigma_px, 1)
    return np.asarray(np.exp(TEXTURE_STD * grain / np.sqrt(len(TEXTURE_GRAINS_PX))))


def _filaments(canvas: int, rng: np.random.Generator) -> Frame:
    """Worm-like lines seen through a Gaussian point-spread function, [canvas, canvas] photons.

    They lie at different depths, so where they cross their intensities add in quadrature: the ink is squared, a
    Gaussian's square being a Gaussian narrower by sqrt(2), and the root is drawn after the blur.
    """
    paths, crests = zip(*(_worm(canvas, rng) for _ in range(round(canvas**2 / FILAMENT_AREA_PX))), strict=True)
    ink = _splat(canvas, np.concatenate(paths), np.concatenate(crests) ** 2)
    sigma_px = PSF_SIGMA_PX / np.sqrt(2.0)
    # A line of one unit of ink per pixel of length has a crest of 1 / (sqrt(2 pi) sigma) after the blur.
    crest = np.sqrt(2.0 * np.pi) * sigma_px * _STEP_PX
    return np.asarray(np.sqrt(np.maximum(blur(blur(ink, sigma_px, 0), sigma_px, 1) * crest, 0.0)))


def _worm(canvas: int, rng: np.random.Generator) -> tuple[Frame, Frame]:
    """A smooth random path [points, 2 (y, x)] in px, and the photons on its crest [points], beaded along its length."""
    n_points = int(rng.uniform(*FILAMENT_LENGTH_PX) / _STEP_PX)
    kicks = rng.standard_normal(n_points) * np.sqrt(2.0 * _STEP_PX / FILAMENT_PERSISTENCE_PX)
    window = np.hanning(int(FILAMENT_BEND_PX / _STEP_PX))
    angle = rng.uniform(0, 2 * np.pi) + np.convolve(np.cumsum(kicks), window / window.sum(), mode="same")
    steps = _STEP_PX * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    path = rng.uniform(0, canvas, 2) + np.cumsum(steps, axis=0)
    phase = rng.uniform(0, 2 * np.pi) + np.arange(n_points) * _STEP_PX / rng.uniform(*BEAD_PERIOD_PX) * 2 * np.pi
    return path, rng.uniform(*FILAMENT_PHOTONS) * (1.0 + BEAD_CONTRAST * np.sin(phase))


def _splat(canvas: int, path: Frame, ink: Frame) -> Frame:
    """`ink` [points] laid down at `path` [points, 2], shared among the four nearest pixels; what is outside is lost."""
    inside = np.all((path >= 0) & (path < canvas - 1), axis=1)
    corner = np.floor(path[inside]).astype(int)
    part = path[inside] - corner
    image = np.zeros(canvas * canvas)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
        index = (corner[:, 0] + dy) * canvas + corner[:, 1] + dx
        image += np.bincount(index, ink[inside] * share, canvas * canvas)
    return image.reshape(canvas, canvas)
