r"""The direct denoiser: a deterministic U-Net of the ladder's shape that predicts the posterior mean in one pass.

    g(x) trained with || g(x) - f(code(z)) ||^2, z ~ q(z|x), target detached  ->  g(x) = E[ f(code(z)) | x ]

It may have fewer features and levels than the ladder: its target is smooth, and some users have slow computers.

Letters: B batch, C channels, F features, * spatial axes, *_l the same at level l.
"""

from torch import Tensor, nn

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.blocks import KeepFirst, ToPixels
from cosdd_zoo.networks.families import blocks_of
from cosdd_zoo.networks.ladder_vae import BottomUp


class UpLevel(nn.Module):
    """The ladder's top-down level without its latents: [B, F, *_l] twice -> [B, F, *_l-1]."""

    def __init__(self, config: NetworkConfig, stride: tuple[int, ...], is_top: bool, ends_here: bool) -> None:
        super().__init__()
        blocks = blocks_of(config)
        self.merge = KeepFirst() if is_top else blocks.merge()
        self.skip = KeepFirst() if is_top or not config.merge_blocks else blocks.merge()
        self.up = nn.Identity() if ends_here else blocks.up(stride)
        self.residual = nn.Identity() if ends_here else blocks.residual(config.gated)

    def forward(self, above: Tensor, bottom_up: Tensor) -> Tensor:
        return self.residual(self.up(self.skip(self.merge(bottom_up, above), above)))


class DirectDenoiser(nn.Module):
    """x [B, C, *] (normalised, noise axis last, sizes divisible by the ladder's stride) -> signal [B, C, *]."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        config = own_shape(config)
        strides = config.level_strides()[::-1]
        n = len(strides)
        self.bottom_up = BottomUp(config)
        self.levels = nn.ModuleList(
            UpLevel(config, stride, i == 0, not config.full_resolution_blocks and i + 1 == n)
            for i, stride in enumerate(strides)
        )
        self.out = self._out(config, strides[-1])

    @staticmethod
    def _out(config: NetworkConfig, stride: tuple[int, ...]) -> nn.Module:
        blocks = blocks_of(config)
        if config.full_resolution_blocks:
            return blocks.conv(config.n_features, config.n_channels)
        to_pixels = ToPixels(config.n_features, config.n_code, stride)
        return nn.Sequential(to_pixels, blocks.activation(), blocks.conv(config.n_code, config.n_channels))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.bottom_up(x)
        h = maps[0]
        for i, level in enumerate(self.levels):
            h = level(h, maps[i])
        return self.out(h)


def own_shape(config: NetworkConfig) -> NetworkConfig:
    """The ladder's settings with the direct denoiser's own features and levels."""
    shape: dict[str, object] = {"downsample": config.downsample[: config.direct_levels]}
    if config.direct_features is not None:
        shape |= {"n_features": config.direct_features, "n_code": min(config.n_code, config.direct_features)}
    return config.model_copy(update=shape)
