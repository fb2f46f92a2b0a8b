"""What each part of the training is worth: the preset `tiny` without it, after the same number of steps.

    python benchmarks/ablation.py [--data stripes actin w2s] [--steps 1000] [--real FOLDER] [--seeds 0] [NAME ...]

NAME: some of the rows. Prints a Markdown table: PSNR in dB of the latents' means of the scored frames, NLL + KL at
validation, and the training's CPU seconds on one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import cosdd_zoo
from cosdd_zoo.data.metrics import psnr
from datasets import NAMES, dataset
from trials import Edit, Trial, outcome

MUON, KERNELS = "training/muon.py", "return parameter.dim() > 2"
NOT_AVERAGED = {"ema_decay": 0.0}
RATE, DECAY = "training/module.py", "0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * self.done()))"
HALF_WAY = Edit(RATE, DECAY, DECAY.replace("self.done()", "0.5 * self.done()"))
"""The rate as it is in a training of twice the steps."""

TRIALS = [
    Trial("as it is"),
    Trial("Adamax for the kernels as well", edits=(Edit(MUON, KERNELS, "return False and parameter.dim() > 2"),)),
    Trial("learning rate x 2", {"learning_rate": 2e-2}),
    Trial("learning rate / 2", {"learning_rate": 5e-3}),
    Trial("rate does not fall", edits=(Edit(RATE, DECAY, "1.0"),)),
    Trial("weights not averaged", NOT_AVERAGED),
    Trial("stopped half way", edits=(HALF_WAY,)),
    Trial("stopped half way, weights not averaged", NOT_AVERAGED, (HALF_WAY,)),
    Trial("weights averaged five times longer", {"ema_decay": 0.998}),
    Trial("KL at its weight from the start", {"kl_warmup_steps": 0}),
    Trial("KL rises three times longer", {"kl_warmup_steps": 600}),
    Trial("no square-root transform", {"stabilise": False}),
    Trial("crops drawn evenly", {"bright_crops": 0.0}),
    Trial("crops not mirrored", {"flip": False}),
    Trial("blocks without gates", {"gated": False}),
    Trial("AR decoder does not see the code of past pixels", {"ar_code_maps": 0, "ar_blocks": 4}),
    Trial("AR decoder half as wide", {"ar_features": 16}),
    Trial("half of the crops, twice the steps", {"batch_size": 4, "max_steps": 2}),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="+", choices=NAMES, default=["stripes"])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--real", type=Path)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    print("| what | data | seed | NLL + KL | PSNR, dB | CPU, s |\n|---|---|---|---|---|---|", flush=True)
    for trial in TRIALS:
        for data in given.data if not given.names or trial.name in given.names else []:
            for seed in given.seeds:
                steps = given.steps * trial.settings.get("max_steps", 1)
                settings = {**trial.settings, "seed": seed, "max_steps": steps}
                found = json.loads(outcome(__file__, trial._replace(settings=settings), data, str(given.real or "")))
                cells = (trial.name, data, seed, f"{found['loss']:.4f}", f"{found['psnr_db']:.2f}", found["cpu_s"])
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def found(settings: dict[str, Any], data: str, real: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    given = dataset(data, Path(real))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        how = {"axes": "SYX", "noise_axis": given.noise_axis, "device": "cpu", "quiet": True, **settings}
        run = cosdd_zoo.train(given.noisy, Path(folder) / "run", preset="tiny", **how)
        cpu_s = round(time.process_time() - began)
        shown = given.noisy[: len(given.truth)]
        denoised = cosdd_zoo.load(run.folder, "cpu").denoise(shown, 0, axes="SYX").mean
    return {"psnr_db": psnr(denoised, given.truth), "loss": run.facts["validation_loss"], "cpu_s": cpu_s}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:  # in the process of one trial, whose package may be an edited copy
        print(json.dumps(found(json.loads(sys.argv[2]), *sys.argv[3:])))
    else:
        main()
