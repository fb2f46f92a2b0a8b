"""Results as TIFF: the axes, pixel size and metadata of the input, written block by block, in any order.

The file is laid out first, empty, beside its place; each block then goes to where its axes put it, so that memory holds
one block. The file gets its name once all blocks are there and it reads back as it should.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cosdd_zoo.data.axes import Array, Layout
from cosdd_zoo.data.beside import part_of, result_beside
from cosdd_zoo.data.canvas import Canvas, Finished, Form, Region
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.journal import Journal
from cosdd_zoo.data.ome_zarr import source_stamp
from cosdd_zoo.data.tiff_plan import Plan, compress, lay_out, pixels_begin, plan_of, verify
from cosdd_zoo.errors import CosddError, OutputError


class Written(NamedTuple):
    path: Path
    n_saturated: int


class TiffCanvas(Canvas):
    """A laid-out file, uncompressed."""

    def __init__(self, file: BinaryIO, offset: int, plan: Plan, n_dims: int, journal: Journal) -> None:
        super().__init__(plan.turned, plan.dtype, n_dims, journal)
        self.file, self.offset, self.plan = file, offset, plan

    def _put(self, region: Region, data: Array, crc: int) -> int:
        stored = data.astype(self.dtype.newbyteorder("<"))
        for place, at in self._runs(region):
            run = stored[at].tobytes()
            self.file.seek(place)
            self.file.write(run)
            crc = zlib.crc32(run, crc)
        self.file.flush()
        return crc

    def _crc(self, region: Region, crc: int) -> int:
        n_bytes = self._run_bytes(region)
        for place, _ in self._runs(region):
            self.file.seek(place)
            crc = zlib.crc32(self.file.read(n_bytes), crc)
        return crc

    def _runs(self, region: Region) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Where in the file each stretch of a region lies that is in one piece, and where in the block it stands."""
        shape, n_leading = self.layout.shape, self._n_leading(region)
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        lengths = [s.stop - s.start for s in region[:n_leading]]
        first = sum(s.start * stride for s, stride in zip(region, strides, strict=True))
        for at in np.ndindex(*lengths):
            place = first + sum(i * stride for i, stride in zip(at, strides, strict=False))
            yield self.offset + place * self.dtype.itemsize, at

    def _run_bytes(self, region: Region) -> int:
        n_pixels = math.prod(s.stop - s.start for s in region[self._n_leading(region) :])
        return int(n_pixels) * self.dtype.itemsize

    def _n_leading(self, region: Region) -> int:
        """Axes before the one from which on a region lies in one piece: those behind that one are whole."""
        shape = self.layout.shape
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
    form: Form = Form(),  # noqa: B008  # it cannot be changed
    *,
    work: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[Canvas]:
    """An image like `like` to write into; it appears under `path` when the body ends and all is there.

    work: what the pixels depend on beside the input; then what an interruption or a full disk leaves stays beside the
    path, hidden, and `resume` goes on with it. After other errors, and without it, nothing stays. The journal stays
    until `forget`, so that a result whose finishing nobody was told of is known again.

    Raises OutputError if the file is there already, or cannot be written whole.
    """
    plan = plan_of(like, np.dtype(dtype), form)
    key = key_of(work, like, plan)
    if resume and (done := finished(path, key)) and done.n_pixels == math.prod(plan.layout.shape):
        yield Finished(plan.turned, plan.dtype, n_dims, done)
        return
    with result_beside(path, overwrite, keep=can_be_gone_on_with if work is not None else None) as result:
        journal = Journal(journal_of(path, work), key, resume and result.part.exists())
        try:
            if not journal.resume:
                lay_out(result.part, plan, like)
            with result.part.open("rb+") as file:
                canvas = TiffCanvas(file, pixels_begin(result.part), plan, n_dims, journal)
                journal.keep(canvas.holds)
                yield canvas
            check_whole(canvas, path)
            verify(result.part, plan, path)
            if form.compression not in ("default", "none"):
                result.finished = part_of(path).with_name(f"{part_of(path).name}.compressed")
                compress(result.part, plan, like, result.finished)
                verify(result.finished, plan, path)
        except BaseException as error:
            if work is None or not can_be_gone_on_with(error):
                journal.remove()
            raise


def finished(path: Path, key: str) -> Journal | None:
    """The journal of a result that has its name already, if it is of this work and there is nothing left to write."""
    journal = Journal(journal_of(path, ""), key, path.exists() and not part_of(path).exists())
    if not journal.resume:
        return None
    journal.keep(lambda block: True)
    return journal


def forget(path: Path) -> None:
    """Removes the journal of a finished result."""
    if journal := journal_of(path, ""):
        journal.unlink(missing_ok=True)


def key_of(work: str | None, like: ImageFile, plan: NamedTuple) -> str:
    """What a journal's blocks depend on."""
    source = "" if like.path is None else f"{like.path.resolve()} {source_stamp(like.path)}"
    return f"{work} {source} {plan}"


def journal_of(path: Path, work: str | None) -> Path | None:
    return None if work is None else path.with_name(f"{part_of(path).name}.journal")


def check_whole(canvas: Canvas, path: Path) -> None:
    if canvas.n_missing:
        raise ValueError(f"{canvas.n_missing} pixels of {path.name} were not written: items are missing")


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
    form = Form(n_channels=n_channels)
    with tiff_canvas(path, like, n_dims, dtype or like.dtype, form, overwrite=overwrite) as canvas:
        for number, item in enumerate(items):
            _check_item(item, number + 1, canvas.axes.source, n_dims)
            canvas.write(number, number, (0,) * n_dims, item)
    return Written(path, canvas.n_saturated)


def can_be_gone_on_with(error: BaseException) -> bool:
    """An interruption, and a disk that can be freed; what a mistake left helps nobody."""
    return isinstance(error, OutputError) or not isinstance(error, (CosddError, ValueError, TypeError, AssertionError))


def _check_item(item: Array, number: int, layout: Layout, n_dims: int) -> None:
    if number > layout.n_items(n_dims) or item.shape != layout.item_shape(n_dims):
        raise ValueError(
            f"item {number} has shape {item.shape}; expected {layout.n_items(n_dims)} items of "
            f"{layout.item_shape(n_dims)}"
        )
