"""What every side is given and gives back.

    denoise(job) -> Result, Result, ...        one for each way in which a side denoises: a sample, a mean, direct

A side trains for `job.minutes` at most, counted from its first look at the data to its last step: importing libraries
before that and denoising after it are not counted, but measured. It sees the noisy stack and nothing else, unless its
name says so (`gaussian` chooses its sigma by the truth, `n2n` and `care` train on pairs).

Letters: S frames, P pairs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[np.generic]  # [S, Y, X], any real dtype


class Pairs(NamedTuple):
    """Training pairs for supervised sides. Their frames must not be the ones that are scored, if targets are clean."""

    noisy: Stack  # [P, Y, X]
    target: Stack  # [P, Y, X]: second exposures for n2n, truths for care; of noisy's scale


class Job(NamedTuple):
    noisy: Stack
    folder: Path  # a side's own, empty; it may leave files there
    minutes: float = 5.0
    seed: int = 0
    noise_axis: str = "x"  # x, y or none
    n_frames: int | None = None  # the first so many are denoised, all by default; a side trains on all
    n_samples: int = 0  # of means; 0: what the side takes by default on this device
    truth: Stack | None = None  # of the denoised frames, for the oracle alone
    pairs: Pairs | None = None
    authors_code: Path | None = None  # a clone of krulllab/COSDD, branch main

    @property
    def shown(self) -> Stack:
        """The frames that are to be denoised."""
        return self.noisy[: self.n_frames]


class Result(NamedTuple):
    row: str
    image: NDArray[np.float32]  # of the frames to denoise, [S, Y, X], in the noisy stack's grey values
    training_s: float
    inference_s: float
    steps: int  # optimiser steps
    note: str  # settings of this side that a reader must know


class SkippedError(Exception):
    """This side cannot do this job; the sentence says why."""


class Clock:
    """Seconds since it was made, or since the last lap."""

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        return seconds


Results = Iterator[Result]


def untrained(row: str, image: Stack, inference_s: float, note: str = "") -> Result:
    return Result(row, np.asarray(image, np.float32), 0.0, inference_s, 0, note)
