"""Denoising: the same result by windows as in one, in the form of the input, in constant memory."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import xarray
from models import denoised_to, few_features, model, quick, scaling, scene

from cosdd_zoo import Denoiser, load
from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.data.images import open_image
from cosdd_zoo.errors import ConfigError, ImageError, OutputError
from cosdd_zoo.networks.build import receptive_radius


@pytest.fixture(scope="module")
def denoiser(trained: Path) -> Denoiser:
    return load(trained, "cpu")


def random_denoiser(**network: Any) -> Denoiser:
    """A model with random weights, which lets a pixel depend on every other that it could depend on."""
    config = quick().model_copy(update={"network": few_features(**network)})
    return Denoiser(model(config.network), config, "cpu")


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(("noise_axis", "shape"), [("x", (130, 201)), ("y", (201, 130)), ("none", (77, 300))])
def test_windows_give_what_the_whole_image_gives(noise_axis: str, shape: tuple[int, int], direct: bool) -> None:
    denoiser = random_denoiser(downsample=(True,) * 3, noise_axis=noise_axis, direct=True)
    image = scene(*shape)
    whole = denoiser.denoise(image, 2, axes="YX", uncertainty=not direct, direct=direct, tile_px=512)
    tiled = denoiser.denoise(image, 2, axes="YX", uncertainty=not direct, direct=direct, tile_px=40)
    assert denoiser.windows(list(shape), 40, None)[0] == [40, 40]
    np.testing.assert_allclose(tiled.mean, whole.mean, atol=1e-3 * image.std())
    if not direct:
        np.testing.assert_allclose(tiled.std, whole.std, atol=1e-3 * image.std())


def test_windows_of_the_tiny_preset_with_the_default_halo_leave_no_seam() -> None:
    denoiser = random_denoiser()
    image = scene(192, 330)
    whole = denoiser.denoise(image, 2, axes="YX", tile_px=512).mean
    tiled = denoiser.denoise(image, 2, axes="YX", tile_px=64).mean
    assert np.abs(tiled - whole).max() < 1e-3 * image.std()


def test_windows_of_volumes_leave_no_seam() -> None:
    denoiser = random_denoiser(n_dims=3, downsample=(True, True), n_downsample_z=1, noise_axis="z")
    image = scene(12, 24, 90)
    whole = denoiser.denoise(image, 1, axes="ZYX", tile_px=512).mean
    tiled = denoiser.denoise(image, 1, axes="ZYX", tile_px=24).mean
    assert np.abs(tiled - whole).max() < 1e-3 * image.std()


def test_too_small_a_halo_shows_that_the_default_one_is_needed() -> None:
    denoiser = random_denoiser(downsample=(True,) * 3)
    image = scene(64, 256)
    whole = denoiser.denoise(image, 1, axes="YX", tile_px=512).mean
    cut = denoiser.denoise(image, 1, axes="YX", tile_px=64, halo_px=0).mean
    assert np.abs(cut - whole).max() > 1e-3 * image.std()


@pytest.mark.parametrize("name", ["tiny", "small", "base", "large"])
def test_default_windows_and_halos_lie_on_the_grid(name: str) -> None:
    network = few_features(name)
    denoiser = Denoiser(torch.nn.Identity(), quick().model_copy(update={"network": network}), "cpu")
    inner, halo = denoiser.windows([5000, 5000], None, None)
    stride = network.total_stride()[0]
    assert all(n % stride == 0 for n in inner + halo)
    assert halo[0] >= min(256, max(receptive_radius(network)))


def test_the_std_does_not_depend_on_how_many_samples_it_is_told_from(trained: Path) -> None:
    denoiser, image = load(trained), scene(1, 192, 192)[0]

    def rms(n_samples: int) -> float:
        std = denoiser.denoise(image, n_samples, uncertainty=True).std
        assert std is not None
        return float(np.sqrt(np.mean(std.astype(np.float64) ** 2)))

    many = rms(200)
    assert many > 0.1
    for few in (2, 3, 4, 7, 8, 16):
        assert rms(few) == pytest.approx(many, rel=0.03)


def test_samples_are_reproducible_and_their_mean_is_the_result(denoiser: Denoiser) -> None:
    image = scene(2, 40, 50)
    samples = list(denoiser.samples(image, 4, axes="SYX", seed=3))
    again = list(denoiser.samples(image, 4, axes="SYX", seed=3))
    other = next(denoiser.samples(image, 1, axes="SYX", seed=4))
    assert all(np.array_equal(a, b) for a, b in zip(samples, again, strict=True))
    assert not np.array_equal(samples[0], other)
    assert not np.array_equal(samples[0], samples[1])
    found = denoiser.denoise(image, 4, axes="SYX", seed=3, uncertainty=True)
    np.testing.assert_allclose(found.mean, np.mean(samples, 0), rtol=1e-5)
    np.testing.assert_allclose(found.std, np.std(samples, 0), rtol=1e-2, atol=1e-2)
    assert found.mean.shape == found.std.shape == image.shape
    assert found.mean.dtype == np.float32


def test_every_item_is_denoised_as_if_it_were_alone(denoiser: Denoiser) -> None:
    image = scene(3, 40, 50)
    together = denoiser.denoise(image, 2, axes="TYX").mean
    alone = [denoiser.denoise(plane, 2, axes="YX").mean for plane in image]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_axes_keep_their_order(denoiser: Denoiser) -> None:
    image = scene(3, 40, 50)
    expected = denoiser.denoise(image, 2, axes="SYX").mean
    turned = denoiser.denoise(np.moveaxis(image, 0, -1), 2, axes="YXS").mean
    np.testing.assert_allclose(np.moveaxis(turned, -1, 0), expected, rtol=1e-5)


def test_the_progress_adds_up_to_one(denoiser: Denoiser) -> None:
    shares: list[float] = []
    denoiser.denoise(scene(2, 40, 90), 3, axes="SYX", tile_px=32, advance=shares.append)
    assert sum(shares) == pytest.approx(1)
    assert len(shares) == 2 * 2 * 3 * 2  # of three samples, a pair and one


def test_a_data_array_comes_back_as_one(denoiser: Denoiser) -> None:
    image = xarray.DataArray(scene(2, 40, 50), dims=("time", "y", "x"), coords={"time": [0.5, 1.5]}, attrs={"id": 7})
    found = denoiser.denoise(image, 2, uncertainty=True)
    for result in found:
        assert result.dims == image.dims
        assert result.attrs == {"id": 7}
        assert result.coords["time"].values.tolist() == [0.5, 1.5]
    np.testing.assert_array_equal(found.mean.values, denoiser.denoise(image.values, 2, axes="TYX").mean)
    assert isinstance(next(denoiser.samples(image, 1)), xarray.DataArray)


def test_the_direct_denoiser_is_a_choice_and_not_a_habit(denoiser: Denoiser) -> None:
    image = scene(40, 50)
    sampled = denoiser.denoise(image, 2, axes="YX").mean
    direct = denoiser.denoise(image, 2, axes="YX", direct=True).mean
    assert not np.array_equal(direct, sampled)
    with pytest.raises(ConfigError, match="This model has no direct denoiser: leave out --direct, or make one"):
        random_denoiser().denoise(image, axes="YX", direct=True)


@pytest.mark.parametrize(
    ("image", "axes", "sentence"),
    [
        (scene(3, 40, 50), "CYX", "has 3 channels .axes CYX, shape .3, 40, 50.., but the model was trained on 1"),
        (scene(1, 40)[0], "X", "has axes X and shape .40,., but a 2-D model needs YX"),
        (np.where(np.eye(40), np.nan, 1.0), "YX", "has 40 NaN and 0 infinite pixels of 1600"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(denoiser: Denoiser, image: Any, axes: str, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        denoiser.denoise(image, 2, axes=axes)


def test_a_plane_for_a_volume_model_is_refused() -> None:
    denoiser = random_denoiser(n_dims=3, downsample=(True,))
    with pytest.raises(ImageError, match=r"but a 3-D model needs ZYX.* model of 2 dimensions fits"):
        denoiser.denoise(scene(40, 50), 2, axes="YX")
    with pytest.raises(ImageError, match="If T is depth, use --axes ZYX"):
        denoiser.denoise(scene(4, 40, 50), 2, axes="TYX")


def test_a_file_keeps_its_name_axes_type_and_metadata(denoiser: Denoiser, tmp_path: Path) -> None:
    image = scene(2, 40, 50)
    (tmp_path / "out").mkdir()
    form: dict[str, Any] = {"imagej": True, "resolution": (4.0, 4.0)}
    tifffile.imwrite(tmp_path / "a.tif", image, metadata={"axes": "TYX", "unit": "um", "finterval": 2.5}, **form)
    saved = denoised_to(denoiser, open_image(tmp_path / "a.tif"), tmp_path / "out", 3, uncertainty=True)
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["a_denoised.tif", "a_denoised_std.tif"]
    assert saved.path == tmp_path / "out" / "a_denoised.tif"
    expected = denoiser.denoise(image, 3, axes="TYX", uncertainty=True)
    with tifffile.TiffFile(saved.path) as file:
        assert file.series[0].axes == "TYX"
        assert file.imagej_metadata is not None
        assert (file.imagej_metadata["unit"], file.imagej_metadata["finterval"]) == ("um", 2.5)
        assert file.pages.first.tags["XResolution"].value == (4, 1)
        result = file.asarray()
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, np.rint(expected.mean))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a_denoised_std.tif"), expected.std)
    assert (saved.n_saturated, saved.n_pixels) == (0, image.size)


def test_float32_is_written_when_asked_for(denoiser: Denoiser, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", scene(40, 50))
    (tmp_path / "out").mkdir()
    saved = denoised_to(denoiser, open_image(tmp_path / "a.npy", "YX"), tmp_path / "out", 2, float32=True)
    assert (saved.path.name, saved.std_path) == ("a_denoised.tif", None)
    np.testing.assert_array_equal(tifffile.imread(saved.path), denoiser.denoise(scene(40, 50), 2, axes="YX").mean)


def test_saturated_pixels_are_counted(tmp_path: Path) -> None:
    """Moved to where the results lie around the upper end of 8 bits."""
    config = quick().model_copy(update={"network": few_features()})
    moved = scaling().moved([1.0], [155.0])
    denoiser = Denoiser(model(config.network, scaled=moved), config, "cpu")
    image = np.full((40, 50), 250, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image)
    (tmp_path / "out").mkdir()
    saved = denoised_to(denoiser, open_image(tmp_path / "a.tif", "YX"), tmp_path / "out", 2)
    exact = np.rint(denoiser.denoise(image, 2, axes="YX").mean)
    assert saved.n_saturated == ((exact > 255) | (exact < 0)).sum() > 0
    np.testing.assert_array_equal(tifffile.imread(saved.path), exact.clip(0, 255))


def test_a_result_is_never_overwritten_unasked(denoiser: Denoiser, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", scene(40, 50))
    image = open_image(tmp_path / "a.tif", "YX")
    denoised_to(denoiser, image, tmp_path, 2)
    with pytest.raises(OutputError, match=r"a_denoised.tif is there already"):
        denoised_to(denoiser, image, tmp_path, 2)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), scene(40, 50))


MEMORY = """
import resource, sys, torch
from models import scene
from cosdd_zoo import load
torch.set_num_threads(1)
load(sys.argv[1], "cpu").denoise(scene(400, 400), int(sys.argv[2]), axes="YX", uncertainty=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_a_hundred_samples_take_no_more_memory_than_two(tmp_path: Path) -> None:
    config = quick().model_copy(
        update={"network": few_features(n_features=2, n_code=2, n_latents=1, downsample=(True, True))}
    )
    path = tmp_path / "model.safetensors"
    Checkpoint(config, scaling(), model(config.network).state_dict(), {}).save(path)

    def peak(n_samples: int) -> int:
        line = [sys.executable, "-c", MEMORY, str(path), str(n_samples)]
        return int(subprocess.run(line, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout)

    assert peak(100) < 1.05 * peak(2)


def test_without_samples_the_latents_means_are_decoded_in_one_pass_whatever_the_seed(denoiser: Denoiser) -> None:
    x = scene(96, 80)
    one, other = (denoiser.denoise(x, 0, axes="YX", seed=seed).mean for seed in (0, 1))
    assert np.array_equal(one, other)
    many, single = (denoiser.denoise(x, n, axes="YX").mean for n in (64, 1))
    assert np.abs(one - many).mean() < np.abs(single - many).mean()


@pytest.mark.parametrize("how", [{"n_samples": 0}, {"n_samples": 1}, {"direct": True}])
def test_a_deviation_that_nothing_can_give_is_refused(denoiser: Denoiser, how: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no standard deviation: use two samples or more with --uncertainty"):
        denoiser.denoise(scene(32, 32), axes="YX", uncertainty=True, **how)
