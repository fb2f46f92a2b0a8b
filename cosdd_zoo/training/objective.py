r"""The loss: three groups of parameters, kept apart by detaching, in one sum.

    ladder, AR     L_vae    = -log p(v | code) + sum_l KL_l             per channel and pixel            Eq. 3, 5
    signal         L_signal = || f(code.detach()) - y ||^2                                               Eq. 6
    direct         L_direct = || g(v) - f(code).detach() ||^2

or of the last group alone, once the others have learned:

    distillation   || g(v) - 1/K sum_k f(code(z_k)) ||^2,   z_k ~ q(z | v) in opposite pairs; or z the mean of q

v stabilised and y linear normalised grey values (networks.build). The likelihood of integer grey values is the mean of
the density over their bin, one quantisation step wide; or that of the value with uniform noise of one step added, a
lower bound of it (Theis, van den Oord & Bethge 2016). The plain density of discrete values would grow without bound as
a mixture component narrows. Broken pixels (data.outliers) count in no loss. Saturated ones count in no likelihood: how
far above they are is not known; the signal decoder still learns that they are at least as bright.

Letters: B batch, C channels, L levels, * spatial axes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from cosdd_zoo.config import Likelihood
from cosdd_zoo.data.outliers import standing_out
from cosdd_zoo.networks.build import Cosdd, crop_like
from cosdd_zoo.networks.likelihood import Mixture, log_bin_density, log_likelihood


class Losses(NamedTuple):
    """Means over the batch, per channel and pixel; NLL and KL in nats, squared errors in variances of the data."""

    nll: Tensor  # []
    kl: Tensor  # [L], coarsest level first
    signal: Tensor  # []
    direct: Tensor  # [], zero without a direct denoiser

    def vector(self) -> Tensor:
        """All in one, to be averaged over passes and processes: [3 + L]."""
        return torch.cat([torch.stack([self.nll, self.signal, self.direct]), self.kl]).detach().float()

    @classmethod
    def of(cls, vector: Tensor) -> "Losses":
        return cls(vector[0], vector[3:], vector[1], vector[2])

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


class Detector(NamedTuple):
    """What is known of the grey values beside their noise, and what the losses make of it."""

    step: Tensor  # [1, C, 1..], quantisation step in grey values; 0 where continuous
    ceiling: Tensor  # [1, C, 1..], grey value of saturated pixels; infinite where none are
    outlier: Tensor  # [1, C, 1..], how far a broken pixel stands out of its neighbours, in values of v
    likelihood: Likelihood


def losses(model: Cosdd, x: Tensor, detector: Detector, noise: Sequence[Generator]) -> Losses:
    """The losses of raw crops x [B, C, *], grey values.

    noise: a generator for each crop, so that its draws do not depend on the crops that it shares a batch with.
    """
    uniform = torch.stack([torch.rand(x.shape[1:], generator=g, device=g.device) for g in noise]).to(x.device) - 0.5
    added = detector.step * uniform if detector.likelihood == "dequantised" else 0.0
    v = model.to_network(x + added)
    maps = model.encoder.bottom_up(v)
    code, kl = model.encoder.top_down(maps, _latent_noise(maps, model.encoder.n_latents, noise), True)
    target = crop_like(v, x.transpose(model.noise_dim, -1))
    p = model.ar_decoder(target, crop_like(code, target))
    is_sound = standing_out(target).abs() <= detector.outlier.transpose(model.noise_dim, -1)
    is_known = is_sound & (x < detector.ceiling).transpose(model.noise_dim, -1)
    nll = -_counted_mean(is_known, _log_likelihood(p, target, model, x, detector))
    signal_map = model.signal_decoder(code.detach())
    linear = model.normalise.linear(x).transpose(model.noise_dim, -1)
    signal = _counted_mean(is_sound, (crop_like(signal_map, linear).float() - linear) ** 2)
    pixels = target.numel() / target.size(0)
    return Losses(nll, kl / pixels, signal, _direct(model, v, signal_map, linear))


def _counted_mean(counted: Tensor, values: Tensor) -> Tensor:
    """The sum over the pixels that count, per pixel of all: NLL and KL stay parts of one bound."""
    return torch.where(counted, values, 0.0).mean()


def distillation(model: Cosdd, x: Tensor, n_samples: int, noise: Sequence[Generator]) -> Losses:
    """The direct denoiser's error on raw crops x [B, C, *], and what its teacher, without gradient, does on them.

    x stays as it is when denoising. NLL is zero: the AR decoder has no part in it.
    """
    v = model.to_network(x)
    linear = model.normalise.linear(x.float()).transpose(model.noise_dim, -1)
    with torch.no_grad():
        target, kl = _posterior_mean(model, v, n_samples, noise)
        signal = torch.mean((crop_like(target, linear) - linear) ** 2)
    pixels = linear.numel() / linear.size(0)
    return Losses(torch.zeros([], device=v.device), kl / pixels, signal, _direct(model, v, target, linear))


def _posterior_mean(model: Cosdd, v: Tensor, n_samples: int, noise: Sequence[Generator]) -> tuple[Tensor, Tensor]:
    """The mean signal [B, C, *'] of so many samples, and the KL [L] of the last; 0: of the latents' means."""
    maps = model.encoder.bottom_up(v)
    drawn = _latent_noise(maps, model.encoder.n_latents, noise)
    eps = [torch.zeros_like(e) for e in drawn]
    signals = []
    for k in range(max(n_samples, 1)):
        if n_samples > 0 and k % 2 == 0:
            eps = drawn if k == 0 else _latent_noise(maps, model.encoder.n_latents, noise)
        code, kl = model.encoder.top_down(maps, eps if k % 2 == 0 else [-e for e in eps], True)
        signals.append(model.signal_decoder(code).float())
    return torch.stack(signals).mean(0), kl


def _log_likelihood(p: Mixture, v: Tensor, model: Cosdd, x: Tensor, detector: Detector) -> Tensor:
    """Of each pixel, in nats: [B, C, *'], noise axis last."""
    density = log_likelihood(p, v)
    step = detector.step
    if detector.likelihood != "bins" or not bool((step > 0).any()):
        return density
    # a bin of one grey level stands in where values are continuous; it is not chosen there
    half = 0.5 * torch.where(step > 0, step, torch.ones_like(step))
    edges = [model.normalise(edge.float()).transpose(model.noise_dim, -1) for edge in (x - half, x + half)]
    return torch.where((step > 0).transpose(model.noise_dim, -1), log_bin_density(p, edges[0], edges[1]), density)


def _direct(model: Cosdd, v: Tensor, signal_map: Tensor, like: Tensor) -> Tensor:
    if model.direct_denoiser is None:
        return torch.zeros([], device=v.device)
    error = model.direct_denoiser(v).float() - signal_map.detach().float()
    return torch.mean(crop_like(error, like) ** 2)


def _latent_noise(maps: list[Tensor], n_latents: int, noise: Sequence[Generator]) -> list[Tensor]:
    """Standard normal, [B, n_latents, *] for each level's map; one draw a crop, which is cut into levels."""
    sizes = [n_latents * m[0, 0].numel() for m in maps]
    eps = torch.stack([torch.randn(sum(sizes), generator=g, device=g.device) for g in noise]).to(maps[0].device)
    return [e.reshape(-1, n_latents, *m.shape[2:]) for e, m in zip(eps.split(sizes, 1), maps, strict=True)]
