"""The packages that the conformance suite runs everywhere: each variant that `export` can make, of random weights.

    python tests/conformance/variants.py FOLDER/fixed-size.zip...      writes some of them

Random weights, every one of them: a fresh network hides much behind layers of zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import models
from models import randomise, scaling, scene

import cosdd_zoo
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
    "with ONNX": Variant(options={"n_samples": 2, "with_onnx": True}),
}


def made(name: str, folder: Path) -> Path:
    """The package of a variant, in a folder; written only where it is not there yet, or older than the code."""
    variant = VARIANTS[name]
    path = folder / file_name(name)
    if not path.exists() or path.stat().st_mtime < newest_code():
        sample = scene(*variant.shape)
        export(checkpoint(variant), path, CARD, sample=sample, overwrite=True, **variant.options)
    return path


def file_name(name: str) -> str:
    return f"{name.replace(' ', '-').replace(chr(39), '')}.zip"


@lru_cache
def newest_code() -> float:
    """When what packages are made of was changed last, in seconds since the epoch."""
    made_of = [CARD, Path(models.__file__), Path(__file__), *Path(cosdd_zoo.__file__).parent.rglob("*.py")]
    return max(path.stat().st_mtime for path in made_of)


def checkpoint(variant: Variant) -> Checkpoint:
    config = preset(variant.preset, **variant.settings)
    network = Cosdd(config.network, scaling(config.network.n_channels), config.training.stabilise)
    torch.manual_seed(0)
    randomise(network)
    weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return Checkpoint(config, scaling(config.network.n_channels), weights, {})


if __name__ == "__main__":
    names = {file_name(name): name for name in VARIANTS}
    for path in map(Path, sys.argv[1:]):
        path.parent.mkdir(exist_ok=True)
        made(names[path.name], path.parent)
