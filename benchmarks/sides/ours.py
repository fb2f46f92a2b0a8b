"""cosdd_zoo as its users run it: a preset and the time; smaller crops where frames are too small for the preset's."""

from __future__ import annotations

import numpy as np

from cosdd_zoo import config
from cosdd_zoo.api import Run, load, train  # here, not at their first use: imports are not training time
from sides.interface import Clock, Job, Result, Results

FEW = 10  # frames: fewer are cut for validation


def tiny(job: Job) -> Results:
    yield from sampled(job, "tiny")


def small(job: Job) -> Results:
    yield from sampled(job, "small")


def tiny_direct(job: Job) -> Results:
    yield from directly(job, "tiny")


def small_direct(job: Job) -> Results:
    yield from directly(job, "small")


def sampled(job: Job, preset: str) -> Results:
    clock = Clock()
    run = trained(job, preset, direct=False)
    training_s = clock.lap()
    denoiser = load(run.folder)
    for what, n in (("one sample", 1), ("mean", job.n_samples or denoiser.default_samples), ("latents' means", 0)):
        clock.lap()
        image = denoiser.denoise(job.shown, n, axes="SYX", seed=job.seed).mean
        row = f"ours, {preset}, {f'mean of {n}' if what == 'mean' else what}"
        yield Result(row, np.asarray(image, np.float32), training_s, clock.lap(), run.facts["steps"], note(run))


def directly(job: Job, preset: str) -> Results:
    """A side of its own, for the direct denoiser trains beside the others and takes of their time."""
    clock = Clock()
    run = trained(job, preset, direct=True)
    training_s = clock.lap()
    denoiser = load(run.folder)
    clock.lap()
    image = denoiser.denoise(job.shown, axes="SYX", direct=True).mean
    row = f"ours, {preset}, direct"
    yield Result(row, np.asarray(image, np.float32), training_s, clock.lap(), run.facts["steps"], note(run))


def trained(job: Job, preset: str, direct: bool) -> Run:
    return train(
        job.noisy,
        job.folder / "run",
        preset=preset,
        axes="SYX",
        noise_axis=job.noise_axis,
        max_time=job.minutes,
        seed=job.seed,
        direct=direct,
        crop_px=crop_px(job, preset),
        quiet=True,
    )


def crop_px(job: Job, preset: str) -> int:
    """The preset's, or three quarters of a frame, so that a strip is left for validation."""
    wanted = config.preset(preset).training.crop_px
    most = 3 * min(job.noisy.shape[1:]) // 4 // 16 * 16
    return min(wanted, most) if len(job.noisy) < FEW else min(wanted, *job.noisy.shape[1:])


def note(run: Run) -> str:
    return f"stopped by {run.stopped_by}" + (", posterior collapsed" if run.facts["collapsed"] else "")
