"""What happens between the steps: validation, checkpoints, metrics, previews, and the decision to stop."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from cosdd_zoo.data.pictures import panel
from cosdd_zoo.training import processes
from cosdd_zoo.training.module import CosddModule
from cosdd_zoo.training.objective import Losses
from cosdd_zoo.training.run_folder import RunFolder
from cosdd_zoo.version import __version__

COLLAPSED_KL = 0.003
"""Nats per pixel below which the latents say nothing: real posteriors have ten times as much (benchmarks/results)."""
EVERY = 20
"""Steps between two rows of metrics.csv."""
STOPPING = (signal.SIGINT, signal.SIGTERM)


class Recorder(Callback):
    """Validates, writes the run folder, and stops the training when it is done, hopeless or interrupted.

    Every process has one; they stop after the same step, and the first alone writes.
    """

    def __init__(self, folder: RunFolder, facts: dict[str, Any], preview: Tensor, say: Callable[[str], None]) -> None:
        self.folder, self.facts, self.preview, self.say = folder, facts, preview, say
        self.validation: Losses | None = None
        self.stopped_by = ""  # known to all processes
        self.signalled = 0  # known to this one

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *args: Any) -> None:
        module: CosddModule = pl_module
        progress, settings = module.progress, module.config.training
        self._agree(module.device)
        if progress.step % EVERY == 0 and module.latest is not None:
            mean = processes.total(module.latest.vector()) / processes.count()
            self._record("train", module, Losses.of(mean), trainer)
        is_last = module.done() >= 1.0 or bool(self.stopped_by)  # a signal that comes from here on waits for a step
        if progress.step % settings.validate_every == 0 or is_last:
            self._validate(module, trainer)
        reason = reason_to_stop(module)
        self.stopped_by = self.stopped_by or reason
        trainer.should_stop = is_last or bool(reason)

    def _agree(self, device: torch.device) -> None:
        """A signal to any process is one to all."""
        number = int(processes.largest([self.signalled], device)[0])
        self.stopped_by = signal.Signals(number).name if number else ""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._listen()  # anew: Lightning has put its own handler in front, which ends the process without saving
        if pl_module.config.training.init_from and math.isinf(pl_module.progress.best):
            self._validate(pl_module, trainer)  # the start competes: the best is not worse on these images

    def _validate(self, module: CosddModule, trainer: lightning.Trainer) -> None:
        self.validation = module.validate()
        self._record("validation", module, self.validation, trainer)
        if trainer.is_global_zero:
            self._save(module)

    def _save(self, module: CosddModule) -> None:
        checkpoint = module.checkpoint(self.result(module))
        checkpoint.save(self.folder.last)
        if module.progress.since_best == 0:
            checkpoint.save(self.folder.best)
        module.save_state(self.folder.state)
        self._draw(module)

    def result(self, module: CosddModule) -> dict[str, Any]:
        """Facts of the training so far; of the last validation."""
        p, v = module.progress, self.validation or module.validate()
        return {
            **self.facts,
            "steps": p.step,
            "minutes": round(p.seconds / 60, 2),
            "skipped_steps": p.skipped,
            "validation_loss": module.judged(v),
            "validation_kl_per_level": [float(k) for k in v.kl],
            "validation_signal_error": float(v.signal),
            "collapsed": is_collapsed(float(v.kl.sum()), p.training_kl),
            "device": str(module.device),
            "torch": torch.__version__,
            "cosdd_zoo": __version__,
        }

    def _record(self, kind: str, module: CosddModule, values: Losses, trainer: lightning.Trainer) -> None:
        p = module.progress
        row: dict[str, float | int | str] = {
            "step": p.step,
            "seconds": round(p.seconds, 2),
            "split": kind,
            "nll": float(values.nll),
            "kl": float(values.kl.sum()),
            "signal": float(values.signal),
            "direct": float(values.direct),
            "learning_rate": module.config.training.learning_rate * module.rate_factor(),
            "grad_norm": p.usual_norm if math.isfinite(p.usual_norm) else 0.0,  # none yet
            "skipped": p.skipped,
        }
        if trainer.is_global_zero:
            self.folder.append_metrics(row)
        for logger in trainer.loggers:
            numbers = {f"{kind}/{k}": v for k, v in row.items() if isinstance(v, float)}
            logger.log_metrics(numbers, step=p.step)

    @torch.no_grad()
    def _draw(self, module: CosddModule) -> None:
        x = self.preview.to(module.device)
        model = module.averaged
        origin = [0] * (x.dim() - 2)
        images = {
            "noisy": x,
            "one sample": model.posterior(x, 1, 0, origin).mean,
            "mean of 16": model.posterior(x, 16, 0, origin).mean,
        }
        if model.direct_denoiser is not None:
            images["direct"] = model.direct(x)
        planes = {name: _plane(image) for name, image in images.items()}
        panel(planes, self.folder.previews / f"step_{module.progress.step:06d}.png")

    @contextmanager
    def until_signalled(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the training after this step, with everything saved; a second Ctrl-C at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in STOPPING}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                signal.signal(number, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        self.signalled = number
        self.say(f"{signal.Signals(number).name}: stopping after this step, and saving.")
        signal.signal(signal.SIGINT, signal.default_int_handler)


def reason_to_stop(module: CosddModule) -> str:
    """max_steps, max_time or patience; empty for a training that may go on."""
    progress, settings = module.progress, module.config.training
    if module.done() >= 1.0:
        return "max_time" if progress.step < settings.max_steps else "max_steps"
    return "patience" if progress.since_best >= settings.patience else ""


def is_collapsed(validation_kl: float, training_kl: float) -> bool:
    """Whether the posterior has become the prior, so that the result would be the data's mean.

    Both must say so: where most of the images are empty, validation crops, drawn evenly, hold hardly any signal, and
    training crops, drawn by brightness, do.
    """
    return max(validation_kl, training_kl) < COLLAPSED_KL


def warnings_of(facts: Mapping[str, Any]) -> list[str]:
    """What the user of a run should know of it, a sentence each."""
    sentences = []
    if facts["skipped_steps"]:
        sentences.append(f"{facts['skipped_steps']} steps with exploded or undefined gradients were skipped.")
    if facts["collapsed"]:
        sentences.append(
            f"The posterior has collapsed: the latents hold {sum(facts['validation_kl_per_level']):.4f} nats a pixel, "
            f"less than {COLLAPSED_KL}, so the result is hardly more than the data's mean. Train longer, with another "
            f"--seed, with fewer --n-mixture, or with a shorter --receptive-field-px."
        )
    return sentences


def _plane(image: Tensor) -> np.ndarray[Any, Any]:
    """The middle plane of the first channel: [1, C, *] -> [Y, X]; a line becomes a band."""
    plane = image[0, 0].float().cpu().numpy()
    if plane.ndim == 1:
        return np.repeat(plane[None], 32, axis=0)
    return plane if plane.ndim == 2 else plane[len(plane) // 2]
