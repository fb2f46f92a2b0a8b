"""Axes: which letter stands for which dimension of an array, and where an item lies in it.

Letters of ours: S sample (a position, a repeat, anything independent), T time, C channel, Z, Y, X. An item is what a
network takes, [C, *spatial]; its spatial axes are the last `n_dims` of ZYX, and every other axis but C counts items,
in the file's own order (the last such axis fastest).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.errors import AxesError

LETTERS = "STCZYX"
_COLOURS = 4  # an axis no longer than this may be RGB or RGBA

Array = NDArray[Any]


class Layout(NamedTuple):
    """The axes of an array and their lengths, both in the array's own order."""

    axes: str
    shape: tuple[int, ...]

    @property
    def n_channels(self) -> int:
        return self.length("C")

    def length(self, letter: str) -> int:
        """Pixels along an axis; an axis that is not there has one."""
        return self.shape[self.axes.index(letter)] if letter in self.axes else 1

    def item_axes(self, n_dims: int) -> str:
        return "".join(a for a in self.axes if a not in f"C{spatial_axes(n_dims)}")

    def n_items(self, n_dims: int) -> int:
        return math.prod(map(self.length, self.item_axes(n_dims)))

    def item_shape(self, n_dims: int) -> tuple[int, ...]:
        """(C, *spatial)."""
        return tuple(map(self.length, f"C{spatial_axes(n_dims)}"))

    def region(
        self,
        index: int,
        n_dims: int,
        start: Sequence[int] | None = None,
        size: Sequence[int] | None = None,
        channels: slice | None = None,
    ) -> tuple[slice, ...]:
        """One slice per axis of the array: item `index`, or the crop of it from `start` that is `size` long (spatial).

        channels: a range of them, all by default.

        Raises IndexError for an item that is not there, ValueError for a crop that sticks out.
        """
        n_items, extent = self.n_items(n_dims), self.item_shape(n_dims)[1:]
        if not 0 <= index < n_items:
            raise IndexError(f"item {index} of {n_items}")
        start = tuple(start or (0,) * n_dims)
        size = tuple(size or extent)
        if any(a < 0 or n < 1 or a + n > whole for a, n, whole in zip(start, size, extent, strict=True)):
            raise ValueError(f"crop {start} + {size} sticks out of an item of {extent}")
        counters = self.item_axes(n_dims)
        at = np.unravel_index(index, tuple(map(self.length, counters))) if counters else ()
        found = {"C": channels or slice(0, self.n_channels)}
        found |= {a: slice(int(i), int(i) + 1) for a, i in zip(counters, at, strict=True)}
        found |= {a: slice(i, i + n) for a, i, n in zip(spatial_axes(n_dims), start, size, strict=True)}
        return tuple(found[a] for a in self.axes)

    def to_item(self, block: Array, n_dims: int) -> Array:
        """[axes of the array, 1 along those that count items] -> [C, *spatial]."""
        counters = self.item_axes(n_dims)
        item = block.squeeze(tuple(self.axes.index(a) for a in counters))
        kept = [a for a in self.axes if a not in counters]
        if "C" not in kept:
            item, kept = item[None], ["C", *kept]
        return item.transpose([kept.index(a) for a in f"C{spatial_axes(n_dims)}"])

    def to_block(self, item: Array, n_dims: int) -> Array:
        """[C, *spatial] -> [axes of the array, 1 along those that count items]; the reverse of `to_item`."""
        own = f"C{spatial_axes(n_dims)}"
        if "C" not in self.axes:
            item, own = item[0], own[1:]
        counters = self.item_axes(n_dims)
        turned = item.transpose([own.index(a) for a in self.axes if a not in counters])
        return np.expand_dims(turned, tuple(self.axes.index(a) for a in counters))

    def with_channels(self, n_channels: int) -> "Layout":
        """The same array with another channel count; a new C axis goes before Y, where ImageJ and OME have it."""
        if "C" in self.axes:
            at = self.axes.index("C")
            return Layout(self.axes, (*self.shape[:at], n_channels, *self.shape[at + 1 :]))
        if n_channels == 1:
            return self
        at = min(self.axes.index(a) for a in "YX" if a in self.axes)
        return Layout(f"{self.axes[:at]}C{self.axes[at:]}", (*self.shape[:at], n_channels, *self.shape[at:]))


def spatial_axes(n_dims: int) -> str:
    """The axes that a network of `n_dims` dimensions sees: X, YX or ZYX."""
    return "ZYX"[3 - n_dims :]


def check_axes(name: str, shape: tuple[int, ...], given: str) -> str:
    """The letters of `given`, one for each axis of `shape`.

    Axes of length 1 may be left out; they get a letter that is still free. Raises AxesError for letters that are
    unknown or named twice, no X, or another number of letters than the shape has axes.
    """
    axes = given.upper()
    if unknown := [a for a in axes if a not in LETTERS]:
        raise AxesError(
            f"--axes {given!r} has the letter {unknown[0]!r}. "
            "Use S (sample), T (time), C (channel), Z, Y and X, one for each axis."
        )
    if len(set(axes)) < len(axes):
        raise AxesError(f"--axes {given!r} names an axis twice. Name each axis of {name}, shape {shape}, once.")
    if "X" not in axes:
        raise AxesError(f"--axes {given!r} has no X. {_proposal(shape)}")
    if len(axes) == len(shape):
        return axes
    long = [n > 1 for n in shape]
    if sum(long) == len(axes) < len(shape):
        named, spare = iter(axes), iter([a for a in LETTERS if a not in axes])
        return "".join(next(named) if is_long else next(spare) for is_long in long)
    raise AxesError(f"{name} has shape {shape}, but --axes {given!r} names {_count(axes)}. {_proposal(shape)}")


def translate(tiff_axes: str) -> str:
    """The letters of ours for those of tifffile: S is there a colour sample, and Q, I, R and the rest are sequences."""
    return "".join("C" if a == "S" else a if a in "TCZYX" else "S" for a in tiff_axes)


def guess_axes(name: str, shape: tuple[int, ...]) -> str:
    """Axes of an array that says nothing: an image, or a stack of independent images.

    Raises AxesError where a guess could well be wrong: four axes or more, or three of which the last may be colour.
    """
    if len(shape) <= 3 and not looks_like_colour(shape):
        return "SYX"[3 - len(shape) :]
    raise unsaid(name, shape)


def looks_like_colour(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[-1] <= _COLOURS < min(shape[:2])


def unsaid(name: str, shape: tuple[int, ...]) -> AxesError:
    return AxesError(f"{name} has shape {shape} and does not say which axis is which. {_proposal(shape)}")


def _count(axes: str) -> str:
    return f"{len(axes)} axis" if len(axes) == 1 else f"{len(axes)} axes"


def _proposal(shape: tuple[int, ...]) -> str:
    n = shape[0]
    match len(shape):
        case 1:
            return "For one line of pixels, use --axes X."
        case 2:
            return "For one image of one channel, use --axes YX."
        case 3 if looks_like_colour(shape):
            return f"For one image of {shape[-1]} channels, use --axes YXC; for a stack of {n} images, use --axes SYX."
        case 3 if n <= _COLOURS:
            return f"For a stack of {n} one-channel images, use --axes SYX; for {n} channels of one image, --axes CYX."
        case 3:
            return f"For a stack of {n} one-channel images, use --axes SYX."
        case 4 if n <= _COLOURS < shape[1]:
            return f"For {n} channels of {shape[1]} planes, use --axes CZYX; for {n} time points of them, --axes TZYX."
        case 4 if shape[1] <= _COLOURS:
            return f"For {n} images of {shape[1]} channels, use --axes SCYX; for {n} stacks, --axes SZYX."
        case 4:
            return f"For {n} time points of {shape[1]} planes, use --axes TZYX."
        case _:
            return "Use --axes with one letter of S (sample), T (time), C (channel), Z, Y, X for each axis."
