"""An image as xarray users know it: named axes, coordinates in units, pixels that are read when they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cosdd_zoo.data.axes import Layout
from cosdd_zoo.data.metadata import Metadata
from cosdd_zoo.data.pixels import Pixels

if TYPE_CHECKING:
    import xarray

_BLOCK_BYTES = 2**26


class _Sliced:
    """What dask takes for an array: shape, dtype and slicing."""

    def __init__(self, pixels: Pixels, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.pixels, self.shape, self.dtype, self.ndim = pixels, shape, dtype, len(shape)

    def __getitem__(self, region: Any) -> Any:
        whole = tuple(
            slice(*s.indices(n)) if isinstance(s, slice) else slice(int(s), int(s) + 1)
            for s, n in zip(region, self.shape, strict=True)
        )
        counted = tuple(axis for axis, s in enumerate(region) if not isinstance(s, slice))
        return self.pixels.read(whole).squeeze(counted)


def labelled_lazily(
    layout: Layout, pixels: Pixels, dtype: np.dtype[Any], chunks: tuple[int, ...], said: Metadata
) -> xarray.DataArray:
    """A DataArray over dask blocks. Dims s, t, c, z, y, x; coordinates along axes of known pixel size, in their units;
    attrs `pixel_size`, `unit` and `time_step` (s), as `Denoiser.denoise` and readers of one's own understand them.
    """
    import dask.array
    import xarray

    limit = max(1, _BLOCK_BYTES // dtype.itemsize)
    wanted: Any = chunks or tuple("auto" if a in "ZYX" else 1 for a in layout.axes)
    blocks = dask.array.core.normalize_chunks(wanted, layout.shape, limit=limit * dtype.itemsize, dtype=dtype)
    source = _Sliced(pixels, layout.shape, dtype)
    data = dask.array.from_array(source, chunks=blocks, asarray=False, meta=np.empty((0,) * len(layout.shape), dtype))
    coords: dict[str, Any] = {}
    for letter, size in said.sizes.items():
        if letter in layout.axes:
            coords[letter.lower()] = np.arange(layout.length(letter)) * size
    if said.channels and all(c.name for c in said.channels) and "C" in layout.axes:
        coords["c"] = [c.name for c in said.channels]
    attrs: dict[str, Any] = {"pixel_size": {a.lower(): n for a, n in said.sizes.items() if a in "ZYX"}}
    attrs["unit"] = next((said.units[a] for a in "XYZ" if said.units.get(a)), "")
    if said.sizes.get("T") and said.units.get("T") in ("second", ""):
        attrs["time_step"] = said.sizes["T"]
    attrs = {name: value for name, value in attrs.items() if value}
    return xarray.DataArray(data, coords, tuple(layout.axes.lower()), said.name or None, attrs)
