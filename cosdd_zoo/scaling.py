"""The numbers that tie a model to the grey values it was trained on. No torch: data computes, networks use them."""

from __future__ import annotations

from typing import NamedTuple


class Scaling(NamedTuple):
    """Per-channel numbers that bring raw grey values to the networks' scale, each of length C."""

    mean: list[float]
    std: list[float]
    pedestal: list[float]
    softness: list[float]
    t_mean: list[float]
    t_std: list[float]

    def moved(self, factor: list[float], offset: list[float]) -> Scaling:
        """The scaling of factor * x + offset: the same networks then see the same values."""
        return self._replace(
            mean=[m * f + o for m, f, o in zip(self.mean, factor, offset, strict=True)],
            std=[s * f for s, f in zip(self.std, factor, strict=True)],
            pedestal=[p * f + o for p, f, o in zip(self.pedestal, factor, offset, strict=True)],
            softness=[s * f for s, f in zip(self.softness, factor, strict=True)],
        )
