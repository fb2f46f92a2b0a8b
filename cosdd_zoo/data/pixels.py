"""Where pixels come from: mapped from a file, decoded page by page, or an array.

Each source answers `read(region)`, one slice per axis of the whole array, with a fresh array in native byte order.
None keeps a file open, so that all travel to worker processes and a run over thousands of files needs no handles.
"""

import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import imagecodecs
import numpy as np
import tifffile

from cosdd_zoo.data.axes import Array
from cosdd_zoo.errors import ImageError

Region = tuple[slice, ...]

# enough for the stack that neighbouring crops come from, small beside a training's own memory, in each worker
_CACHE_BYTES = 256 * 2**20


class Pixels(Protocol):
    def read(self, region: Region) -> Array: ...


@dataclass(frozen=True)
class Mapped:
    """Pixels that lie in a file as one uncompressed array; reads touch their region only."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False

    def read(self, region: Region) -> Array:
        try:
            whole: Array = np.memmap(
                self.path, self.dtype, "r", self.offset, self.shape, order="F" if self.fortran else "C"
            )
        except (OSError, ValueError) as exc:
            raise _changed(self.path) from exc
        return native(whole[region])


@dataclass(frozen=True)
class Pages:
    """Pixels of a TIFF whose pages are compressed or scattered; a page is decoded when a region needs it.

    The last axes of `shape`, as many as make a page, lie within a page; those before count pages.
    """

    path: Path
    stamp: tuple[int, int]
    shape: tuple[int, ...]
    page_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, region: Region) -> Array:
        n_leading = len(self.shape) - len(self.page_shape)
        leading, within = region[:n_leading], region[n_leading:]
        counts = tuple(s.stop - s.start for s in leading)
        out = np.empty([s.stop - s.start for s in region], self.dtype)
        for at in np.ndindex(counts):
            place = tuple(i + s.start for i, s in zip(at, leading, strict=True))
            number = int(np.ravel_multi_index(place, self.shape[:n_leading])) if place else 0
            out[at] = self._page(number)[within]
        return out

    def _page(self, number: int) -> Array:
        return decoded.get((self.path, self.stamp, number), lambda: self._decode(number))

    def _decode(self, number: int) -> Array:
        try:
            return native(_read_page(tiff_pages(self.path, self.stamp)[number]).reshape(self.page_shape))
        except FileNotFoundError as exc:
            raise _changed(self.path) from exc
        except Exception as exc:  # each codec has errors of its own
            raise ImageError(
                f"Page {number + 1} of {self.path.name} cannot be decoded ({exc}). The file is damaged: "
                "copy it again from where it was acquired."
            ) from exc


@dataclass(frozen=True)
class Png:
    """Pixels of a PNG, decoded whole when first needed; transparency is left out."""

    path: Path
    stamp: tuple[int, int]
    shape: tuple[int, ...]

    def read(self, region: Region) -> Array:
        return decoded.get((self.path, self.stamp, 0), self._decode)[region].copy()

    def _decode(self) -> Array:
        try:
            image = np.asarray(imagecodecs.png_decode(self.path.read_bytes()))
        except FileNotFoundError as exc:
            raise _changed(self.path) from exc
        except Exception as exc:
            raise ImageError(
                f"{self.path.name} cannot be decoded ({exc}). The file is damaged: copy it again."
            ) from exc
        n_colours = self.shape[2] if len(self.shape) == 3 else 1
        return image if image.ndim == 2 else image[..., :n_colours].reshape(self.shape)


@dataclass(frozen=True)
class InMemory:
    """Pixels of an array that the caller holds, lazy or not; never changed."""

    array: Any

    def read(self, region: Region) -> Array:
        return native(np.asarray(self.array[region]))


class DecodedCache:
    """The decoded arrays used last, as many as fit `limit` bytes (and always the newest one)."""

    def __init__(self, limit: int) -> None:
        self._limit, self._n_bytes = limit, 0
        self._arrays: OrderedDict[Hashable, Array] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Hashable, decode: Callable[[], Array]) -> Array:
        with self._lock:
            if key not in self._arrays:
                self._add(key, decode())
            self._arrays.move_to_end(key)
            return self._arrays[key]

    def _add(self, key: Hashable, array: Array) -> None:
        while self._arrays and self._n_bytes + array.nbytes > self._limit:
            self._n_bytes -= self._arrays.popitem(last=False)[1].nbytes
        self._arrays[key] = array
        self._n_bytes += array.nbytes


decoded = DecodedCache(_CACHE_BYTES)


@functools.lru_cache(maxsize=8)  # a long series costs a walk over its pages
def tiff_pages(path: Path, stamp: tuple[int, int]) -> list[Any]:
    """The pages of a TIFF's first series; `stamp` makes a changed file another file."""
    with tifffile.TiffFile(path) as tif:
        return list(tif.series[0].pages)


def _read_page(page: Any) -> Array:
    """Opens the page's file, which need not be the first of its series, for this page only."""
    file = page.parent.filehandle
    file.open()
    try:
        return np.asarray(page.asarray())
    finally:
        file.close()


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def page_shape(shape: tuple[int, ...], n_pixels: int) -> tuple[int, ...]:
    """The last axes of `shape` that together have a page's pixels, as few as do. Raises ValueError if none do."""
    for n_axes in range(1, len(shape) + 1):
        if math.prod(shape[-n_axes:]) == n_pixels:
            return shape[-n_axes:]
    raise ValueError(f"pages of {n_pixels} pixels do not make an array of {shape}")


def native(array: Array) -> Array:
    """A copy in the machine's byte order: torch takes no other."""
    return np.array(array, array.dtype.newbyteorder("="))


def _changed(path: Path) -> ImageError:
    return ImageError(
        f"{path.name} has vanished or changed since it was opened. Put it back, or start again without it."
    )
