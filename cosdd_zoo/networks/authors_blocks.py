r"""Layers as in the networks of the method's authors (krulllab/COSDD, branch main), for models imported from there.

    residual(x) = (x + g(conv(mish(conv(mish(a x + b)))))) * factor
    up(x)       = linear(conv1x1(x))             weights 3/4 and 1/4; border pixels are repeated

Their BatchNorms are fixed in a trained model. The one before a residual block's second activation is part of the
convolution before it; the one before the first is the a and b of each feature. factor is 1, or F^-1/2 in the ladder
where their option scale-initialisation is on. Borders: zeros in residual blocks, mirrored pixels in other 3x3
convolutions, repeated ones in the 5x5. A 1x1 convolution and an interpolation can change places.

Letters: B batch, F features, * spatial axes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cosdd_zoo.networks.blocks import CONVS, Blocks, Gate, conv, zero


class AffineResidual(nn.Module):
    """[B, F, *] -> [B, F, *]; the identity at the start of training, as ours."""

    factor: Tensor

    def __init__(self, n_dims: int, n_features: int, gated: bool) -> None:
        super().__init__()
        each = [1, n_features] + [1] * n_dims
        self.scale, self.shift = nn.Parameter(torch.ones(each)), nn.Parameter(torch.zeros(each))
        self.first = CONVS[n_dims](n_features, n_features, 3, padding=1)
        second = CONVS[n_dims](n_features, n_features, 3, padding=1)
        self.second = second if gated else zero(second)
        self.gate = Gate(n_dims, n_features) if gated else nn.Identity()
        self.register_buffer("factor", torch.ones([]))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(F.mish(torch.addcmul(self.shift, x, self.scale)))
        return (x + self.gate(self.second(F.mish(h)))) * self.factor


class MirrorConv(nn.Module):
    """A 3x3 convolution whose border is that of `mirrored`: [B, n_in, *] -> [B, n_out, * / stride]."""

    def __init__(self, n_dims: int, n_in: int, n_out: int, stride: tuple[int, ...] | int) -> None:
        super().__init__()
        self.conv = CONVS[n_dims](n_in, n_out, 3, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(mirrored(x))


def mirrored(x: Tensor) -> Tensor:
    """One more pixel at each end, the one inside of the last: [B, F, *] -> [B, F, * + 2].

    Where an axis has a single pixel, that one is repeated; reflection padding would stop there, so that small images
    could not be denoised.
    """
    for axis in range(2, x.dim()):
        n = x.size(axis)
        inside = min(1, n - 1)
        x = torch.cat([x.narrow(axis, inside, 1), x, x.narrow(axis, n - 1 - inside, 1)], dim=axis)
    return x


class LinearUpsample(nn.Module):
    """Linear interpolation to `factor` (1 or 2) times as many pixels: [B, F, *] -> [B, F, * x factor].

    By slices: a scripted F.interpolate refers to an op that libtorch 1.13.1 does not have.
    """

    def __init__(self, factor: tuple[int, ...]) -> None:
        super().__init__()
        self.factor = list(factor)

    def forward(self, x: Tensor) -> Tensor:
        for i, factor in enumerate(self.factor):
            if factor == 2:
                x = doubled(x, i + 2)
        return x


def doubled(x: Tensor, axis: int) -> Tensor:
    """Twice as many pixels along one axis: 3/4 of the pixel that each lies in and 1/4 of the nearest other."""
    n = x.size(axis)
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], dim=axis)
    after = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], dim=axis)
    halves = [0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after]
    return torch.stack(halves, dim=axis + 1).flatten(axis, axis + 1)


class AuthorsBlocks(Blocks):
    """The roles of `Blocks`, played by these layers."""

    def activation(self) -> nn.Module:
        return nn.Mish()

    def conv(self, n_in: int, n_out: int, kernel: int = 3, stride: tuple[int, ...] | int = 1) -> nn.Module:
        if kernel == 3:
            return MirrorConv(self.n_dims, n_in, n_out, stride)
        return conv(self.n_dims, n_in, n_out, kernel, stride)

    def residual(self, gated: bool) -> nn.Module:
        return AffineResidual(self.n_dims, self.n_features, gated)

    def up(self, stride: tuple[int, ...]) -> nn.Module:
        if max(stride) == 1:
            return nn.Identity()
        return nn.Sequential(self.conv(self.n_features, self.n_features, kernel=1), LinearUpsample(stride))
