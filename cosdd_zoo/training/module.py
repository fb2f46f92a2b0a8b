"""One optimiser step, and what it needs to be repeated exactly.

Everything random is a function of (seed, index of a crop): the crop itself, and its latents and dequantisation by a
generator seeded with both. A training resumed from its state therefore goes on as if it had not stopped, and a step is
the same however its crops are dealt out to passes and devices.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch import Generator, Size, Tensor
from torch.nn import Module
from torch.optim import Adamax, Optimizer

from cosdd_zoo.checkpoint import Checkpoint, read_tensors, write_tensors
from cosdd_zoo.config import RunConfig
from cosdd_zoo.data.statistics import Statistics
from cosdd_zoo.errors import CheckpointError, TrainingError
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.training import processes
from cosdd_zoo.training.muon import Muon, shared_out
from cosdd_zoo.training.objective import Detector, Losses, distillation, losses

EXPLODED = 20.0
"""A gradient so many times longer than usual is a step to skip: clipping keeps its (useless) direction."""
SETTLED_STEPS = 20
"""Steps after which there is a usual length: a network's first gradients are far from it."""
MAX_SKIPPED_IN_A_ROW = 100
TRAINING, VALIDATION = 0, 1
"""Streams of random numbers, as of the crops."""


class Progress(NamedTuple):
    """The counters of a training; stored in its state."""

    step: int = 0  # optimiser steps tried, skipped ones included
    skipped: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    usual_norm: float = math.inf  # running mean of the gradient's norm
    best: float = math.inf
    best_step: int = 0
    since_best: int = 0  # validations
    training_kl: float = math.inf  # of the crops of the last step that had one; none yet


class CosddModule(lightning.LightningModule):
    """Trains a Cosdd model. `averaged` is the one that validates, denoises and is stored."""

    def __init__(self, config: RunConfig, statistics: Statistics, validation: Tensor) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config, self.statistics = config, statistics
        torch.manual_seed(config.training.seed)
        self.model = Cosdd(config.network, statistics.scaling, config.training.stabilise)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        for name, part in self.model.named_children():
            part.requires_grad_(config.training.train_only in ("all", name))
        shape = [1, -1] + [1] * config.network.n_dims
        is_masked = config.training.mask
        facts = {
            "step": statistics.step,
            "ceiling": statistics.ceiling if is_masked else [math.inf] * config.network.n_channels,
            "outlier": statistics.outlier if is_masked else [math.inf] * config.network.n_channels,
        }
        for name, values in facts.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(shape), persistent=False)
        self.register_buffer("validation", validation, persistent=False)
        self.progress = Progress()
        self.latest: Losses | None = None
        self._optimizer_state: list[dict[int, dict[str, Tensor]]] = []
        self._began = time.monotonic()

    def start_from(self, source: Cosdd) -> None:
        """Take another model's weights; a direct denoiser that is new or of another shape begins anew."""
        parts = dict(source.named_children())
        for name, part in self.model.named_children():
            if name != "direct_denoiser" or (name in parts and _shapes(part) == _shapes(parts[name])):
                part.load_state_dict(parts[name].state_dict())
        self.averaged.load_state_dict(self.model.state_dict())

    def configure_optimizers(self) -> list[Optimizer]:
        kernels, others = shared_out(self.model)
        # training_step sets the rates; groups, since one of them may be empty
        optimizers = [Muon(kernels, lr=1.0), Adamax([{"params": others}], lr=1.0)]
        for optimizer, state in zip(optimizers, self._optimizer_state, strict=False):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        return optimizers

    @property
    def _optimizers(self) -> list[Optimizer]:
        found = self.optimizers(use_pl_optimizer=False)
        assert isinstance(found, list)
        return found

    def on_train_start(self) -> None:
        self._began = time.monotonic() - self.progress.seconds

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """One optimiser step: this device's share [accumulate * batch_size, C, *], in passes of batch_size."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        settings = self.config.training
        first = self.progress.step * settings.crops_per_step + processes.rank() * settings.crops_per_device
        mean = torch.zeros(3 + self.config.network.n_levels, device=self.device)
        for start in range(0, len(batch), settings.batch_size):
            x = batch[start : start + settings.batch_size]
            share = len(x) / len(batch)
            of_pass = self._losses(self.model, x, self._noise(TRAINING, first + start, len(x)))
            with self._exchange(start + len(x) == len(batch)):
                self.manual_backward(of_pass.weighted(self.kl_weight()) * share)
            mean += share * of_pass.vector()
        self.latest = Losses.of(mean)
        kl = float(self.latest.kl.sum())
        if math.isfinite(kl):
            self.progress = self.progress._replace(training_kl=kl)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm))
        norm, seconds = processes.largest([norm, time.monotonic() - self._began], self.device)
        if self._is_sound(norm):
            for optimizer in self._optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = self.config.training.learning_rate * self.rate_factor()
                optimizer.step()
            self._average()
        self._count(norm, seconds)

    def _exchange(self, is_last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the devices once a step, in the backward pass of the last of its passes."""
        strategy = self.trainer.strategy
        if is_last or not isinstance(strategy, ParallelStrategy):
            return nullcontext()
        return strategy.block_backward_sync()

    @property
    def _detector(self) -> Detector:
        step, ceiling, outlier = (self.get_buffer(name) for name in ("step", "ceiling", "outlier"))
        return Detector(step, ceiling, outlier, self.config.training.likelihood)

    @property
    def _distils(self) -> bool:
        return self.config.training.train_only == "direct_denoiser"

    def _losses(self, model: Cosdd, x: Tensor, noise: list[Generator]) -> Losses:
        if self._distils:
            return distillation(model, x, self.config.training.teacher_samples, noise)
        return losses(model, x, self._detector, noise)

    def judged(self, values: Losses) -> float:
        """What the best model has least of, of a validation's losses."""
        return float(values.direct if self._distils else values.elbo)

    def _noise(self, stream: int, first: int, n: int) -> list[Generator]:
        """One generator for each of n crops."""
        device = self.device if self.device.type != "mps" else torch.device("cpu")
        hashed = [np.random.SeedSequence([self.config.training.seed, stream, first + i]) for i in range(n)]
        return [Generator(device).manual_seed(int(h.generate_state(1)[0])) for h in hashed]

    def _is_sound(self, norm: float) -> bool:
        usual = self.progress.step < SETTLED_STEPS or norm < EXPLODED * self.progress.usual_norm
        return math.isfinite(norm) and usual

    def _count(self, norm: float, seconds: float) -> None:
        p = self.progress
        sound = self._is_sound(norm)
        # an exploded norm counts as the largest sound one: where gradients stay large, they become usual
        counted = min(norm, EXPLODED * p.usual_norm) if math.isfinite(norm) else p.usual_norm
        usual = counted if math.isinf(p.usual_norm) else 0.98 * p.usual_norm + 0.02 * counted
        self.progress = p._replace(
            step=p.step + 1,
            skipped=p.skipped + (not sound),
            skipped_in_a_row=0 if sound else p.skipped_in_a_row + 1,
            usual_norm=usual,
            seconds=seconds,
        )
        if self.progress.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"{MAX_SKIPPED_IN_A_ROW} steps in a row had gradients that are not finite or exploded (at step "
                f"{self.progress.step}). Lower --learning-rate or --n-mixture; the best model so far is kept."
            )

    def done(self) -> float:
        """Share of the training that is behind: of its steps or of its minutes, whichever is further."""
        t = self.config.training
        by_time = self.progress.seconds / (60.0 * t.max_time) if t.max_time else 0.0
        return min(1.0, max(self.progress.step / t.max_steps, by_time))

    def kl_weight(self) -> float:
        """Rises to 1: latents that cost nothing at first are used before the AR decoder has learned to do without."""
        return min(1.0, (self.progress.step + 1) / max(self.config.training.kl_warmup_steps, 1))

    def rate_factor(self) -> float:
        """Warm-up, then half a cosine down to a hundredth by the end of the training."""
        warm = min(1.0, (self.progress.step + 1) / max(self.config.training.warmup_steps, 1))
        return warm * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * self.done())))

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average; its memory grows with the steps up to 1 / (1 - ema_decay)."""
        decay = min(self.config.training.ema_decay, (1.0 + self.progress.step) / (10.0 + self.progress.step))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1.0 - decay)

    @torch.no_grad()
    def validate(self) -> Losses:
        """The averaged model's losses on the fixed crops with fixed samples: the same number for the same weights.

        The devices share the work.
        """
        x, size = self.get_buffer("validation"), self.config.training.batch_size
        mean = torch.zeros(3 + self.config.network.n_levels, device=x.device)
        for start in range(size * processes.rank(), len(x), size * processes.count()):
            b = x[start : start + size]
            of_pass = self._losses(self.averaged, b, self._noise(VALIDATION, start, len(b)))
            mean += len(b) / len(x) * of_pass.vector()
        result = Losses.of(processes.total(mean))
        self._judge(self.judged(result))
        return result

    def _judge(self, loss: float) -> None:
        p = self.progress
        if loss < p.best:
            self.progress = p._replace(best=loss, best_step=p.step, since_best=0)
        else:
            self.progress = p._replace(since_best=p.since_best + 1)

    def checkpoint(self, facts: dict[str, Any]) -> Checkpoint:
        """The averaged model, for inference."""
        return Checkpoint(self.config, self.statistics.scaling, self.averaged.state_dict(), facts)

    def save_state(self, path: Path) -> None:
        """Everything that the next step depends on. Raises OutputError when it cannot be written."""
        tensors = dict(_named("model", self.model.state_dict())) | dict(_named("averaged", self.averaged.state_dict()))
        for k, optimizer in enumerate(self._optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= dict(_named(f"optimizer.{k}.{index}", state))
        write_tensors(path, tensors, {"progress": json.dumps(self.progress._asdict())})

    def load_state(self, path: Path) -> None:
        """Go on where `save_state` was. Raises CheckpointError when the file is damaged or of other networks."""
        tensors, metadata = read_tensors(path)
        try:
            self.model.load_state_dict(_under("model", tensors))
            self.averaged.load_state_dict(_under("averaged", tensors))
            places = {tuple(map(int, name.split(".")[1:3])) for name in tensors if name.startswith("optimizer.")}
            states = ({i: _under(f"optimizer.{k}.{i}", tensors) for j, i in places if j == k} for k in range(2))
            self._optimizer_state = list(states)
            self.progress = Progress(**json.loads(metadata["progress"]))
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} does not fit the run's settings ({error}): the run cannot be resumed; start a new one."
            ) from None


def _shapes(part: Module) -> dict[str, Size]:
    return {name: value.shape for name, value in part.state_dict().items()}


def _named(prefix: str, tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((f"{prefix}.{name}", value) for name, value in tensors.items())


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
