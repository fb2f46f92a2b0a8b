r"""The ladder VAE: what the image says at each scale, sampled from coarse to fine.

    bottom-up    d_0 = stem(x),   d_l = residual(down(d_l-1))                              l = 1 (finest) .. L
    top-down     q(z_l | z_>l, x) = N(conv(merge(d_l, h_l+1)))
                 p(z_l | z_>l)    = N(conv(h_l+1)),   p(z_L) a learned constant: it exists at every image size
                 h_l = residual(up(merge(conv(z_l), h_l+1)))
    code         conv1x1(h_1) at full resolution; without blocks at that resolution, the channels of one pixel of the
                 finest level become its finer pixels

Letters: B batch, C channels, F features, Z latent channels, * spatial axes, *_l the same at level l.
Level 0 of a list is the coarsest (the order in which latents are drawn).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.blocks import ToPixels, zero
from cosdd_zoo.networks.families import blocks_of
from cosdd_zoo.networks.latent_noise import latent_noise
from cosdd_zoo.networks.likelihood import gaussian, kl_divergence


class TopDown(NamedTuple):
    code: Tensor  # [B, F, *]
    kl: Tensor  # [L], nats summed over each level's latents, mean over the batch; zeros unless asked for


class Level(NamedTuple):
    path: Tensor  # [B, F, *_l-1], what goes down to the next level
    kl: Tensor  # []


class Stem(nn.Module):
    """conv5x5, activation and one ungated residual block: [B, C, *] -> [B, F, *].

    Without blocks at full resolution, the convolution takes the first level's stride and the block is left out.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        blocks, whole = blocks_of(config), config.full_resolution_blocks
        stride = (1,) * config.n_dims if whole else config.level_strides()[0]
        self.conv = blocks.conv(config.n_channels, config.n_features, kernel=5, stride=stride)
        self.activation = blocks.activation()
        self.residual = blocks.residual(gated=False) if whole else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(self.activation(self.conv(x)))


class BottomUp(nn.Module):
    """All levels' deterministic maps, the coarsest first: [B, C, *] -> L of [B, F, *_l]."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.stem = Stem(config)
        strides = config.level_strides()
        if not config.full_resolution_blocks:
            strides[0] = (1,) * config.n_dims  # taken by the stem
        self.levels = nn.ModuleList(self._level(config, stride) for stride in strides)

    @staticmethod
    def _level(config: NetworkConfig, stride: tuple[int, ...]) -> nn.Module:
        blocks = blocks_of(config)
        residual = blocks.residual(config.gated)
        if max(stride) == 1:
            return residual
        return nn.Sequential(blocks.conv(config.n_features, config.n_features, stride=stride), residual)

    def forward(self, x: Tensor) -> list[Tensor]:
        d = self.stem(x)
        maps: list[Tensor] = []
        for level in self.levels:
            d = level(d)
            maps.insert(0, d)
        return maps


class TopDownLevel(nn.Module):
    """One level: q from the image and from above, p from above, z drawn from q, the path on to the next level."""

    def __init__(self, config: NetworkConfig, stride: tuple[int, ...], ends_here: bool) -> None:
        super().__init__()
        blocks, n, z = blocks_of(config), config.n_features, config.n_latents
        self.merge = blocks.merge()
        self.posterior = zero(blocks.conv(n, 2 * z))
        self.prior = zero(blocks.conv(n, 2 * z))
        self.from_latents = blocks.conv(z, n)
        self.skip = blocks.merge()
        self.up = nn.Identity() if ends_here else blocks.up(stride)
        self.residual = nn.Identity() if ends_here else blocks.residual(config.gated)
        self.min_std = config.min_std

    def forward(self, above: Tensor, bottom_up: Tensor, eps: Tensor, with_kl: bool) -> Level:
        q = gaussian(self.posterior(self.merge(bottom_up, above)), self.min_std)
        z = q.mean + q.std * eps
        kl = torch.zeros([], device=z.device)
        if with_kl:
            kl = kl_divergence(q, gaussian(self.prior(above), self.min_std)).sum() / z.size(0)
        return Level(self.path(above, z), kl)

    def imagined(self, above: Tensor, eps: Tensor) -> Tensor:
        """The path on from latents that no image has a say in: z ~ p(z | above), [B, F, *_l-1]."""
        p = gaussian(self.prior(above), self.min_std)
        return self.path(above, p.mean + p.std * eps)

    def path(self, above: Tensor, z: Tensor) -> Tensor:
        return self.residual(self.up(self.skip(self.from_latents(z.to(above.dtype)), above)))


class TopLevel(nn.Module):
    """The coarsest level: nothing above it, a prior that is one learned Gaussian at every place."""

    def __init__(self, config: NetworkConfig, stride: tuple[int, ...], ends_here: bool) -> None:
        super().__init__()
        blocks, n, z = blocks_of(config), config.n_features, config.n_latents
        self.posterior = zero(blocks.conv(n, 2 * z))
        self.prior = nn.Parameter(torch.zeros([1, 2 * z] + [1] * config.n_dims))
        self.from_latents = blocks.conv(z, n)
        self.up = nn.Identity() if ends_here else blocks.up(stride)
        self.residual = nn.Identity() if ends_here else blocks.residual(config.gated)
        self.min_std = config.min_std

    def forward(self, bottom_up: Tensor, eps: Tensor, with_kl: bool) -> Level:
        q = gaussian(self.posterior(bottom_up), self.min_std)
        z = q.mean + q.std * eps
        kl = torch.zeros([], device=z.device)
        if with_kl:
            kl = kl_divergence(q, gaussian(self.prior, self.min_std)).sum() / z.size(0)
        return Level(self.path(z.to(bottom_up.dtype)), kl)

    def imagined(self, eps: Tensor) -> Tensor:
        """The path on from z ~ p(z), of eps [B, Z, *_L]."""
        p = gaussian(self.prior, self.min_std)
        return self.path(p.mean + p.std * eps)

    def path(self, z: Tensor) -> Tensor:
        return self.residual(self.up(self.from_latents(z)))


class LadderVAE(nn.Module):
    """x [B, C, *] (normalised, noise axis last, sizes divisible by `stride`) -> code [B, F, *] of one sample."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        strides = config.level_strides()[::-1]
        ends = [not config.full_resolution_blocks and i + 1 == len(strides) for i in range(len(strides))]
        self.bottom_up = BottomUp(config)
        self.top = TopLevel(config, strides[0], ends[0])
        self.levels = nn.ModuleList(
            TopDownLevel(config, stride, end) for stride, end in zip(strides[1:], ends[1:], strict=True)
        )
        self.to_code = ToPixels(config.n_features, config.n_code, strides[-1] if ends[-1] else (1,) * config.n_dims)
        self.n_latents = config.n_latents
        self.stride = list(config.total_stride())
        self.level_strides = [list(s) for s in config.cumulative_strides()[::-1]]

    def forward(self, x: Tensor, eps: list[Tensor], with_kl: bool) -> TopDown:
        return self.top_down(self.bottom_up(x), eps, with_kl)

    def top_down(self, maps: list[Tensor], eps: list[Tensor], with_kl: bool) -> TopDown:
        """One sample's code. maps: of the bottom-up pass; eps: standard normal [B, Z, *_l], both coarsest first."""
        level = self.top(maps[0], eps[0], with_kl)
        kl = [level.kl]
        for i, layer in enumerate(self.levels):
            level = layer(level.path, maps[i + 1], eps[i + 1], with_kl)
            kl.append(level.kl)
        return TopDown(self.to_code(level.path), torch.stack(kl))

    def imagined(self, eps: list[Tensor]) -> Tensor:
        """The code [B, F, *] of an image that is not there: z ~ p(z). eps: standard normal [B, Z, *_l]."""
        path = self.top.imagined(eps[0])
        for layer, e in zip(self.levels, eps[1:], strict=True):
            path = layer.imagined(path, e)  # type: ignore[operator]
        code: Tensor = self.to_code(path)
        return code

    def noise(self, maps: list[Tensor], seed: int, sample: int, origin: list[int]) -> list[Tensor]:
        """The latents' noise of one sample: [1, Z, *_l], coarsest first.

        origin: absolute coordinate, in px, of the maps' first pixel; divisible by `stride`.
        """
        eps: list[Tensor] = []
        for i, d in enumerate(maps):
            start = [origin[a] // self.level_strides[i][a] for a in range(len(origin))]
            shape = [self.n_latents] + list(d.shape[2:])
            eps.append(latent_noise(d, seed, sample, i, shape, start))
        return eps
