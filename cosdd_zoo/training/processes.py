"""The processes of one training, one a device: how Lightning starts them, and what they settle between them.

Alone, `total` and `largest` return what they are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed

from cosdd_zoo.config import RunConfig
from cosdd_zoo.errors import ConfigError, TrainingError


def are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def count() -> int:
    return distributed.get_world_size() if are_several() else 1


def rank() -> int:
    """0 for the first process, the only one that writes and speaks."""
    return distributed.get_rank() if are_several() else 0


def total(x: Tensor) -> Tensor:
    """The sum over the processes, the same bits in each."""
    if are_several():
        x = x.clone()
        distributed.all_reduce(x)
    return x


def largest(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest of each value over the processes: what depends on it goes the same way in all of them."""
    if not are_several():
        return list(values)
    x = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(x, distributed.ReduceOp.MAX)
    return [float(v) for v in x]


def arguments(config: RunConfig) -> dict[str, Any]:
    """Lightning's arguments for the processes. Raises ConfigError when a launcher has started another number."""
    devices, nodes = config.training.devices, config.training.nodes
    environment = _launcher()
    started = environment.world_size() if environment else devices * nodes
    if started != devices * nodes:
        raise ConfigError(
            f"--devices {devices} on --nodes {nodes} are {devices * nodes} processes, but srun or torchrun has started "
            f"{started}: ask both for the same."
        )
    # nothing in the networks' buffers changes in training; sent at each step, they would cost as much as the weights
    strategy: Any = DDPStrategy(broadcast_buffers=False) if started > 1 else "auto"
    plugins = [environment] if environment else None
    return {"devices": devices, "num_nodes": nodes, "strategy": strategy, "plugins": plugins}


def _launcher() -> ClusterEnvironment | None:
    """What has started the processes of this training, if it is not Lightning that will."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    # Lightning would ask for a requeue by itself, with a checkpoint of its own (packaging/slurm)
    return SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None


@contextmanager
def one_voice(trainer: lightning.Trainer) -> Iterator[None]:
    """The end of a training that all processes come to is told by the first; one that fails takes its own along."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, TrainingError) and not trainer.is_global_zero:
            raise SystemExit(0) from None
        kill = getattr(trainer.strategy.launcher, "kill", None)
        if kill and not isinstance(error, TrainingError):
            kill(9)  # they wait for this one, some backends without end
        raise
