"""Configurations, networks and images that the tests of the method share."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cosdd_zoo.config import NetworkConfig, RunConfig, preset
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.scaling import Scaling


def few_features(name: str = "tiny", **network: Any) -> NetworkConfig:
    """A preset's structure of levels and blocks with few features, for speed."""
    small = {"n_features": 6, "n_code": 5, "n_latents": 3, "ar_features": 5, **network}
    return preset(name, **small).network


def quick(**settings: Any) -> RunConfig:
    """Settings of a training that takes a second or two."""
    return preset("tiny", **{**QUICK, **settings})


QUICK: dict[str, Any] = {
    "n_features": 8,
    "n_code": 8,
    "n_latents": 4,
    "ar_features": 6,
    "receptive_field_px": 8,
    "downsample": (True, True),
    "crop_px": 32,
    "batch_size": 2,
    "max_steps": 6,
    "warmup_steps": 2,
    "validate_every": 3,
    "validation_crops": 2,
    "device": "cpu",
}


def scaling(n_channels: int = 1) -> Scaling:
    """Numbers of a 16-bit camera, different for each channel."""
    c = [float(i) for i in range(n_channels)]
    return Scaling(
        mean=[100.0 + 10 * i for i in c],
        std=[20.0 + i for i in c],
        pedestal=[80.0 + 10 * i for i in c],
        softness=[30.0 + i for i in c],
        t_mean=[0.6] * n_channels,
        t_std=[0.5] * n_channels,
    )


def model(config: NetworkConfig, seed: int = 0, scaled: Scaling | None = None) -> Cosdd:
    """A network whose every parameter is random: fresh ones hide much behind layers of zeros."""
    net = Cosdd(config, scaled or scaling(config.n_channels), stabilise=True).eval()
    randomise(net, seed)
    return net


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 25
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)


def grey(*shape: int, seed: int = 0) -> Tensor:
    """Grey values [B, C, *] as the networks take them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.round(100 + 20 * torch.randn(shape, generator=generator))


def scene(*shape: int, seed: int = 0) -> NDArray[np.uint16]:
    """A smooth signal [.., Y, X] with photon noise and noise that is correlated along x."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*(np.arange(n) / 7.0 for n in shape[-2:]), indexing="ij")
    photons = 12.0 + 8.0 * np.sin(grids[0]) * np.cos(grids[1] + seed)
    white = rng.standard_normal((*shape[:-1], shape[-1] + 2))
    rows = (white[..., :-2] + white[..., 1:-1] + white[..., 2:]) / np.sqrt(3)
    noisy = 100 + 5 * rng.poisson(np.broadcast_to(photons, shape)) + 8 * rows
    return np.rint(noisy).clip(0, 65535).astype(np.uint16)


def denoised_to(denoiser: Any, image: Any, folder: Path, n_samples: int, **settings: Any) -> Any:
    """`denoise_file` into a folder, under the names that the command gives."""
    from cosdd_zoo.data.finding import Source
    from cosdd_zoo.data.results import result_path
    from cosdd_zoo.inference.files import Settings, denoise_file

    how = {k: settings.pop(k) for k in ("resume", "overwrite", "advance", "do") if k in settings}
    folder.mkdir(exist_ok=True)
    source = Source(image.path, image.path, Path())
    given = Settings(n_samples, **settings)
    path, std = (result_path(source, folder, given.format, word) for word in ("_denoised", "_denoised_std"))
    return denoise_file(denoiser, image, path, given, std_path=std if given.uncertainty else None, **how)
