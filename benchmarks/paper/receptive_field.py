r"""How far back must the AR decoder see, and what if it sees the rows above as well? (the paper's Fig. 4)

    python benchmarks/paper/receptive_field.py -o benchmarks/results/paper [--steps 1000] [--noise pickup stripes]
        [--fields 10 20 40 80 2-D] [--seed 0] [--runs FOLDER]

`tiny` learns 24 simulated frames once for each field: 10 to 80 previous pixels of a line, or 40 and the 22 rows above
(full_field). All else is the package's own way, and the same for all. Crops have 128 px, for in one of 64 px few pixels
have 40 before them. The signal of the latents' means is scored on the first four frames.

The noise must need a long memory. ar1 does not, however far it is correlated: given the pixel before, the ones before
that tell nothing new. What does is a wave of long period under white noise, which no few pixels show clearly:

    pickup    g (P - f) + r n + 20 sqrt(2) cos(2 pi j / 40 + t), in grey levels; t is new in each row
    stripes   the demo's, for comparison: correlated over 5 px

unpredicted = 1 - c^T C^-1 c,  C_jk = Corr[e_j, e_k],  c_j = Corr[e_0, e_j],  j, k = 1..L      share of Var[e]

is what the best linear prediction of a pixel's noise from the L before it leaves, at the median brightness. Writes
receptive_field_NOISE.png and prints a Markdown table of each noise. RUNS keeps the trained models; those that are there
are not trained again.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from full_field import FullField
from numpy.typing import NDArray

import cosdd_zoo
from cosdd_zoo.data.metrics import best_gaussian, psnr
from cosdd_zoo.data.pictures import panel
from cosdd_zoo.data.simulate import Noise, Simulated, scene_stack
from cosdd_zoo.data.simulate.noises import PEDESTAL, Pickup, Stripes
from cosdd_zoo.noise.autocorrelation import autocorrelation

FULL = "2-D"
FIELDS = ("10", "20", "40", "80", FULL)
BESIDE_PX = 40
"""Previous pixels of its own line that the full field has beside the rows above."""
NOISES: dict[str, Noise] = {"pickup": Pickup(pickup_std=20.0, period_px=40.0), "stripes": Stripes()}
N_SCORED = 4
LAGS_PX = (1, 5, 10, 20, 40)
CROP = np.s_[0, 64:192, 64:192]
SETTINGS = {"crop_px": 128, "batch_size": 2, "validation_crops": 8, "device": "cpu"}
"""As many pixels a step and a validation as `tiny` has in 8 and 32 crops of 64 px."""

Frames = NDArray[np.float64]  # [S, Y, X]


class Result(NamedTuple):
    denoised: Frames
    steps: int  # of the best validation
    kl: float  # nats per pixel, as the next
    nll: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--noise", nargs="+", choices=list(NOISES), default=list(NOISES))
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.runs or Path(temporary)
        for noise in given.noise:
            stack = scene_stack(NOISES[noise])
            folders = {field: runs / f"{noise}-{field}-{given.steps}-{given.seed}" for field in given.fields}
            results = {f: trained(stack, f, folder, given.steps, given.seed) for f, folder in folders.items()}
            print_table(noise, stack, results)
            given.output.mkdir(parents=True, exist_ok=True)
            draw(stack, results, given.output / f"receptive_field_{noise}.png")


def trained(stack: Simulated, field: str, folder: Path, steps: int, seed: int) -> Result:
    """The model in the folder, or a new one, on the first frames."""
    with decoder(field):
        if not (folder / "best.safetensors").exists():
            length = BESIDE_PX if field == FULL else int(field)
            settings = {**SETTINGS, "receptive_field_px": length, "max_steps": steps, "seed": seed}
            cosdd_zoo.train(stack.noisy, folder, preset="tiny", axes="SYX", overwrite=True, quiet=True, **settings)
        denoiser = cosdd_zoo.load(folder, "cpu")
    denoised = denoiser.denoise(stack.noisy[:N_SCORED], n_samples=0, axes="SYX").mean
    facts = denoiser.facts
    kl = sum(facts["validation_kl_per_level"])
    return Result(np.asarray(denoised, np.float64), facts["steps"], kl, facts["validation_loss"] - kl)


def decoder(field: str) -> AbstractContextManager[object]:
    """Models that are made meanwhile have this decoder of x."""
    return patch("cosdd_zoo.networks.build.ARDecoder", FullField) if field == FULL else nullcontext()


def print_table(noise: str, stack: Simulated, results: dict[str, Result]) -> None:
    noisy, truth = (np.asarray(v[:N_SCORED], np.float64) for v in (stack.noisy, stack.signal))
    photons = np.asarray(np.median(truth) - PEDESTAL) / NOISES[noise].gain
    gaussian = best_gaussian(noisy, truth)
    print(f"{noise}: noisy {psnr(noisy, truth):.2f} dB, best Gaussian {gaussian.psnr:.2f} dB, ", end="")
    print(f"mean of the noisy stack {psnr(np.full_like(truth, stack.noisy.mean()), truth):.2f} dB\n")
    head = ["previous px", "unpredicted", "best step", "KL", "NLL", "NLL + KL", "PSNR, dB", "std / truth's"]
    head += [f"lag {k}" for k in LAGS_PX]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for field, r in results.items():
        length = BESIDE_PX if field == FULL else int(field)
        cells = [f"{unpredicted(NOISES[noise], length, photons):.3f}", f"{r.steps}"]
        cells += [f"{r.kl:.4f}", f"{r.nll:.4f}", f"{r.nll + r.kl:.4f}"]
        cells += [f"{psnr(r.denoised, truth):.2f}", f"{r.denoised.std() / truth.std():.2f}"]
        print(f"| {field} | " + " | ".join(cells + correlations(noisy - r.denoised)) + " |")
    print("| the noise itself |" + " |" * 7 + " " + " | ".join(correlations(noisy - truth)) + " |\n", flush=True)


def unpredicted(noise: Noise, length: int, photons: NDArray[np.float64]) -> float:
    """Share of the noise's variance that the best linear prediction from `length` previous pixels leaves."""
    r = np.array([1.0] + [float(noise.correlation(lag, photons)) for lag in range(1, length + 1)])
    among = r[np.abs(np.subtract.outer(np.arange(length), np.arange(length)))]
    return float(1.0 - r[1:] @ np.linalg.solve(among, r[1:]))


def correlations(residual: Frames) -> list[str]:
    """Of what a denoiser took for noise, along the noise axis at LAGS_PX."""
    along = autocorrelation(residual, max(LAGS_PX)).along("x")
    return [f"{along[lag - 1]:.3f}" for lag in LAGS_PX]


def draw(stack: Simulated, results: dict[str, Result], path: Path) -> None:
    """One crop: noisy, truth, and denoised with each field."""
    truth = np.asarray(stack.signal[:N_SCORED], np.float64)
    images = {"noisy": np.asarray(stack.noisy[:N_SCORED], np.float64), "truth": truth}
    for field, r in results.items():
        images[f"{field if field == FULL else f'{field} px'}: {psnr(r.denoised, truth):.2f} dB"] = r.denoised
    low, high = np.percentile(truth[CROP], (0.5, 99.5))
    panel({name: image[CROP] for name, image in images.items()}, path, (float(low), float(high)))


if __name__ == "__main__":
    main()
