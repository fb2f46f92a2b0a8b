r"""One layer of the authors' networks as one of ours, in our order of channels and axes.

    BatchNorm       w (x - m) / sqrt(v + 1e-5) + b   =   scale x + shift,    scale = w / sqrt(v + 1e-5)
    conv, then it   scale (W x + c) + shift          =   (scale W) x + (scale c + shift)
    pairs           their channels 0, 1, 2, 3 .. are a_0, b_0, a_1, b_1 ..;   ours a_0, a_1 .., b_0, b_1 ..

Their networks keep the image's axes and turn it for the AR decoder alone; ours have the noise axis last.
Letters: F features, * spatial axes, k kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cosdd_zoo.authors.tensors import Tensors
from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.build import noise_dim

EPS = 1e-5
"""Of their BatchNorm."""
RAW_ONE = 0.5413
"""What likelihood.gaussian adds to a deviation before the softplus, and they do not."""


class Affine(NamedTuple):
    scale: Tensor  # [F]
    shift: Tensor  # [F]


class Conv(NamedTuple):
    weight: Tensor  # [out, in, k..]
    bias: Tensor  # [out]


class Layers:
    """Takes their tensors layer by layer; `ours` is what has become of them, by our names."""

    def __init__(self, theirs: Tensors, config: NetworkConfig) -> None:
        self.theirs = theirs
        self.ours: dict[str, Tensor] = {}
        self.n_dims, self.n_features, self.n_latents = config.n_dims, config.n_features, config.n_latents
        self.noise_dim = noise_dim(config)

    def taken(self, name: str, n_in: int, n_out: int, kernel: int) -> Conv:
        """A convolution, its axes in the order of our networks."""
        weight = self.theirs.take(f"{name}.weight", [n_out, n_in] + [kernel] * self.n_dims)
        return Conv(weight.transpose(self.noise_dim, -1), self.theirs.take(f"{name}.bias", [n_out]))

    def put(self, name: str, conv: Conv) -> None:
        self.ours[f"{name}.weight"], self.ours[f"{name}.bias"] = conv

    def conv(self, name: str, ours: str, n_in: int, n_out: int, kernel: int) -> None:
        self.put(ours, self.taken(name, n_in, n_out, kernel))

    def halves(self, name: str, ours: str, n_in: int, n_out: int, kernel: int, offset: float = 0.0) -> None:
        """A convolution that makes pairs; offset: what comes off the second of each."""
        weight, bias = (unpaired(t) for t in self.taken(name, n_in, n_out, kernel))
        bias[n_out // 2 :] -= offset
        self.put(ours, Conv(weight, bias))

    def gaussian(self, name: str, ours: str) -> None:
        """Means and deviations of the latents."""
        self.halves(name, f"{ours}.conv", self.n_features, 2 * self.n_latents, 3, RAW_ONE)

    def merge(self, name: str, ours: str, factor: float) -> None:
        """Two maps, paired channel by channel, into one."""
        weight, bias = self.taken(f"{name}.0.conv", 2 * self.n_features, self.n_features, 1)
        self.put(f"{ours}.join", Conv(unpaired(weight, 1), bias))
        self.residual(f"{name}.1.block", f"{ours}.residual", factor)

    def residual(self, name: str, ours: str, factor: float, gated: bool = True) -> None:
        n = self.n_features
        before, between = self.batch_norm(f"{name}.0"), self.batch_norm(f"{name}.3")
        each = [1, n] + [1] * self.n_dims
        self.ours[f"{ours}.scale"], self.ours[f"{ours}.shift"] = (t.reshape(each) for t in before)
        self.put(f"{ours}.first", followed(self.taken(f"{name}.2.conv", n, n, 3), between))
        self.conv(f"{name}.5.conv", f"{ours}.second", n, n, 3)
        self.ours[f"{ours}.factor"] = torch.tensor(factor, dtype=torch.float64)
        if gated:
            self.halves(f"{name}.6.conv.conv", f"{ours}.gate.split", n, 2 * n, 1)

    def batch_norm(self, name: str) -> Affine:
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self.theirs.take(f"{name}.{part}", [self.n_features]) for part in parts)
        scale = weight / torch.sqrt(variance + EPS)
        return Affine(scale, bias - scale * mean)


def unpaired(x: Tensor, dim: int = 0) -> Tensor:
    """a_0, b_0, a_1, b_1 .. -> a_0, a_1 .., b_0, b_1 .."""
    pairs: Tensor = x.unflatten(dim, [-1, 2])
    return pairs.transpose(dim, dim + 1).flatten(dim, dim + 1)


def followed(conv: Conv, by: Affine) -> Conv:
    """The convolution that does what both do."""
    scale = by.scale.reshape([-1] + [1] * (conv.weight.dim() - 1))
    return Conv(conv.weight * scale, conv.bias * by.scale + by.shift)
