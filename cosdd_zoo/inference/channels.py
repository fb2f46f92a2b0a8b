"""Which channels of an image a model denoises, which are copied, and where each stands in the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cosdd_zoo.data.channels import chosen_channels, count, named_channels
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.errors import ImageError


class Group(NamedTuple):
    """Channels that go through the model together, or are copied."""

    source: tuple[int, ...]  # of the image, from 0
    target: tuple[int, ...]  # of the result
    copied: bool = False


def groups_of(
    image: ImageFile, n_channels: int, chosen: str | None, drop: bool, trained_on: Sequence[str] = ()
) -> list[Group]:
    """How the channels of an image meet a model of n_channels.

    chosen: names or numbers from 0, separated by commas; None: all, which must be as many as the model has, or else
    those named as the ones that it was trained on. A model of one channel denoises each of several on its own. drop:
    leave the other channels out of the result.

    Raises ImageError for a channel that is not there, or a number of them that does not fit.
    """
    names = [channel.name for channel in image.described().channels] if image.n_channels != n_channels else []
    wanted = [names.index(name) for name in trained_on] if all(names.count(name) == 1 for name in trained_on) else []
    if chosen is None and not wanted:
        if image.n_channels != n_channels:
            raise ImageError(
                f"{image.name} has {count(image.n_channels)}{named_channels(image)} (axes {image.axes}, shape "
                f"{image.shape}), but the model was trained on {n_channels}. Choose them with --channels, by name or "
                "number from 0, or name the axes with --axes."
            )
        everything = tuple(range(n_channels))
        return [Group(everything, everything)]
    wanted = chosen_channels(image, chosen) if chosen is not None else wanted
    if n_channels not in (1, len(wanted)):
        raise ImageError(
            f"--channels {chosen or trained_on!r} names {count(len(wanted))}, but the model was trained on "
            f"{n_channels}: name as many, in the order of the training."
        )
    parts = [wanted[i : i + n_channels] for i in range(0, len(wanted), n_channels)]
    if drop:
        place = {c: i for i, c in enumerate(wanted)}
        return [Group(tuple(part), tuple(place[c] for c in part)) for part in parts]
    others = [c for c in range(image.n_channels) if c not in wanted]
    denoised = [Group(tuple(part), tuple(part)) for part in parts]
    return [*denoised, *(Group((c,), (c,), copied=True) for c in others)]


def kept_channels(groups: Sequence[Group]) -> tuple[int, ...]:
    """The image's channels that the result holds, in the result's order."""
    pairs = sorted((t, s) for g in groups for s, t in zip(g.source, g.target, strict=True))
    return tuple(s for _, s in pairs)
