"""What a TIFF says about its pixels: shape, axes, type, and where they lie.

Only headers are read here. A file that ends before its own pages do is refused, not filled with zeros.
"""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tifffile

from cosdd_zoo.data.pixels import Mapped, Pages, Pixels, page_shape, stamp
from cosdd_zoo.errors import ImageError

Kind = Literal["ome", "imagej", "plain", "ome-zarr", "other"]


class TiffHeader(NamedTuple):
    """Shape and axes as tifffile names them, without and with the axes of length 1 that its formats always have."""

    kind: Kind
    axes: str
    shape: tuple[int, ...]
    full_axes: str
    full_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixels: Pixels


def read_header(path: Path) -> TiffHeader:
    """Raises ImageError for a file that is no TIFF, is truncated, or holds several images."""
    with opened(path) as tif:
        series = _only_series(tif, path)
        _check_complete(tif, series, path)
        kind: Kind = "ome" if series.kind == "ome" else "imagej" if series.kind == "imagej" else "plain"
        shape = tuple(map(int, series.shape))
        full = str(series.get_axes(squeeze=False)), tuple(map(int, series.get_shape(squeeze=False)))
        dtype = np.dtype(series.dtype).newbyteorder("=")
        return TiffHeader(kind, str(series.axes), shape, *full, dtype, _pixels(tif, series, path))


@contextmanager
def opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """A TIFF whose faults come as an ImageError, and not as tifffile's lines on stderr too."""
    log = logging.getLogger("tifffile")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(path) as tif:
            yield tif
    except (ImageError, OSError):
        raise
    except tifffile.TiffFileError as exc:
        raise ImageError(
            f"{path.name} is not a TIFF file ({exc}). Export it again as TIFF, for example with Fiji: "
            "File > Save As > Tiff."
        ) from exc
    except Exception as exc:  # damaged tags surface as any error
        raise ImageError(f"{path.name} cannot be read as a TIFF ({exc}). The file is damaged: copy it again.") from exc
    finally:
        log.setLevel(level)


def _only_series(tif: tifffile.TiffFile, path: Path) -> Any:
    series = list(tif.series)
    if not series:
        raise ImageError(f"{path.name} is a TIFF without an image. Export it again.")
    if len(series) > 1 and series[0].kind in ("ome", "imagej", "shaped", "uniform", "generic"):
        shapes = ", ".join(str(tuple(s.shape)) for s in series[:4])
        raise ImageError(
            f"{path.name} holds {len(series)} images of their own (shapes {shapes}). Save each one as a file, "
            "for example with Fiji: open each series, then File > Save As > Tiff."
        )
    return series[0]


def _check_complete(tif: tifffile.TiffFile, series: Any, path: Path) -> None:
    n_bytes = tif.filehandle.size
    if series.kind in ("uniform", "generic") and (tif.is_imagej or tif.is_shaped):
        raise _truncated(path, f"its header announces more images than the {len(tif.pages)} that follow")
    if series.dataoffset is not None and series.kind in ("imagej", "shaped", "ome"):
        needed = series.dataoffset + int(np.prod(series.get_shape(squeeze=False))) * series.dtype.itemsize
        if needed > n_bytes:
            raise _truncated(path, f"it has {n_bytes:,} bytes, but its header announces {needed:,}")
        return
    if _chain_is_broken(tif):
        raise _truncated(path, f"its page {len(tif.pages) + 1} is missing")
    for number, page in enumerate(series.pages, 1):
        if page is None:
            raise _truncated(path, f"page {number} of {len(series.pages)} is missing")
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if page.parent is tif and max(ends, default=0) > n_bytes:
            raise _truncated(path, f"page {number} of {len(series.pages)} ends after the file does")
        if len(page.dataoffsets) > len(page.databytecounts) or not ends:
            raise _truncated(path, f"page {number} of {len(series.pages)} has no pixels")


def _chain_is_broken(tif: tifffile.TiffFile) -> bool:
    """Whether the last page that could be read points at one more; tifffile stops there without an error."""
    fmt, fh = tif.tiff, tif.filehandle
    fh.seek(tif.pages[-1].offset)
    try:
        n_tags = struct.unpack(fmt.tagnoformat, fh.read(fmt.tagnosize))[0]
        fh.seek(n_tags * fmt.tagsize, 1)
        return bool(struct.unpack(fmt.offsetformat, fh.read(fmt.offsetsize))[0])
    except struct.error:
        return True


def _truncated(path: Path, how: str) -> ImageError:
    return ImageError(f"{path.name} is truncated: {how}. Copy it again from where it was acquired.")


def _pixels(tif: tifffile.TiffFile, series: Any, path: Path) -> Pixels:
    shape = tuple(map(int, series.shape))
    if series.dataoffset is not None and series.pages[0].parent is tif:
        stored = np.dtype(series.dtype).newbyteorder(tif.byteorder)
        return Mapped(path, int(series.dataoffset), shape, stored)
    within = page_shape(shape, int(np.prod(series.keyframe.shape)))
    return Pages(path, stamp(path), shape, within, np.dtype(series.dtype).newbyteorder("="))
