"""The graph in a package: its windows do not show, and its parts can be called by their names."""

from importlib.metadata import requires
from typing import Any

import numpy as np
import pytest
import torch
from exported import demo_card, described
from models import few_features, grey, model

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import preset
from cosdd_zoo.export.export import portable
from cosdd_zoo.export.package import _tolerance
from cosdd_zoo.export.torchscript import Portable, PortableDirect, PortableMean, load_script, script, state_halo
from cosdd_zoo.inference.windows import halos
from cosdd_zoo.networks.build import Cosdd


def graph(net: Cosdd, network: Any, inner_px: int, kind: str) -> Portable:
    inner, halo = [inner_px] * network.n_dims, halos(network)
    if kind == "direct":
        return PortableDirect(net, inner, halo)
    return PortableMean(net, inner, halo, n_samples=0 if kind == "means" else 2, seed=0, uncertainty=kind == "std")


@pytest.mark.parametrize(
    ("kind", "settings", "shape"),
    [
        ("std", {}, (2, 1, 150, 93)),
        ("means", {"n_channels": 2, "noise_axis": "y"}, (1, 2, 70, 131)),
        ("direct", {"direct": True}, (1, 1, 131, 70)),
        ("means", {"n_dims": 3}, (1, 1, 20, 70, 67)),
    ],
)
def test_an_image_in_many_windows_is_the_same_as_in_one(
    kind: str, settings: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Random weights in every layer, and windows that are no longer than the network sees."""
    network = few_features(**settings)
    x = grey(*shape)
    whole, parts = (script(graph(model(network), network, px, kind)) for px in (4096, 32))
    with torch.no_grad():
        expected, found = whole(x), parts(x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-4 * float(expected.std())


def test_the_windows_of_an_export_are_bounded_whatever_the_model() -> None:
    for name in ("tiny", "small"):
        config = preset(name)
        net = model(config.network)
        checkpoint = Checkpoint(config, net_scaling(net), dict(net.state_dict()), {})
        assert max(portable(checkpoint, 0, False, False).inner_px) <= 512


def net_scaling(net: Cosdd) -> Any:
    from models import scaling

    return scaling(net.normalise.mean.shape[1])


def test_encoder_and_signal_decoder_can_be_called_by_name_and_the_statistics_are_buffers() -> None:
    network = few_features()
    saved = bytes(script(graph(model(network), network, 64, "mean")).save_to_buffer())
    loaded = load_script(saved)
    parts = dict(loaded.named_children())
    assert {"encoder", "signal_decoder"} <= set(parts)
    buffers = dict(loaded.named_buffers())
    assert float(buffers["normalise.mean"]) == 100.0
    assert float(buffers["normalise.std"]) == 20.0
    x = grey(1, 1, 40, 37)
    with torch.no_grad():
        result = loaded.posterior(x, 2, 0, [0, 0])
        assert torch.equal(result.mean, loaded(x)[:, :1])
        assert parts["signal_decoder"](torch.zeros(1, network.n_code, 8, 8)).shape == (1, 1, 8, 8)
    assert hasattr(parts["encoder"], "top_down") and hasattr(parts["encoder"], "bottom_up")


def test_the_stated_tolerance_is_below_what_is_seen_and_within_what_the_zoo_allows() -> None:
    lively = np.random.default_rng(0).normal(100, 20, (1, 1, 64, 64)).astype(np.float32)
    assert _tolerance(lively).absolute == pytest.approx(1e-4 * 20, rel=0.1)
    dark = lively - 100 - (lively - 100).max()  # its largest value is 0, of which a hundredth is nothing
    assert _tolerance(dark).absolute == 0.0


def test_the_description_states_the_torch_that_it_was_checked_with(package: Any) -> None:
    stated = described(package)["weights"]["torchscript"]["pytorch_version"]
    assert torch.__version__.startswith(stated)
    assert stated.count(".") == 2


def test_pydantic_stays_below_the_version_that_bioimageio_breaks_on() -> None:
    [pin] = [r for r in requires("cosdd-zoo") or [] if r.startswith("pydantic") and "extra" not in r]
    assert "<2.14" in pin


def test_the_readme_names_the_menus_of_each_program() -> None:
    from cosdd_zoo.export.card import fill

    text = fill(demo_card())
    for menu in (
        "Plugins > DeepImageJ > Install model manually",
        "DeepImageJ Run",
        "Neural Network Classification",
        "without renormalising",
        "Extensions > Bioimage Model Zoo",
    ):
        assert menu in text


def padded(x: torch.Tensor, *sides: tuple[int, int]) -> torch.Tensor:
    """As JDLL and bioimageio.core pad: mirrored, the last pixel repeated; sides: (begin, end) px along *."""
    return torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), *sides], mode="symmetric"))


def mirror_aware(kind: str, halo: list[int], **settings: Any) -> Any:
    network = few_features(**settings)
    module = script(graph(model(network), network, 64, kind))
    state_halo(module, halo)
    return load_script(bytes(module.save_to_buffer()))


@pytest.mark.parametrize(
    ("kind", "settings", "shape", "halo"),
    [
        ("std", {}, (2, 1, 70, 93), [32, 16]),
        ("direct", {"direct": True}, (1, 1, 64, 70), [16, 16]),
        ("means", {"n_dims": 3}, (1, 1, 12, 40, 41), [4, 16, 32]),
    ],
)
def test_an_image_that_a_program_lengthened_by_its_mirror_image_is_the_bare_image(
    kind: str, settings: dict[str, Any], shape: tuple[int, ...], halo: list[int]
) -> None:
    run = mirror_aware(kind, halo, **settings)
    x = grey(*shape)
    with torch.no_grad():
        y, found = run(x), run(padded(x, *((h, h) for h in halo)))
    np.testing.assert_array_equal(found.numpy(), padded(y, *((h, h) for h in halo)).numpy())


def test_a_tile_at_the_border_is_freed_of_the_mirrored_sides_alone() -> None:
    run = mirror_aware("mean", [16, 16])
    x = grey(1, 1, 50, 60)
    with torch.no_grad():
        y, found = run(x), run(padded(x, (16, 0), (0, 16)))
    np.testing.assert_array_equal(found.numpy(), padded(y, (16, 0), (0, 16)).numpy())


def test_images_that_no_program_lengthened_are_left_as_they_are() -> None:
    """Nor is the black margin of one, which equals its mirror image, nor one that is hardly larger than the halo."""
    aware, unaware = mirror_aware("mean", [16, 16]), mirror_aware("mean", [0, 0])
    margin = grey(1, 1, 64, 70)
    margin[..., :40] = 0
    constant = torch.full((1, 1, 64, 64), 7.0)
    with torch.no_grad():
        for x in (grey(1, 1, 64, 70), margin, constant, grey(1, 1, 20, 17), grey(1, 1, 1, 1)):
            assert torch.equal(aware(x), unaware(x))
