r"""The autoregressive decoder: explains what lies along a line, and nothing else.

    log p(x | code) = sum_ij log p(x_ij | code, x_i,j-1 .. x_i,j-L)                                      Eq. 5
    h_1 = block(causal([x, maps(code)]), code),   h_b = h_b-1 + block(causal(h_b-1), code)
    block(a, code) = conv1x1(relu(a + conv1x1(code)))

The maps of the code at past pixels are optional. With them the noise of those pixels, x_j minus the signal there, is
one linear step away, so the first block takes all taps at once, and the later ones none.

Every line along the noise axis (the last) is an independent 1-D signal, and so is every channel (grouped
convolutions): one network of 1-D convolutions serves images of any number of dimensions. The lines of an image lie in a
plane [N, X], so that one call takes them all; a call for each line, a batch of [B N], costs several times as much.

Letters: B batch, C channels, F features of the code, A features of this network, K mixture components, * spatial axes,
N lines (all spatial axes but X), X pixels of a line.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.blocks import zero
from cosdd_zoo.networks.likelihood import Mixture, mixture

KERNEL = 5
AUTHORS_DILATIONS = (1, 2, 1, 2, 1, 1, 1)
"""Of the blocks after the first, in imported models: 4 + 4 * 9 = 40 pixels, as ours in another order."""


class Taps(NamedTuple):
    n: int
    dilation: int


def taps_of(config: NetworkConfig) -> list[Taps]:
    """Taps of each block's causal convolution; of none where no pixel is seen."""
    if config.noise_axis == "none":
        return all_taps_first(0, config.ar_blocks)
    if config.ar_code_maps > 0:
        return all_taps_first(config.receptive_field_px, config.ar_blocks)
    if config.blocks == "authors":
        return [Taps(KERNEL - 1, 1)] + [Taps(KERNEL, dilation) for dilation in AUTHORS_DILATIONS]
    return receptive_taps(config.receptive_field_px, config.ar_blocks)


def receptive_taps(length: int, n_blocks: int) -> list[Taps]:
    """Taps of each block's causal convolution, so that together they reach exactly the `length` previous pixels.

    The first block sees pixels i-1 .. i-n; each later one adds (n - 1) * dilation. For 40 pixels and 8 blocks: 4 taps,
    then dilations 1 1 1 2 1 1 2, which sum to 9 steps of 4 pixels. No dilation is longer than what the blocks before
    it see, or pixels between its taps would be seen by none.
    """
    if length < KERNEL:
        return all_taps_first(length, n_blocks)
    first = KERNEL - 1 + length % (KERNEL - 1)
    steps = (length - first) // (KERNEL - 1)
    taps, seen, left = [Taps(first, 1)], first, 0
    for b in range(n_blocks - 1):
        even = steps * (b + 1) // (n_blocks - 1) - steps * b // (n_blocks - 1)
        dilation = min(even + left, seen)
        left += even - dilation
        seen += (KERNEL - 1) * dilation
        taps.append(Taps(KERNEL, dilation) if dilation > 0 else Taps(1, 1))
    return taps


def all_taps_first(length: int, n_blocks: int) -> list[Taps]:
    """The first block sees all pixels i-1 .. i-length, the later ones what it makes of them."""
    return [Taps(length, 1)] + [Taps(1, 1)] * (n_blocks - 1)


class LineConv(nn.Conv1d):
    """A 1-D convolution along every line: [B, ., N, X] -> [B, ., N, X - (taps - 1) dilation]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.unsqueeze(2), self.bias, dilation=[1, self.dilation[0]], groups=self.groups)


class PixelConv(nn.Conv1d):
    """A 1x1 convolution as one matrix product a channel, faster on a CPU: [B, n_in, N, X] -> [B, n_out, N, X]."""

    def __init__(self, n_in: int, n_out: int, groups: int = 1) -> None:
        super().__init__(n_in, n_out, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        batch, n_lines, n_px = x.size(0), x.size(2), x.size(3)
        apart = [batch * self.groups, -1, n_lines * n_px]
        weight = self.weight.view(self.groups, -1, x.size(1) // self.groups).repeat(batch, 1, 1)
        bias = self.bias.view(self.groups, -1, 1).repeat(batch, 1, 1)
        return torch.baddbmm(bias, weight, x.reshape(apart)).view(batch, -1, n_lines, n_px)


class CausalConv(nn.Module):
    """A 1-D convolution whose pixel i sees i - delay and earlier ones: [B, ., N, X] -> [B, ., N, X]."""

    def __init__(self, n_in: int, n_out: int, taps: Taps, delay: int, groups: int) -> None:
        super().__init__()
        self.conv = LineConv(n_in, n_out, taps.n, dilation=taps.dilation, groups=groups)
        self.left = (taps.n - 1) * taps.dilation + delay
        self.delay = delay

    def forward(self, x: Tensor) -> Tensor:
        # the last `delay` pixels are cut off, so that x_i itself never enters
        return self.conv(F.pad(x, [self.left, -self.delay]))


class BesideCode(nn.Module):
    """Some maps of the code beside each channel's pixels: [B, C, N, X], [B, F, N, X] -> [B, C * (1 + maps), N, X]."""

    def __init__(self, n_code: int, n_channels: int, n_maps: int) -> None:
        super().__init__()
        self.map = PixelConv(n_code, n_channels * n_maps)
        self.n_channels = n_channels

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        maps = self.map(code).unflatten(1, [self.n_channels, -1])
        return torch.cat([x.unsqueeze(2), maps], dim=2).flatten(1, 2)


class PixelsAlone(nn.Module):
    """x: nothing of the code beside it."""

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return x


class Block(nn.Module):
    """conv1x1(relu(causal(h) + conv1x1(code))): [B, C * ., N, X], [B, F, N, X] -> [B, C * A, N, X]."""

    def __init__(self, causal: nn.Module, n_code: int, n_out: int, groups: int) -> None:
        super().__init__()
        self.causal = causal
        self.code = PixelConv(n_code, n_out)
        self.out = PixelConv(n_out, n_out, groups)

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        return self.out(F.relu(self.causal(h) + self.code(code)))


class NoPast(nn.Module):
    """Stands in for the causal convolution of noise axis "none": no pixel is seen."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros([1, 1, 1, 1], device=x.device, dtype=x.dtype)


class ARDecoder(nn.Module):
    """x and code, [B, C, *] and [B, F, *] with the noise axis last -> the mixture of each pixel given its past."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        n_channels, n_out = config.n_channels, config.n_channels * config.ar_features
        taps = taps_of(config)
        n_maps = config.ar_code_maps if taps[0].n > 0 else 0
        self.beside = BesideCode(config.n_code, n_channels, n_maps) if n_maps > 0 else PixelsAlone()
        n_in = n_channels * (1 + n_maps)
        first = CausalConv(n_in, n_out, taps[0], 1, n_channels) if taps[0].n > 0 else NoPast()
        self.first = Block(first, config.n_code, n_out, n_channels)
        self.blocks = nn.ModuleList(
            Block(CausalConv(n_out, n_out, t, 0, n_channels), config.n_code, n_out, n_channels) for t in taps[1:]
        )
        self.to_mixture = zero(PixelConv(n_out, n_channels * 3 * config.n_mixture, n_channels))
        self._spread_means(n_channels, config.n_mixture)
        self.n_channels, self.n_mixture, self.min_scale = n_channels, config.n_mixture, config.min_scale

    def _spread_means(self, n_channels: int, n_mixture: int) -> None:
        """Components begin apart, at means of -1..1: identical ones would stay identical."""
        bias = self.to_mixture.bias
        assert isinstance(bias, Tensor)
        with torch.no_grad():
            bias.view(n_channels, 3, n_mixture)[:, 1] = torch.linspace(-1.0, 1.0, n_mixture + 2)[1:-1]

    def forward(self, x: Tensor, code: Tensor) -> Mixture:
        lines = to_lines(code)
        h = self.first(self.beside(to_lines(x), lines), lines)
        for block in self.blocks:
            h = h + block(h, lines)
        parameters = self.to_mixture(h)
        like = list(parameters.shape[:2]) + list(x.shape[2:])
        return mixture(parameters.reshape(like), self.n_channels, self.n_mixture, self.min_scale)


def to_lines(x: Tensor) -> Tensor:
    """[B, F, *] -> [B, F, N, X]: all lines along the last axis, in a plane."""
    return x.reshape(list(x.shape[:2]) + [-1, x.size(-1)])
