"""A result that is laid out before a pixel is known, and then written block by block, in any order.

Memory holds one block. What is written is in a journal (data.journal), from which a run that was killed goes on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cosdd_zoo.data.axes import Array, Layout
from cosdd_zoo.data.journal import Block, Journal
from cosdd_zoo.errors import ImageError

Format = Literal["same", "tiff", "ome-tiff", "ome-zarr"]
Compression = Literal["default", "none", "zlib", "zstd", "lzw"]
Region = tuple[slice, ...]


class Form(NamedTuple):
    """How a result is stored."""

    format: Format = "same"
    compression: Compression = "default"
    channels: tuple[int, ...] | None = None
    """Those of the input that the result holds, in order; None: other ones, or as many as are asked for."""
    n_channels: int | None = None
    same_values: bool = True
    """Grey values of the input's kind, so that its display range holds; a standard deviation's is another."""


class Rounded(NamedTuple):
    array: Array
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
    # compared in float64 and written by mask: float32 has no 2**32 - 1, so that clipping would overflow
    exact = rounded.astype(np.float64) if rounded.dtype.kind == "f" else rounded
    below, above = exact < low, exact > high
    out = np.where(below | above, 0, rounded).astype(target)
    out[below], out[above] = low, high
    return Rounded(out, int(below.sum() + above.sum()))


class Turned(NamedTuple):
    """From the axes of the input, whose items are counted, to those of the result."""

    source: Layout
    layout: Layout
    order: tuple[int, ...]  # for each axis of the result, which one of the source it is

    def block(self, item: Array, n_dims: int) -> Array:
        """[C, *] -> [axes of the result]."""
        return self.source.to_block(item, n_dims).transpose(self.order)

    def region(self, index: int, n_dims: int, start: Sequence[int], size: Sequence[int], channels: slice) -> Region:
        found = self.source.region(index, n_dims, start, size, channels)
        return tuple(found[i] for i in self.order)


def unturned(layout: Layout) -> Turned:
    return Turned(layout, layout, tuple(range(len(layout.axes))))


def turned(source: Layout, order: str, name: str) -> Turned:
    """The axes in an order of letters, as formats want it that know T, C, Z, Y and X alone: a sample (S) becomes a time
    point or, beside time, a depth, and an image of lines gets an axis Y.

    Raises ImageError where the samples find no letter that is free.
    """
    if "Y" not in source.axes:
        at = source.axes.index("X")
        source = Layout(f"{source.axes[:at]}Y{source.axes[at:]}", (*source.shape[:at], 1, *source.shape[at:]))
    named = source.axes
    if "S" in named:
        free = [a for a in "TZ" if a not in named]
        if not free:
            raise ImageError(
                f"{name} has axes {named}: samples beside time and depth have no place in this format. Leave out "
                "--format, or save each sample as a file."
            )
        named = named.replace("S", free[0])
    axes = "".join(a for a in order if a in named)
    places = tuple(named.index(a) for a in axes)
    return Turned(source, Layout(axes, tuple(source.shape[i] for i in places)), places)


class Canvas(ABC):
    """A result to write blocks into."""

    def __init__(self, axes: Turned, dtype: np.dtype[Any], n_dims: int, journal: Journal) -> None:
        self.axes, self.dtype, self.n_dims, self.journal = axes, dtype, n_dims, journal

    @property
    def layout(self) -> Layout:
        return self.axes.layout

    def has(self, number: int) -> bool:
        """Whether a block is there already, from a run that broke off."""
        return number in self.journal.done

    @property
    def n_saturated(self) -> int:
        return self.journal.n_saturated

    @property
    def n_missing(self) -> int:
        """Pixels that no block has brought."""
        return math.prod(self.layout.shape) - self.journal.n_pixels

    def write(
        self,
        number: int,
        index: int,
        start: Sequence[int],
        block: Array,
        channels: Sequence[int] | None = None,
        n_samples: float = 0,
    ) -> None:
        """Puts [C, *size] of item `index` at `start`, rounded and saturated where the result holds integers.

        channels: those of the result, all by default. n_samples: that were drawn for it, for the journal.
        """
        self.journal.add(number, self.put(index, start, block, channels, n_samples))

    def put(
        self,
        index: int,
        start: Sequence[int],
        block: Array,
        channels: Sequence[int] | None = None,
        n_samples: float = 0,
    ) -> Block:
        """As `write`, but for the journal."""
        rounded = to_dtype(block, self.dtype)
        chosen = tuple(channels if channels is not None else range(self.axes.source.n_channels))
        place, done, crc = (tuple(start), tuple(block.shape[1:])), 0, 0
        for run in _runs(chosen):
            region = self.axes.region(index, self.n_dims, *place, run)
            part = rounded.array[done : done + run.stop - run.start]
            crc = self._put(region, self.axes.block(part, self.n_dims), crc)
            done += len(part)
        return Block(index, chosen, *place, crc, rounded.n_saturated, n_samples)

    def holds(self, block: Block) -> bool:
        """Whether a block is on the disk as it was written."""
        crc = 0
        for run in _runs(block.channels):
            crc = self._crc(self.axes.region(block.item, self.n_dims, block.start, block.size, run), crc)
        return crc == block.crc

    def note(self, facts: dict[str, Any]) -> None:
        """Keeps facts of the run with the image, where its format has a place for them."""
        return None

    @abstractmethod
    def _put(self, region: Region, data: Array, crc: int) -> int:
        """Writes a region; returns the checksum of what is stored, going on from `crc`."""

    @abstractmethod
    def _crc(self, region: Region, crc: int) -> int:
        """The checksum of a region on the disk, going on from `crc`."""


class Finished(Canvas):
    """A result that has its name already, from a run that was killed before anybody was told."""

    def write(self, *_: Any) -> None:
        """Nothing: it is there."""

    def _put(self, region: Region, data: Array, crc: int) -> int:
        raise ValueError("a finished result is not written to")

    def _crc(self, region: Region, crc: int) -> int:
        raise ValueError("a finished result is not checked again")


def _runs(channels: Sequence[int]) -> list[slice]:
    """Channels that follow one another, together."""
    runs: list[slice] = []
    for c in channels:
        if runs and runs[-1].stop == c:
            runs[-1] = slice(runs[-1].start, c + 1)
        else:
            runs.append(slice(c, c + 1))
    return runs
