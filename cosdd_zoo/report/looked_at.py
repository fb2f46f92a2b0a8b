"""What a report looks at: pieces of images, spread over them, and what belongs to each: a reference, or a second frame.

Letters: C channels, * spatial axes of an item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.images import ImageFile, check_finite
from cosdd_zoo.data.matching import matched
from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.devices import found_device
from cosdd_zoo.errors import ImageError
from cosdd_zoo.noise.frames import LEAST_PX
from cosdd_zoo.noise.inspection import Noise, noise_of
from cosdd_zoo.noise.lines import error_of_mean

Floats = NDArray[np.float64]
DEPTH_PX = 24
LARGE_FEATURES = 48
"""Feature maps from which on less is looked at on a CPU, or a report would take the better part of an hour."""
SURROUNDINGS_PX = 8.0
SAME = 0.85
"""Of the fine structure's variance, how much two frames share that show the same thing."""
SAME_SCALE = 0.1
STRUCTURE = 0.3
"""Of the noise's variance, how much fine structure there must be to tell."""


class Amount(NamedTuple):
    """How much is looked at."""

    n_items: int = 3
    side_px: int = 512
    n_samples: int = 32


class Item(NamedTuple):
    """A piece of an image to look at: [C, *] each."""

    x: Floats
    reference: Floats | None
    repeat: Floats | None
    follows: bool
    name: str


def items_of(
    images: Sequence[ImageFile],
    references: Sequence[ImageFile],
    repeats: Sequence[ImageFile],
    n_dims: int,
    amount: Amount,
) -> list[Item]:
    """Items that are spread over the images, the middle of large ones, with what belongs to them.

    references, repeats: as many as images, or none, matched by name; one frame serves all frames of its image.
    Raises ImageError for lines, for images that are too small, and for those that do not belong together.
    """
    if n_dims == 1:
        raise ImageError("A report is of images, and this model is of lines: look at its results themselves.")
    references = matched(images, references, "references") if references else []
    repeats = matched(images, repeats, "repeats") if repeats else []
    places = chosen_places(images, n_dims, amount.n_items)
    out: list[Item] = []
    limits = [DEPTH_PX, amount.side_px, amount.side_px][-n_dims:]
    shapes = [images[k].item_shape(n_dims)[1:] for k, _ in places]
    size = [min(limit, *along) for limit, *along in zip(limits, *shapes, strict=True)]
    for n, (k, i) in enumerate(places):
        image, shape = images[k], images[k].item_shape(n_dims)
        if min(shape[-2:]) < LEAST_PX:
            raise ImageError(
                f"{image.name} is {shape[-2]} x {shape[-1]} px: a report needs {LEAST_PX} px along y and x. Give "
                "larger images, or name the axes with --axes."
            )
        start = [(m - s) // 2 for m, s in zip(shape[1:], size, strict=True)]
        beside = [_same(own[k], image, i, n_dims, start, size) if own else None for own in (references, repeats)]
        follows = n > 0 and places[n - 1] == (k, i - 1)
        out.append(Item(_read(image, i, n_dims, start, size), beside[0], beside[1], follows, image.name))
    return out


def chosen_places(images: Sequence[ImageFile], n_dims: int, n_items: int) -> list[tuple[int, int]]:
    """Numbers of image and item, spread over all."""
    places = [(k, i) for k, image in enumerate(images) for i in range(image.n_items(n_dims))]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(n_items, len(places))).round().astype(int))
    return [places[at] for at in chosen]


def _read(image: ImageFile, index: int, n_dims: int, start: Sequence[int], size: Sequence[int]) -> Floats:
    x = image.read_crop(index, n_dims, start, size).astype(np.float64)
    check_finite(x, image.name)
    return x


def _same(other: ImageFile, image: ImageFile, index: int, n_dims: int, start: list[int], size: list[int]) -> Floats:
    ours, theirs, n = image.item_shape(n_dims), other.item_shape(n_dims), other.n_items(n_dims)
    if ours != theirs or n not in (1, image.n_items(n_dims)):
        raise ImageError(
            f"{other.name} has {n} frames of {theirs} (channels and axes), and {image.name} "
            f"{image.n_items(n_dims)} of {ours}: give one of the same shape, or one frame for all."
        )
    return _read(other, index if n > 1 else 0, n_dims, start, size)


def planes(x: Floats, noise_axis: str) -> Floats:
    """[*] -> [P, Y, X], of which one is the noise axis: z takes the place of y."""
    if x.ndim == 2:
        return x[None]
    return x.transpose(1, 0, 2) if noise_axis == "z" else x


def axis_in_planes(noise_axis: str) -> str:
    return "y" if noise_axis == "z" else noise_axis


def check_channels(items: Sequence[Item], n_channels: int) -> None:
    """Raises ImageError for images of other channels than the model's."""
    for item in items:
        if len(item.x) != n_channels:
            raise ImageError(
                f"{item.name} has {len(item.x)} channels, but the model was trained on {n_channels}: give images like "
                "those of the training, or name the axes with --axes."
            )


def noise_in(items: Sequence[Item], c: int, noise_axis: str) -> Noise:
    """The noise of one channel, as `inspect` finds it. Raises ImageError where there is none, or too few planes."""
    several = [planes(item.x[c], noise_axis) for item in items]
    if min(several[0].shape[1:]) < LEAST_PX:
        raise ImageError(
            f"{items[0].name} has {several[0].shape[1]} planes along z, the model's noise axis: {LEAST_PX} are needed "
            "to tell its noise. Look at a deeper stack."
        )
    follows = [item.follows and k == 0 for item, own in zip(items, several, strict=True) for k in range(len(own))]
    return noise_of([plane for own in several for plane in own], follows)


def on_scale(items: Sequence[Item], noise_axis: str = "x") -> tuple[list[Item], list[tuple[float, float]]]:
    """References on the scale of the noisy images, and for each channel the a and b of a s + b that bring them there.

    They are those of least squares where a reference was taken with another exposure, and 1 and 0 where it was not: a
    slope within 0.1 of 1 or three standard errors, and a mean as near, are chance. Pixels of one line go together.
    """
    if any(item.reference is None for item in items):
        return list(items), []
    fits: list[tuple[float, float]] = []
    for c in range(len(items[0].x)):
        x = np.concatenate([item.x[c].ravel() for item in items])
        s = np.concatenate([item.reference[c].ravel() for item in items if item.reference is not None])
        square = float(np.var(s))
        a = float(np.mean((s - s.mean()) * (x - x.mean()))) / square if square > 0 else 1.0
        left, centred = x - s - float(np.mean(x - s)), s - s.mean()
        lines = np.concatenate([_lines(item.x[c].shape, noise_axis, n) for n, item in enumerate(items)])
        of_slope = error_of_mean(left * centred, lines) / max(square, 1e-300)
        is_same = abs(a - 1) < max(SAME_SCALE, 3 * of_slope)
        off = abs(float(x.mean() - s.mean()))
        is_same &= off < max(SAME_SCALE * math.sqrt(square), 3 * error_of_mean(left, lines))
        fits.append((1.0, 0.0) if is_same or a <= 0 else (a, float(x.mean() - a * s.mean())))
    scaled = []
    for item in items:
        assert item.reference is not None
        parts = [a * s + b for (a, b), s in zip(fits, item.reference, strict=True)]
        scaled.append(item._replace(reference=np.stack(parts)))
    return scaled, fits


def _lines(shape: tuple[int, ...], noise_axis: str, item: int) -> NDArray[np.int64]:
    """The number of each pixel's line along the noise axis, of an item [*], flat; rows where there is none."""
    along = "zyx"[-len(shape) :].index(noise_axis if noise_axis != "none" else "x")
    own = np.indices(shape)
    others = [own[a] for a in range(len(shape)) if a != along]
    number = others[0] if len(others) == 1 else others[0] * max(shape) + others[1]
    return np.asarray(number.ravel() + item * 2 * max(shape) ** 2)


def usual_amount(n_features: int, device: str) -> Amount:
    """How much is looked at unless it is said."""
    slow = n_features >= LARGE_FEATURES and found_device(device) == "cpu"
    return Amount(n_items=1, side_px=256, n_samples=16) if slow else Amount()


def repeats_in(images: Sequence[ImageFile], n_dims: int, amount: Amount) -> list[Item]:
    """Items with the next frame as their repeat, where that shows the same thing; none where one does not.

    Told by the fine structure, what is left without the surroundings' brightness: its covariance with the next frame's
    over its own variance less that of the noise.
    """
    if any(image.n_items(n_dims) < 2 or (n_dims == 2 and "Z" in image.axes) for image in images):
        return []  # the next plane of a stack is another depth
    out = []
    places = chosen_places(images, n_dims, amount.n_items)
    for item, (k, i) in zip(items_of(images, (), (), n_dims, amount), places, strict=True):
        image = images[k]
        beside = i + 1 if i + 1 < image.n_items(n_dims) else i - 1
        shape = image.item_shape(n_dims)[1:]
        start = [(m - s) // 2 for m, s in zip(shape, item.x.shape[1:], strict=True)]
        other = image.read_crop(beside, n_dims, start, item.x.shape[1:]).astype(np.float64)
        if not np.isfinite(other).all() or not all(_is_same(a, b) for a, b in zip(item.x, other, strict=True)):
            return []
        out.append(item._replace(repeat=other))
    return out


def _is_same(x: Any, other: Any) -> bool:
    a, b = (v.reshape(-1, *v.shape[-2:]) for v in (x, other))
    try:
        noise = noise_of(list(a), [False] * len(a))
    except ImageError:
        return False
    fine, fine_other = (v - np.stack([gaussian_blur(p, SURROUNDINGS_PX) for p in v]) for v in (a, b))
    variance = float(noise.levels.at(a).mean())
    structure = float(fine.var()) - variance
    return structure > STRUCTURE * variance and float(np.mean(fine * fine_other)) > SAME * structure
