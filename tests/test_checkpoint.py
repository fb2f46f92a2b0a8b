"""A checkpoint is one file without pickle that brings the whole model back, or says why it cannot."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from models import few_features, grey, model, quick, scaling
from safetensors.torch import save_file

from cosdd_zoo import load
from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint, read_tensors, write_tensors
from cosdd_zoo.config import NetworkConfig, RunConfig
from cosdd_zoo.errors import CheckpointError, OutputError
from cosdd_zoo.export.torchscript import PortableDirect, PortableMean, script
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.version import __version__


def made(network: NetworkConfig | None = None) -> tuple[Cosdd, Checkpoint]:
    config = quick().model_copy(update={"network": network or few_features(downsample=(True, True))})
    net = model(config.network)
    return net, Checkpoint(config, scaling(config.network.n_channels), net.state_dict(), {"steps": 3})


def changed(path: Path, **header: Any) -> Path:
    """The same file with other entries in its header."""
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {"cosdd_zoo": json.dumps(json.loads(metadata["cosdd_zoo"]) | header)})
    return path


@pytest.mark.parametrize("settings", [{}, {"n_channels": 2, "direct": True}, {"n_dims": 3, "noise_axis": "z"}])
def test_a_checkpoint_brings_back_the_same_model(tmp_path: Path, settings: dict[str, Any]) -> None:
    net, checkpoint = made(few_features(downsample=(True, True), **settings))
    checkpoint.save(tmp_path / "best.safetensors")
    found = load_checkpoint(tmp_path / "best.safetensors")
    assert (found.config, found.scaling, found.facts) == (checkpoint.config, checkpoint.scaling, {"steps": 3})
    assert found.version == __version__
    x = grey(1, net.normalise.mean.numel(), *[13, 17, 19][-len(net.stride) :])
    origin = [0] * len(net.stride)
    assert torch.equal(found.model().posterior(x, 2, 0, origin).mean, net.posterior(x, 2, 0, origin).mean)


def test_the_file_explains_itself_and_is_no_pickle(tmp_path: Path) -> None:
    made()[1].save(tmp_path / "best.safetensors")
    with safetensors.safe_open(tmp_path / "best.safetensors", framework="numpy") as file:
        header = json.loads(file.metadata()["cosdd_zoo"])
    assert json.loads(header["config"])["network"]["noise_axis"] == "x"
    assert header["version"] == __version__
    assert b"pickle" not in (tmp_path / "best.safetensors").read_bytes()
    assert RunConfig.model_validate(json.loads(header["config"])) == made()[1].config


def test_grey_values_come_back_exactly_not_through_float32(tmp_path: Path) -> None:
    _, checkpoint = made()
    exact = scaling()._replace(mean=[20_000.123456789])
    checkpoint._replace(scaling=exact).save(tmp_path / "a.safetensors")
    assert load_checkpoint(tmp_path / "a.safetensors").scaling == exact


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("blocks", ["ours", "authors"])
def test_torchscript_reproduces_the_eager_model(direct: bool, blocks: str) -> None:
    preset = {"ours": "tiny", "authors": "small"}[blocks]
    net, _ = made(few_features(preset, downsample=(True, True), direct=True, n_channels=2, blocks=blocks))
    x = grey(2, 2, 21, 30)
    if direct:
        expected, graph = net.direct(x), script(PortableDirect(net, [64, 64], [8, 8]))
    else:
        found = net.posterior(x, 3, 5, [0, 0])
        expected, graph = torch.cat([found.mean, found.std], 1), script(PortableMean(net, [64, 64], [8, 8], 3, 5, True))
    torch.testing.assert_close(graph(x), expected, rtol=1e-5, atol=1e-3)


def test_a_scripted_model_is_a_function_of_the_image_alone() -> None:
    graph = script(PortableMean(made()[0], [64, 64], [8, 8], 2, 0, False))
    x = grey(1, 1, 20, 20)
    first = graph(x)
    torch.manual_seed(99)
    assert torch.equal(graph(x), first)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, -1])
def test_a_truncated_checkpoint_is_a_sentence(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "best.safetensors"
    made()[1].save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=r"best.safetensors cannot be read as a checkpoint \("):
        load(path)


@pytest.mark.parametrize("content", [b"not a model", bytes(1000), b"\xff" * 1000])
def test_a_file_of_another_kind_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected best.safetensors of a run folder"):
        load(tmp_path / "best.safetensors")


def test_weights_of_something_else_are_a_sentence(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="is a safetensors file, but not a model of cosdd-zoo"):
        load(tmp_path / "foreign.safetensors")


def test_a_checkpoint_of_a_newer_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    made()[1].save(tmp_path / "a.safetensors")
    path = changed(tmp_path / "a.safetensors", format="2", version="9.0", config="{'of': 'the future'}")
    with pytest.raises(
        CheckpointError, match=f"written by cosdd-zoo 9.0, newer than this one .{__version__}.: upgrade"
    ):
        load(path)


@pytest.mark.parametrize(
    "header",
    [{"config": "{"}, {"config": '{"network": {"n_dims": 7}}'}, {"scaling": "{}"}, {"format": "x"}],
)
def test_a_damaged_header_is_a_sentence(tmp_path: Path, header: dict[str, str]) -> None:
    made()[1].save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="has a damaged header"):
        load(changed(tmp_path / "a.safetensors", **header))


def test_weights_of_other_networks_are_a_sentence(tmp_path: Path) -> None:
    _, checkpoint = made()
    other = quick().model_copy(update={"network": few_features(downsample=(True,) * 3)})
    checkpoint._replace(config=other).save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="weights do not fit the networks that the checkpoint's own settings"):
        load(tmp_path / "a.safetensors")


def test_what_is_no_model_at_all_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty is no run folder: it holds no config.yaml"):
        load(tmp_path / "empty")
    with pytest.raises(CheckpointError, match=r"missing holds no model: expected a run folder with best.safetensors"):
        load(tmp_path / "missing")


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    _, checkpoint = made()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        checkpoint.save(tmp_path / "file" / "best.safetensors")
    (tmp_path / "best.safetensors").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        checkpoint.save(tmp_path / "best.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.safetensors", "file"]


def test_a_checkpoint_replaces_the_one_before_and_may_be_read_by_others(tmp_path: Path) -> None:
    _, checkpoint = made()
    path = tmp_path / "best.safetensors"
    checkpoint.save(path)
    checkpoint._replace(facts={"steps": 4}).save(path)
    assert load_checkpoint(path).facts == {"steps": 4}
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]
    assert path.stat().st_mode & 0o444 == 0o444
