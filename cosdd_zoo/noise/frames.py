"""The frames that an inspection looks at: spread over the images, without what would be taken for noise or hide it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cosdd_zoo.data.images import ImageFile, check_finite
from cosdd_zoo.data.outliers import standing_out, threshold
from cosdd_zoo.errors import ImageError
from cosdd_zoo.noise.lines import BLOCK_PX, ORDER, Floats
from cosdd_zoo.noise.traces import Pixels

N_FRAMES = 12
"""Frames of one channel; of several channels fewer, but not below LEAST_FRAMES."""
LEAST_FRAMES = 4
SIDE_PX = 1024
LEAST_PX = BLOCK_PX + ORDER + 1


class Frame(NamedTuple):
    pixels: NDArray[Any]  # [C, Y, X], as they are in the file
    follows: bool  # directly the one before it, in the same image and place


def frames_of(images: Sequence[ImageFile], n_frames: int | None = None) -> list[Frame]:
    """Frames that are spread over the images, in pairs of consecutive ones where there are more than `n_frames`; of
    large ones the middle. Raises ImageError for NaN or infinite pixels and for images without y, or too small.
    """
    if n_frames is None:
        n_frames = max(LEAST_FRAMES, N_FRAMES // images[0].n_channels)
    items = [(k, i) for k, image in enumerate(images) for i in range(image.n_items(2))]
    if len(items) <= n_frames:
        chosen = list(range(len(items)))
    else:
        starts = np.linspace(0, len(items) - 2, n_frames // 2).astype(int)
        chosen = sorted({int(s) + k for s in starts for k in (0, 1)})
    out: list[Frame] = []
    for n, at in enumerate(chosen):
        k, i = items[at]
        image = images[k]
        shape = image.item_shape(2)[1:]
        if min(shape) < LEAST_PX:
            raise ImageError(
                f"{image.name} is {shape[0]} x {shape[1]} px: its noise cannot be told from so few pixels. Give images "
                f"of at least {LEAST_PX} px along y and x, or name the axes with --axes."
            )
        size = [min(n_px, SIDE_PX) for n_px in shape]
        x = image.read_crop(i, 2, [(a - b) // 2 for a, b in zip(shape, size, strict=True)], size)
        check_finite(x, image.name)
        follows = n > 0 and chosen[n - 1] == at - 1 and items[at - 1][0] == k
        out.append(Frame(x, follows))
    return out


def told_apart(frames: Sequence[NDArray[Any]], follows: Sequence[bool]) -> tuple[list[NDArray[Any]], list[bool]]:
    """Without constant frames, exact copies of the one before, and borders that are constant in all frames.

    Raises ValueError where nothing is left.
    """
    kept: list[NDArray[Any]] = []
    is_next: list[bool] = []
    broken = False
    for frame, does in zip(frames, follows, strict=True):
        if frame.min() == frame.max() or (does and kept and np.array_equal(frame, kept[-1])):
            broken = True  # what comes then follows on nothing
            continue
        kept.append(frame)
        is_next.append(does and not broken and len(kept) > 1)
        broken = False
    if not kept:
        raise ValueError("they are constant")
    if len({frame.shape for frame in kept}) == 1:
        box = tuple(_varying(np.any([f != f.flat[0] for f in kept], axis=0).any(axis=1 - a)) for a in (0, 1))
        cut = [f[box] for f in kept]
        kept = cut if min(cut[0].shape) >= LEAST_PX else kept
    return kept, is_next


def _varying(is_seen: NDArray[np.bool_]) -> slice:
    where = np.flatnonzero(is_seen)
    return slice(int(where[0]), int(where[-1]) + 1)


def mended_of(frames: Sequence[NDArray[Any]], pixels: Pixels) -> tuple[list[Floats], list[NDArray[np.bool_]], int]:
    """Frames without broken pixels and hits, where pixels are clipped, and the number of broken ones."""
    mended, clipped, n_broken = [], [], 0
    low, high = np.quantile(np.concatenate([f.ravel()[:: max(1, f.size // 2**18)] for f in frames]), [0.001, 0.999])
    far = float(high) - float(low) if high > low else np.inf  # a hit of several pixels would turn any line
    for frame in frames:
        x = frame.astype(np.float64)
        at_end = np.zeros(x.shape, bool)
        at_end |= (x == pixels.low) if pixels.low_share else False
        at_end |= (x == pixels.high) if pixels.high_share else False
        out = standing_out(torch.from_numpy(x)[None, None])[0, 0].numpy()
        broken = np.abs(out) > threshold(out)
        n_broken += int(broken.sum())
        mended.append(np.clip(np.where(broken, x - out, x), float(low) - far, float(high) + far))
        clipped.append(at_end)
    return mended, clipped, n_broken
