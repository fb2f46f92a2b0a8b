"""Convolutions, residual blocks and resampling for 1, 2 and 3 spatial dimensions.

Letters: B batch, F features, and * for the spatial axes (X, or Y X, or Z Y X; the noise axis is the last).
No layer looks at the batch or at the whole image for its statistics: a pixel's result depends on its neighbourhood
alone, so that a tile with enough halo gives what the whole image gives. SiLU stands where the authors have Mish: the
same shape at a tenth of its backward pass on a CPU.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cosdd_zoo.config import NetworkConfig

CONVS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def conv(n_dims: int, n_in: int, n_out: int, kernel: int = 3, stride: tuple[int, ...] | int = 1) -> nn.Module:
    """A convolution that keeps the size (or divides it by `stride`) and repeats the border pixels outwards."""
    return CONVS[n_dims](n_in, n_out, kernel, stride=stride, padding=kernel // 2, padding_mode="replicate")


def zero(layer: nn.Module) -> nn.Module:
    """The same layer with parameters of zero: a block that ends in it starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResidualBlock(nn.Module):
    """x + g(conv(silu(conv(silu(x))))): [B, F, *] -> [B, F, *], the identity at the start of training.

    g is a gate, 1x1 conv to 2F split into tanh(a) * sigmoid(b), or nothing.
    """

    def __init__(self, n_dims: int, n_features: int, gated: bool) -> None:
        super().__init__()
        self.first = conv(n_dims, n_features, n_features)
        second = conv(n_dims, n_features, n_features)
        self.second = second if gated else zero(second)
        self.gate = Gate(n_dims, n_features) if gated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate(self.second(F.silu(self.first(F.silu(x)))))


class Gate(nn.Module):
    """tanh(a) * sigmoid(b), where (a, b) = conv1x1(x): [B, F, *] -> [B, F, *]."""

    def __init__(self, n_dims: int, n_features: int) -> None:
        super().__init__()
        self.split = zero(conv(n_dims, n_features, 2 * n_features, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.split(x).chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)


class MergeBlock(nn.Module):
    """residual(conv1x1([a, b])): two maps of [B, F, *] joined into one."""

    def __init__(self, join: nn.Module, residual: nn.Module) -> None:
        super().__init__()
        self.join = join
        self.residual = residual

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.residual(self.join(torch.cat([a, b], dim=1)))


class MergeSum(nn.Module):
    """a + b: the merge that costs nothing."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class KeepFirst(nn.Module):
    """a: where there is nothing to merge with, or nothing to be merged a second time."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a


class ToPixels(nn.Module):
    """A 1x1 convolution whose channels are dealt out to the `factor` finer pixels: [B, F, *] -> [B, n_out, * x factor].

    The sub-pixel convolution of Shi et al. 2016, for any number of dimensions.
    """

    def __init__(self, n_in: int, n_out: int, factor: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = conv(len(factor), n_in, n_out * math.prod(factor), kernel=1)
        self.n_out, self.factor = n_out, list(factor)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        apart = [y.size(0), self.n_out] + self.factor + list(y.shape[2:])
        order = [0, 1]
        joined = [y.size(0), self.n_out]
        n_dims = len(self.factor)
        for axis in range(n_dims):
            order += [2 + n_dims + axis, 2 + axis]
            joined.append(y.size(2 + axis) * self.factor[axis])
        return y.reshape(apart).permute(order).reshape(joined)


class Upsample(nn.Module):
    """Each pixel repeated `factor` times along each axis: [B, F, *] -> [B, F, * x factor].

    By expand and reshape: a scripted F.interpolate refers to an op that libtorch 1.13.1 does not have.
    """

    def __init__(self, factor: tuple[int, ...]) -> None:
        super().__init__()
        self.factor = list(factor)

    def forward(self, x: Tensor) -> Tensor:
        apart = [x.size(0), x.size(1)]
        repeated = [x.size(0), x.size(1)]
        joined = [x.size(0), x.size(1)]
        for axis, factor in enumerate(self.factor):
            n = x.size(axis + 2)
            apart += [n, 1]
            repeated += [n, factor]
            joined += [n * factor]
        return x.reshape(apart).expand(repeated).reshape(joined)


class Blocks:
    """The layers of one config's networks, asked for by their role, so that another family can stand in."""

    def __init__(self, config: NetworkConfig) -> None:
        self.n_dims, self.n_features = config.n_dims, config.n_features
        self.gated, self.merge_blocks = config.gated, config.merge_blocks

    def activation(self) -> nn.Module:
        return nn.SiLU()

    def conv(self, n_in: int, n_out: int, kernel: int = 3, stride: tuple[int, ...] | int = 1) -> nn.Module:
        """[B, n_in, *] -> [B, n_out, * / stride]."""
        return conv(self.n_dims, n_in, n_out, kernel, stride)

    def residual(self, gated: bool) -> nn.Module:
        """[B, F, *] -> [B, F, *]."""
        return ResidualBlock(self.n_dims, self.n_features, gated)

    def merge(self) -> nn.Module:
        """Two maps [B, F, *] into one, by a learned block or by their sum."""
        if not self.merge_blocks:
            return MergeSum()
        return MergeBlock(self.conv(2 * self.n_features, self.n_features, kernel=1), self.residual(self.gated))

    def up(self, stride: tuple[int, ...]) -> nn.Module:
        """[B, F, *] -> [B, F, * x stride]."""
        return Upsample(stride) if max(stride) > 1 else nn.Identity()
