"""Which pixels train and which validate, and the crops that are cut from them.

A crop is a function of (seed, index) alone: any crop can be drawn again, by any process, in any order, so that a
resumed training sees the crops that it would have seen.

Letters: C channels, * spatial axes of an item (X, or Y X, or Z Y X).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.config import SPATIAL_AXES, RunConfig
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.errors import ImageError, TrainingError

PART_PX = {1: 2**24, 2: 4096, 3: 256}
"""Longer axes are divided: no region is larger than memory, nor any crop cut across two of them."""
FEW_ITEMS = 10
"""With fewer items than this each one is divided, so that none is lost to validation whole."""


class Region(NamedTuple):
    """A box of one item, in px."""

    image: int
    item: int
    start: tuple[int, ...]
    size: tuple[int, ...]


class Split(NamedTuple):
    training: list[Region]
    validation: list[Region]


def crop_size(config: RunConfig) -> tuple[int, ...]:
    """Sizes of a training crop along the spatial axes, in px."""
    n_dims, side = config.network.n_dims, config.training.crop_px
    return (config.training.crop_depth_px, side, side) if n_dims == 3 else (side,) * n_dims


def split(images: Sequence[ImageFile], config: RunConfig) -> Split:
    """Every pixel once: in a training region or in a validation region, never in both.

    From ten items on, whole items are kept for validation; below, the end of each item along its longest axis other
    than the noise axis.

    Raises ImageError for an item that cannot hold a crop, or a crop and its validation strip.
    """
    n_dims = config.network.n_dims
    items = [
        Region(i, j, (0,) * n_dims, image.item_shape(n_dims)[1:])
        for i, image in enumerate(images)
        for j in range(image.n_items(n_dims))
    ]
    for item in items:
        _check_size(images[item.image].name, item.size, config)
    if len(items) < FEW_ITEMS:
        halves = [_divide(item, images[item.image].name, config) for item in items]
        return Split(_in_parts([t for t, _ in halves], config), _in_parts([v for _, v in halves], config))
    n = max(1, round(config.training.validation_share * len(items)))
    chosen = set(np.random.default_rng(config.training.seed).permutation(len(items))[:n].tolist())
    parts = ([r for k, r in enumerate(items) if (k in chosen) is kept] for kept in (False, True))
    return Split(*(_in_parts(regions, config) for regions in parts))


def _in_parts(regions: Sequence[Region], config: RunConfig) -> list[Region]:
    """The same pixels in regions that are no longer than PART_PX, nor shorter than a crop."""
    longest, out = PART_PX[config.network.n_dims], []
    for region in regions:
        counts = [max(1, min(-(-n // longest), n // c)) for n, c in zip(region.size, crop_size(config), strict=True)]
        edges = [[n * i // k for i in range(k + 1)] for n, k in zip(region.size, counts, strict=True)]
        for at in np.ndindex(*counts):
            low = [e[i] for e, i in zip(edges, at, strict=True)]
            size = tuple(e[i + 1] - a for e, i, a in zip(edges, at, low, strict=True))
            start = tuple(s + a for s, a in zip(region.start, low, strict=True))
            out.append(region._replace(start=start, size=size))
    return out


def _check_size(name: str, size: tuple[int, ...], config: RunConfig) -> None:
    crop = crop_size(config)
    if any(n < c for n, c in zip(size, crop, strict=True)):
        raise ImageError(
            f"{name} is {_by(size)} px, smaller than the training crop of {_by(crop)} px: "
            f"use smaller crops, e.g. --crop-px {max(4, min(size[-2:]) * 3 // 4)}"
            + (f" --crop-depth-px {max(1, size[0] // 2)}." if len(size) == 3 else ".")
        )


def _divide(item: Region, name: str, config: RunConfig) -> tuple[Region, Region]:
    noise_axis, crop = config.network.noise_axis, crop_size(config)
    axes = SPATIAL_AXES[config.network.n_dims]
    free = [a for a in range(len(axes)) if axes[a] not in ("z", noise_axis)] or [len(axes) - 1]
    axis = max(free, key=lambda a: item.size[a])
    length = item.size[axis]
    kept = max(math.ceil(config.training.validation_share * length), min(8, length // 4))
    if length - kept < crop[axis]:
        raise ImageError(
            f"{name} is {_by(item.size)} px: {kept} px along {axes[axis]} are kept for validation, which leaves less "
            f"than a crop of {_by(crop)} px to train on. Use smaller crops, e.g. --crop-px {max(4, length - kept)}."
        )
    return (
        item._replace(size=_replaced(item.size, axis, length - kept)),
        item._replace(start=_replaced(item.start, axis, length - kept), size=_replaced(item.size, axis, kept)),
    )


class Crops:
    """Crops of some regions, by index: item i is a float32 array [C, *], the same whenever it is asked for.

    brightness: mean grey value of each region's cells, from `statistics`; a share `bright` of the crops is centred on
    cells drawn by how far they are above the darkest.
    """

    def __init__(
        self,
        images: Sequence[ImageFile],
        regions: Sequence[Region],
        config: RunConfig,
        brightness: Sequence[NDArray[np.float64]] = (),
        stream: int = 0,
    ) -> None:
        self.images, self.regions, self.n_dims = images, list(regions), config.network.n_dims
        self.seed = (config.training.seed, stream)
        # no larger than the smallest region, so that all crops can be stacked
        self.size = tuple(min(sizes) for sizes in zip(crop_size(config), *(r.size for r in regions), strict=True))
        self.bright = config.training.bright_crops if len(brightness) else 0.0
        flipped = [a for a in SPATIAL_AXES[self.n_dims] if a != config.network.noise_axis]
        self.flips = [SPATIAL_AXES[self.n_dims].index(a) for a in flipped] if config.training.flip else []
        self.cells = [b.shape for b in brightness]
        self.by_area = _cumulative([float(np.prod(r.size)) for r in self.regions])
        self.by_light = _light(brightness)
        self.cell_starts = np.cumsum([0] + [b.size for b in brightness])

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([*self.seed, index])
        region, start = self._bright(rng) if rng.random() < self.bright else self._even(rng)
        crop = self.images[region.image].read_crop(region.item, self.n_dims, start, self.size)
        flips = tuple(a + 1 for a in self.flips if rng.random() < 0.5)
        return np.ascontiguousarray(np.flip(crop, flips), dtype=np.float32)

    def _even(self, rng: np.random.Generator) -> tuple[Region, tuple[int, ...]]:
        region = self.regions[_pick(self.by_area, rng)]
        offset = [int(rng.integers(n - c + 1)) for n, c in zip(region.size, self.size, strict=True)]
        return region, tuple(s + o for s, o in zip(region.start, offset, strict=True))

    def _bright(self, rng: np.random.Generator) -> tuple[Region, tuple[int, ...]]:
        cell = _pick(self.by_light, rng)
        k = int(np.searchsorted(self.cell_starts, cell, side="right")) - 1
        region, shape = self.regions[k], self.cells[k]
        place = np.unravel_index(cell - self.cell_starts[k], shape)
        start = []
        for axis, (n, c) in enumerate(zip(region.size, self.size, strict=True)):
            centre = (place[axis] + rng.random()) * n / shape[axis]
            start.append(region.start[axis] + int(np.clip(centre - c / 2, 0, n - c)))
        return region, tuple(start)


def cell_means(item: NDArray[np.float64], crop: tuple[int, ...]) -> NDArray[np.float64]:
    """Mean of each cell of about half a crop's side: [*] -> [cells along each axis]."""
    for axis, (n, c) in enumerate(zip(item.shape, crop, strict=True)):
        n_cells = max(1, (2 * n) // c)
        edges = np.arange(n_cells) * n // n_cells
        lengths = np.diff(np.append(edges, n))
        shape = [1] * item.ndim
        shape[axis] = n_cells
        item = np.add.reduceat(item, edges, axis=axis) / lengths.reshape(shape)
    return item


def _light(brightness: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    if not len(brightness):
        return np.ones(1)
    cells = np.concatenate([b.ravel() for b in brightness])
    return _cumulative(cells - cells.min() + 1e-12)


def _cumulative(weights: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.cumsum(np.asarray(weights, dtype=np.float64))
    if not len(total):
        raise TrainingError("There is nothing to train on: no image holds a single plane. Give images with pixels.")
    return np.asarray(total / total[-1])


def _pick(cumulative: NDArray[np.float64], rng: np.random.Generator) -> int:
    return min(int(np.searchsorted(cumulative, rng.random(), side="right")), len(cumulative) - 1)


def _replaced(values: tuple[int, ...], axis: int, value: int) -> tuple[int, ...]:
    return (*values[:axis], value, *values[axis + 1 :])


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)
