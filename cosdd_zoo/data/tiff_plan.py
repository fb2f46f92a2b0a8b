"""How a result lies in its TIFF: the axes, pixel size and metadata of the input, laid out before a pixel is known."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from cosdd_zoo.data.axes import Layout
from cosdd_zoo.data.finding import TIFF_SUFFIXES
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.pixels import Mapped
from cosdd_zoo.data.tiff import Kind, TiffMetadata, read_header, read_metadata
from cosdd_zoo.errors import OutputError
from cosdd_zoo.version import __version__

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_OME_DTYPES = (*_IMAGEJ_DTYPES, "int8", "int16", "int32", "uint32", "float64")
_CLASSIC_LIMIT = 2**32 - 2**25  # offsets have 32 bits, and the pages' tags need room too


class Plan(NamedTuple):
    kind: Kind
    axes: str  # in tifffile's letters
    layout: Layout
    dtype: np.dtype[Any]

    @property
    def n_bytes(self) -> int:
        return int(np.prod(self.layout.shape, dtype=np.int64)) * self.dtype.itemsize


def plan_of(like: ImageFile, dtype: np.dtype[Any], n_channels: int) -> Plan:
    """The form of a result of an image: its kind of TIFF where that can hold the type, and a plain one elsewhere."""
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
    return Plan(kind, axes, layout, dtype)


def lay_out(part: Path, plan: Plan, like: ImageFile) -> None:
    """An empty file with all headers; the same plan and input make the same bytes."""
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
            metadata={"axes": plan.axes, **found.description, **_same_each_time(plan)},
            **_colours(plan, found.photometric),
            **found.resolution,
        )
    if place is None:  # never: tifffile returns it when asked
        raise ValueError(f"{part} was laid out without a place for its pixels")


def pixels_begin(part: Path) -> int:
    """Where the pixels of a laid-out file begin, in bytes."""
    pixels = read_header(part).pixels
    assert isinstance(pixels, Mapped)  # as it was laid out
    return pixels.offset


def _same_each_time(plan: Plan) -> dict[str, str]:
    """OME wants an identifier, which tifffile would make of the clock."""
    return {"UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, repr(plan))}"} if plan.kind == "ome" else {}


def _colours(plan: Plan, photometric: str) -> dict[str, Any]:
    """Colour samples are said to be so; anything else is grey, also when it has three planes."""
    if "S" not in plan.axes:
        return {"photometric": photometric}
    at = plan.axes.index("S")
    planar = "contig" if at == len(plan.axes) - 1 else "separate"
    is_rgb = plan.layout.shape[at] in (3, 4)
    return {"photometric": "rgb" if is_rgb else photometric, "planarconfig": planar}


def verify(part: Path, plan: Plan, path: Path) -> None:
    found = read_header(part)
    expected = [n for n in plan.layout.shape if n > 1]
    if [n for n in found.shape if n > 1] != expected or found.dtype != plan.dtype:
        raise OutputError(
            f"{path.name} reads back as {found.shape} {found.dtype} instead of {plan.layout.shape} {plan.dtype}, "
            "so it was not kept. Check the disk, and report it if it is sound."
        )
