r"""Clean scenes, as the photons that each pixel expects [photons per pixel].

    filaments   BACKGROUND + cells with nuclei + filaments * PSF                as in a confocal microscope: the demo's
    nuclei      BACKGROUND + textured ellipses of many brightnesses             as in a wide-field microscope
    lattice     thickness * (LATTICE_BACKGROUND + atoms of two kinds * probe)   as in annular dark-field STEM

All are drawn from a generator alone, so that truth is exact, and all are about PEAK_PHOTONS bright at their 99.9th
percentile. A PSF or a probe is a Gaussian.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cosdd_zoo.data.simulate.gaussian import Frame, blur, unit_blur

PEAK_PHOTONS = 40.0

# The scene of the demo, in photons per pixel. A brighter one would be a task of another level: these make the noisy
# PSNR of the default stripes 22 dB.
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

# Nuclei of cells in culture.
NUCLEUS_RADIUS_PX = (7.0, 13.0)
NUCLEUS_AREA_PX = 44**2  # one nucleus for as many pixels
NUCLEUS_PHOTONS = (7.0, 30.0)
NUCLEUS_EDGE_PX = 1.2

# A crystal seen along an axis: heavy atoms on a square lattice, light ones between them.
LATTICE_PX = (12.0, 16.0)  # between neighbours of a kind
LATTICE_BACKGROUND = 5.0
HEAVY_PHOTONS, LIGHT_PHOTONS = 32.0, 12.0  # on an atom's crest
PROBE_SIGMA_PX = 2.0
THERMAL_STD_PX = 0.25  # of an atom's place
VACANCIES = 0.02  # share of atoms that are missing: what a denoiser that knows lattices too well fills in
THICKNESS_SLOPE = 0.25  # relative change from the middle to a border

_STEP_PX = 0.5  # between the points of a filament
_MARGIN_PX = 16  # drawn around the frame and cut off, so that nothing wraps around


def filaments(size: int, rng: np.random.Generator) -> Frame:
    """Worm-like filaments over cells with nuclei, on a background; [size, size]."""
    canvas = size + 2 * _MARGIN_PX
    return _cut(BACKGROUND + _cells(canvas, rng) + _filaments(canvas, rng))


def nuclei(size: int, rng: np.random.Generator) -> Frame:
    """Round textured bodies of many brightnesses on a background; where they overlap, the brighter is seen."""
    canvas = size + 2 * _MARGIN_PX
    bodies = np.zeros((canvas, canvas))
    for _ in range(max(1, round(canvas**2 / NUCLEUS_AREA_PX))):
        centre = rng.uniform(0, canvas, 2)
        reach_px = 2 * NUCLEUS_RADIUS_PX[1]  # beyond it the logistic edge is gone
        start = np.maximum(centre - reach_px, 0).astype(int)
        box = tuple(slice(i, int(c + reach_px)) for i, c in zip(start, centre, strict=True))
        part = bodies[box]
        grid = np.indices(part.shape) + (start - centre)[:, None, None]
        body = _soft_ellipse(grid, rng.uniform(*NUCLEUS_RADIUS_PX, 2), rng.uniform(0, np.pi), NUCLEUS_EDGE_PX)
        np.maximum(part, rng.uniform(*NUCLEUS_PHOTONS) * body, out=part)
    return _cut(BACKGROUND + bodies * _texture(canvas, rng))


def lattice(size: int, rng: np.random.Generator) -> Frame:
    """Atoms of two kinds on a square lattice at any angle, some missing, on a slope of thickness; [size, size]."""
    canvas = size + 2 * _MARGIN_PX
    angle, period_px = rng.uniform(0, np.pi / 2), rng.uniform(*LATTICE_PX)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    n = int(np.ceil(canvas / period_px)) + 1  # from the middle, so that any turn of it covers the canvas
    cells = np.indices((2 * n + 1, 2 * n + 1)).reshape(2, -1).T - n
    ink = np.zeros((canvas, canvas))
    for offset, photons in ((0.0, HEAVY_PHOTONS), (0.5, LIGHT_PHOTONS)):
        places = canvas / 2 + period_px * (cells + offset) @ turn + rng.normal(0, THERMAL_STD_PX, cells.shape)
        ink += _splat(canvas, places, np.where(rng.uniform(size=len(cells)) < VACANCIES, 0.0, photons))
    # One unit of ink has a crest of 1 / (2 pi sigma^2) after the blur.
    atoms = 2 * np.pi * PROBE_SIGMA_PX**2 * blur(blur(ink, PROBE_SIGMA_PX, 0), PROBE_SIGMA_PX, 1)
    return _cut(_slope(canvas, rng) * (LATTICE_BACKGROUND + np.maximum(atoms, 0.0)))


SCENES: dict[str, Callable[[int, np.random.Generator], Frame]] = {
    "filaments": filaments,
    "nuclei": nuclei,
    "lattice": lattice,
}
"""The scenes by name: (size in px, generator) -> photons [size, size]."""


def _cut(scene: Frame) -> Frame:
    return scene[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]


def _slope(canvas: int, rng: np.random.Generator) -> Frame:
    """A factor that rises along a random direction, 1 in the middle; [canvas, canvas]."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.indices((canvas, canvas)) * 2 / canvas - 1
    return np.asarray(1 + THICKNESS_SLOPE * (y * np.sin(angle) + x * np.cos(angle)))


def _cells(canvas: int, rng: np.random.Generator) -> Frame:
    """Soft ellipses with a nucleus each, all sharing one texture; [canvas, canvas] photons."""
    cells, grid = np.zeros((canvas, canvas)), np.indices((canvas, canvas))
    for _ in range(max(1, round(canvas**2 / CELL_AREA_PX))):
        centre = rng.uniform(0, canvas, 2)
        radii = rng.uniform(*CELL_RADIUS_PX, 2)
        angle = rng.uniform(0, np.pi)
        contrast = rng.uniform(*NUCLEUS_CONTRAST) - 1.0
        body = _soft_ellipse(grid - centre[:, None, None], radii, angle, edge_px=2.5)
        centre = centre + rng.normal(0, 4, 2)
        nucleus = _soft_ellipse(grid - centre[:, None, None], 0.45 * radii, angle, edge_px=1.5)
        cells = np.maximum(cells, rng.uniform(*CELL_PHOTONS) * body * (1.0 + contrast * nucleus))
    return cells * _texture(canvas, rng)


def _soft_ellipse(grid: Frame, radii: Frame, angle: float, edge_px: float) -> Frame:
    """1 inside and 0 outside, with a logistic edge; `grid` [2 (y, x), Y, X], from the centre, and `radii` [2] in px."""
    y, x = grid
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
