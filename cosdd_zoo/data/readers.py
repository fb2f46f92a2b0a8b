"""Readers of further formats: one's own, by the entry point `cosdd_zoo.readers`, and bioio's for CZI, ND2, LIF ...

A reader is a function of a path; it returns an xarray.DataArray whose dims name its axes (t, c, z, y, x, ...), lazy
where the file is large. Its entry point is named after the ending of the files, for example `.xyz`. Its attributes may
hold `pixel_size` ({"z": 0.5, "y": 0.1, "x": 0.1}), `unit` ("micrometer") and `time_step` (s); coordinates along c are
taken for the channels' names.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.metadata import Channel, Metadata
from cosdd_zoo.data.pixels import Region, native, stamp
from cosdd_zoo.errors import ImageError

if TYPE_CHECKING:
    import xarray

Reader = Callable[[Path], "xarray.DataArray"]
GROUP = "cosdd_zoo.readers"

_BIOIO = {
    "bioio_czi": (".czi",),
    "bioio_nd2": (".nd2",),
    "bioio_lif": (".lif",),
    "bioio_dv": (".dv", ".r3d"),
    "bioio_sldy": (".sldy",),
    "bioio_imageio": (".bmp", ".jpg", ".jpeg", ".gif"),
}
"""Plugins of bioio, and the endings that are theirs."""


@functools.cache
def _own() -> dict[str, Reader]:
    """The readers of installed packages, by ending."""
    found = importlib.metadata.entry_points(group=GROUP)
    return {f".{entry.name.lower().lstrip('.')}": entry.load() for entry in found}


@functools.cache
def further_suffixes() -> tuple[str, ...]:
    """Endings of files that a reader is installed for."""
    of_bioio = (e for name, endings in _BIOIO.items() if importlib.util.find_spec(name) for e in endings)
    return (*_own(), *(of_bioio if importlib.util.find_spec("bioio") else ()))


@dataclass(frozen=True)
class Read:
    """Pixels that a reader gives, lazily; it is asked again in each process."""

    path: Path
    stamp: tuple[int, int]

    def read(self, region: Region) -> Array:
        try:
            return native(np.asarray(_read(self.path, self.stamp).data[region]))
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"{self.path.name} cannot be decoded ({error}): copy it again, or convert it.") from error


def read_with(path: Path) -> tuple[xarray.DataArray, Read]:
    """What the reader for this ending makes of a file. Raises ImageError where it fails."""
    mark = stamp(path)
    return _read(path, mark), Read(path, mark)


@functools.lru_cache(maxsize=8)
def _read(path: Path, stamp: tuple[int, int]) -> xarray.DataArray:
    reader = next((read for ending, read in _own().items() if path.name.lower().endswith(ending)), by_bioio)
    try:
        found = reader(path)
    except Exception as error:  # whatever the reader's own errors are
        raise ImageError(
            f"{path.name} cannot be read ({type(error).__name__}: {error}). The file is damaged, or of another kind: "
            "copy it again, or convert it, for example with Fiji: File > Save As > Tiff."
        ) from error
    if not (hasattr(found, "dims") and hasattr(found, "coords")):
        raise ImageError(f"The reader for {path.name} returned a {type(found).__name__}; expected an xarray.DataArray.")
    return found


def by_bioio(path: Path) -> xarray.DataArray:
    """The first scene of a file, without axes of one pixel that only its format has. Raises what bioio raises."""
    from bioio import BioImage

    image = BioImage(path)
    if len(image.scenes) > 1:
        raise ValueError(
            f"it holds {len(image.scenes)} scenes, {', '.join(image.scenes[:3])} ...: save each one as a file"
        )
    found = image.xarray_dask_data
    if "S" in found.dims and found.sizes.get("C", 1) == 1:  # colours
        found = found.isel(C=0, drop=True).rename(S="C") if "C" in found.dims else found.rename(S="C")
    sizes = image.physical_pixel_sizes
    step = image.time_interval
    found.attrs = {
        "pixel_size": {a.lower(): float(n) for a, n in zip("ZYX", sizes, strict=True) if n},
        "unit": "micrometer",
        **({"time_step": step.total_seconds()} if step else {}),
    }
    short = [d for d in found.dims if d not in ("Y", "X") and found.sizes[d] == 1]
    cut: xarray.DataArray = found.isel(dict.fromkeys(short, 0), drop=True)
    cut.name = path.name.split(".")[0]
    return cut


def metadata_of(found: xarray.DataArray, axes: str) -> Metadata:
    """What a DataArray says in its attributes and its channels' coordinates. axes: letters of ours for its dims."""
    said: Any = found.attrs.get("pixel_size")
    sizes = {str(a).upper(): float(n) for a, n in said.items()} if isinstance(said, dict) else {}
    units = dict.fromkeys(sizes, str(found.attrs.get("unit", "")))
    if "time_step" in found.attrs:
        sizes["T"], units["T"] = float(found.attrs["time_step"]), "second"
    channels: tuple[Channel, ...] = ()
    if (
        "C" in axes
        and (named := found.coords.get(found.dims[axes.index("C")])) is not None
        and named.dtype.kind in "UO"
    ):
        channels = tuple(Channel(str(name)) for name in named.values)
    return Metadata({a: n for a, n in sizes.items() if a in axes}, units, channels, str(found.name or ""))
