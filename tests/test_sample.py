"""`cosdd-zoo sample` and `cosdd_zoo.noise_model`: the camera's noise on clean images, as a product."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray
from models import few_features, model, scaling
from test_report import KEPT, TRUTH
from typer.testing import CliRunner

import cosdd_zoo
from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.cli import app
from cosdd_zoo.config import preset
from cosdd_zoo.errors import CheckpointError, ConfigError, ImageError
from cosdd_zoo.synthetic import noise_model as drawing
from cosdd_zoo.synthetic.noise_model import NoiseModel

FACTS: dict[str, Any] = {"dtype": "uint16", "quantisation_step": [1.0]}


def noise_model(facts: dict[str, Any] | None = None, **network: Any) -> NoiseModel:
    """Of random weights: its noise is that of no camera, but depends on all that it should depend on."""
    return NoiseModel(checkpoint(facts, **network), "cpu")


def checkpoint(facts: dict[str, Any] | None = None, **network: Any) -> Checkpoint:
    config = few_features(**network)
    whole = preset("tiny").model_copy(update={"network": config})
    weights = model(config).state_dict()
    return Checkpoint(whole, scaling(config.n_channels), weights, FACTS if facts is None else facts)


def clean(*shape: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (100 + 20 * rng.random(shape)).astype(np.float32)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a checkpoint and two clean images."""
    checkpoint().save(tmp_path / "model.safetensors")
    for name, shape in (("a", (24, 40)), ("b", (24, 40))):
        tifffile.imwrite(tmp_path / f"{name}.tif", clean(*shape), resolution=(5, 5), metadata={"axes": "YX"})
    return tmp_path


@pytest.mark.parametrize(
    ("axis", "shape"), [("x", (70, 37)), ("y", (37, 70)), ("none", (70, 50)), ("z", (9, 40, 40)), ("x", (6, 40, 37))]
)
def test_strips_are_those_of_the_whole_image(
    axis: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer = noise_model({}, noise_axis=axis, n_dims=len(shape), downsample=(True,), signal_layers=1)
    image, axes = clean(*shape), "ZYX"[-len(shape) :]
    whole, prior = drawer.redraw(image, axes=axes), drawer.imagine(shape)
    assert len(drawer.strips(shape)) == 1
    in_strips(monkeypatch)
    assert len(drawer.strips(shape)) > 1
    for bounds in drawer.strips(shape) if axis != "none" else ():
        along = "zyx"[-len(shape) :].index(axis)
        assert bounds[along][:2] == [0, shape[along]]
    for found, expected in ((drawer.redraw(image, axes=axes), whole), (drawer.imagine(shape), prior)):
        np.testing.assert_allclose(found.noisy, expected.noisy, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(found.signal, expected.signal, rtol=1e-4, atol=1e-2)


def in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if memory sufficed for a few lines."""
    monkeypatch.setattr(drawing, "map_bytes", lambda device: 4 * 6 * 16 * 40)
    monkeypatch.setattr(drawing, "LEAST_LINES_PX", 16)


def test_copies_of_a_trained_model_do_not_depend_on_strips_either(monkeypatch: pytest.MonkeyPatch) -> None:
    drawer = trained()
    image = TRUTH[0].astype(np.float32)
    whole = drawer.add(image)
    in_strips(monkeypatch)
    monkeypatch.setattr(drawing, "LEAST_LINES_PX", 64)
    assert len(drawer.strips(image.shape)) == 3
    differ = np.abs(drawer.add(image).astype(int) - whole.astype(int))
    assert differ.max() <= 1 and (differ > 0).mean() < 1e-3  # a grey value that was nearly another


def trained() -> NoiseModel:
    return cosdd_zoo.noise_model(KEPT / "stripes.safetensors", "cpu")


def test_two_images_two_names_and_two_copies_have_noise_of_their_own(tmp_path: Path) -> None:
    drawer = trained()

    def noise(image: Any, **how: Any) -> Any:
        return (drawer.add(image, **how).astype(float) - image).ravel()

    image = TRUTH[0, :96, :96].astype(np.float32)
    first = noise(image)
    for other in (noise(image[::-1].copy()), noise(image, copy=1), noise(image, seed=1), noise(image, seed=2**31)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.1
    assert np.array_equal(first, noise(image))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "i.tif", image)
    found = run("sample", KEPT / "stripes.safetensors", tmp_path, "-r", "-o", tmp_path / "o")
    assert found.exit_code == 0, found.output
    drawn = [tifffile.imread(tmp_path / "o" / folder / "i_noisy.tif").astype(float) - image for folder in "ab"]
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.1


def test_noise_that_is_off_zero_where_the_model_has_seen_nothing_like_it_is_told(tmp_path: Path) -> None:
    model = KEPT / "stripes.safetensors"
    rng = np.random.default_rng(0)
    flat = np.full((128, 128), 250, np.float32) + rng.random((128, 128)).astype(np.float32)
    tifffile.imwrite(tmp_path / "flat.tif", flat)
    tifffile.imwrite(tmp_path / "usual.tif", TRUTH[0])
    said = run("sample", model, tmp_path / "flat.tif", tmp_path / "usual.tif", "-o", tmp_path / "o").stderr
    assert "flat_noisy.tif: around grey value" in said and "too dark" in said
    assert "usual_noisy.tif:" not in said


def test_a_copy_is_of_the_camera_s_type_and_levels_and_comes_back_as_it_went_in() -> None:
    drawer = noise_model({"dtype": "uint8", "quantisation_step": [4.0]})
    image = xarray.DataArray(clean(3, 24, 40), dims=("t", "y", "x"), attrs={"unit": "um"})
    noisy = drawer.add(image)
    assert noisy.dims == image.dims and noisy.attrs == image.attrs and noisy.dtype == np.uint8
    assert set(np.unique(noisy.values % 4)) <= {0, 3}  # 255 is where an 8-bit camera saturates
    assert not np.array_equal(noisy.values, np.rint(image.values))


def test_each_seed_copy_frame_and_image_has_other_noise_and_the_same_again(tmp_path: Path) -> None:
    drawer, image = noise_model({}), np.repeat(clean(1, 24, 40), 2, 0)
    first = drawer.add(image, axes="TYX")
    assert np.array_equal(first, drawer.add(image, axes="TYX"))
    others = [drawer.add(image, axes="TYX", seed=1), drawer.add(image, axes="TYX", copy=1)]
    assert not any(np.array_equal(noisy, first[0]) for noisy in (*(o[0] for o in others), first[1]))


def test_less_exposure_is_less_signal_above_the_pedestal(monkeypatch: pytest.MonkeyPatch) -> None:
    drawer, image = noise_model({}), clean(24, 40)
    at_half = 80 + 0.5 * (image - 80)  # the pedestal of the model's scaling
    monkeypatch.setattr(drawing, "number_of", lambda name, index, copy: 7)  # it is another image, with other noise
    np.testing.assert_allclose(drawer.add(image, exposure=0.5), drawer.add(at_half), rtol=1e-4, atol=1e-3)


def test_redrawn_is_a_posterior_sample_and_noise_on_it() -> None:
    drawer, image = noise_model({}), clean(24, 40)
    drawn = drawer.redraw(image)
    assert drawn.signal.shape == drawn.noisy.shape == image.shape
    other = drawer.redraw(image, copy=1)
    assert not np.array_equal(other.signal, drawn.signal) and not np.array_equal(other.noisy, drawn.noisy)


def test_a_model_of_one_channel_draws_each_of_several_and_one_of_two_takes_both() -> None:
    image = clean(2, 24, 40)
    single = noise_model()
    both = single.add(image, axes="CYX")
    assert both.shape == (2, 24, 40) and not np.array_equal(both[0], both[1])
    two = noise_model({"dtype": "uint16", "quantisation_step": [1.0, 0.0]}, n_channels=2)
    assert two.add(clean(2, 24, 40), axes="CYX").shape == (2, 24, 40)
    with pytest.raises(ImageError, match="trained on 2"):
        two.add(clean(3, 24, 40), axes="CYX")


def test_an_image_of_the_prior_has_any_size_and_a_wrong_one_is_said() -> None:
    drawer = noise_model({"dtype": "uint16", "quantisation_step": [1.0, 2.0]}, n_channels=2)
    drawn = drawer.imagine((33, 47))
    assert drawn.noisy.shape == drawn.signal.shape == (2, 33, 47) and drawn.noisy.dtype == np.uint16
    assert not np.array_equal(drawn.signal, drawer.imagine((33, 47), copy=1).signal)
    for wrong in ((33,), (0, 33), (33, 2**20)):
        with pytest.raises(ConfigError, match="2 sizes along y, x, from 1 to"):
            drawer.imagine(wrong)


def test_a_package_is_refused_since_it_lacks_the_part_that_draws_noise(package: Path) -> None:
    with pytest.raises(CheckpointError, match="no AR decoder"):
        cosdd_zoo.noise_model(package)


def test_the_command_writes_copies_beside_their_names_with_axes_and_pixel_size(folder: Path) -> None:
    found = run(
        "sample", folder / "model.safetensors", folder / "a.tif", folder / "b.tif", "-o", folder / "out", "-n", 2
    )
    assert found.exit_code == 0, found.output
    names = sorted(p.name for p in (folder / "out").iterdir())
    assert names == ["a_noisy_1.tif", "a_noisy_2.tif", "b_noisy_1.tif", "b_noisy_2.tif"]
    with tifffile.TiffFile(folder / "out" / "a_noisy_1.tif") as file:
        assert file.pages[0].dtype == np.uint16 and file.pages[0].tags["XResolution"].value == (5, 1)
    a, b = (tifffile.imread(folder / "out" / f"{n}_noisy_1.tif") for n in "ab")
    assert not np.array_equal(a, b)  # two files of the same signal
    alone = run("sample", folder / "model.safetensors", folder / "b.tif", "-o", folder / "alone", "-n", 2)
    assert alone.exit_code == 0
    assert np.array_equal(tifffile.imread(folder / "alone" / "b_noisy_1.tif"), b)


def test_reconstructions_and_the_prior_come_with_their_signal(folder: Path) -> None:
    found = run(
        "sample", folder / "model.safetensors", folder / "a.tif", "-o", folder / "o", "--kind", "reconstructions"
    )
    assert found.exit_code == 0, found.output
    assert tifffile.imread(folder / "o" / "a_signal.tif").dtype == np.float32
    assert tifffile.imread(folder / "o" / "a_redrawn.tif").shape == (24, 40)
    found = run("sample", folder / "model.safetensors", "-o", folder / "o", "--kind", "prior", "--size", "32x48")
    assert found.exit_code == 0, found.output
    assert tifffile.imread(folder / "o" / "prior_noisy.tif").shape == (32, 48)
    assert tifffile.imread(folder / "o" / "prior_signal.tif").dtype == np.float32


def test_what_is_there_is_not_replaced_unless_asked_and_nothing_is_drawn_before_that_is_known(folder: Path) -> None:
    first = ("sample", folder / "model.safetensors", folder / "a.tif", "-o", folder / "o")
    assert run(*first).exit_code == 0
    before = (folder / "o" / "a_noisy.tif").stat().st_mtime_ns
    found = run("sample", folder / "model.safetensors", folder / "b.tif", folder / "a.tif", "-o", folder / "o")
    assert "is there already" in str(found.exception) and not (folder / "o" / "b_noisy.tif").exists()
    assert (folder / "o" / "a_noisy.tif").stat().st_mtime_ns == before
    assert run(*first, "--overwrite", "--seed", 1).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.tif", "--kind", "nothing"], "choose copies, reconstructions or prior"),
        (["a.tif", "--kind", "prior"], "need no IMAGES, but a --size"),
        (["--kind", "prior"], "need no IMAGES, but a --size"),
        (["--kind", "prior", "--size", "large"], "is no size"),
        (["--kind", "prior", "--size", "32x32", "--format", "ome-zarr"], "are TIFF files"),
        (["a.tif", "--size", "32x32"], "--size is for --kind prior"),
        ([], "IMAGES are missing"),
        (["a.tif", "--kind", "reconstructions", "--exposure", "0.5"], "does not go with"),
        (["a.tif", "--format", "jpeg"], "choose one of same"),
        (["a.tif", "--exposure", "inf"], "is no factor"),
        (["--kind", "prior", "--size", "²x40"], "is no size"),
        (["--kind", "prior", "--size", "32x32", "--axes", "YX"], "leave out --format, --axes"),
    ],
)
def test_each_mistake_has_its_sentence(arguments: list[str], sentence: str, folder: Path) -> None:
    given = [folder / a if a == "a.tif" else a for a in arguments]
    assert sentence in str(run("sample", folder / "model.safetensors", *given, "-o", folder / "o").exception)


def test_two_images_whose_results_would_have_one_name_are_refused_before_anything_is_drawn(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.tif").write_bytes((folder / "a.tif").read_bytes())
    both = folder / "a.tif", folder / "sub" / "a.tif"
    found = run("sample", folder / "model.safetensors", *both, "-o", folder / "o", "--overwrite")
    assert "would both be" in str(found.exception) and not list((folder / "o").iterdir())


def test_what_was_drawn_into_a_folder_is_no_image_to_draw_from(folder: Path) -> None:
    command = ("sample", folder / "model.safetensors", folder, "-o", folder, "--overwrite")
    for _ in range(2):
        assert run(*command).exit_code == 0
    assert sorted(p.name for p in folder.glob("*noisy*")) == ["a_noisy.tif", "b_noisy.tif"]


def test_a_plate_of_copies_is_a_plate(tmp_path: Path) -> None:
    from stores import plate

    checkpoint().save(tmp_path / "model.safetensors")
    fields = {"A/1/0": clean(24, 40).astype(np.uint16), "A/2/0": clean(24, 40).astype(np.uint16)}
    store = plate(tmp_path / "plate.ome.zarr", fields, "yx")
    found = run("sample", tmp_path / "model.safetensors", store, "-o", tmp_path / "o")
    assert found.exit_code == 0, found.exception
    (made,) = (tmp_path / "o").iterdir()
    assert len(cosdd_zoo.open_images([made])) == len(cosdd_zoo.open_images([store]))


def test_numbers_that_are_none_are_refused() -> None:
    drawer = noise_model()
    for how in ({"seed": -1}, {"seed": 2**32}, {"exposure": float("nan")}, {"exposure": -1.0}):
        with pytest.raises(ConfigError, match=r"is no (seed|exposure)"):
            drawer.add(clean(24, 40), **how)


def test_a_clean_image_of_other_grey_values_is_told(folder: Path) -> None:
    facts = {**FACTS, "profile": {"channels": [{"low": 80.0, "high": 200.0}]}}
    drawer = noise_model(facts)
    from cosdd_zoo.data.arrays import from_array

    assert drawer.said_of(from_array(clean(24, 40))) == ""
    assert "the noise there is a guess" in drawer.said_of(from_array(20 * clean(24, 40)))
    assert "the noise there is a guess" in drawer.said_of(from_array(clean(24, 40)), exposure=30)
