"""`export --with onnx`: the same model for programs without libtorch, on images of any size and in tiles."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import CARD, contents, described
from models import few_features, model, scaling, scene
from typer.testing import CliRunner

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.cli import app
from cosdd_zoo.config import preset
from cosdd_zoo.errors import ConfigError, PackageError
from cosdd_zoo.export import onnx_weights
from cosdd_zoo.export.check import quiet_bioimageio
from cosdd_zoo.export.export import export
from cosdd_zoo.export.onnx_weights import check_onnx, run_onnx, to_onnx
from cosdd_zoo.export.torchscript import PortableMean, script


def mean_of_two(**network: object) -> PortableMean:
    net = model(few_features(**network))
    n_dims = net.normalise.mean.dim() - 2
    return PortableMean(net, [256] * n_dims, [128] * n_dims, 2, 0, uncertainty=True)


def images(*shape: int) -> np.ndarray:
    return scene(*shape[1:], seed=3).astype(np.float32)[np.newaxis].repeat(shape[0], axis=0)


@pytest.fixture(scope="module")
def sampled() -> tuple[PortableMean, bytes]:
    portable = mean_of_two(noise_axis="y", n_channels=2)
    return portable, to_onnx(portable)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (3, 2, 65, 111), (1, 2, 16, 1), (1, 2, 200, 40)])
def test_the_graph_gives_what_torchscript_gives_at_any_size(
    sampled: tuple[PortableMean, bytes], shape: tuple[int, ...]
) -> None:
    x = images(*shape)
    expected = script(sampled[0])(torch.from_numpy(x)).detach().numpy()
    assert expected.shape[1] == 4  # two channels and their standard deviations
    check_onnx(sampled[1], x, expected)


def test_a_tile_gets_the_noise_of_its_place(sampled: tuple[PortableMean, bytes]) -> None:
    portable, weights = sampled
    x = images(1, 2, 80, 64)
    origin = [32, 64]
    expected = portable.denoise(torch.from_numpy(x), origin).detach().numpy()
    assert np.abs(run_onnx(weights, x, origin) - expected).max() < 1e-3
    assert np.abs(run_onnx(weights, x) - expected).max() > 0.1


def test_a_graph_that_differs_is_refused(sampled: tuple[PortableMean, bytes]) -> None:
    x = images(1, 2, 64, 64)
    y = run_onnx(sampled[1], x)
    with pytest.raises(PackageError, match="differs from the TorchScript graph"):
        check_onnx(sampled[1], x, y * 1.001)


@pytest.mark.slow
@pytest.mark.parametrize("n_dims, processing", [(2, "graph"), (2, "rdf"), (3, "graph")])
def test_a_package_with_onnx_passes_the_test_of_core_for_both(tmp_path: Path, n_dims: int, processing: str) -> None:
    config = preset("tiny", n_dims=n_dims, direct=True, n_features=6, n_code=5, n_latents=3, ar_features=5)
    net = model(config.network)
    made = Checkpoint(config, scaling(), {k: v.detach().clone() for k, v in net.state_dict().items()}, {})
    path, size = tmp_path / "m.zip", (160, 144) if n_dims == 2 else (16, 96, 80)
    report = export(made, path, CARD, sample=scene(1, *size), direct=True, with_onnx=True, processing=processing)
    assert core_status(path, "torchscript") == core_status(path, "onnx") == "passed"
    weights = described(path)["weights"]
    assert set(weights) == {"torchscript", "onnx"}
    assert weights["onnx"]["opset_version"] == onnx_weights.OPSET
    assert {f.state for f in report.check.of_rule("bioimageio.spec")} == {"holds"}  # it warns of weights of no origin
    assert "weights.onnx" in contents(path)


def core_status(package: Path, weight_format: str) -> str:
    """What core's test says, people and citations left out, which it looks up in the network."""
    from bioimageio.core import test_description
    from bioimageio.spec import ValidationContext

    rdf = {k: v for k, v in described(package).items() if k not in ("authors", "maintainers", "cite")}
    with zipfile.ZipFile(package) as file, quiet_bioimageio(), ValidationContext(root=file, file_name="rdf.yaml"):
        return test_description(rdf, weight_format=weight_format, devices=["cpu"]).status


def test_without_the_packages_for_onnx_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_weights, "_NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs no_such_package: run `pip install cosdd-zoo\[onnx\]`"):
        onnx_weights.check_onnx_is_here()


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    command = ["export", "run", "-o", str(tmp_path / "m.zip"), "--card", str(CARD), "--with", "keras"]
    assert "--with keras is unknown" in str(CliRunner().invoke(app, command).exception)
