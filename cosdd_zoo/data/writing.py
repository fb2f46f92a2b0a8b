"""Results as TIFF: the axes, pixel size and metadata of the input, written block by block, in any order.

The file is laid out first, empty, beside its place; each block then goes to where its axes put it, so that memory holds
one block. The file gets its name once all blocks are there and it reads back as it should.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cosdd_zoo.data.axes import Array, Layout
from cosdd_zoo.data.beside import beside
from cosdd_zoo.data.finding import TIFF_SUFFIXES
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.journal import Block, Journal
from cosdd_zoo.data.pixels import stamp
from cosdd_zoo.data.tiff_plan import Plan, lay_out, pixels_begin, plan_of, verify
from cosdd_zoo.errors import CosddError, OutputError

Region = tuple[slice, ...]


class Rounded(NamedTuple):
    array: Array
    n_saturated: int


class Written(NamedTuple):
    path: Path
    n_saturated: int


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


class Canvas:
    """A laid-out file to write blocks into."""

    def __init__(self, file: BinaryIO, offset: int, plan: Plan, n_dims: int, journal: Journal) -> None:
        self.file, self.offset, self.plan, self.n_dims, self.journal = file, offset, plan, n_dims, journal
        journal.keep(self._is_on_the_disk)

    def has(self, number: int) -> bool:
        """Whether a block is there already, from a run that broke off."""
        return number in self.journal.blocks

    @property
    def n_saturated(self) -> int:
        return sum(block.n_saturated for block in self.journal.blocks.values())

    @property
    def n_missing(self) -> int:
        """Pixels that no block has brought."""
        layout = self.plan.layout
        n_channels = layout.n_channels
        brought = sum(n_channels * math.prod(block.size) for block in self.journal.blocks.values())
        return math.prod(layout.shape) - brought

    def write(self, number: int, index: int, start: Sequence[int], block: Array) -> None:
        """Puts [C, *size] of item `index` at `start`, rounded and saturated where the file holds integers."""
        rounded = to_dtype(block, self.plan.dtype)
        layout, size = self.plan.layout, block.shape[1:]
        region = layout.region(index, self.n_dims, start, size)
        data = layout.to_block(rounded.array, self.n_dims).astype(self.plan.dtype.newbyteorder("<"))
        crc = 0
        for place, at in self._runs(region):
            run = data[at].tobytes()
            self.file.seek(place)
            self.file.write(run)
            crc = zlib.crc32(run, crc)
        self.file.flush()
        self.journal.add(number, Block(index, tuple(start), tuple(size), crc, rounded.n_saturated))

    def _is_on_the_disk(self, block: Block) -> bool:
        region = self.plan.layout.region(block.item, self.n_dims, block.start, block.size)
        crc = 0
        n_bytes = self._run_bytes(region)
        for place, _ in self._runs(region):
            self.file.seek(place)
            crc = zlib.crc32(self.file.read(n_bytes), crc)
        return crc == block.crc

    def _runs(self, region: Region) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Where in the file each stretch of a region lies that is in one piece, and where in the block it stands."""
        shape, n_leading = self.plan.layout.shape, self._n_leading(region)
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        lengths = [s.stop - s.start for s in region[:n_leading]]
        first = sum(s.start * stride for s, stride in zip(region, strides, strict=True))
        for at in np.ndindex(*lengths):
            place = first + sum(i * stride for i, stride in zip(at, strides, strict=False))
            yield self.offset + place * self.plan.dtype.itemsize, at

    def _run_bytes(self, region: Region) -> int:
        n_pixels = math.prod(s.stop - s.start for s in region[self._n_leading(region) :])
        return int(n_pixels) * self.plan.dtype.itemsize

    def _n_leading(self, region: Region) -> int:
        """Axes before the one from which on a region lies in one piece: those behind that one are whole."""
        shape = self.plan.layout.shape
        n = len(shape) - 1
        while n > 0 and region[n] == slice(0, shape[n]):
            n -= 1
        return n


@contextmanager
def tiff_canvas(
    path: Path,
    like: ImageFile,
    n_dims: int,
    dtype: DTypeLike,
    n_channels: int | None = None,
    *,
    work: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[Canvas]:
    """An image like `like` to write into; it appears under `path` when the body ends and all is there.

    work: what the pixels depend on beside the input; then what an interruption or a full disk leaves stays beside the
    path, hidden, and `resume` goes on with it. After other errors, and without it, nothing stays.

    Raises OutputError if the file is there already, or cannot be written whole.
    """
    plan = plan_of(like, np.dtype(dtype), n_channels or like.n_channels)
    source = "" if like.path is None else f"{like.path.resolve()} {stamp(like.path)}"
    with beside(path, overwrite, keep=_can_be_gone_on_with if work is not None else None) as part:
        file_of_it = None if work is None else part.with_name(f"{part.name}.journal")
        journal = Journal(file_of_it, f"{work} {source} {plan}", resume and part.exists())
        try:
            if not journal.blocks:
                lay_out(part, plan, like)
            with part.open("rb+") as file:
                canvas = Canvas(file, pixels_begin(part), plan, n_dims, journal)
                yield canvas
            if canvas.n_missing:
                raise ValueError(f"{canvas.n_missing} pixels of {path.name} were not written: items are missing")
            verify(part, plan, path)
        except BaseException as error:
            if work is None or not _can_be_gone_on_with(error):
                journal.remove()
            raise
    journal.remove()


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
    with tiff_canvas(path, like, n_dims, dtype or like.dtype, n_channels, overwrite=overwrite) as canvas:
        for number, item in enumerate(items):
            _check_item(item, number + 1, canvas.plan.layout, n_dims)
            canvas.write(number, number, (0,) * n_dims, item)
    return Written(path, canvas.n_saturated)


def _can_be_gone_on_with(error: BaseException) -> bool:
    """An interruption, and a disk that can be freed; what a mistake left helps nobody."""
    return isinstance(error, OutputError) or not isinstance(error, (CosddError, ValueError, TypeError, AssertionError))


def _check_item(item: Array, number: int, layout: Layout, n_dims: int) -> None:
    if number > layout.n_items(n_dims) or item.shape != layout.item_shape(n_dims):
        raise ValueError(
            f"item {number} has shape {item.shape}; expected {layout.n_items(n_dims)} items of "
            f"{layout.item_shape(n_dims)}"
        )
