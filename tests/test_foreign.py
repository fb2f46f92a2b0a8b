"""Packages that others made, run by bioimageio.core on images of any size; what is not safe to run is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from exported import STD, StandIn, contents, demo_card, noisy, stand_in, zipped
from models import denoised_to
from stores import pixels, store
from typer.testing import CliRunner

from cosdd_zoo import load
from cosdd_zoo.cli import app
from cosdd_zoo.data.images import open_image
from cosdd_zoo.errors import ConfigError, PackageError
from cosdd_zoo.export.foreign import Foreign
from cosdd_zoo.export.package import write_package
from cosdd_zoo.export.rdf import ZScore


def package(path: Path, n_channels: int = 1, **options: Any) -> Path:
    """As another tool makes it: without our settings."""
    inside = "processing" not in options
    model = stand_in(n_channels=n_channels, inside=inside, uncertainty=options.get("uncertainty", False))
    write_package(model, path, demo_card(), noisy(n_channels, 200, 180), [16, 16], **options)
    return path


def expected(image: Any, uncertainty: bool = False) -> Any:
    with torch.no_grad():
        y = StandIn(n_channels=len(image), uncertainty=uncertainty)
        return y(torch.from_numpy(image.astype(np.float32))[None])[0].numpy()


@pytest.mark.parametrize("shape", [(700, 613), (64, 64), (40, 33)])
def test_a_foreign_package_is_run_blockwise_with_its_halo(tmp_path: Path, shape: tuple[int, int]) -> None:
    model = load(package(tmp_path / "m.zip"), "cpu")
    assert isinstance(model, Foreign)
    image = noisy(1, *shape)
    tifffile.imwrite(tmp_path / "a.tif", image[0], photometric="minisblack")
    saved = denoised_to(model, open_image(tmp_path / "a.tif", "YX"), tmp_path / "out", 0)
    result = tifffile.imread(saved.path)
    assert result.dtype == np.float32  # nobody says that its values are the camera's
    np.testing.assert_allclose(result, expected(image)[0], atol=1e-3 * STD)


def test_normalisation_outside_of_the_graph_is_that_of_the_whole_image(tmp_path: Path) -> None:
    model = load(package(tmp_path / "m.zip", processing=ZScore((100.0,), (20.0,))), "cpu")
    assert isinstance(model, Foreign)
    image = noisy(1, 600, 530)
    found = model.denoise(image[0], 0, axes="YX").mean
    with torch.no_grad():
        y = StandIn(inside=False)(torch.from_numpy((image.astype(np.float32) - 100) / 20)[None])[0, 0].numpy()
    scale = 1.0 if abs(found).max() < 20 else 20.0
    np.testing.assert_allclose(found, y * scale + (100 if scale == 20 else 0), atol=0.02)


def test_stacks_and_stores_are_done_item_by_item(tmp_path: Path) -> None:
    model = load(package(tmp_path / "m.zip"), "cpu")
    images = noisy(3, 90, 80)
    saved = denoised_to(model, open_image(store(tmp_path / "a.zarr", images, "tyx")), tmp_path / "out", 0)
    found = pixels(saved.path)
    for plane, image in zip(found, images, strict=True):
        np.testing.assert_allclose(plane, expected(image[None])[0], atol=1e-3 * STD)


def test_a_result_may_have_other_channels_than_the_image(tmp_path: Path) -> None:
    model = load(package(tmp_path / "m.zip", uncertainty=True), "cpu")
    image = noisy(1, 90, 80)
    tifffile.imwrite(tmp_path / "a.tif", image[0], imagej=True, metadata={"axes": "YX"})
    saved = denoised_to(model, open_image(tmp_path / "a.tif"), tmp_path / "out", 0)
    found = open_image(saved.path)
    assert (found.axes, found.shape) == ("CYX", (2, 90, 80))
    in_memory: Any = model.denoise(image[0], 0, axes="YX").mean
    np.testing.assert_allclose(in_memory, expected(image, True), atol=1e-3 * STD)
    with pytest.raises(ConfigError, match="it draws no samples"):
        next(model.samples(image[0], 2, axes="YX"))
    np.testing.assert_allclose(found.read_item(0, 2), expected(image, True), atol=1e-3 * STD)


def test_a_fixed_size_is_kept_to(tmp_path: Path) -> None:
    model = load(package(tmp_path / "m.zip", side_px=128), "cpu")
    image = noisy(1, 300, 280)
    found = model.denoise(image[0], 0, axes="YX").mean
    np.testing.assert_allclose(found, expected(image)[0], atol=1e-3 * STD)


def test_the_command_runs_it_and_says_by_what(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noisy(90, 80))
    line = [package(tmp_path / "m.zip"), tmp_path / "a.npy", "-o", tmp_path / "out", "--device", "cpu", "--quiet"]
    done = CliRunner().invoke(app, ["denoise", *map(str, line)])
    assert done.exit_code == 0, done.output
    assert "a_denoised.tif  (by bioimageio.core, float32, on cpu)" in done.stdout
    with pytest.raises(ConfigError, match="This package is not ours: it draws no samples"):
        load(tmp_path / "m.zip", "cpu").denoise(noisy(90, 80), 4, axes="YX")


def test_what_is_not_safe_to_run_is_refused(tmp_path: Path) -> None:
    files = contents(package(tmp_path / "m.zip"))
    rdf = yaml.safe_load(files["rdf.yaml"])
    weights = rdf["weights"].pop("torchscript")
    rdf["weights"]["pytorch_state_dict"] = {**weights, "architecture": {"callable": "Net", "source": "net.py"}}
    other = zipped(
        tmp_path / "code.zip", {**files, "rdf.yaml": yaml.safe_dump(rdf).encode(), "net.py": b"raise SystemExit"}
    )
    with pytest.raises(PackageError, match=r"weights that are not run here \(pytorch_state_dict\)"):
        load(other, "cpu")
    pickled = zipped(tmp_path / "pickle.zip", {**files, "weights.pt": b"\x80\x02cos\nsystem\n."})
    with pytest.raises(PackageError, match="TorchScript or ONNX are, since no code of a package is"):
        load(pickled, "cpu")
    two = yaml.safe_load(files["rdf.yaml"])
    two["inputs"] += yaml.safe_load(files["rdf.yaml"])["inputs"]
    with pytest.raises(PackageError, match="there are 2 inputs"):
        load(zipped(tmp_path / "two.zip", {**files, "rdf.yaml": yaml.safe_dump(two).encode()}), "cpu")
