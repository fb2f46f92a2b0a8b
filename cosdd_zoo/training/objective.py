r"""The loss: three groups of parameters, kept apart by detaching, in one sum.

    ladder, AR     L_vae    = -log p(v | code) + sum_l KL_l             per channel and pixel            Eq. 3, 5
    signal         L_signal = || f(code.detach()) - y ||^2                                               Eq. 6
    direct         L_direct = || g(v) - f(code).detach() ||^2

v stabilised and y linear normalised grey values (networks.build). Integer grey values get uniform noise of one
quantisation step, so that log p is that of a density on intervals: without it the likelihood of discrete values grows
without bound as a mixture component narrows (Theis, van den Oord & Bethge 2016).

Letters: B batch, C channels, L levels, * spatial axes.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from cosdd_zoo.networks.build import Cosdd, crop_like
from cosdd_zoo.networks.likelihood import log_likelihood


class Losses(NamedTuple):
    """Means over the batch, per channel and pixel; NLL and KL in nats, squared errors in variances of the data."""

    nll: Tensor  # []
    kl: Tensor  # [L], coarsest level first
    signal: Tensor  # []
    direct: Tensor  # [], zero without a direct denoiser

    @property
    def elbo(self) -> Tensor:
        """NLL + KL, the negative evidence lower bound: []."""
        return self.nll + self.kl.sum()

    @property
    def total(self) -> Tensor:
        return self.weighted(1.0)

    def weighted(self, kl_weight: float) -> Tensor:
        """The sum that is minimised, with the KL at part of its weight early in training: []."""
        return self.nll + kl_weight * self.kl.sum() + self.signal + self.direct


def losses(model: Cosdd, x: Tensor, step: Tensor, generator: Generator) -> Losses:
    """The losses of raw crops x [B, C, *]. step: quantisation step of each channel [1, C, 1..], 0 where continuous."""
    uniform = torch.rand(x.shape, generator=generator, device=generator.device).to(x.device) - 0.5
    v = model.to_network(x + step * uniform)
    maps = model.encoder.bottom_up(v)
    shapes = [_latent_shape(m, model) for m in maps]
    eps = [torch.randn(s, generator=generator, device=generator.device).to(x.device) for s in shapes]
    code, kl = model.encoder.top_down(maps, eps, True)
    target = crop_like(v, x.transpose(model.noise_dim, -1))
    p = model.ar_decoder(target, crop_like(code, target))
    nll = -log_likelihood(p, target).mean()
    signal_map = model.signal_decoder(code.detach())
    linear = model.normalise.linear(x).transpose(model.noise_dim, -1)
    signal = torch.mean((crop_like(signal_map, linear).float() - linear) ** 2)
    pixels = target.numel() / target.size(0)
    return Losses(nll, kl / pixels, signal, _direct(model, v, signal_map, linear))


def _direct(model: Cosdd, v: Tensor, signal_map: Tensor, like: Tensor) -> Tensor:
    if model.direct_denoiser is None:
        return torch.zeros([], device=v.device)
    error = model.direct_denoiser(v).float() - signal_map.detach().float()
    return torch.mean(crop_like(error, like) ** 2)


def _latent_shape(bottom_up: Tensor, model: Cosdd) -> list[int]:
    return [bottom_up.size(0), model.encoder.n_latents, *bottom_up.shape[2:]]
