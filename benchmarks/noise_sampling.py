"""How fast noise is drawn from an AR decoder of the paper's size: three ways, one run, one thread.

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/noise_sampling.py [--height 32] [--width 512] [--rounds 3]
        [--authors-code PATH]

"pixel by pixel" is the definition: the decoder on the line so far, for each pixel. PATH: a clone of the authors' code,
whose decoder (64 features, their layers) is built from there with random weights; on a CPU its `get_device` is mended
from outside, for it fails there. Prints a Markdown table of CPU seconds, which a busy machine changes far less than
the clock's: the median of rounds that take turns, after a short run of each way to warm up, and the ratio to ours of
the same round, smallest to largest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from cosdd_zoo.config import preset
from cosdd_zoo.networks.ar_decoder import ARDecoder
from cosdd_zoo.noise.sampling import Draws, draws, sample_lines

WARM_UP_PX = 48


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--height", type=int, default=32)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--authors-code")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = preset("small").network
    decoder = ARDecoder(config).eval()
    # zeros at first, so that no pixel would depend on another: small enough that the lines do not explode
    torch.nn.init.normal_(decoder.to_mixture.weight, std=0.5 / config.ar_features**0.5)
    code = torch.randn(1, config.n_code, arguments.height, arguments.width)
    random = draws([1, 1, arguments.height, arguments.width], code.device, 0)
    ways: dict[str, Callable[[Tensor, Draws], Tensor]] = {
        "ours": lambda code, random: sample_lines(decoder, code, random),
        "pixel by pixel": lambda code, random: pixel_by_pixel(decoder, code, random),
    }
    if arguments.authors_code:
        ways["the authors'"] = authors(arguments.authors_code, config.n_code, config.n_mixture)
    short = Draws(*(part[..., :WARM_UP_PX] for part in random))
    for way in ways.values():
        way(code[..., :WARM_UP_PX], short)
    images: dict[str, Tensor] = {}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            began = time.process_time()
            images[name] = way(code, random)
            seconds[name].append(time.process_time() - began)
    size = f"{arguments.height} x {arguments.width} px"
    print(f"{size}, one thread, {arguments.rounds} rounds, torch {torch.__version__}")
    print(f"standard deviation of the image: {float(images['ours'].std()):.2f}\n")
    print("| way | CPU seconds | times ours | largest difference from ours |\n|---|---|---|---|")
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds["ours"], strict=True)]
        same = f"{float((images[name] - images['ours']).abs().max()):.1e}" if "'" not in name else "other weights"
        print(f"| {name} | {median(own):.2f} | {min(ratios):.1f} to {max(ratios):.1f} | {same} |")


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


def authors(path: str, n_code: int, n_mixture: int) -> Callable[[Tensor, Draws], Tensor]:
    sys.path.insert(0, path)
    from models.pixelcnn import PixelCNN

    torch.Tensor.get_device = lambda self: self.device  # type: ignore[method-assign, assignment, return-value]
    decoder = PixelCNN(1, n_code, 5, "x", n_filters=64, n_layers=4, n_gaussians=n_mixture).eval()
    return lambda code, random: decoder.sample(code)


if __name__ == "__main__":
    main()
