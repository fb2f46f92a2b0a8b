"""Does every side run? Each gets 24 seconds of training on four small simulated frames: proof that it works, no score.

python -m sides.smoke [AUTHORS_CODE] [SIDES...]        from benchmarks/; prints a Markdown table
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from cosdd_zoo.data.metrics import psnr
from cosdd_zoo.data.simulate import NOISES, confocal_stack, photon_stack
from cosdd_zoo.data.simulate.noises import PEDESTAL
from sides import SIDES
from sides.interface import Job, Pairs, SkippedError
from sides.process import measure

MINUTES = 0.4


def main(*arguments: str) -> None:
    names = [a for a in arguments if a in SIDES] or list(SIDES)
    code = next((Path(a) for a in arguments if a not in SIDES), None)
    noisy, signal = confocal_stack(4, 128)
    print("| side | PSNR, dB | steps | training, s | denoising, s | peak, MB | notes |\n|---|---|---|---|---|---|---|")
    for name in names:
        pairs = clean_pairs() if name == "care" else noisy_pairs(noisy, signal)
        with tempfile.TemporaryDirectory() as folder:
            job = Job(noisy, Path(folder) / name, MINUTES, truth=signal, pairs=pairs, authors_code=code)
            for line in lines(name, job, signal):
                print(line, flush=True)


def lines(name: str, job: Job, signal: np.ndarray) -> list[str]:
    try:
        measured = measure(name, job)
    except SkippedError as reason:
        return [f"| {name} |  |  |  |  |  | not run: {reason} |"]
    return [
        f"| {r.row} | {psnr(r.image, signal):.2f} | {r.steps} | {r.training_s:.1f} | {r.inference_s:.1f} "
        f"| {m.peak_bytes / 1e6:.0f} | {r.note} |"
        for m in measured
        for r in (m.result,)
    ]


def noisy_pairs(noisy: np.ndarray, signal: np.ndarray) -> Pairs:
    """A second exposure of the same frames."""
    noise = NOISES["stripes"]()
    return Pairs(noisy, photon_stack(noise, (signal.astype(np.float64) - PEDESTAL) / noise.gain, seed=1).noisy)


def clean_pairs() -> Pairs:
    """Other frames, and their truths."""
    return Pairs(*confocal_stack(4, 128, seed=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
