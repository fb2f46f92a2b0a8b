"""Which image belongs to which: the result to its reference, the noisy image to its truth."""

from __future__ import annotations

from collections.abc import Sequence

from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.errors import ImageError

SUFFIXES = ("_denoised", "_noisy", "_raw", "_low", "_gt", "_truth", "_clean", "_high")
"""Ends of names that say what an image is, and not which."""


def matched(images: Sequence[ImageFile], others: Sequence[ImageFile], what: str) -> list[ImageFile]:
    """For each of the images its own of the others, `what` they are: that of its name (NAME_denoised has that of NAME)
    if there is such a one for each, else all in order.

    Raises ImageError where counts differ, or where some have one of their name and others do not.
    """
    if len(others) != len(images):
        raise ImageError(f"There are {len(images)} images and {len(others)} {what}: give one for each image.")
    named = {stem_of(other.name): other for other in others}
    stems = [stem_of(image.name) for image in images]
    if len(named) < len(others) or len(set(stems)) < len(stems) or not any(stem in named for stem in stems):
        return list(others)
    alone = [image.name for image, stem in zip(images, stems, strict=True) if stem not in named]
    if alone:
        raise ImageError(
            f"{alone[0]} has none of its name among the {what}, while other images have: give each the name of its "
            "image, or none of them."
        )
    return [named[stem] for stem in stems]


def stem_of(name: str) -> str:
    """The name without what only says of which kind it is."""
    stem = name
    while "." in stem:
        stem = stem.rsplit(".", 1)[0]
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem
