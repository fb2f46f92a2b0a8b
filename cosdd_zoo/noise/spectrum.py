r"""Periods in the noise along its lines: the mains or a clock heard while a line is scanned, signs that alternate.

    P(f) = < |F d|^2 >     over lines, each of unit variance, under a Hann window; d of noise.lines

A period is a frequency at which P stands out of its own running median; noise that is merely correlated has a smooth P.

The offsets of lines should differ from line to line by chance; a period in them, too, is interference, and one that no
line alone can tell. It is sought in the lines' means of d, over what the difference itself makes of white offsets;
where frames show the same thing, for else these means are those of the signal.

    h = P near the Nyquist frequency over the mean of P;  1 for white noise, 0 for what was blurred, or shifted by part
    of a pixel, along the lines
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.noise.lines import ORDER, Floats, across

LEAST_TIMES = 8
"""Periods along a line that a wave has at least: what is slower is noise that decays slowly."""
MEDIAN_SHARE = 8
"""The running median is over this part of the frequencies."""
STANDS_OUT = 1.5
SLOWEST = 0.12
"""Lines^-1: slower offsets may be signal, and hardly pass the difference."""
SURE = 6.0
"""Standard errors above the median, at least."""


class Spectrum(NamedTuple):
    frequency: Floats  # [F], 1 / px
    power: Floats  # [F], mean 1
    error: float  # relative, of each power

    @property
    def period_px(self) -> float:
        """The period that stands out most; 0 where none does."""
        n = len(self.power)
        half = max(3, n // (2 * MEDIAN_SHARE))
        padded = np.pad(self.power, half, mode="reflect")
        usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
        ratio = self.power / np.maximum(usual, 1e-12)
        k = int(np.argmax(np.where(self._is_peak(), ratio, 0.0)))
        sure = 1 + (SURE + np.log(n) / 2) * self.error
        return float(1 / self.frequency[k]) if k and ratio[k] > max(STANDS_OUT, sure) else 0.0

    def _is_peak(self) -> NDArray[np.bool_]:
        """[F], above the power on both sides, and seen often enough along a line."""
        n = len(self.power)
        padded = np.pad(self.power, 3, constant_values=0)
        beside = [padded[3 + s * k : 3 + s * k + n] for k in (2, 3) for s in (-1, 1)]
        found = np.all([self.power > STANDS_OUT * b for b in beside], axis=0)
        found[:LEAST_TIMES] = False
        return np.asarray(found)

    @property
    def at_nyquist(self) -> float:
        """h, of the highest tenth of the frequencies."""
        return float(self.power[-max(2, len(self.power) // 10) :].mean())


def spectrum_along(frames: Sequence[Floats]) -> Spectrum:
    """Of frames [Y, X] whose lines lie along x, of the width that most have. Raises ValueError for constant ones."""
    frames = [frame for frame in frames if frame.std() > 0]
    if not frames:
        raise ValueError("the frames are constant")
    width = Counter(frame.shape[1] for frame in frames).most_common(1)[0][0]
    window = np.hanning(width)
    total, n_lines = np.zeros(width // 2 + 1), 0
    for frame in frames:
        if frame.shape[1] != width:
            continue
        d = across(frame)
        spread = d.std(axis=1, keepdims=True)
        d = d[spread[:, 0] > 0] / spread[spread[:, 0] > 0]
        total += (np.abs(np.fft.rfft(d * window, axis=1)) ** 2).sum(axis=0)
        n_lines += len(d)
    if not n_lines:
        raise ValueError("the frames are constant")
    power = total / total[1:].mean()
    # neighbouring d share lines: about one in three is new
    return Spectrum(np.asarray(np.fft.rfftfreq(width), np.float64), power, float(np.sqrt(ORDER / 2 / n_lines)))


def offsets_period(frames: Sequence[Floats]) -> float:
    """Lines after which their offsets repeat, in differences [Y, X] of frames, those as high as the first; else 0.

    Lines lie along x.
    """
    height = frames[0].shape[0] - ORDER
    means = [across(frame).mean(axis=1) for frame in frames if frame.shape[0] == height + ORDER]
    means = [m / m.std() for m in means if m.std() > 0]
    frequency = np.fft.rfftfreq(height)
    kept = frequency >= SLOWEST
    if kept.sum() < 8 or not means:
        return 0.0
    power = np.mean([np.abs(np.fft.rfft(m * np.hanning(height))) ** 2 for m in means], axis=0)
    white = power[kept] / (2 * np.sin(np.pi * frequency[kept])) ** (2 * ORDER)
    k = int(np.argmax(white))
    # the largest of n powers of one frame is about ln n means, a mean being 1 / ln 2 medians
    chance = 1 + (np.log(kept.sum()) + SURE) / np.log(2) / np.sqrt(len(means))
    return float(1 / frequency[kept][k]) if white[k] > chance * float(np.median(white)) else 0.0
