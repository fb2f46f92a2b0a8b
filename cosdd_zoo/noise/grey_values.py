"""Which grey values images use, and whether another image uses them as the training images do.

What a camera wrote has grey values at every multiple of its step, and at its upper end few pixels or none. After a
stretching of the contrast there are gaps; after filtering, scaling or interpolation there are fractions in between
(whole numbers there are no sign: cameras differ in their lowest bit); after too much light many pixels are at the end,
and their noise is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cosdd_zoo.noise.spread import Spread, spread_of
from cosdd_zoo.noise.traces import Pixels, pixels_of

GAPS, SATURATED = 0.15, 0.01
"""Differences of `used` and `saturated` that do not matter yet."""
FEWEST_VALUES = 24
"""Different grey values from which on their gaps tell anything."""


class GreyProfile(BaseModel):
    """Of one channel of the training images."""

    model_config = ConfigDict(frozen=True)

    step: float  # between neighbouring grey values; 0 if continuous
    used: Spread  # share of the multiples of `step` that occur, where they are to be expected
    saturated: Spread  # share of the pixels that pile up at the upper end


def grey_profile(windows: Sequence[NDArray[Any]], ceiling: float) -> GreyProfile:
    """Of windows [Y, X] of the training images. ceiling: the highest value that their type holds."""
    step = pixels_of(windows).step
    found = [pixels_of([w]) for w in windows]
    return GreyProfile(
        step=step,
        used=spread_of([_used(f, step) for f in found]),
        saturated=spread_of([_saturated(w, f, ceiling) for w, f in zip(windows, found, strict=True)]),
    )


def used_otherwise(window: NDArray[Any], own: GreyProfile, ceiling: float) -> list[str]:
    """How the grey values of a window [Y, X] are used otherwise, a sentence each."""
    found = pixels_of([window])
    out = []
    if own.step > 0 and found.n_values >= FEWEST_VALUES:
        used = _used(found, own.step)
        if found.step == 0:
            out.append(
                f"its grey values lie between the multiples of {own.step:g}, on which theirs are: it was filtered, "
                "scaled or interpolated"
            )
        elif used < own.used.mean and own.used.is_far(used, 0.0, GAPS):
            out.append("there are gaps between its grey values, as after a stretching of the contrast")
    share = _saturated(window, found, ceiling)
    if share > own.saturated.mean and own.saturated.is_far(share, 0.0, SATURATED):
        out.append(f"{share:.1%} of its pixels are saturated, of theirs {own.saturated.mean:.1%}")
    return out


def ceiling_of(dtype: np.dtype[Any]) -> float:
    """The highest value that a type holds; infinity if it is no integer."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else float("inf")


def _used(found: Pixels, step: float) -> float:
    return found.used_share * step / found.step if found.step > 0 else 1.0


def _saturated(window: NDArray[Any], found: Pixels, ceiling: float) -> float:
    return max(found.high_share, float(np.mean(window >= ceiling)))
