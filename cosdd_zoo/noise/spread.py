"""A figure over windows of the training images, and whether that of another image is of the kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

FAR = 5.0
"""Deviations from the mean beyond which a figure is of another kind."""


class Spread(BaseModel):
    model_config = ConfigDict(frozen=True)

    mean: float
    std: float

    def is_far(self, value: float, error: float, least: float) -> bool:
        return abs(value - self.mean) > max(least, FAR * math.hypot(self.std, error))


def spread_of(values: Sequence[float]) -> Spread:
    n = len(values)
    std = float(np.std(values, ddof=1)) * (1 + 2 / n) if n > 1 else 0.0  # few windows: it may be more
    return Spread(mean=float(np.mean(values)), std=std)
