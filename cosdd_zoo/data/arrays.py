"""Arrays in memory behind the interface of image files; an xarray.DataArray goes in and comes out as one."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.dims import axes_of_dims
from cosdd_zoo.data.images import ImageFile, unlabelled
from cosdd_zoo.data.pixels import InMemory
from cosdd_zoo.data.readers import metadata_of

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class ImageArray(ImageFile):
    """An array in memory. One that came as xarray.DataArray comes back as one, with its dims, coords and attrs."""

    labels: Any = None
    """The DataArray, or None."""

    def labelled(self, whole: Array) -> "Array | xarray.DataArray":
        """What `assemble` gave, as what the input was: itself, or a DataArray."""
        return whole if self.labels is None else _label(whole, self)


def from_array(array: "Array | xarray.DataArray", axes: str | None = None, name: str = "The array") -> ImageArray:
    """The same interface for an array in memory, which is neither copied nor changed.

    axes: as for `open_image`; of a DataArray the names of its dims are understood (batch, t, channel, z, row, ...).
    Raises ImageError and AxesError as `open_image` does.
    """
    labels: Any = array if hasattr(array, "dims") and hasattr(array, "coords") else None
    values: Any = labels.data if labels is not None else array
    if not hasattr(values, "dask"):  # a lazy one is read by pieces
        values = np.asarray(values)
    named = axes if axes or labels is None else axes_of_dims(tuple(map(str, labels.dims)), values.shape)
    image = unlabelled(name, None, InMemory(values), values, named)
    described = {} if labels is None else {"described": functools.partial(metadata_of, labels, image.axes)}
    return ImageArray(**{**vars(image), **described}, labels=labels)


def _label(whole: Array, image: ImageArray) -> "xarray.DataArray":
    """The dims, coords and attrs of the input, but for what named channels that are no longer there."""
    import xarray

    before, axes = image.labels, image.layout.with_channels(2).axes
    dim_of = dict(zip(image.axes, map(str, before.dims), strict=True))
    short = all(len(dim) == 1 for dim in dim_of.values())
    dims = [dim_of.get(a, "c" if short else "channel") for a in (axes if whole.ndim == len(axes) else image.axes)]
    lengths = dict(zip(dims, whole.shape, strict=True))
    coords = {k: v for k, v in before.coords.items() if all(lengths.get(str(d)) == before.sizes[d] for d in v.dims)}
    return xarray.DataArray(whole, coords, dims, before.name, before.attrs)
