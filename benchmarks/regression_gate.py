"""The floor that the method must stay above in every test run, and what would fall through it.

    python benchmarks/regression_gate.py [NAME ...]          some or all of the rows, about a minute each on one core

`tiny` learns the demo's stack for STEPS steps, and the signal of the latents' means is scored on four frames. A
training of fixed steps on one thread gives the same figure on a slow and on a fast machine (of one kind of processor
and library), however many cores it has. tests/test_regression_gate.py asks for FLOOR_DB; this script prints the table
that the floor comes from: five seeds as it is, then the deliberate breaks. A break is a setting, or an edit of a copy
of the package: the test is whether its text is still there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

import cosdd_zoo
from cosdd_zoo.data.metrics import psnr
from cosdd_zoo.data.simulate import confocal_stack
from trials import Edit, Trial, outcome

STEPS = 500
N_SCORED = 4
SEEDS = range(5)
FLOOR_DB = 31.3
"""The lowest of the seeds, 31.51, less 0.2 for other processors and libraries; three of their deviations are 0.17."""


class Found(NamedTuple):
    psnr_db: float
    kl: float  # nats per pixel, at validation
    minutes: float  # of training


MODULE, OBJECTIVE, LADDER = "training/module.py", "training/objective.py", "networks/ladder_vae.py"
KL_WEIGHT = "return min(1.0, (self.progress.step + 1) / max(self.config.training.kl_warmup_steps, 1))"
STOPPED = "model.signal_decoder(code.detach())"
DRAWN = "q.mean + q.std * eps"
FIRST_TAPS = "CausalConv(n_in, n_out, taps[0], 1, n_channels)"
OWN_PIXEL = "CausalConv(n_in, n_out, taps[0], 0, n_channels)"
LINEAR = "linear = model.normalise.linear(x).transpose"
TOP_KL = "kl = [level.kl]"
MIDDLE = "self.engine.sample(x, maps, seed, -1, origin)"

AS_IT_IS = [Trial(f"seed {seed}", {"seed": seed}) for seed in SEEDS]
BREAKS = [
    Trial("AR decoder sees 1 px", {"receptive_field_px": 1}),
    Trial("AR decoder sees nothing", {"noise_axis": "none"}),
    Trial("AR decoder sees columns", {"noise_axis": "y"}),
    Trial("AR decoder sees the pixel itself", edits=(Edit("networks/ar_decoder.py", FIRST_TAPS, OWN_PIXEL),)),
    Trial("KL weighted 4, no warm-up", edits=(Edit(MODULE, KL_WEIGHT, "return 4.0"),)),
    Trial("KL weighted 0", edits=(Edit(MODULE, KL_WEIGHT, "return 0.0"),)),
    Trial("KL without warm-up", {"kl_warmup_steps": 0}),
    Trial("KL of the top level left out", edits=(Edit(LADDER, TOP_KL, "kl = [0.0 * level.kl]"),)),
    Trial("latents without noise", edits=(Edit(LADDER, DRAWN, "q.mean"),)),
    Trial("signal decoder's gradient goes on", edits=(Edit(OBJECTIVE, STOPPED, "model.signal_decoder(code)"),)),
    Trial("signal decoder learns the root", edits=(Edit(OBJECTIVE, LINEAR, "linear = model.normalise(x).transpose"),)),
    Trial("denoised by one sample", edits=(Edit("inference/denoise.py", MIDDLE, MIDDLE.replace("-1", "0")),)),
    Trial("weights not averaged", {"ema_decay": 0.0}),
    Trial("learning rate / 5", {"learning_rate": 2e-3}),
    Trial("half of the steps", {"max_steps": STEPS // 2}),
]  # fmt: skip


def main(names: list[str]) -> None:
    if names[:1] == ["--one"]:  # in the process of one trial, whose package may be a broken copy
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(found(Path(folder) / "run", **json.loads(names[1]))._asdict()))
        return
    print("| what | KL, nats a pixel | PSNR, dB | minutes | caught |\n|---|---|---|---|---|", flush=True)
    for trial in AS_IT_IS + BREAKS:
        if not names or trial.name in names:
            print(row(trial), flush=True)


def found(folder: Path, **settings: Any) -> Found:
    """What a training with these settings beside the gate's own comes to."""
    stack = confocal_stack()
    with one_thread():
        given = {"axes": "SYX", "quiet": True, "device": "cpu", "max_steps": STEPS, **settings}
        run = cosdd_zoo.train(stack.noisy, folder, preset="tiny", **given)
        denoiser = cosdd_zoo.load(run.folder, "cpu")
        denoised = denoiser.denoise(stack.noisy[:N_SCORED], n_samples=0, axes="SYX").mean
    kl = sum(denoiser.facts["validation_kl_per_level"])
    return Found(psnr(denoised, stack.signal[:N_SCORED]), kl, run.facts["minutes"])


@contextmanager
def one_thread() -> Iterator[None]:
    """A sum divided among threads is rounded otherwise, and hundreds of steps make that tenths of a dB."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def row(trial: Trial) -> str:
    try:
        result = Found(**json.loads(outcome(__file__, trial)))
    except subprocess.CalledProcessError as error:
        return f"| {trial.name} | | | | {error.stderr.strip().splitlines()[-1]} |"
    caught = "yes" if result.psnr_db < FLOOR_DB else "no"
    return f"| {trial.name} | {result.kl:.4f} | {result.psnr_db:.2f} | {result.minutes:.1f} | {caught} |"


if __name__ == "__main__":
    main(sys.argv[1:])
