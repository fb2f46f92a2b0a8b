"""How well can the actin frame be denoised at all? A U-Net that is shown the long exposure, on half of the frame.

    python benchmarks/actin_ceiling.py [MINUTES]

The direct denoiser's network of `tiny` learns upper half -> upper half of the long exposure, by the squared error, and
is scored on the lower half, beside the Gaussian that is best there. No method that sees the noisy frame alone knows
as much. PSNR in dB, as `cosdd-zoo demo --real` measures it.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from cosdd_zoo.config import preset
from cosdd_zoo.data.metrics import GAUSSIAN_SIGMAS_PX, gaussian_blur
from cosdd_zoo.demo import real_scene
from cosdd_zoo.devices import keep_freed_memory
from cosdd_zoo.networks.direct_denoiser import DirectDenoiser

CROP_PX = 64
BATCH = 16
SCALE = 50.0


def main(minutes: str = "3") -> None:
    keep_freed_memory()
    scene = real_scene()
    noisy, truth = (torch.tensor(np.asarray(v[0], np.float32) / SCALE) for v in (scene.noisy, scene.truth))
    half = len(noisy) // 2
    network = trained(noisy[:half], truth[:half], 60 * float(minutes))
    with torch.no_grad():
        result = network(noisy[None, None])[0, 0]
    data_range = float(truth.max() - truth.min())

    def psnr_below(image: torch.Tensor) -> float:
        return 10 * np.log10(data_range**2 / float(((image - truth)[half:] ** 2).mean()))

    blurred = [torch.tensor(gaussian_blur(noisy.numpy(), sigma)) for sigma in GAUSSIAN_SIGMAS_PX]
    print(f"lower half: noisy {psnr_below(noisy):.2f}, best Gaussian {max(map(psnr_below, blurred)):.2f}, ", end="")
    print(f"shown the long exposure of the upper half {psnr_below(result):.2f}")


def trained(noisy: torch.Tensor, truth: torch.Tensor, seconds: float) -> DirectDenoiser:
    torch.manual_seed(0)
    network = DirectDenoiser(preset("tiny", direct=True).network)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    rng = np.random.default_rng(0)
    began = time.monotonic()
    while (done := (time.monotonic() - began) / seconds) < 1:
        optimizer.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + np.cos(np.pi * done))
        x, s = batch(noisy, truth, rng)
        optimizer.zero_grad()
        torch.mean((network(x) - s) ** 2).backward()
        optimizer.step()
    return network


def batch(noisy: torch.Tensor, truth: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops at the same places of both, mirrored at random: two of [BATCH, 1, CROP_PX, CROP_PX]."""
    pairs = []
    for _ in range(BATCH):
        top, left = (int(rng.integers(n - CROP_PX + 1)) for n in noisy.shape)
        pair = torch.stack([v[top : top + CROP_PX, left : left + CROP_PX] for v in (noisy, truth)])
        pairs.append(pair.flip([axis for axis in (1, 2) if rng.random() < 0.5]))
    both = torch.stack(pairs)
    return both[:, :1], both[:, 1:]


if __name__ == "__main__":
    main(*sys.argv[1:])
