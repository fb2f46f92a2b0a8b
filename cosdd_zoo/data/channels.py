"""Channels by name or number, and an image of which only some are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.metadata import Metadata
from cosdd_zoo.data.pixels import Pixels, Region
from cosdd_zoo.errors import ImageError


def chosen_channels(image: ImageFile, chosen: str) -> list[int]:
    """The numbers, from 0, of channels by their names or numbers, separated by commas, in that order.

    Raises ImageError for a channel that is not there or named twice.
    """
    found = [_index(image, part.strip()) for part in chosen.split(",")]
    if len(set(found)) < len(found):
        raise ImageError(f"--channels {chosen!r} names a channel twice. Name each one once.")
    return found


def of_channels(image: ImageFile, chosen: str | None) -> ImageFile:
    """The same image with some of its channels alone, in the order in which they are named; None: all."""
    if chosen is None:
        return image
    channels = tuple(chosen_channels(image, chosen))
    if "C" not in image.axes:  # the only one there is
        return image
    axis = image.axes.index("C")
    return replace(
        image,
        layout=image.layout.with_channels(len(channels)),
        pixels=Some(image.pixels, axis, channels),
        described=Described(image.described, channels),
        chunks=(*image.chunks[:axis], 1, *image.chunks[axis + 1 :]) if image.chunks else (),
    )


@dataclass(frozen=True)
class Some:
    """Pixels of some channels."""

    pixels: Pixels
    axis: int
    channels: tuple[int, ...]

    def read(self, region: Region) -> Array:
        wanted = self.channels[region[self.axis]]
        first, last = min(wanted), max(wanted) + 1
        block = self.pixels.read((*region[: self.axis], slice(first, last), *region[self.axis + 1 :]))
        return np.take(block, [c - first for c in wanted], self.axis)


@dataclass(frozen=True)
class Described:
    """What is said of some channels."""

    of_all: Callable[[], Metadata]
    channels: tuple[int, ...]

    def __call__(self) -> Metadata:
        return self.of_all().of_channels(self.channels)


def numbers_of(image: ImageFile) -> tuple[int, ...]:
    """The numbers that its channels have in the file, where some were chosen."""
    return image.pixels.channels if isinstance(image.pixels, Some) else tuple(range(image.n_channels))


def named_channels(image: ImageFile) -> str:
    """The channels' names in brackets, for a sentence; nothing where they have none."""
    names = [channel.name for channel in image.described().channels if channel.name]
    return f" ({', '.join(names)})" if names else ""


def count(n: int) -> str:
    return f"{n} channel" if n == 1 else f"{n} channels"


def _index(image: ImageFile, said: str) -> int:
    names = [channel.name for channel in image.described().channels]
    if said in names:
        return names.index(said)
    if said.isdigit() and int(said) < image.n_channels:
        return int(said)
    lowered = [name.lower() for name in names]
    if lowered.count(said.lower()) == 1:
        return lowered.index(said.lower())
    raise ImageError(
        f"{image.name} has no channel {said!r}: it has {count(image.n_channels)}{named_channels(image)}, numbered from "
        "0. Choose others with --channels."
    )
