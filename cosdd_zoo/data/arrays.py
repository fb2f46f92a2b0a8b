"""Arrays in memory behind the interface of image files; an xarray.DataArray goes in and comes out as one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.images import ImageFile, unlabelled
from cosdd_zoo.data.pixels import InMemory
from cosdd_zoo.errors import AxesError

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
    labels = array if hasattr(array, "dims") and hasattr(array, "coords") else None
    values = np.asarray(array)
    named = axes if axes or labels is None else _axes_of_dims(tuple(map(str, labels.dims)), values.shape)
    image = unlabelled(name, None, InMemory(values), values, named)
    return ImageArray(**vars(image), labels=labels)


_KNOWN_DIMS = {
    "S": "s b batch sample samples scene position index i n",
    "T": "t time frame frames",
    "C": "c channel channels band",
    "Z": "z depth slice slices plane",
    "Y": "y row rows height",
    "X": "x col cols column columns width",
}
_LETTER_OF_DIM = {dim: letter for letter, dims in _KNOWN_DIMS.items() for dim in dims.split()}


def _axes_of_dims(dims: tuple[str, ...], shape: tuple[int, ...]) -> str:
    letters = [_LETTER_OF_DIM.get(dim.lower(), "") for dim in dims]
    if not all(letters) or len(set(letters)) < len(letters):
        raise AxesError(
            f"The DataArray has dims {dims} and shape {shape}, which do not name its axes. "
            "Rename them to batch, time, channel, z, y, x, or pass axes=, for example axes='SYX'."
        )
    return "".join(letters)


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
