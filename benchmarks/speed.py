"""A training step and the mean of 100 samples, of networks of the same structure: ours against the authors', in turns.

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/speed.py --authors-code PATH [--rounds 5] [--full]

PATH: a clone of krulllab/COSDD, branch main. Their step is their own training_step, ours the module's without its
bookkeeping; both float32, the same batch, three networks and the direct denoiser, each with its own optimiser. "Same
structure": as many levels, features, latents, mixture components and AR blocks, with our layers in the place of theirs
(SiLU and no BatchNorm for Mish and BatchNorm, repeated pixels for upsampling by interpolation). --full: the preset
`small` as well. Prints a Markdown table of CPU seconds, which a busy machine changes less than the clock's: medians,
and the ratio of ours to theirs of the same round, smallest to largest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.scaling import Scaling
from cosdd_zoo.training.muon import Muon, shared_out
from cosdd_zoo.training.objective import Detector, losses


class Case(NamedTuple):
    name: str
    n_features: int
    n_levels: int
    n_mixture: int
    batch: int
    crop_px: int
    image_px: int  # side of the image whose samples are averaged
    n_samples: int


TINY = Case("16 features, 4 levels", 16, 4, 5, 8, 64, 256, 100)
SMALL = Case("small: 64 features, 6 levels", 64, 6, 3, 1, 256, 128, 100)
Act = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--authors-code", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    sys.path.insert(0, str(given.authors_code.resolve()))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {given.rounds} rounds\n")
    print("| what | ours, s | theirs, s | ours / theirs | parameters, ours | theirs |\n|---|---|---|---|---|---|")
    for case in [TINY, SMALL] if given.full else [TINY]:
        torch.manual_seed(0)
        model, hub = ours(case), theirs(case)
        sizes = f"{parameters(model)} k | {parameters(hub)} k"
        x = torch.randn(case.batch, 1, case.crop_px, case.crop_px)
        found = in_turns(our_step(model, x), their_step(hub, x), given.rounds)
        print(line(f"{case.name}: step, {case.batch} x {case.crop_px}^2 px", found, sizes), flush=True)
        x = torch.randn(1, 1, case.image_px, case.image_px)
        found = in_turns(our_mean(model, x, case), their_mean(hub, x, case), max(1, given.rounds // 3))
        print(line(f"{case.name}: mean of {case.n_samples}, {case.image_px}^2 px", found, sizes), flush=True)


def ours(case: Case) -> Cosdd:
    network = NetworkConfig(
        n_features=case.n_features,
        n_code=case.n_features,
        n_latents=case.n_features // 2,
        downsample=(True,) * case.n_levels,
        n_mixture=case.n_mixture,
        direct=True,
    )
    return Cosdd(network, Scaling(*([v] for v in (0.0, 1.0, 0.0, 1.0, 0.0, 1.0))), True)


def theirs(case: Case, checkpointed: bool = False) -> Any:
    from models.get_models import get_models
    from models.hub import Hub

    networks = get_models(
        {
            "data": {"number-dimensions": 2},
            "train-parameters": {
                "crop-size": [case.crop_px] * 2,
                "use-direct-denoiser": True,
                "direct-denoiser-loss": "MSE",
            },
            "hyper-parameters": {
                "s-code-channels": case.n_features,
                "number-layers": case.n_levels,
                "number-gaussians": case.n_mixture,
                "scale-initialisation": False,
                "noise-direction": "x",
            },
        },
        1,
    )
    return Hub(*networks, data_mean=torch.zeros(1), data_std=torch.ones(1), checkpointed=checkpointed)


def our_step(model: Cosdd, x: Tensor) -> Act:
    one = torch.ones(1, 1, 1, 1)
    detector = Detector(0.01 * one, torch.inf * one, torch.inf * one, "dequantised")
    kernels, others = shared_out(model)
    optimizers = [Muon(kernels, lr=1e-4), torch.optim.Adamax(others, lr=1e-4)]
    averaged = [p.detach().clone() for p in model.parameters()]
    noise = [Generator().manual_seed(k) for k in range(len(x))]

    def step() -> None:
        model.zero_grad(set_to_none=True)
        losses(model, x, detector, noise).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, list(model.parameters()), 0.01)

    return step


def their_step(hub: Any, x: Tensor) -> Act:
    """Their training_step, with stand-ins for what a trainer lends it: the backward pass, optimisers, no log."""
    parts = [[*hub.vae.parameters(), *hub.ar_decoder.parameters()], hub.s_decoder.parameters()]
    optimizers = [torch.optim.Adamax(part, lr=1e-4) for part in [*parts, hub.direct_denoiser.parameters()]]
    hub.manual_backward = lambda loss: loss.backward()
    hub.optimizers = lambda: optimizers
    hub.log = lambda *_, **__: None

    def step() -> None:
        hub.train()
        hub.training_step(x, 0)

    return step


def our_mean(model: Cosdd, x: Tensor, case: Case) -> Act:
    @torch.no_grad()
    def mean() -> Tensor:
        return model.eval().posterior(x, case.n_samples, 0, [0, 0]).mean

    return mean


def their_mean(hub: Any, x: Tensor, case: Case) -> Act:
    """Sample after sample, all kept until they are averaged, as their prediction does."""

    @torch.no_grad()
    def mean() -> Tensor:
        hub.eval().direct_pred = False
        return torch.stack([hub.predict_step(x, 0) for _ in range(case.n_samples)]).mean(0)

    return mean


def in_turns(our: Act, their: Act, rounds: int) -> list[tuple[float, float]]:
    """CPU seconds of both, round by round, after one round to warm up."""
    found = [(seconds(our), seconds(their)) for _ in range(rounds + 1)]
    return found[1:]


def seconds(act: Act) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def line(what: str, found: list[tuple[float, float]], sizes: str) -> str:
    ratios = [a / b for a, b in found]
    spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"| {what} | {median(a for a, _ in found):.2f} | {median(b for _, b in found):.2f} | {spread} | {sizes} |"


def parameters(model: Any) -> int:
    return round(sum(p.numel() for p in model.parameters()) / 1000)


if __name__ == "__main__":
    main()
