"""How a result lies in its TIFF: the axes, pixel size and metadata of the input, laid out before a pixel is known."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from cosdd_zoo.data.axes import Array, Layout
from cosdd_zoo.data.canvas import Form, Turned, turned, unturned
from cosdd_zoo.data.finding import TIFF_SUFFIXES
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.metadata import Metadata, as_imagej, as_ome
from cosdd_zoo.data.pixels import Mapped
from cosdd_zoo.data.tiff import Kind, read_header
from cosdd_zoo.data.tiff_metadata import TiffMetadata, carried_on, resolution_of
from cosdd_zoo.errors import OutputError
from cosdd_zoo.version import __version__

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_OME_DTYPES = (*_IMAGEJ_DTYPES, "int8", "int16", "int32", "uint32", "float64")
_CODECS = {"zlib": "zlib", "zstd": "zstd", "lzw": "lzw"}
_CLASSIC_LIMIT = 2**32 - 2**25  # offsets have 32 bits, and the pages' tags need room too


class Plan(NamedTuple):
    kind: Kind
    axes: str  # in tifffile's letters
    turned: Turned
    dtype: np.dtype[Any]
    form: Form

    @property
    def layout(self) -> Layout:
        return self.turned.layout

    @property
    def n_bytes(self) -> int:
        return int(np.prod(self.layout.shape, dtype=np.int64)) * self.dtype.itemsize


def plan_of(like: ImageFile, dtype: np.dtype[Any], form: Form) -> Plan:
    """The form of a result of an image: its kind of TIFF where that can hold the type, and a plain one elsewhere."""
    n_channels = form.n_channels or like.n_channels
    source = like.layout.with_channels(n_channels)
    wanted: Kind = "ome" if form.format == "ome-tiff" else "imagej" if form.format == "tiff" else "ome"
    kinds = {"same": ("ome", "imagej", "plain"), "tiff": ("imagej", "plain"), "ome-tiff": ("ome",)}
    if like.kind in kinds[form.format]:
        return _as_the_input(like, source, dtype, form)
    if "S" in source.axes and {"T", "Z"} <= set(source.axes):
        return Plan("plain", source.axes.replace("S", "Q"), unturned(source), dtype, form)
    axes = turned(source, "TZCYX" if wanted == "imagej" else "TCZYX", like.name)
    known = _IMAGEJ_DTYPES if wanted == "imagej" else _OME_DTYPES
    kind: Kind = wanted if str(dtype) in known and axes.layout.length("X") > 1 else "plain"
    return Plan(kind, axes.layout.axes, axes, dtype, form)


def _as_the_input(like: ImageFile, layout: Layout, dtype: np.dtype[Any], form: Form) -> Plan:
    """Axes in the input's own order and letters."""
    axes = like.file_axes
    if len(layout.axes) > len(axes):
        at = layout.axes.index("C")
        axes = layout.axes.replace("S", "Q") if "C" in axes else f"{axes[:at]}C{axes[at:]}"
    if layout.axes == "X":  # a TIFF has at least two
        layout, axes = Layout("YX", (1, *layout.shape)), "YX"
    kind = like.kind
    colour_lost = "S" in axes and layout.n_channels != like.n_channels
    if (kind == "imagej" and str(dtype) not in _IMAGEJ_DTYPES) or (kind == "ome" and str(dtype) not in _OME_DTYPES):
        kind = "plain"
    # ImageJ has colour in 8 bits only; tifffile lays out neither kind when it is one pixel wide
    if colour_lost or layout.length("X") == 1 or (kind == "imagej" and "S" in axes and dtype != np.uint8):
        kind = "plain"
    if kind == "imagej" and axes != "".join(a for a in "TZCYXS" if a in axes):  # its own header said otherwise
        kind = "plain"
    if colour_lost:
        axes = axes.replace("S", "C")
    return Plan(kind, axes, unturned(layout), dtype, form)


def lay_out(part: Path, plan: Plan, like: ImageFile) -> None:
    """An empty file with all headers; the same plan and input make the same bytes."""
    _write(part, plan, like, None)


def compress(part: Path, plan: Plan, like: ImageFile, smaller: Path) -> None:
    """The pages of a laid-out file that has all its pixels, compressed, as another file."""
    pages = math.prod(plan.layout.shape[: -_page_axes(plan)])
    shape = (pages, *plan.layout.shape[-_page_axes(plan) :])
    whole = np.memmap(part, plan.dtype.newbyteorder("<"), "r", pixels_begin(part), shape)
    _write(smaller, plan, like, (np.asarray(page) for page in whole))


def _page_axes(plan: Plan) -> int:
    return 3 if "S" in plan.axes else 2


def _write(part: Path, plan: Plan, like: ImageFile, pages: Iterator[Array] | None) -> None:
    found = _said(plan, like)
    squeezed: dict[str, Any] = {}
    if pages is not None:
        # ImageJ reads it as it should in some types alone
        predictor = plan.kind != "imagej" and plan.dtype.kind in "ui" and plan.dtype.itemsize < 8
        squeezed = {"compression": _CODECS[plan.form.compression], "predictor": predictor, "rowsperstrip": 64}
    # ImageJ reads no BigTIFF; beyond 4 GB it wants one page and the planes behind it, as it writes them itself
    large = plan.n_bytes > _CLASSIC_LIMIT
    form: dict[str, Any] = {"imagej": True} if plan.kind == "imagej" else {"ome": plan.kind == "ome", "bigtiff": large}
    with tifffile.TiffWriter(part, byteorder="<", **form) as tif:
        place = tif.write(
            pages,
            shape=plan.layout.shape,
            dtype=plan.dtype,
            returnoffset=pages is None,
            truncate=pages is None and large and plan.kind == "imagej",
            software=None if plan.kind == "imagej" else f"cosdd_zoo {__version__}",
            metadata={"axes": plan.axes, **found.description, **_same_each_time(plan)},
            **_colours(plan, found.photometric),
            **found.resolution,
            **squeezed,
        )
    if place is None and pages is None:  # never: tifffile returns it when asked
        raise ValueError(f"{part} was laid out without a place for its pixels")


def _said(plan: Plan, like: ImageFile) -> TiffMetadata:
    """What the input says, in the words of the result's format."""
    if like.path is not None and like.kind in ("ome", "imagej", "plain") and like.path.suffix.lower() in TIFF_SUFFIXES:
        channels = plan.form.channels
        if channels is None and plan.layout.n_channels == like.n_channels:
            channels = tuple(range(like.n_channels))
        if plan.kind == like.kind:
            said = carried_on(like.path, plan.kind, plan.axes, channels, like.n_channels, plan.dtype == like.dtype)
            if plan.kind == "imagej":
                said = said._replace(description=_in_ascii(said.description))
            return said if plan.form.same_values else said._replace(description=_but_ranges(said.description))
        if plan.kind == "plain":
            return carried_on(like.path, "plain", plan.axes, channels, like.n_channels, False)
    found = shared_words(like, plan.form, plan.layout.n_channels)
    words = {"ome": as_ome, "imagej": as_imagej}.get(plan.kind)
    description = words(found) if words else {}
    if plan.kind == "imagej":
        description = _in_ascii(description)
    return TiffMetadata(description, resolution_of(found, plan.kind), "minisblack")


def shared_words(like: ImageFile, form: Form, n_channels: int) -> Metadata:
    """What the input says, in words that all formats share, for a result of these channels."""
    found = like.described()
    if form.channels is not None:
        found = found.of_channels(form.channels)
    elif n_channels != like.n_channels:
        found = found._replace(channels=())
    if not form.same_values:
        found = found._replace(channels=tuple(c._replace(window=None) for c in found.channels))
    return found


def _in_ascii(description: dict[str, Any]) -> dict[str, Any]:
    """ImageJ's description, with other letters as ImageJ writes them; what has a place of its own keeps them."""

    def escaped(value: Any) -> Any:
        return value.encode("ascii", "backslashreplace").decode() if isinstance(value, str) else value

    return {escaped(k): v if k in ("Info", "Labels", "Properties") else escaped(v) for k, v in description.items()}


def _but_ranges(description: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in description.items() if k not in ("min", "max", "Ranges")}


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
