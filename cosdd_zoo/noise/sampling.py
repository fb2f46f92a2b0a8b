r"""Noise that the model has learned, drawn anew: x ~ p(x | code), pixel after pixel along the noise axis.

    v_i ~ sum_k w_k N(m_k, s_k),   (w, m, s)_i = AR(v_i-1 .. v_i-L, code)                                Eq. 5
    component k: the first whose cumulated weight exceeds u_i;   v_i = m_k + s_k eps_i
    block(h, code)_i = W_out relu(sum_j W_j h_i-jd + W_code code_i),   j = 0 .. taps - 1

All lines advance together. Each causal convolution keeps the few past inputs that it still needs, so that a pixel costs
one evaluation of the network at one place: O(X) for a line of X pixels, where running the decoder on the line for each
of them is O(X^2). The image is the same, pixel by pixel, up to the rounding of float32 sums. Of what is in memory, the
code and the result alone grow with the line.

Letters: B batch, C channels, F features of the code, A features of the decoder, * spatial axes (*' with the noise axis
last), N lines, X pixels of a line, K mixture components.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cosdd_zoo.networks.ar_decoder import ARDecoder, Block, CausalConv
from cosdd_zoo.networks.latent_noise import latent_noise
from cosdd_zoo.networks.likelihood import Mixture, mixture


class Draws(NamedTuple):
    """The randomness of one noisy image, one pair of numbers for each pixel and channel."""

    u: Tensor  # [B, C, *'], uniform in 0..1
    eps: Tensor  # [B, C, *'], standard normal


DRAWS = 1024
"""The first of the levels (networks.latent_noise) that draws belong to: no ladder has so many."""


def draws(shape: list[int], device: torch.device, seed: int, item: int = 0, origin: list[int] | None = None) -> Draws:
    """Independent numbers that belong to places: a piece of an image gets what the whole image has there.

    shape: [B, C, *'], alike for each of B. item: number of the image; each has its own. origin: absolute coordinate of
    the first pixel along *'.
    """
    like, place = torch.empty(0, device=device), origin or [0] * (len(shape) - 2)
    normal = [latent_noise(like, seed, 0, DRAWS + 2 * item + k, shape[1:], place).expand(shape) for k in (0, 1)]
    return Draws(torch.special.ndtr(normal[0]), normal[1])


@torch.no_grad()
def sample_lines(
    decoder: ARDecoder, code: Tensor, random: Draws, held: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """v ~ p(v | code), what the VAE would see: code [B, F, *'] -> [B, C, *'], float32.

    held: what a camera that writes whole grey values would make of pixels v [N, C, 1], for a decoder that was trained
    to see such ones before a pixel; what is returned is not rounded.
    """
    if not isinstance(decoder.first.causal, CausalConv):  # noise axis "none": no pixel waits for another
        return _choose(decoder(torch.zeros_like(random.u), code), random.u, random.eps)
    code_lines, u, eps = one_by_one(code), one_by_one(random.u), one_by_one(random.eps)
    place = _Place(decoder, len(u))
    v = torch.zeros_like(u)
    for i in range(u.size(-1)):
        here = slice(i, i + 1)
        v[..., here] = _choose(place.mixture(code_lines[..., i]), u[..., here], eps[..., here])
        place.advance(held(v[..., here]) if held else v[..., here], code_lines[..., here])
    shape = list(random.u.shape)
    return v.reshape([shape[0]] + shape[2:-1] + [shape[1], shape[-1]]).movedim(-2, 1)


def one_by_one(x: Tensor) -> Tensor:
    """[B, F, *'] -> [N, F, X]: the lines of all images."""
    return x.movedim(1, -2).reshape(-1, x.size(1), x.size(-1))


class _Place:
    """The decoder at one pixel of every line, which knows what came before it."""

    def __init__(self, decoder: ARDecoder, n_lines: int) -> None:
        blocks: list[Block] = [decoder.first, *decoder.blocks]
        self.decoder = decoder
        self.split = [n_lines, len(blocks), decoder.n_channels, -1]
        self.pasts = [_Past(b.causal, decoder.n_channels, n_lines) for b in blocks]
        self.outs = [_Products(b.out, decoder.n_channels) for b in blocks]
        self.to_mixture = _Products(decoder.to_mixture, decoder.n_channels)
        codes = [_Products(b.code, 1) for b in blocks]
        self.code_weight = torch.cat([c.weight[0] for c in codes], dim=-1)  # [F, blocks * C * A]
        biases = [c.bias.flatten() + p.bias.flatten() for c, p in zip(codes, self.pasts, strict=True)]
        self.bias = torch.cat(biases)

    def mixture(self, code: Tensor) -> Mixture:
        """Of this pixel: code [N, F] -> [N, C, K, 1]."""
        # one product for the code's share in all blocks: each [C, N, A]
        shares = torch.addmm(self.bias, code, self.code_weight).view(self.split).permute(1, 2, 0, 3)
        h = self._after(0, shares[0])
        for b in range(1, len(shares)):
            self.pasts[b].keep(h)
            h = h + self._after(b, shares[b])
        parameters = self.to_mixture.of(h).transpose(0, 1).flatten(1).unsqueeze(-1)
        return mixture(parameters, self.decoder.n_channels, self.decoder.n_mixture, self.decoder.min_scale)

    def advance(self, v: Tensor, code: Tensor) -> None:
        """On to the next pixel, of which this one, v [N, C, 1] and code [N, F, 1], is then the past."""
        # [N, ., 1] -> [1, ., N, 1]: an image whose lines have one pixel
        beside = self.decoder.beside(v.transpose(0, 1).unsqueeze(0), code.transpose(0, 1).unsqueeze(0))
        self.pasts[0].keep(beside.reshape(v.size(1), -1, len(v)).transpose(1, 2))

    def _after(self, b: int, share: Tensor) -> Tensor:
        return self.outs[b].of(torch.relu(self.pasts[b].seen(share)))


class _Products:
    """A grouped 1-D convolution as a matrix product for each channel: [C, N, taps * in] -> [C, N, out]."""

    def __init__(self, conv: nn.Module, n_channels: int) -> None:
        assert isinstance(conv, nn.Conv1d) and conv.groups == n_channels and conv.bias is not None
        self.weight = conv.weight.unflatten(0, [n_channels, -1]).permute(0, 3, 2, 1).flatten(1, 2).contiguous()
        self.bias = conv.bias.view(n_channels, 1, -1)

    def of(self, h: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, h, self.weight)


class _Past:
    """The inputs [C, N, in] that one causal convolution still needs, the oldest first. Zeros before the line."""

    def __init__(self, causal: nn.Module, n_channels: int, n_lines: int) -> None:
        assert isinstance(causal, CausalConv)
        conv = causal.conv
        products = _Products(conv, n_channels)
        self.weight, self.bias = products.weight, products.bias
        self.dilation = conv.dilation[0]
        reach = (conv.kernel_size[0] - 1) * self.dilation + 1
        nothing = self.weight.new_zeros([n_channels, n_lines, conv.in_channels // n_channels])
        self.inputs = deque([nothing] * reach, maxlen=reach)

    def keep(self, h: Tensor) -> None:
        """The newest input; the oldest is forgotten."""
        self.inputs.append(h)

    def seen(self, share: Tensor) -> Tensor:
        """The convolution at the newest input, without its bias, plus `share`: [C, N, out]."""
        return torch.baddbmm(share, torch.cat(list(self.inputs)[:: self.dilation], dim=-1), self.weight)


def _choose(p: Mixture, u: Tensor, eps: Tensor) -> Tensor:
    """A draw of each pixel: u and eps [., C, *] -> [., C, *]."""
    passed = p.log_weight.exp().cumsum(dim=2) < u.unsqueeze(2)
    k = passed.sum(dim=2, keepdim=True).clamp(max=p.mean.size(2) - 1)
    return (p.mean.gather(2, k) + p.std.gather(2, k) * eps.unsqueeze(2)).squeeze(2)
