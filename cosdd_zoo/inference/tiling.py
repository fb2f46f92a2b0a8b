"""Windows: how an image that is too large at once is cut, so that the pieces fit together without a seam.

    inner   the pixels that a window is responsible for: a partition of the image
    outer   inner and a halo of context around it, cut off at the image's edge

Outer windows begin on the grid of the model's coarsest level, so that a pixel meets the same downsampling and the same
latent noise in a window as in the whole image. Plain integer lists: the same code runs in Python and in TorchScript.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def n_windows(size: list[int], inner: list[int]) -> int:
    """How many windows cover an image of this size."""
    n = 1
    for axis in range(len(size)):
        n *= (size[axis] + inner[axis] - 1) // inner[axis]
    return n


def window(index: int, size: list[int], inner: list[int], halo: list[int]) -> list[list[int]]:
    """One window, [inner start, inner stop, outer start, outer stop] of each axis, in px; the last axis fastest.

    inner and halo must be divisible by the model's stride along each axis.
    """
    bounds: list[list[int]] = []
    for back in range(len(size)):
        axis = len(size) - 1 - back
        n = (size[axis] + inner[axis] - 1) // inner[axis]
        start = (index % n) * inner[axis]
        stop = min(start + inner[axis], size[axis])
        index = index // n
        bounds.insert(0, [start, stop, max(start - halo[axis], 0), min(stop + halo[axis], size[axis])])
    return bounds


def round_up(length: int, step: int) -> int:
    """The smallest multiple of step that is not below length."""
    return (length + step - 1) // step * step


class Cuts(Sequence[list[list[int]]]):
    """The windows of an image as a sequence that takes no memory, however many they are."""

    def __init__(self, size: Sequence[int], inner: Sequence[int], halo: Sequence[int]) -> None:
        self.size, self.inner, self.halo = list(size), list(inner), list(halo)

    def __len__(self) -> int:
        return n_windows(self.size, self.inner)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return window(int(index), self.size, self.inner, self.halo)
