"""U-Nets trained by CAREamics (PyPI careamics): N2V, N2V2, structN2V on the noisy stack; N2N and CARE on pairs.

Its own defaults (patches of 64 px, augmentations, learning rate and its plateaus), with as many epochs as the minutes
hold. Denoised with the weights at the end of the time, CARE with those of its best validation: by its own defaults too.

Changed for structN2V, in its favour, judged with the truth on stripes (8 frames, 600 steps; 27.8 dB by its defaults,
where a line of 5 px is hidden): the line's length, mirrored crops, and a learning rate that waits for PATIENCE_STEPS at
least, for epochs of a small stack are so short that it was over before the end (26.8 dB with the line alone; with all
three 28.9). N2V and N2V2 lose by such patience.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from careamics import CAREamist
from careamics.config import create_advanced_care_config, create_advanced_n2n_config, create_advanced_n2v_config

from sides.interface import Clock, Job, Result, Results, SkippedError, Stack
from sides.noise_level import correlation, reach_px, stabiliser

PATCH_PX = 64
BATCH = 16
TILE_PX = 256
OVERLAP_PX = 48
GRID_PX = 8  # tiles are multiples of it: the U-Net halves twice
PATIENCE_EPOCHS = 10  # CAREamics' default
PATIENCE_STEPS = 250
SPANS_PX = (3, 15)
CHANGED = ", mirrored crops, longer patience of the rate"
LINES = {"x": "horizontal", "y": "vertical"}


def n2v(job: Job) -> Results:
    yield denoised(job, "N2V", create_advanced_n2v_config(**common(job)), Clock())


def n2v2(job: Job) -> Results:
    yield denoised(job, "N2V2", create_advanced_n2v_config(**common(job), use_n2v2=True), Clock())


def structn2v(job: Job) -> Results:
    """Hides a line as long as the noise is correlated. Crops are mirrored, not turned: noise that is lies across it."""
    if job.noise_axis not in LINES:
        raise SkippedError("structN2V hides pixels along the noise axis, and this noise has none")
    clock = Clock()
    span_px = hidden_px(job)
    line = {"struct_n2v_axes": LINES[job.noise_axis], "struct_n2v_span": span_px}
    settings = {**common(job), **line, "augmentations": ["x_flip", "y_flip"]}
    settings["lr_scheduler_params"] = {"patience": max(PATIENCE_EPOCHS, PATIENCE_STEPS // steps_per_epoch(job))}
    yield denoised(
        job, "structN2V", create_advanced_n2v_config(**settings), clock, f", a line of {span_px} px hidden{CHANGED}"
    )


def hidden_px(job: Job) -> int:
    """The whole line, its pixel in the middle: from 3 to 15, as CAREamics allows."""
    x = np.asarray(job.noisy.swapaxes(-1, -2) if job.noise_axis == "y" else job.noisy, np.float64)
    c = correlation(stabiliser(x).forward(x), is_white=False)
    return int(np.clip(2 * reach_px(c) + 1, *SPANS_PX))


def n2n(job: Job) -> Results:
    yield denoised(job, "N2N (noisy pairs)", create_advanced_n2n_config(**common(job)), Clock())


def care(job: Job) -> Results:
    # it would stop after three epochs without a better one: on a small stack, seconds
    settings = {**common(job), "early_stopping_params": {"monitor": "val_loss", "patience": 10_000}}
    yield denoised(job, "CARE (clean pairs)", create_advanced_care_config(**settings), Clock(), ", no early stopping")


def common(job: Job) -> dict[str, Any]:
    return {
        "experiment_name": "side",
        "data_type": "array",
        "axes": "SYX",
        "patch_size": [PATCH_PX, PATCH_PX],
        "batch_size": BATCH,
        "num_epochs": 1_000_000,
        "num_workers": 0,
        "n_val_patches": min(8, n_patches(job) // 4),  # eight by default; more than a small stack can spare
        "trainer_params": {"max_time": {"seconds": max(1, round(60 * job.minutes))}},
        "seed": job.seed + 1,  # zero is refused
    }


def n_patches(job: Job) -> int:
    frames = job.noisy if job.pairs is None else job.pairs.noisy
    return len(frames) * (frames.shape[1] // PATCH_PX) * (frames.shape[2] // PATCH_PX)


def steps_per_epoch(job: Job) -> int:
    return max(1, n_patches(job) // BATCH)


def denoised(job: Job, row: str, config: Any, clock: Clock, note: str = "") -> Result:
    careamist = CAREamist(config, work_dir=job.folder / "careamics", enable_progress_bar=False)
    train_on(careamist, np.asarray(job.noisy, np.float32), job.pairs)
    checkpoint = None
    if config.algorithm_config.algorithm != "care":
        # the one called last was written at the last of every tenth epoch
        checkpoint = job.folder / "end.ckpt"
        careamist.trainer.save_checkpoint(checkpoint)
    steps, training_s = careamist.trainer.global_step, clock.lap()
    image = predicted(careamist, np.asarray(job.shown, np.float32), checkpoint)
    return Result(row, image, training_s, clock.lap(), steps, f"CAREamics' defaults but for batches of {BATCH}{note}")


def train_on(careamist: CAREamist, noisy: Stack, pairs: Any) -> None:
    if pairs is None:
        careamist.train(train_data=noisy)
        return
    arrays = [np.asarray(a, np.float32) for a in pairs]
    careamist.train(train_data=arrays[0], train_data_target=arrays[1])


def predicted(careamist: CAREamist, noisy: Stack, checkpoint: Any) -> np.ndarray:
    side = min(TILE_PX, *noisy.shape[1:]) // GRID_PX * GRID_PX
    images, _ = careamist.predict(
        noisy,
        tile_size=(side, side),
        tile_overlap=(OVERLAP_PX, OVERLAP_PX),
        batch_size=1,
        num_workers=0,
        checkpoint=checkpoint,
    )
    return np.asarray(np.stack([np.squeeze(i) for i in images]), np.float32).reshape(noisy.shape)
