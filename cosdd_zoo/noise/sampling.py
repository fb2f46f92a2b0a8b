r"""Noise that the model has learned, drawn anew: x ~ p(x | code), pixel after pixel along the noise axis.

    v_i ~ sum_k w_k N(m_k, s_k),   (w, m, s)_i = AR(v_i-1 .. v_i-L, code)                                Eq. 5
    component k: the first whose cumulated weight exceeds u_i;   v_i = m_k + s_k eps_i

All lines advance together. Each causal convolution keeps the few past inputs that it still needs, so that a pixel costs
one evaluation of the network at one place: O(X) for a line of X pixels, where running the decoder on the line for each
of them is O(X^2). The result is the same, number by number.

Letters: B batch, C channels, F features of the code, * spatial axes (*' with the noise axis last), N lines, X pixels of
a line, K mixture components.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from cosdd_zoo.networks.ar_decoder import ARDecoder, Block, CausalConv, from_lines, to_lines
from cosdd_zoo.networks.build import Cosdd, crop_like
from cosdd_zoo.networks.likelihood import Mixture, mixture


class Draws(NamedTuple):
    """The randomness of one noisy image, one pair of numbers for each pixel and channel."""

    u: Tensor  # [B, C, *'], uniform in 0..1
    eps: Tensor  # [B, C, *'], standard normal


class Synthetic(NamedTuple):
    """A noisy image that was never taken, and the signal in it; grey values, float32."""

    noisy: Tensor  # [B, C, *]
    signal: Tensor  # [B, C, *]


@torch.no_grad()
def synthesise(model: Cosdd, x: Tensor, seed: int, generator: Generator) -> Synthetic:
    """Other noise on the signal of raw x [B, C, *]: z ~ q(z | x) of `seed`, then x' ~ p(x | code(z)).

    Continuous values: integers come back by rounding to the data's quantisation step.
    """
    maps = model.bottom_up(x)
    code = model.encoder.top_down(maps, model.encoder.noise(maps, seed, 0, [0] * (x.dim() - 2)), False).code
    like = x.transpose(model.noise_dim, -1)
    v = sample_lines(model.ar_decoder, crop_like(code, like), draws(list(like.shape), x.device, generator))
    noisy = model.normalise.inverse(v.transpose(model.noise_dim, -1))
    return Synthetic(noisy, model.to_image(model.signal_decoder(code), x))


def draws(shape: list[int], device: torch.device, generator: Generator) -> Draws:
    """Independent numbers of a shape [B, C, *']."""
    source = generator.device
    u = torch.rand(shape, generator=generator, device=source)
    return Draws(u.to(device), torch.randn(shape, generator=generator, device=source).to(device))


@torch.no_grad()
def sample_lines(decoder: ARDecoder, code: Tensor, random: Draws) -> Tensor:
    """v ~ p(v | code), what the VAE would see: code [B, F, *'] -> [B, C, *'], float32."""
    if not isinstance(decoder.first.causal, CausalConv):  # noise axis "none": no pixel waits for another
        return _choose(decoder(torch.zeros_like(random.u), code), random.u, random.eps)
    code_lines, u, eps = to_lines(code), to_lines(random.u), to_lines(random.eps)
    beside = decoder.beside(torch.zeros_like(u), code_lines)  # the pixels' places are filled as they come
    blocks = [decoder.first, *decoder.blocks]
    pasts = [_Past(b.causal, len(u), code.device) for b in blocks if isinstance(b.causal, CausalConv)]
    from_code = [block.code(code_lines) for block in blocks]
    v = torch.zeros_like(u)
    for i in range(u.size(-1)):
        h = _after(blocks[0], pasts[0].seen(i), from_code[0], i)
        for block, past, c in zip(blocks[1:], pasts[1:], from_code[1:], strict=True):
            past.keep(h, i)
            h = h + _after(block, past.seen(i), c, i)
        p = mixture(decoder.to_mixture(h), decoder.n_channels, decoder.n_mixture, decoder.min_scale)
        here = slice(i, i + 1)
        v[..., here] = _choose(p, u[..., here], eps[..., here])
        pasts[0].keep(_with_pixels(beside[..., here], v[..., here]), i)
    return from_lines(v, list(random.u.shape))


class _Past:
    """The inputs of one causal convolution that it still needs, in a ring: [N, ., left + 1]. Zero before the line."""

    def __init__(self, causal: CausalConv, n_lines: int, device: torch.device) -> None:
        conv = causal.conv
        self.conv = conv
        self.size = causal.left + 1
        self.ring = torch.zeros(n_lines, conv.in_channels, self.size, device=device)
        steps = torch.arange(conv.kernel_size[0], device=device) * conv.dilation[0]
        self.back = causal.left - steps  # how far back each tap looks

    def keep(self, h: Tensor, i: int) -> None:
        self.ring[..., i % self.size] = h[..., 0]

    def seen(self, i: int) -> Tensor:
        """The convolution at pixel i: [N, ., 1]."""
        window = self.ring[..., (i - self.back) % self.size]
        return torch.nn.functional.conv1d(window, self.conv.weight, self.conv.bias, groups=self.conv.groups)


def _after(block: Block, seen: Tensor, from_code: Tensor, i: int) -> Tensor:
    h: Tensor = block.out(torch.relu(seen + from_code[..., i : i + 1]))
    return h


def _with_pixels(beside: Tensor, v: Tensor) -> Tensor:
    """The pixels [N, C, 1] in the first of each channel's maps [N, C * (1 + maps), 1]."""
    parts = beside.unflatten(1, [v.size(1), -1])
    return torch.cat([v.unsqueeze(2), parts[:, :, 1:]], dim=2).flatten(1, 2)


def _choose(p: Mixture, u: Tensor, eps: Tensor) -> Tensor:
    """A draw of each pixel: u and eps [., C, *] -> [., C, *]."""
    passed = p.log_weight.exp().cumsum(dim=2) < u.unsqueeze(2)
    k = passed.sum(dim=2, keepdim=True).clamp(max=p.mean.size(2) - 1)
    return (p.mean.gather(2, k) + p.std.gather(2, k) * eps.unsqueeze(2)).squeeze(2)
