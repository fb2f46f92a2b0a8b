r"""The whole model: raw images in, raw images out, statistics inside.

    u = (x - pedestal) / softness,   t(x) = 2u / (1 + sqrt(1 + |u|))         about linear near 0, a root far from it
    v = (t(x) - t_mean) / t_std      what the VAE sees: noise of about the same size at any brightness
    y = (x - mean) / std             what the signal decoder predicts: linear, so that its error is unbiased
    s_hat = mean + std f(code(z)),   z ~ q(z | v)                                                        Eq. 6

Letters: B batch, C channels, F features, * spatial axes in the image's order, *' the same with the noise axis last.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cosdd_zoo.config import SPATIAL_AXES, NetworkConfig
from cosdd_zoo.networks.ar_decoder import ARDecoder
from cosdd_zoo.networks.direct_denoiser import DirectDenoiser
from cosdd_zoo.networks.ladder_vae import LadderVAE
from cosdd_zoo.networks.signal_decoder import SignalDecoder
from cosdd_zoo.scaling import Scaling


class Moments(NamedTuple):
    """Running moments of posterior samples (Welford 1962): the memory of two images for any number of samples."""

    mean: Tensor  # [B, C, *], grey values
    squares: Tensor  # [B, C, *], sum of squared deviations from the mean


class Posterior(NamedTuple):
    mean: Tensor  # [B, C, *], grey values
    std: Tensor  # [B, C, *], grey values; zero for a single sample


class Normalise(nn.Module):
    """Raw grey values to v and y, and y back to grey values. Statistics are buffers, float32: [1, C, 1..]."""

    mean: Tensor
    std: Tensor
    pedestal: Tensor
    softness: Tensor
    t_mean: Tensor
    t_std: Tensor

    def __init__(self, scaling: Scaling, n_dims: int, stabilise: bool) -> None:
        super().__init__()
        for name, values in scaling._asdict().items():
            values = torch.tensor(values, dtype=torch.float64).float().reshape([1, -1] + [1] * n_dims)
            self.register_buffer(name, values, persistent=False)  # a checkpoint's scaling is their one home
        self.stabilise = stabilise

    def forward(self, x: Tensor) -> Tensor:
        """v [B, C, *] of raw x."""
        if not self.stabilise:
            return self.linear(x)
        u = (x - self.pedestal) / self.softness
        t = 2.0 * u / (1.0 + torch.sqrt(1.0 + torch.abs(u)))
        return (t - self.t_mean) / self.t_std

    def inverse(self, v: Tensor) -> Tensor:
        """Raw x of v [B, C, *]: u = t + t |t| / 4."""
        if not self.stabilise:
            return self.to_grey(v)
        t = v.float() * self.t_std + self.t_mean
        return (t + 0.25 * t * torch.abs(t)) * self.softness + self.pedestal

    def linear(self, x: Tensor) -> Tensor:
        """y [B, C, *] of raw x."""
        return (x - self.mean) / self.std

    def to_grey(self, y: Tensor) -> Tensor:
        """Raw grey values of y, float32: [B, C, *]."""
        return y.float() * self.std + self.mean


class Cosdd(nn.Module):
    """All networks of one model. Spatial sizes are free: images are padded by repeated border pixels, and cropped."""

    def __init__(self, config: NetworkConfig, scaling: Scaling, stabilise: bool) -> None:
        super().__init__()
        self.normalise = Normalise(scaling, config.n_dims, stabilise)
        self.encoder = LadderVAE(config)
        self.ar_decoder = ARDecoder(config)
        self.signal_decoder = SignalDecoder(config)
        self.direct_denoiser = DirectDenoiser(config) if config.direct else None
        self.noise_dim = noise_dim(config)
        self.stride = list(config.total_stride())

    def to_network(self, x: Tensor) -> Tensor:
        """Normalised, noise axis last, padded to the stride: raw [B, C, *] -> v [B, C, *']."""
        return pad_to_stride(self.normalise(x.float()).transpose(self.noise_dim, -1), self.stride)

    def to_image(self, y: Tensor, like: Tensor) -> Tensor:
        """The inverse way: y [B, C, *'] -> grey values [B, C, *] of `like`'s size."""
        return self.normalise.to_grey(crop_like(y, like.transpose(self.noise_dim, -1)).transpose(self.noise_dim, -1))

    def bottom_up(self, x: Tensor) -> list[Tensor]:
        """The deterministic maps of raw x [B, C, *], to be shared by all samples."""
        maps: list[Tensor] = self.encoder.bottom_up(self.to_network(x))
        return maps

    def sample(self, x: Tensor, maps: list[Tensor], seed: int, sample: int, origin: list[int]) -> Tensor:
        """One posterior sample of the signal of raw x: [B, C, *], float32, grey values.

        maps: of bottom_up(x). origin: absolute coordinate of x's first pixel along the spatial axes *, in px,
        divisible by the stride: the same pixel then gets the same sample in a tile as in the whole image.
        """
        return self.decoded(x, maps, self.noise(maps, seed, sample, origin))

    def noise(self, maps: list[Tensor], seed: int, sample: int, origin: list[int]) -> list[Tensor]:
        """The latents' noise of one sample, for each of the maps. origin: as for `sample`."""
        last = len(origin) - 1
        swapped = list(origin)
        swapped[self.noise_dim - 2], swapped[last] = origin[last], origin[self.noise_dim - 2]
        return self.encoder.noise(maps, seed, sample, swapped)

    def decoded(self, x: Tensor, maps: list[Tensor], eps: list[Tensor]) -> Tensor:
        """The signal that noise of the latents stands for: [B, C, *] of x's size, float32, grey values."""
        return self.to_image(self.signal_decoder(self.encoder.top_down(maps, eps, False).code), x)

    def posterior(self, x: Tensor, n_samples: int, seed: int, origin: list[int]) -> Posterior:
        """Mean and standard deviation of the first n_samples posterior samples of raw x [B, C, *] float32; one
        bottom-up pass for all of them. No sample (0): the signal of the latents' means, in one pass.

        origin: as for `sample`.
        """
        maps = self.bottom_up(x)
        if n_samples == 0:
            return Posterior(self.sample(x, maps, seed, -1, origin), torch.zeros_like(x))
        moments = Moments(torch.zeros_like(x), torch.zeros_like(x))
        for first in range(0, n_samples, 2):
            moments = self.update(moments, x, maps, seed, first, n_samples, origin)
        return Posterior(moments.mean, self.std_of(moments, n_samples))

    def update(
        self, m: Moments, x: Tensor, maps: list[Tensor], seed: int, first: int, n_samples: int, origin: list[int]
    ) -> Moments:
        """The moments of samples 0 .. first + 1 (but no more than n_samples) from those before `first`, an even one.

        Two are a pair, of opposite noise that is drawn once.
        """
        eps = self.noise(maps, seed, first, origin)
        mean, squares = m.mean, m.squares
        for sample in range(first, min(first + 2, n_samples)):
            s = self.decoded(x, maps, eps if sample == first else [-e for e in eps])
            step = s - mean
            mean = mean + step / (sample + 1)
            squares = squares + step * (s - mean)
        return Moments(mean, squares)

    def std_of(self, m: Moments, n_samples: int) -> Tensor:
        """Standard deviation of n_samples posterior samples, [B, C, *]; zeros for one.

        Two of opposite noise nearly have the posterior's mean between them, so that theirs takes no degree of freedom:
        by n - 1 the std of 8 samples would be 7 % too large (benchmarks/results). A last one alone takes 1 / n.
        """
        return torch.sqrt(m.squares / max(n_samples - n_samples % 2 / n_samples, 1.0))

    def direct(self, x: Tensor) -> Tensor:
        """The direct denoiser's prediction of raw x: [B, C, *], float32, grey values."""
        assert self.direct_denoiser is not None
        return self.to_image(self.direct_denoiser(self.to_network(x)), x)


def noise_dim(config: NetworkConfig) -> int:
    """The tensor dimension of [B, C, *] that holds the noise axis; the last where there is none."""
    axes = SPATIAL_AXES[config.n_dims]
    return 2 + (axes.index(config.noise_axis) if config.noise_axis != "none" else len(axes) - 1)


def pad_to_stride(x: Tensor, stride: list[int]) -> Tensor:
    """Border pixels repeated at each axis' end until the stride divides its size: [B, C, *'] -> larger [B, C, *']."""
    pad: list[int] = []
    for axis, step in enumerate(stride):
        pad = [0, (step - x.size(axis + 2) % step) % step] + pad
    return F.pad(x, pad, mode="replicate")


def crop_like(x: Tensor, like: Tensor) -> Tensor:
    """The first pixels of each axis, as many as `like` has: [B, C, *'] -> smaller [B, C, *']."""
    for axis in range(2, x.dim()):
        x = x.narrow(axis, 0, like.size(axis))
    return x


def receptive_radius(config: NetworkConfig) -> tuple[int, ...]:
    """How far, in px along the networks' axes, a pixel of the denoised image can depend on the noisy one.

    The sum over the longest path of (kernel // 2) * (pixels of the image per pixel of that map): down the encoder to
    the coarsest level, up again, through the signal decoder. Beyond it a cut edge changes nothing at all.
    """
    in_block = 2
    # pixels of the finer map from a pixel to the furthest that it is upsampled from: repeated 1, interpolated 2
    up_reach = 2 if config.blocks == "authors" else 1
    merged = in_block if config.merge_blocks else 0
    strides = config.cumulative_strides()
    halvings = config.level_strides()
    radius = []
    for axis in range(config.n_dims):
        full = 2 + in_block * 2 * config.full_resolution_blocks + config.signal_layers
        total = full
        before = 1
        for level, (cumulative, halving) in enumerate(zip(strides, halvings, strict=True)):
            at, is_top = cumulative[axis], level + 1 == config.n_levels
            down = before * (max(halving) > 1) + in_block * at
            up = at * (2 + (0 if is_top else 2 * merged)) + (in_block * before if level > 0 else 0)
            total += down + up + up_reach * (at - before)
            before = at
        radius.append(total)
    return tuple(radius)
