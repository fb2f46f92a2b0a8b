"""A traffic light, and what stands beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

Light = Literal["good", "fair", "bad", "unknown"]
GRADES: tuple[Light, ...] = ("bad", "fair", "unknown", "good")

PER_PX = 3.0
"""Pixels that count as one: noise is correlated along its axis, and differences across it are."""


class Check(BaseModel):
    model_config = ConfigDict(frozen=True)

    key: str
    title: str
    light: Light
    found: str
    advice: str  # what to do about it; empty where nothing is to be done
    figures: dict[str, float]


def graded(value: float, limits: tuple[float, float]) -> Light:
    """good up to the first limit, fair up to the second."""
    return "good" if value <= limits[0] else "fair" if value <= limits[1] else "bad"


def by_chance(n_px: int) -> float:
    """Two standard errors of a mean of products of two independent standard normal numbers, over so many pixels."""
    return 2 * math.sqrt(PER_PX / n_px)


def worst(lights: Sequence[Light]) -> Light:
    return min(lights, key=GRADES.index, default="unknown")
