r"""Densities of the ladder VAE, in float32 whatever the precision around them.

    L(x) = -log p(x | code) + sum_l KL( q(z_l | z_>l, x) || p(z_l | z_>l) )                              Eq. 3
    p(x_i | x_<i, code) = sum_k w_k N(x_i; m_k, s_k)        k = 1..K, s_k >= min_scale                   Eq. 5
    P(a < x_i < b)      = sum_k w_k (Phi((b - m_k) / s_k) - Phi((a - m_k) / s_k))                        of a grey value

The probability of a grey value, the mixture integrated over its quantisation bin, is at most 1: unlike the density of
discrete values it cannot grow without bound as a component narrows.

Letters: B batch, C channels, Z latent channels, K mixture components, * spatial axes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Gaussian(NamedTuple):
    mean: Tensor  # [B, Z, *]
    std: Tensor  # [B, Z, *]


class Mixture(NamedTuple):
    log_weight: Tensor  # [B, C, K, *], log of weights that sum to 1 over K
    mean: Tensor  # [B, C, K, *]
    std: Tensor  # [B, C, K, *]


def gaussian(parameters: Tensor, min_std: float) -> Gaussian:
    """The diagonal Gaussian that a network's [B, 2Z, *] stand for: means, then stds before their softplus.

    min_std: far below what a useful posterior needs (the prior's std is about 1), far above where 1 / std^2 overflows.
    """
    mean, raw = parameters.float().chunk(2, dim=1)
    # softplus(0.5413) = 1: an untrained posterior and prior are both N(0, 1) and their KL is zero
    return Gaussian(mean, F.softplus(raw + 0.5413) + min_std)


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) of each latent, in nats: [B, Z, *]. Zero where q equals p, and accurate where it is small."""
    excess = (q.std - p.std) / p.std
    shift = (q.mean - p.mean) / p.std
    # (r^2 - 1) / 2 - log r = e^2 / 2 + e - log(1 + e), without 1 - 1 where r = 1 + e is near 1; log1p has no -1
    log_ratio = torch.where(excess < -0.5, torch.log(q.std / p.std), torch.log1p(excess.clamp(min=-0.5)))
    return 0.5 * (excess * excess + shift * shift) + (excess - log_ratio)


def mixture(parameters: Tensor, n_channels: int, n_mixture: int, min_scale: float) -> Mixture:
    """The mixture that a network's [B, C * 3K, *] stand for: per channel K logits, K means, K scales."""
    split = [parameters.size(0), n_channels, 3 * n_mixture] + list(parameters.shape[2:])
    logit, mean, raw = parameters.float().reshape(split).chunk(3, dim=2)
    return Mixture(torch.log_softmax(logit, dim=2), mean, F.softplus(raw) + min_scale)


def log_likelihood(p: Mixture, x: Tensor) -> Tensor:
    """log p(x) of each pixel, in nats: x [B, C, *] -> [B, C, *]."""
    distance = (x.float().unsqueeze(2) - p.mean) / p.std
    component = -0.5 * distance * distance - torch.log(p.std) - 0.5 * math.log(2.0 * math.pi)
    return torch.logsumexp(p.log_weight + component, dim=2)


def cumulative(p: Mixture, x: Tensor) -> Tensor:
    """P(x_i < x | x_<i, code) of each pixel, sum_k w_k Phi((x - m_k) / s_k): x [B, C, *] -> [B, C, *]."""
    return (p.log_weight.exp() * torch.special.ndtr((x.float().unsqueeze(2) - p.mean) / p.std)).sum(dim=2)


def log_bin_density(p: Mixture, low: Tensor, high: Tensor) -> Tensor:
    """log P(low < x < high) - log(high - low) of each pixel, in nats: two of [B, C, *] -> [B, C, *].

    The mean density over the bin, so that it is a density's value where bins are narrow; there, below a hundredth of a
    component's scale, it is computed as one. Requires low < high.
    """
    low, high = low.float().unsqueeze(2), high.float().unsqueeze(2)
    width = high - low
    a, b = (low - p.mean) / p.std, (high - p.mean) / p.std
    # by symmetry into the lower tail, where log Phi is exact: P(a, b) = P(-b, -a)
    is_upper = a + b > 0
    a, b = torch.where(is_upper, -b, a), torch.where(is_upper, -a, b)
    is_narrow = b - a < 1e-2
    middle = 0.5 * (a + b)
    narrow = -0.5 * middle * middle - torch.log(p.std) - 0.5 * math.log(2.0 * math.pi)
    # a safe width where it is narrow: the branch that is not chosen must not give NaN gradients
    below = torch.special.log_ndtr(torch.where(is_narrow, b - 1.0, a))
    above = torch.special.log_ndtr(b)
    wide = above + torch.log1p(-torch.exp(below - above)) - torch.log(width)
    return torch.logsumexp(p.log_weight + torch.where(is_narrow, narrow, wide), dim=2)
