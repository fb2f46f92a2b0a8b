"""How fast noise is drawn from an AR decoder of the paper's size: three ways, one run, one thread.

    python benchmarks/noise_sampling.py [--height 32] [--width 512] [--authors-code PATH]

"pixel by pixel" is the definition: the decoder on the line so far, for each pixel. PATH: a clone of the authors' code,
whose decoder (64 features, their layers) is built from there with random weights; on a CPU its `get_device` is mended
from outside, for it fails there. Prints a Markdown table; ratios are to the first row.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from cosdd_zoo.config import preset
from cosdd_zoo.networks.ar_decoder import ARDecoder
from cosdd_zoo.noise.sampling import Draws, draws, sample_lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--height", type=int, default=32)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--authors-code")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = preset("small").network
    decoder = ARDecoder(config).eval()
    code = torch.randn(1, config.n_code, arguments.height, arguments.width)
    random = draws([1, 1, arguments.height, arguments.width], code.device, Generator().manual_seed(0))
    ways: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: sample_lines(decoder, code, random),
        "pixel by pixel": lambda: pixel_by_pixel(decoder, code, random),
    }
    if arguments.authors_code:
        ways["the authors'"] = authors(arguments.authors_code, code)
    print(f"{arguments.height} x {arguments.width} px, one thread, torch {torch.__version__}\n")
    print("| way | seconds | times ours | largest difference from ours |\n|---|---|---|---|")
    images, seconds = {}, {}
    for name, way in ways.items():
        began = time.perf_counter()
        images[name] = way()
        seconds[name] = time.perf_counter() - began
        same = f"{float((images[name] - images['ours']).abs().max()):.1e}" if "'" not in name else "other weights"
        print(f"| {name} | {seconds[name]:.2f} | {seconds[name] / seconds['ours']:.1f} | {same} |", flush=True)


@torch.no_grad()
def pixel_by_pixel(decoder: ARDecoder, code: Tensor, random: Draws) -> Tensor:
    v = torch.zeros_like(random.u)
    for i in range(v.size(-1)):
        p = decoder(v[..., : i + 1], code[..., : i + 1])
        k = (p.log_weight[..., -1].exp().cumsum(2) < random.u[..., None, :, i]).sum(2, keepdim=True)
        k = k.clamp(max=decoder.n_mixture - 1)
        mean, std = (part[..., -1].gather(2, k)[:, :, 0] for part in (p.mean, p.std))
        v[..., i] = mean + std * random.eps[..., i]
    return v


def authors(path: str, code: Tensor) -> Callable[[], Tensor]:
    sys.path.insert(0, path)
    from models.pixelcnn import PixelCNN

    torch.Tensor.get_device = lambda self: self.device  # type: ignore[method-assign, assignment, return-value]
    decoder = PixelCNN(1, code.size(1), 5, "x", n_filters=64, n_layers=4, n_gaussians=3).eval()
    return lambda: decoder.sample(code)


if __name__ == "__main__":
    main()
