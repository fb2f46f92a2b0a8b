"""Where a training starts: from random weights, or from those of another model.

settled(None, None, {"init_from": "runs/actin"})      network settings and weights of runs/actin, training settings ours
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import RunConfig, resolve
from cosdd_zoo.errors import ConfigError
from cosdd_zoo.training.run_folder import checkpoint_of

DIRECT = {"direct", "direct_features", "direct_levels"}
"""Network settings that may differ from the source's: no other part depends on the direct denoiser."""
SETTLED = ("init_from", "train_only", "statistics_from", "teacher_samples", "stabilise")
"""Training settings that a resumed run keeps."""


class Start(NamedTuple):
    config: RunConfig
    source: Checkpoint | None  # whose weights it starts from


def settled(preset: str | None, file: Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> Start:
    """The layers of `resolve`, above the network settings of the model that the training starts from, if any.

    Raises ConfigError for other networks than the source's, and CheckpointError when it is none.
    """
    file = dict(file or {})
    init_from = _asked("init_from", file, overrides)
    if init_from is None:
        config = resolve(preset, file, overrides)
        _refuse_without_source(config)
        return Start(config, None)
    path = Path(str(init_from))
    source = checkpoint_of(path)
    name = preset or file.get("preset") or source.config.preset
    if name != source.config.preset:
        raise _conflict("preset", name, source.config.preset, path)
    overrides = {**overrides, "init_from": str(path.absolute())}
    config = resolve(name, _above_source(source, file, _asked("train_only", file, overrides)), overrides)
    _refuse_other_networks(config, source, path)
    return Start(config, source)


def refuse_other_start(before: RunConfig, now: RunConfig) -> None:
    """Raises ConfigError when a run is to be resumed with other networks or from another start."""
    if now.network != before.network:
        raise ConfigError("The networks of a run are settled once it has begun: start a new one for other networks.")
    for name in SETTLED:
        if getattr(now.training, name) != getattr(before.training, name):
            raise ConfigError(f"The {name} of a run is settled once it has begun: start a new one with another.")


def _asked(name: str, file: Mapping[str, Any], overrides: Mapping[str, Any]) -> Any:
    """A training setting as the user gave it, or None."""
    section = file.get("training")
    return overrides.get(name, section.get(name) if isinstance(section, Mapping) else None)


def _above_source(source: Checkpoint, file: dict[str, Any], train_only: str | None) -> dict[str, Any]:
    """The file's settings above those that follow from the source."""
    network = source.config.network.model_dump()
    # posteriors that have been learned need no time without KL, in which they would be forgotten
    training: dict[str, Any] = {"stabilise": source.config.training.stabilise, "kl_warmup_steps": 0}
    if train_only == "direct_denoiser":
        network["direct"] = True
        training["statistics_from"] = "init"  # the teacher stays the same model
    below = {"network": network, "training": training}
    layered = {s: {**v, **(file.get(s) or {})} for s, v in below.items() if isinstance(file.get(s), Mapping | None)}
    return {**file, **layered}


def _refuse_without_source(config: RunConfig) -> None:
    training = config.training
    for name, given, default in (
        ("train_only", training.train_only, "all"),
        ("statistics_from", training.statistics_from, "images"),
        ("blocks", config.network.blocks, "ours"),
    ):
        if given != default:
            raise ConfigError(
                f"{name} is {given}, but there is no model yet that the rest could come from: name it with --init-from."
            )


def _refuse_other_networks(config: RunConfig, source: Checkpoint, path: Path) -> None:
    before, now = source.config, config
    free = DIRECT if now.training.train_only != "ar_decoder" else set()
    for name, value in now.network.model_dump().items():
        theirs = getattr(before.network, name)
        if value != theirs and name not in free:
            raise _conflict(name, value, theirs, path)
    if now.training.stabilise != before.training.stabilise:
        raise _conflict("stabilise", now.training.stabilise, before.training.stabilise, path)
    if now.training.train_only == "direct_denoiser" and not now.network.direct:
        raise ConfigError("train_only is direct_denoiser, but direct is False: leave out --no-direct.")


def _conflict(name: str, value: object, theirs: object, path: Path) -> ConfigError:
    return ConfigError(
        f"{name} is {value!r}, but {theirs!r} in {path}, whose networks this training starts from: leave out "
        f"--{name.replace('_', '-')}, or train anew without --init-from."
    )
