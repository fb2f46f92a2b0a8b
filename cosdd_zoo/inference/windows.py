"""Windows of an image's items: what is read for one, which of its pixels count, and how it is divided.

Letters: C channels, * spatial axes of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.config import SPATIAL_AXES, NetworkConfig
from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.images import ImageFile, check_finite
from cosdd_zoo.inference.channels import Group
from cosdd_zoo.inference.tiling import round_up
from cosdd_zoo.networks.build import receptive_radius

Number = TypeVar("Number", bound=np.generic)
Bounds = list[list[int]]
"""[inner start, inner stop, outer start, outer stop] of each axis, as `tiling.window` gives them."""
MAX_HALO_PX = 256
"""Deep ladders could in principle see further; what lies beyond changes less than the samples' own spread."""


def halves_of(bounds: Bounds, stride: Sequence[int], halo: Sequence[int]) -> list[Bounds]:
    """Two parts of a window along its longest axis, on the model's grid, each with its halo; or none."""
    lengths = [b[1] - b[0] for b in bounds]
    axis = int(np.argmax(lengths))
    middle = bounds[axis][0] + round_up(lengths[axis] // 2, stride[axis])
    if not bounds[axis][0] < middle < bounds[axis][1]:
        return []
    first, last, low, high = bounds[axis]
    cuts = [[first, middle, low, min(middle + halo[axis], high)], [middle, last, max(middle - halo[axis], low), high]]
    return [[*bounds[:axis], part, *bounds[axis + 1 :]] for part in cuts]


def read_window(image: ImageFile, index: int, n_dims: int, bounds: Bounds, group: Group) -> Array:
    """The outer pixels of a window of some channels: [C, *] in the image's dtype; inner ones alone if they are copied.

    Raises ImageError for pixels that are not finite.
    """
    at = 0 if group.copied else 2
    start, stop = [b[at] for b in bounds], [b[at + 1] for b in bounds]
    size = [n - m for m, n in zip(start, stop, strict=True)]
    first, last = min(group.source), max(group.source)
    x = image.read_crop(index, n_dims, start, size, slice(first, last + 1))
    if group.source != tuple(range(first, last + 1)):
        x = x[[c - first for c in group.source]]
    if not group.copied:
        check_finite(x, image.name)
    return x


def cut(x: NDArray[Number], bounds: Bounds) -> NDArray[Number]:
    """The inner pixels of a window's outer ones [C, *]."""
    return x[(slice(None), *(slice(b[0] - b[2], b[1] - b[2]) for b in bounds))]


def inner_of(bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(b[0], b[1]) for b in bounds)


def within(part: Bounds, bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(p[2] - b[2], p[3] - b[2]) for p, b in zip(part, bounds, strict=True))


def halos(network: NetworkConfig, halo_px: int | None = None) -> list[int]:
    """Context around a window along the image's axes, in px, on the model's grid; by default all that can matter."""
    radius = image_order(network, receptive_radius(network))
    stride = image_order(network, network.total_stride())
    wanted = [min(MAX_HALO_PX, r) if halo_px is None else halo_px for r in radius]
    return [round_up(w, s) for w, s in zip(wanted, stride, strict=True)]


def image_order(network: NetworkConfig, along: tuple[int, ...]) -> list[int]:
    """Numbers along the networks' axes, in the order of the image's."""
    order = network.network_axes()
    return [along[order.index(a)] for a in SPATIAL_AXES[network.n_dims]]
