r"""Broken pixels: those that stand out of their neighbourhood as no noise does.

    out(x)_i = max(0, x_i - max_n x_n) - max(0, min_n x_n - x_i)          n, the neighbours of i along each axis
    broken   |out(x)_i| > 3 q,   q the 99.9th percentile of |out(x)| over all pixels, in stabilised values

q comes from the data, since the tails of real noise differ: single photons in the dark stand out by many deviations
of the read noise and are no outliers. Where more than one pixel in a thousand is broken, or q is 0, none is found.

Letters: B batch, C channels, * spatial axes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RARE = 0.999
FAR = 3.0


def standing_out(x: Tensor) -> Tensor:
    """By how much each pixel is above (positive) or below (negative) all its neighbours: [B, C, *] -> [B, C, *]."""
    high, low = torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf)
    for axis in range(2, x.dim()):
        for here, there in ((0, 1), (1, 0)):
            n = x.size(axis) - 1
            high.narrow(axis, here, n).clamp_(min=x.narrow(axis, there, n))
            low.narrow(axis, here, n).clamp_(max=x.narrow(axis, there, n))
    return (x - high).clamp(min=0) - (low - x).clamp(min=0)


def threshold(out: NDArray[np.float64]) -> float:
    """How far a pixel must stand out to be broken, given how far all of them do; infinite where hardly any does."""
    usual = float(np.quantile(np.abs(out), RARE))
    return FAR * usual if usual > 0 else math.inf
