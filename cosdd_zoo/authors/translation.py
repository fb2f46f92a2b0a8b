r"""The authors' networks as ours, layer by layer.

    mixture         theirs: weight, mean and scale of each component in turn; ours: all weights, all means, all scales
    axis "none"     theirs adds the bias of a convolution that sees nothing; ours has it in the code's convolution
    top prior       theirs: a Gaussian at each place of a training crop; ours, one for all places, has the mean and the
                    variance of their mixture. Denoising uses neither.

Letters: C channels, F features, A features of the AR decoder a channel, K mixture components, Z latent channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cosdd_zoo.authors.layers import RAW_ONE, Conv, Layers, unpaired
from cosdd_zoo.authors.tensors import Tensors
from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.errors import CheckpointError
from cosdd_zoo.networks.ar_decoder import taps_of
from cosdd_zoo.scaling import Scaling

STRAIGHT = 1e6
"""A softness of so many standard deviations makes the square-root transform a straight line: they have none."""


class Translated(NamedTuple):
    weights: dict[str, Tensor]
    scaling: Scaling
    n_top_places: int  # Gaussians of their top prior that became one


def translated(theirs: Tensors, config: NetworkConfig, scale_initialisation: bool) -> Translated:
    """All of a checkpoint. Raises CheckpointError when a tensor is missing, misshapen or left over."""
    layers = Layers(theirs, config)
    n_top_places = ladder(layers, config, config.n_features**-0.5 if scale_initialisation else 1.0)
    ar_decoder(layers, config)
    signal_decoder(layers, config)
    if config.direct:
        direct_denoiser(layers, config)
    scaling = scaling_of(theirs, config.n_channels)
    theirs.refuse_left_over()
    return Translated({n: t.float().contiguous() for n, t in layers.ours.items()}, scaling, n_top_places)


def ladder(layers: Layers, config: NetworkConfig, factor: float) -> int:
    """The encoder; how many Gaussians its top prior had."""
    bottom_up(layers, config, "vae", "encoder.bottom_up", factor)
    top, n, z = config.n_levels - 1, config.n_features, config.n_latents
    for i, halves in enumerate(config.downsample):
        theirs = f"vae.top_down_layers.{i}"
        ours = "encoder.top" if i == top else f"encoder.levels.{top - 1 - i}"  # the coarsest first
        layers.gaussian(f"{theirs}.stochastic.conv_in_q.conv", f"{ours}.posterior")
        layers.conv(f"{theirs}.stochastic.conv_out.conv", f"{ours}.from_latents.conv", z, n, 3)
        if i < top:
            layers.gaussian(f"{theirs}.stochastic.conv_in_p.conv", f"{ours}.prior")
            merges(layers, theirs, ours, factor)
        towards_pixels(layers, f"{theirs}.deterministic_blocks.0", ours, halves, factor)
    layers.conv("vae.final_top_down.conv", "encoder.to_code.conv", n, config.n_code, 1)
    return top_prior(layers, f"vae.top_down_layers.{top}.top_prior_params", config)


def direct_denoiser(layers: Layers, config: NetworkConfig) -> None:
    """Their option scale-initialisation is not for it."""
    bottom_up(layers, config, "direct_denoiser", "direct_denoiser.bottom_up", 1.0)
    top = config.n_levels - 1
    for i, halves in enumerate(config.downsample):
        theirs, ours = f"direct_denoiser.top_down_layers.{i}", f"direct_denoiser.levels.{top - i}"
        if i < top:
            merges(layers, theirs, ours, 1.0)
        towards_pixels(layers, f"{theirs}.blocks.0", ours, halves, 1.0)
    weight, bias = layers.taken("direct_denoiser.final_top_down.conv", config.n_features, config.n_channels, 1)
    # theirs is 1x1: the middle of ours
    layers.put("direct_denoiser.out.conv", Conv(F.pad(weight, [1, 1] * config.n_dims), bias))


def bottom_up(layers: Layers, config: NetworkConfig, theirs: str, ours: str, factor: float) -> None:
    n = config.n_features
    layers.conv(f"{theirs}.first_bottom_up.0.conv", f"{ours}.stem.conv", config.n_channels, n, 5)
    layers.residual(f"{theirs}.first_bottom_up.2.res_block.block", f"{ours}.stem.residual", factor, gated=False)
    for i, halves in enumerate(config.downsample):
        block, level = f"{theirs}.bottom_up_layers.{i}.bu_blocks.0", f"{ours}.levels.{i}"
        if halves:
            layers.conv(f"{block}.pre_conv.conv", f"{level}.0.conv", n, n, 3)
        layers.residual(f"{block}.res_block.block", f"{level}.1" if halves else level, factor)


def merges(layers: Layers, theirs: str, ours: str, factor: float) -> None:
    layers.merge(f"{theirs}.merge.layer", f"{ours}.merge", factor)
    layers.merge(f"{theirs}.skip_connection_merger.layer", f"{ours}.skip", factor)


def towards_pixels(layers: Layers, theirs: str, ours: str, halves: bool, factor: float) -> None:
    """The end of a top-down level: upsampling, residual block."""
    if halves:
        layers.conv(f"{theirs}.pre_conv.1.conv", f"{ours}.up.0", layers.n_features, layers.n_features, 1)
    layers.residual(f"{theirs}.res_block.block", f"{ours}.residual", factor)


def top_prior(layers: Layers, name: str, config: NetworkConfig) -> int:
    """One Gaussian of the moments of all; how many they were."""
    each = [1, 2 * config.n_latents] + [1] * config.n_dims
    places = layers.theirs.shape(name)[2:]
    mean, raw = unpaired(layers.theirs.take(name, each[:2] + places), 1).reshape([2, config.n_latents, -1])
    middle = mean.mean(1)
    variance = (F.softplus(raw) ** 2 + (mean - middle[:, None]) ** 2).mean(1)
    std = torch.sqrt(variance).clamp(min=2 * config.min_std) - config.min_std
    inverse = std + torch.log(-torch.expm1(-std))  # of the softplus
    layers.ours["encoder.top.prior"] = torch.cat([middle, inverse - RAW_ONE]).reshape(each)
    return math.prod(places)


def ar_decoder(layers: Layers, config: NetworkConfig) -> None:
    n = config.n_channels * config.ar_features
    one = [1] * config.n_dims
    kernel = one[1:] + [1 if config.noise_axis == "none" else 5]
    turned = config.noise_axis in ("y", "z")  # the first of their layers has no weights
    for b, taps in enumerate(taps_of(config)):
        theirs = f"ar_decoder.layers.layers.{b + turned}"
        ours = "ar_decoder.first" if b == 0 else f"ar_decoder.blocks.{b - 1}"
        n_in = 1 if b == 0 else config.ar_features
        weight, bias = lines(layers, f"{theirs}.in_conv.conv.conv", [n, n_in, *kernel])
        code = lines(layers, f"{theirs}.s_conv.conv", [n, config.n_code, *one])
        if taps.n > 0:
            # the last tap of the first is the pixel itself, which they mask
            layers.put(f"{ours}.causal.conv", Conv(weight[..., : taps.n], bias))
        else:
            code = code._replace(bias=code.bias + bias)
        layers.put(f"{ours}.code", code)
        layers.put(f"{ours}.out", lines(layers, f"{theirs}.out_conv.conv", [n, config.ar_features, *one]))
    n_out = 3 * config.n_channels * config.n_mixture
    weight, bias = lines(layers, "ar_decoder.out_conv.conv", [n_out, config.ar_features, *one])
    by_kind = torch.arange(n_out).reshape(config.n_channels, config.n_mixture, 3).transpose(1, 2).flatten()
    layers.put("ar_decoder.to_mixture", Conv(weight[by_kind], bias[by_kind]))


def lines(layers: Layers, name: str, shape: list[int]) -> Conv:
    """A convolution along one axis, [out, in, 1.., k], as a 1-D one, [out, in, k]."""
    return Conv(layers.theirs.take(f"{name}.weight", shape).flatten(2), layers.theirs.take(f"{name}.bias", shape[:1]))


def signal_decoder(layers: Layers, config: NetworkConfig) -> None:
    n, last = config.n_code, config.signal_layers - 1
    for i in range(last):
        layers.conv(f"s_decoder.net.{i}.0.conv", f"signal_decoder.hidden.{i}.conv", n, n, 3)
    layers.conv(f"s_decoder.net.{last}.conv", "signal_decoder.out.conv", n, config.n_channels, 3)


def scaling_of(theirs: Tensors, n_channels: int) -> Scaling:
    """Their mean and deviation of each channel."""
    mean, std = (each_channel(theirs, name, n_channels) for name in ("data_mean", "data_std"))
    if min(std) <= 0:
        raise CheckpointError(f"data_std in {theirs.path} is {min(std)}: its images were constant.")
    softness, zero, unit = [STRAIGHT * s for s in std], [0.0] * n_channels, [1.0 / STRAIGHT] * n_channels
    return Scaling(mean=mean, std=std, pedestal=mean, softness=softness, t_mean=zero, t_std=unit)


def each_channel(theirs: Tensors, name: str, n_channels: int) -> list[float]:
    """A number for each channel; they may have kept one for all."""
    shape = theirs.shape(name)
    if math.prod(shape) not in (1, n_channels):
        raise CheckpointError(f"{name} in {theirs.path} has the shape {shape}: expected {n_channels} channels.")
    values: list[float] = theirs.take(name, shape).flatten().expand(n_channels).tolist()
    return values
