"""A model in one file: weights, config, statistics and version. safetensors, so that loading it executes nothing.

The tensors are the model's weights under their names; everything else is JSON in the file's own header.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
from torch import Tensor

from cosdd_zoo.config import RunConfig, validated
from cosdd_zoo.errors import CheckpointError, ConfigError, OutputError
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.scaling import Scaling
from cosdd_zoo.version import __version__

FORMAT = 1
"""Raised when a file of an older version can no longer be read as it is."""


class Checkpoint(NamedTuple):
    config: RunConfig
    scaling: Scaling
    weights: Mapping[str, Tensor]
    facts: dict[str, Any]  # what the training measured: steps, losses, data; plain JSON values
    version: str = __version__

    def model(self) -> Cosdd:
        """The model with these weights, in eval mode, on the CPU. Raises CheckpointError when they do not fit."""
        model = Cosdd(self.config.network, self.scaling, self.config.training.stabilise)
        try:
            model.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            raise CheckpointError(
                f"The weights do not fit the networks that the checkpoint's own settings describe ({error}). "
                f"The file is damaged or was edited: train again, or take the original file."
            ) from None
        return model.eval()

    def save(self, path: Path) -> None:
        """Write the file beside, then rename. Raises OutputError when it cannot be written."""
        header = {
            "format": str(FORMAT),
            "version": self.version,
            "config": json.dumps(self.config.model_dump(mode="json")),
            "scaling": json.dumps(self.scaling._asdict()),
            "facts": json.dumps(self.facts),
        }
        write_tensors(path, self.weights, {"cosdd_zoo": json.dumps(header)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError when it is missing, damaged, foreign or newer than this package."""
    weights, metadata = read_tensors(path)
    if "cosdd_zoo" not in metadata:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a model of cosdd-zoo: give best.safetensors of a run."
        )
    try:
        header = json.loads(metadata["cosdd_zoo"])
        if int(header["format"]) > FORMAT:
            raise CheckpointError(
                f"{path} was written by cosdd-zoo {header['version']}, newer than this one ({__version__}): upgrade it."
            )
        config = validated(json.loads(header["config"]))
        scaling = Scaling(**json.loads(header["scaling"]))
        return Checkpoint(config, scaling, weights, json.loads(header["facts"]), header["version"])
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{path} has a damaged header ({error}): train again, or take the original file."
        ) from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file, written beside and renamed. Raises OutputError when it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        safetensors.torch.save_file(
            {k: v.detach().contiguous().cpu() for k, v in tensors.items()}, part, dict(metadata)
        )
        part.chmod(0o644)  # safetensors makes files that only their owner can read
        os.replace(part, path)
    except (OSError, safetensors.SafetensorError) as error:
        with contextlib.suppress(OSError):  # a folder that is none has no part in it
            part.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written ({error}): free some space, or choose another folder with -o."
        ) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, and its metadata. Raises CheckpointError when it is missing or damaged."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({error}): expected best.safetensors of a run folder."
        ) from None
