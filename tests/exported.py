"""Models and packages that the tests of the export share."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from cosdd_zoo.config import preset
from cosdd_zoo.export.card import Card, read_card
from cosdd_zoo.export.torchscript import PortableMean, script
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.scaling import Scaling

CARD = Path(__file__).parents[1] / "model_cards" / "demo-confocal.md"
MEAN, STD = 100.0, 20.0


class StandIn(nn.Module):
    """A small graph with all that a package needs: x [B, C, *] -> [B, C or 2 C, *]."""

    def __init__(self, n_dims: int = 2, n_channels: int = 1, uncertainty: bool = False, inside: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        kind = nn.Conv3d if n_dims == 3 else nn.Conv2d
        # at an edge as in its mirror image, which some programs put there
        self.conv = kind(n_channels, n_channels, 3, padding=1, padding_mode="replicate")
        self.register_buffer("mean", torch.tensor(MEAN if inside else 0.0))
        self.register_buffer("std", torch.tensor(STD if inside else 1.0))
        self.uncertainty = uncertainty

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv((x - self.mean) / self.std) * self.std + self.mean
        return torch.cat([y, torch.abs(y - x)], dim=1) if self.uncertainty else y


def stand_in(**kwargs: Any) -> Any:
    return script(StandIn(**kwargs))


def tiny(n_samples: int = 2, uncertainty: bool = False, **network: Any) -> Any:
    """The real thing, untrained."""
    torch.manual_seed(0)
    config = preset("tiny", **network).network
    one = [1.0] * config.n_channels
    scaling = Scaling([MEAN] * len(one), [STD] * len(one), [90.0] * len(one), [5.0] * len(one), one, [2.0] * len(one))
    model = Cosdd(config, scaling, stabilise=True).eval()
    inner, halo = [64] * config.n_dims, [32] * config.n_dims
    return script(PortableMean(model, inner, halo, n_samples, 0, uncertainty))


def noisy(*shape: int) -> np.ndarray:
    """A sample [C, *] of 16-bit grey values."""
    return np.random.default_rng(0).poisson(MEAN, shape).astype(np.uint16)


def demo_card() -> Card:
    return read_card(CARD)


def contents(package: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(package) as file:
        return {name: file.read(name) for name in file.namelist()}


def described(package: Path) -> dict[str, Any]:
    return yaml.safe_load(contents(package)["rdf.yaml"])


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def changed(
    package: Path, path: Path, files: Mapping[str, bytes], edit: Callable[[dict[str, Any]], Any] = lambda rdf: None
) -> Path:
    """A copy with other files, whose checksums are written down anew, and another description."""
    rdf = described(package)
    edit(rdf)
    for node in [*rdf["inputs"], *rdf["outputs"]]:
        for key in ("test_tensor", "sample_tensor"):
            _sign(node.get(key, {}), files)
    for node in [*rdf["weights"].values(), *rdf.get("attachments", [])]:
        _sign(node, files)
    return zipped(path, {**contents(package), **files, "rdf.yaml": yaml.safe_dump(rdf).encode()})


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _sign(node: dict[str, str], files: Mapping[str, bytes]) -> None:
    if node.get("source") in files:
        node["sha256"] = hashlib.sha256(files[node["source"]]).hexdigest()
