"""Training, from images to a run folder.

run = train(["stacks/*.tif"], "runs/actin", preset="tiny", max_time=10)
run.model                # best.safetensors, for load()
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint
from cosdd_zoo.config import SPATIAL_AXES, RunConfig, resolve
from cosdd_zoo.data.ahead import Ahead
from cosdd_zoo.data.crops import Crops, Split, split
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.opening import open_all
from cosdd_zoo.data.statistics import Statistics, statistics
from cosdd_zoo.devices import found_device, keep_freed_memory
from cosdd_zoo.errors import CheckpointError, ConfigError, ImageError, OutputError
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.training import processes
from cosdd_zoo.training.module import CosddModule
from cosdd_zoo.training.progress import ProgressBar
from cosdd_zoo.training.recorder import Recorder, reason_to_stop
from cosdd_zoo.training.run_folder import RunFolder
from cosdd_zoo.training.start import refuse_other_start, settled

PREVIEW_PX = 192


class Describe(Protocol):
    """Facts of the training images that go into the checkpoint, beside those of the training itself."""

    def __call__(
        self, images: Sequence[ImageFile], config: RunConfig, trained: Checkpoint | None = None
    ) -> dict[str, Any]:
        """Before the training, and once more of the best model that came of it."""


def nothing_more(images: Sequence[ImageFile], config: RunConfig, trained: Checkpoint | None = None) -> dict[str, Any]:
    return {}


class Run(NamedTuple):
    """A training that has ended."""

    folder: Path
    config: RunConfig
    model: Path  # the best checkpoint
    facts: dict[str, Any]
    stopped_by: str  # max_steps, max_time, patience, SIGINT or SIGTERM


class Prepared(NamedTuple):
    """What is known before the first step."""

    config: RunConfig
    images: list[ImageFile]
    split: Split


def train(
    images: Any,
    output: str | Path,
    *,
    preset: str | None = None,
    config: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
    describe: Describe = nothing_more,
    **settings: Any,
) -> Run:
    """Train a model on noisy images alone; see `cosdd_zoo.api.train`, which finds the noise axis as well."""
    begin, source = settled(preset, config, settings)
    prepared = prepare(images, begin)
    folder = RunFolder(Path(output))
    trainer = _trainer(prepared.config, folder, tensorboard)
    if trainer.is_global_zero:
        folder.refuse_what_is_there(overwrite)
    _refuse_to_replace_the_source(folder, begin)
    stats = _statistics(prepared, source)
    if trainer.is_global_zero:
        folder.create(prepared.config)
    return _fit(trainer, folder, prepared, stats, quiet, describe, is_resumed=False, source=source)


def resume(
    output: str | Path, images: Any = None, *, quiet: bool = False, describe: Describe = nothing_more, **settings: Any
) -> Run:
    """See `cosdd_zoo.api.resume`."""
    folder = RunFolder(Path(output))
    before = folder.read_config()
    if not folder.state.is_file():
        raise CheckpointError(
            f"{folder.path} holds no state.safetensors to go on from: it was imported, or stopped before it was saved. "
            f"Start a new run, from its model with --init-from."
        )
    config = resolve(None, before.model_dump(), settings)
    refuse_other_start(before, config)
    sources = images if images is not None else list(config.data.images)
    if isinstance(sources, list) and not sources:
        raise ImageError(f"{folder.path} was trained on arrays in memory: give the same arrays again to resume it.")
    prepared = prepare(sources, config)
    keeps = config.training.statistics_from == "init"  # the run's own file: the source may be gone
    trainer = _trainer(prepared.config, folder, False)
    stats = _statistics(prepared, load_checkpoint(folder.last) if keeps else None)
    if trainer.is_global_zero:
        folder.write_config(prepared.config)
    return _fit(trainer, folder, prepared, stats, quiet, describe, is_resumed=True)


def prepare(images: Any, config: RunConfig) -> Prepared:
    """Open the images, complete the config by what they are, and split them. Reads headers only."""
    sources, opened = open_all(images, config.data.axes, config.data.channels)
    channels = sorted({image.n_channels for image in opened})
    if len(channels) > 1:
        names = {c: next(i.name for i in opened if i.n_channels == c) for c in channels}
        found = ", ".join(f"{name} has {c}" for c, name in names.items())
        raise ImageError(
            f"The images' channel counts differ: {found}. Train one model for each kind, or choose with --channels."
        )
    if config.training.init_from and channels[0] != config.network.n_channels:
        raise ImageError(
            f"{opened[0].name} has {channels[0]} channels (axes {opened[0].axes}), but the model that the training "
            f"starts from has {config.network.n_channels}. Choose some with --channels, or name the axes with --axes."
        )
    network = config.network.model_copy(update={"n_channels": channels[0]})
    data = config.data.model_copy(update={"images": tuple(sources)})
    config = config.model_copy(update={"network": network, "data": data})
    return Prepared(config, opened, split(opened, config))


def estimate(config: RunConfig) -> dict[str, float]:
    """Parameters of each network, and a rough figure of the memory of a training step, in GiB."""
    from cosdd_zoo.scaling import Scaling

    one = [1.0] * config.network.n_channels
    model = Cosdd(config.network, Scaling(one, one, one, one, one, one), True)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    crop = config.training.crop_px ** min(config.network.n_dims, 2)
    crop *= config.training.crop_depth_px if config.network.n_dims == 3 else 1
    # activations kept for the backward pass, as measured for tiny, small and large: about 60 maps at full resolution
    maps = config.network.n_features * (60 if config.network.full_resolution_blocks else 25)
    maps += config.network.n_channels * config.network.ar_features * 3 * config.network.ar_blocks
    size = 4 if accelerator(config)[1] == "32-true" else 3
    bytes_ = config.training.batch_size * crop * maps * size + 16 * sum(counts.values())
    return {**{k: v for k, v in counts.items() if v}, "memory_gib": bytes_ / 2**30}


def accelerator(config: RunConfig) -> tuple[str, Any]:
    """Lightning's accelerator and precision. Raises ConfigError when the device asked for is not there."""
    device = found_device(config.training.device)
    if device == "cpu":
        keep_freed_memory()
    wants_bf16 = {"auto": device == "cuda", "bfloat16": True, "float32": False}[config.training.precision]
    return device, "bf16-mixed" if wants_bf16 else "32-true"


def _statistics(prepared: Prepared, source: Checkpoint | None) -> Statistics:
    """Of the images; with the scaling of the source where the settings ask for it."""
    is_kept = prepared.config.training.statistics_from == "init"
    kept = source.scaling if source is not None and is_kept else None
    return statistics(prepared.images, prepared.split.training, prepared.config, kept)


def _refuse_to_replace_the_source(folder: RunFolder, config: RunConfig) -> None:
    source = Path(config.training.init_from) if config.training.init_from else None
    if source is not None and folder.path.resolve() in (source.resolve(), source.resolve().parent):
        raise OutputError(
            f"{folder.path} holds the model that the training starts from: choose another folder with -o."
        )


def _fit(
    trainer: lightning.Trainer,
    folder: RunFolder,
    prepared: Prepared,
    stats: Statistics,
    quiet: bool,
    describe: Describe,
    is_resumed: bool,
    source: Checkpoint | None = None,
) -> Run:
    config, images, parts = prepared
    is_silent = quiet or not trainer.is_global_zero
    module = CosddModule(config, stats, _validation_crops(images, parts, config))
    if is_resumed:
        module.load_state(folder.state)
        if trainer.is_global_zero:
            folder.forget_after(module.progress.step)
    elif source is not None:
        module.start_from(source.model())
    crops = Crops(images, parts.training, config, stats.brightness)
    say = Console(stderr=True, quiet=is_silent).print
    facts = _facts(images, parts, stats) | (describe(images, config) if trainer.is_global_zero else {})
    recorder = Recorder(folder, facts, _preview(images, config), say)
    recorder.stopped_by = reason_to_stop(module)
    loader: DataLoader[Any] = DataLoader(
        crops,  # type: ignore[arg-type]  # random access is all that is needed of it
        batch_size=config.training.crops_per_device,
        sampler=_Upcoming(module),
        num_workers=config.training.n_workers,
        persistent_workers=config.training.n_workers > 0,
    )
    # Lightning's SystemExit for a SIGTERM during its own start: the step after which it comes is saved all the same
    with _quiet_lightning(), recorder.until_signalled(), suppress(SIGTERMException), processes.one_voice(trainer):
        trainer.callbacks += [recorder, ProgressBar(is_silent)]  # type: ignore[attr-defined]
        if not recorder.stopped_by:
            trainer.fit(module, Ahead(loader, in_thread=trainer.strategy.root_device.type != "cpu"))
    facts = recorder.result(module)
    if not trainer.is_global_zero:
        raise SystemExit(0)  # or the rest of the script, which may denoise and write, would be done by every process
    best = folder.best if folder.best.exists() else folder.last
    if best.exists():
        trained = load_checkpoint(best)
        if more := describe(images, config, trained):
            trained._replace(facts={**trained.facts, **more}).save(best)
    return Run(folder.path, config, best, facts, recorder.stopped_by)


class _Upcoming(Sampler[int]):
    """The indices of this process's share of the crops from the next step on, without end."""

    def __init__(self, module: CosddModule) -> None:
        self.module = module

    def __iter__(self) -> Iterator[int]:
        settings = self.module.config.training
        first = self.module.progress.step * settings.crops_per_step + processes.rank() * settings.crops_per_device
        for start in count(first, settings.crops_per_step):
            yield from range(start, start + settings.crops_per_device)


def _trainer(config: RunConfig, folder: RunFolder, tensorboard: bool) -> lightning.Trainer:
    device, precision = accelerator(config)
    together = processes.arguments(config)
    logger: Any = False
    if tensorboard:
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder.path, name="tensorboard", version="")
    try:
        with _quiet_lightning():
            return lightning.Trainer(
                accelerator=device,
                precision=precision,
                max_epochs=1,
                logger=logger,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                **together,
            )
    except MisconfigurationException as error:  # fewer GPUs than asked for; several of them from a notebook
        raise ConfigError(f"--devices {config.training.devices} cannot be had here: {error}") from None


def _validation_crops(images: Sequence[ImageFile], parts: Split, config: RunConfig) -> Tensor:
    crops = Crops(images, parts.validation, config, stream=1)
    return torch.from_numpy(np.stack([crops[i] for i in range(config.training.validation_crops)]))


def _preview(images: Sequence[ImageFile], config: RunConfig) -> Tensor:
    """The middle of the first item: [1, C, *]."""
    n_dims = config.network.n_dims
    shape = images[0].item_shape(n_dims)[1:]
    size = tuple(min(n, PREVIEW_PX if a != "z" else 16) for a, n in zip(SPATIAL_AXES[n_dims], shape, strict=True))
    start = tuple((n - s) // 2 for n, s in zip(shape, size, strict=True))
    return torch.from_numpy(images[0].read_crop(0, n_dims, start, size).astype(np.float32))[None]


def _facts(images: Sequence[ImageFile], parts: Split, stats: Statistics) -> dict[str, Any]:
    names = [channel.name for channel in images[0].described().channels]
    return {
        **({"channels": names} if names and all(names) else {}),
        "images": [image.name for image in images[:20]],
        "n_images": len(images),
        "dtype": str(images[0].dtype),
        "n_training_regions": len(parts.training),
        "n_validation_regions": len(parts.validation),
        "quantisation_step": stats.step,
    }


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's advice on loaders and devices is for its own users, not for ours."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
