"""How far the cut edge of a tile is felt: what the halo in rdf.yaml is worth.

    e(d) = max | f(x[.. : c])_i - f(x)_i |  over pixels i at a distance of d px from the cut c,  in std of f(x)

A program that cuts tiles takes `halo` pixels more on each side and throws them away again; what is left differs from
the whole image's result by e(d) with d >= halo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

GRID_PX = {"z": 16, "y": 128, "x": 128}
"""Where images are cut: beyond any halo, and on the grid of the coarsest map, as tiles should be."""
MAX_ERROR = 0.02
"""In standard deviations of the result: below what the mean of a few posterior samples wavers by, and unseen."""


def errors_from_a_cut(run: Callable[[Array], Array], sample: NDArray[Any], axis: int, cut: int) -> NDArray[np.float64]:
    """e(0), e(1), ... up to the other end of the part. run: [1, C, *] -> [1, C', *]; sample: [C, *]."""
    x = np.ascontiguousarray(sample[np.newaxis], np.float32)
    whole = run(x)[:, : len(sample)]  # without standard deviations
    part = run(np.ascontiguousarray(x.take(range(cut), axis=axis + 1)))[:, : len(sample)]
    apart = np.abs(part.astype(np.float64) - whole.take(range(cut), axis=axis + 1))
    others = tuple(a for a in range(apart.ndim) if a != axis + 1)
    errors: NDArray[np.float64] = apart.max(axis=others)[::-1] / max(float(whole.std()), 1e-12)
    return errors


class Halo(NamedTuple):
    px: tuple[int, ...]  # along *
    error: float  # the largest e(d) with d >= px along any axis


def measured_halo(
    run: Callable[[Array], Array], sample: NDArray[Any], axes: str, limit_px: Sequence[int], step_px: Sequence[int]
) -> Halo:
    """Along each spatial axis the shortest multiple of the step beyond which no e(d) exceeds MAX_ERROR, or the limit.

    The middle of the sample is used, mirrored where it is too small to be cut.
    """
    halo, largest = [], 0.0
    for axis, (name, limit, step) in enumerate(zip(axes, limit_px, step_px, strict=True), 1):
        lengths = [2 * GRID_PX[a] if a == name else GRID_PX[a] for a in axes]
        errors = errors_from_a_cut(run, middle(sample, lengths), axis, GRID_PX[name])
        beyond = np.maximum.accumulate(errors[::-1])[::-1]  # of a halo of 0, 1, ... px
        enough = (px for px in range(min(step, limit), limit, step) if beyond[px] <= MAX_ERROR)
        halo.append(next(enough, limit))
        largest = max(largest, float(beyond[halo[-1]]))
    return Halo(tuple(halo), largest)


def middle(sample: NDArray[Any], lengths: Sequence[int]) -> NDArray[Any]:
    """The middle of a sample [C, *], mirrored where it is shorter than the lengths along *."""
    for axis, length in enumerate(lengths, 1):
        missing = max(length - sample.shape[axis], 0)
        pad = [(0, 0)] * sample.ndim
        pad[axis] = (missing // 2, missing - missing // 2)
        sample = np.pad(sample, pad, mode="symmetric")
        start = (sample.shape[axis] - length) // 2
        sample = sample.take(range(start, start + length), axis=axis)
    return sample
