"""Results as TIFF: the axes, pixel size and metadata of the input, one item at a time.

The file is laid out first, empty, and each item then goes to where its axes put it: memory holds one item, whatever
the order of axes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import DTypeLike

from cosdd_zoo.data.axes import Array, Layout
from cosdd_zoo.data.beside import beside
from cosdd_zoo.data.finding import TIFF_SUFFIXES
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.tiff import Kind, TiffMetadata, read_header, read_metadata
from cosdd_zoo.errors import OutputError
from cosdd_zoo.version import __version__

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_OME_DTYPES = (*_IMAGEJ_DTYPES, "int8", "int16", "int32", "uint32", "float64")
_CLASSIC_LIMIT = 2**32 - 2**25  # offsets have 32 bits, and the pages' tags need room too


class Rounded(NamedTuple):
    array: Array
    n_saturated: int


class Written(NamedTuple):
    path: Path
    n_saturated: int


class _Plan(NamedTuple):
    kind: Kind
    axes: str  # in tifffile's letters
    layout: Layout
    dtype: np.dtype[Any]

    @property
    def n_bytes(self) -> int:
        return int(np.prod(self.layout.shape, dtype=np.int64)) * self.dtype.itemsize


def to_dtype(array: Array, dtype: DTypeLike) -> Rounded:
    """For integers: rounded half to even, and saturated at the ends of the range; the count of those pixels.

    Floating-point numbers are only converted.
    """
    target = np.dtype(dtype)
    if target.kind == "f" or array.dtype == target:
        return Rounded(array.astype(target), 0)
    low, high = np.iinfo(target).min, np.iinfo(target).max
    rounded = np.rint(array) if array.dtype.kind == "f" else array
    below, above = rounded < low, rounded > high
    # written by mask: float32 has no 2**32 - 1, so clipping would overflow
    out = np.where(below | above, 0, rounded).astype(target)
    out[below], out[above] = low, high
    return Rounded(out, int(below.sum() + above.sum()))


def output_name(image: ImageFile) -> str:
    """The input's file name; NPY and PNG become .tif, an array in memory image.tif."""
    if image.path is None:
        return "image.tif"
    return image.path.name if image.path.suffix.lower() in TIFF_SUFFIXES else f"{image.path.stem}.tif"


def write_tiff(
    path: str | Path,
    items: Iterable[Array],
    like: ImageFile,
    n_dims: int,
    dtype: DTypeLike | None = None,
    n_channels: int | None = None,
    overwrite: bool = False,
) -> Written:
    """Writes items [C, *spatial], in order, as an image like `like`: OME-TIFF, ImageJ hyperstack or plain TIFF.

    dtype, n_channels: those of `like` by default. Items are rounded and saturated where dtype is an integer.
    Raises OutputError if the file is there already, or cannot be written whole; nothing half-written stays.
    """
    path = Path(path)
    plan = _plan(like, np.dtype(like.dtype if dtype is None else dtype), n_channels or like.n_channels)
    with beside(path, overwrite) as part:
        offset = _lay_out(part, plan, like)
        n_saturated = _fill(part, offset, plan, items, n_dims)
        _verify(part, plan, path)
    return Written(path, n_saturated)


def _plan(like: ImageFile, dtype: np.dtype[Any], n_channels: int) -> _Plan:
    layout = like.layout.with_channels(n_channels)
    axes = like.file_axes
    if len(layout.axes) > len(axes):
        at = layout.axes.index("C")
        axes = layout.axes.replace("S", "Q") if "C" in axes else f"{axes[:at]}C{axes[at:]}"
    if layout.axes == "X":  # a TIFF has at least two
        layout, axes = Layout("YX", (1, *layout.shape)), "YX"
    kind = like.kind
    colour_lost = "S" in axes and n_channels != like.n_channels
    if (kind == "imagej" and str(dtype) not in _IMAGEJ_DTYPES) or (kind == "ome" and str(dtype) not in _OME_DTYPES):
        kind = "plain"
    # ImageJ has colour in 8 bits only; tifffile lays out neither kind when it is one pixel wide
    if colour_lost or layout.length("X") == 1 or (kind == "imagej" and "S" in axes and dtype != np.uint8):
        kind = "plain"
    if colour_lost:
        axes = axes.replace("S", "C")
    return _Plan(kind, axes, layout, dtype)


def _lay_out(part: Path, plan: _Plan, like: ImageFile) -> int:
    """An empty file with all headers; returns where its pixels begin."""
    found = TiffMetadata({}, {}, "minisblack")
    if like.path is not None and like.path.suffix.lower() in TIFF_SUFFIXES:
        same_channels = plan.layout.n_channels == like.n_channels
        found = read_metadata(like.path, plan.kind, same_channels, plan.dtype == like.dtype)
    # ImageJ reads no BigTIFF; beyond 4 GB it wants one page and the planes behind it, as it writes them itself
    large = plan.n_bytes > _CLASSIC_LIMIT
    form: dict[str, Any] = {"imagej": True} if plan.kind == "imagej" else {"ome": plan.kind == "ome", "bigtiff": large}
    with tifffile.TiffWriter(part, byteorder="<", **form) as tif:
        place = tif.write(
            None,
            shape=plan.layout.shape,
            dtype=plan.dtype,
            returnoffset=True,
            truncate=large and plan.kind == "imagej",
            software=None if plan.kind == "imagej" else f"cosdd_zoo {__version__}",
            metadata={"axes": plan.axes, **found.description},
            **_colours(plan, found.photometric),
            **found.resolution,
        )
    if place is None:  # never: tifffile returns it when asked
        raise ValueError(f"{part} was laid out without a place for its pixels")
    return int(place[0])


def _colours(plan: _Plan, photometric: str) -> dict[str, Any]:
    """Colour samples are said to be so; anything else is grey, also when it has three planes."""
    if "S" not in plan.axes:
        return {"photometric": photometric}
    at = plan.axes.index("S")
    planar = "contig" if at == len(plan.axes) - 1 else "separate"
    is_rgb = plan.layout.shape[at] in (3, 4)
    return {"photometric": "rgb" if is_rgb else photometric, "planarconfig": planar}


def _fill(part: Path, offset: int, plan: _Plan, items: Iterable[Array], n_dims: int) -> int:
    """Puts the items in their places; returns how many pixels were saturated."""
    layout, n_saturated, n_written = plan.layout, 0, 0
    # the axes behind the last one that counts items lie together in the file
    n_scattered = max((layout.axes.index(a) + 1 for a in layout.item_axes(n_dims)), default=0)
    run_shape = layout.shape[n_scattered:]
    run_bytes = int(np.prod(run_shape, dtype=np.int64)) * plan.dtype.itemsize
    with part.open("rb+") as file:
        for n_written, item in enumerate(items, 1):
            _check_item(item, n_written, layout, n_dims)
            rounded = to_dtype(item, plan.dtype)
            n_saturated += rounded.n_saturated
            block = layout.to_block(rounded.array, n_dims).astype(plan.dtype.newbyteorder("<"))
            region = layout.region(n_written - 1, n_dims)[:n_scattered]
            for at in np.ndindex(block.shape[:n_scattered]):
                place = tuple(i + s.start for i, s in zip(at, region, strict=True))
                run = int(np.ravel_multi_index(place, layout.shape[:n_scattered])) if place else 0
                file.seek(offset + run * run_bytes)
                file.write(block[at].tobytes())
    if n_written != layout.n_items(n_dims):
        raise ValueError(f"{n_written} items for an image of {layout.n_items(n_dims)}")
    return n_saturated


def _check_item(item: Array, number: int, layout: Layout, n_dims: int) -> None:
    if number > layout.n_items(n_dims) or item.shape != layout.item_shape(n_dims):
        raise ValueError(
            f"item {number} has shape {item.shape}; expected {layout.n_items(n_dims)} items of "
            f"{layout.item_shape(n_dims)}"
        )


def _verify(part: Path, plan: _Plan, path: Path) -> None:
    found = read_header(part)
    expected = [n for n in plan.layout.shape if n > 1]
    if [n for n in found.shape if n > 1] != expected or found.dtype != plan.dtype:
        raise OutputError(
            f"{path.name} reads back as {found.shape} {found.dtype} instead of {plan.layout.shape} {plan.dtype}, "
            "so it was not kept. Check the disk, and report it if it is sound."
        )
