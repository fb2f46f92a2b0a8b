"""The packages that the conformance suite runs everywhere: each variant that `export` can make, of random weights.

Random weights, every one of them: a fresh network hides much behind layers of zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import randomise, scaling, scene

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import preset
from cosdd_zoo.export.export import export
from cosdd_zoo.networks.build import Cosdd

CARD = Path(__file__).parents[2] / "model_cards" / "demo-confocal.md"


class Variant(NamedTuple):
    settings: Mapping[str, Any] = {}  # of the networks
    options: Mapping[str, Any] = {}  # of the export
    preset: str = "tiny"
    shape: tuple[int, ...] = (1, 160, 144)  # of the sample, [C, *]


VARIANTS = {
    "mean of 8": Variant(),
    "latents' means": Variant(options={"n_samples": 0}),
    "direct": Variant({"direct": True}, {"direct": True}),
    "with uncertainty": Variant(options={"uncertainty": True}),
    "two channels": Variant({"n_channels": 2}, {"n_samples": 2}, shape=(2, 160, 144)),
    "3-D": Variant({"n_dims": 3}, {"n_samples": 0}, shape=(1, 16, 96, 80)),
    "noise axis y": Variant({"noise_axis": "y"}, {"n_samples": 2}),
    "fixed size": Variant(options={"n_samples": 2, "side_px": 128}),
    "explicit processing": Variant(options={"n_samples": 2, "processing": "rdf"}),
    "small": Variant(options={"n_samples": 2}, preset="small"),
}


def made(name: str, folder: Path) -> Path:
    """The package of a variant, in a folder; written only where it is not there yet."""
    variant = VARIANTS[name]
    path = folder / f"{name.replace(' ', '-').replace(chr(39), '')}.zip"
    if not path.exists():
        sample = scene(*variant.shape)
        export(checkpoint(variant), path, CARD, sample=sample, **variant.options)
    return path


def checkpoint(variant: Variant) -> Checkpoint:
    config = preset(variant.preset, **variant.settings)
    network = Cosdd(config.network, scaling(config.network.n_channels), config.training.stabilise)
    torch.manual_seed(0)
    randomise(network)
    weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return Checkpoint(config, scaling(config.network.n_channels), weights, {})


def noisy(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return scene(*shape, seed=1)
