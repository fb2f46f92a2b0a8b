r"""What is known of the signal of a piece of an image: by samples, by as many as it takes, or directly.

    mean = 1/k sum_k f(code(z_k)),   z_k ~ q(z | x)              MMSE estimate for k -> infinity
    std  = sqrt( 1/k sum_k (f(code(z_k)) - mean)^2 )             where the model is unsure; of pairs (networks.build)

Samples 2j and 2j + 1 are an antithetic pair, so their error is told from the pairs' means m_j:

    error(mean) = sqrt( var(m) / n_pairs ),   noise = rms(x - mean),   until  error <= tolerance * noise

Letters: B items, C channels, * spatial axes of a piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cosdd_zoo.networks.build import Moments

Advance = Callable[[float], None]
FIRST_PAIRS = 4
"""Fewer pairs tell too little of their own spread."""
MOST_SAMPLES = 1000
USUAL_SAMPLES = 16
"""What progress is told by where nobody knows how many samples it will take."""


class Estimate(NamedTuple):
    mean: Tensor  # [B, C, *]
    std: Tensor  # [B, C, *], zeros where no two samples were drawn
    n_samples: int


class Estimator(NamedTuple):
    """How to estimate. engine: a Cosdd, or the scripted module of a package (the same methods)."""

    engine: Any
    n_samples: int
    direct: bool = False
    seed: int = 0
    tolerance: float = 0.0
    """Of the mean, in standard deviations of the noise; then samples are drawn until it is met, and not n_samples."""

    @torch.inference_mode()
    def __call__(self, x: Tensor, origin: list[int], advance: Advance) -> Estimate:
        """x: raw pixels [B, C, *], float32, from `origin` [*] in px. advance: called with shares that add up to 1."""
        if self.direct:
            return _single(self.engine.direct(x), 0, advance)
        maps = self.engine.bottom_up(x)
        if self.tolerance:
            return self._as_many_as_it_takes(x, maps, origin, advance)
        if self.n_samples == 0:
            return _single(self.engine.sample(x, maps, self.seed, -1, origin), 0, advance)
        found = Moments(torch.zeros_like(x), torch.zeros_like(x))
        for first in range(0, self.n_samples, 2):
            found = Moments(*self.engine.update(found, x, maps, self.seed, first, self.n_samples, origin))
            advance(min(2, self.n_samples - first) / self.n_samples)
        return self._of(found, self.n_samples)

    def _as_many_as_it_takes(self, x: Tensor, maps: list[Tensor], origin: list[int], advance: Advance) -> Estimate:
        found = Moments(torch.zeros_like(x), torch.zeros_like(x))
        of_pairs = torch.zeros_like(x)  # sum of squared deviations of the pairs' means
        said = 0.0
        for pairs in range(1, MOST_SAMPLES // 2 + 1):
            before, n = found, 2 * pairs
            found = Moments(*self.engine.update(found, x, maps, self.seed, n - 2, n, origin))
            step = found.mean - before.mean  # (m_j - mean before) / pairs
            of_pairs = of_pairs + step * step * (pairs * (pairs - 1))
            share = min(2 / USUAL_SAMPLES, 1.0 - said)
            said += share
            advance(share)
            if pairs >= FIRST_PAIRS and _error(of_pairs, pairs) <= self.tolerance * _noise(x, found.mean):
                break
        advance(1.0 - said)
        return self._of(found, n)

    def _of(self, found: Moments, n: int) -> Estimate:
        """A package gives the std that its own graph gives: of the first ones, by n - 1."""
        if hasattr(self.engine, "std_of"):
            return Estimate(found.mean, self.engine.std_of(found, n), n)
        return Estimate(found.mean, torch.sqrt(found.squares / max(n - 1, 1)), n)


def _error(of_pairs: Tensor, pairs: int) -> float:
    return float((of_pairs.mean(dtype=torch.float64) / ((pairs - 1) * pairs)).sqrt())


def _noise(x: Tensor, mean: Tensor) -> float:
    return float((x - mean).square().mean(dtype=torch.float64).sqrt())


def _single(mean: Tensor, n_samples: int, advance: Advance) -> Estimate:
    advance(1.0)
    return Estimate(mean, torch.zeros_like(mean), n_samples)
