"""Which channels a model denoises, by name or number, and what becomes of the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from models import denoised_to, few_features, model, quick, scene
from stores import pixels, store

from cosdd_zoo import load, train
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.channels import of_channels
from cosdd_zoo.data.images import open_image
from cosdd_zoo.errors import ImageError
from cosdd_zoo.inference.channels import Group, groups_of, kept_channels
from cosdd_zoo.inference.denoise import Denoiser

IMAGE = scene(3, 40, 50)


def denoiser(n_channels: int = 1) -> Denoiser:
    config = quick().model_copy(update={"network": few_features(n_channels=n_channels)})
    return Denoiser(model(config.network), config, "cpu")


@pytest.fixture
def named(tmp_path: Path) -> Path:
    return store(tmp_path / "a.zarr", IMAGE, "cyx", channels=("DAPI", "GFP", "Cy5"))


@pytest.mark.parametrize(
    ("chosen", "n_channels", "drop", "expected"),
    [
        ("1", 1, False, [Group((1,), (1,)), Group((0,), (0,), True), Group((2,), (2,), True)]),
        ("GFP", 1, True, [Group((1,), (0,))]),
        ("cy5, 0", 1, True, [Group((2,), (0,)), Group((0,), (1,))]),
        ("Cy5,DAPI", 2, False, [Group((2, 0), (2, 0)), Group((1,), (1,), True)]),
        ("Cy5,DAPI", 2, True, [Group((2, 0), (0, 1))]),
        (None, 3, False, [Group((0, 1, 2), (0, 1, 2))]),
    ],
)
def test_channels_are_found_by_name_and_number(
    named: Path, chosen: str | None, n_channels: int, drop: bool, expected: list[Group]
) -> None:
    groups = groups_of(open_image(named), n_channels, chosen, drop)
    assert groups == expected
    if drop:
        assert [c for g in groups for c in g.source] == list(kept_channels(groups))


def test_a_name_that_is_a_number_is_a_name_first(tmp_path: Path) -> None:
    image = open_image(store(tmp_path / "a.zarr", IMAGE, "cyx", channels=("1", "2", "3")))
    assert groups_of(image, 1, "2", True) == [Group((1,), (0,))]
    assert groups_of(image, 1, None, True, ["2"]) == [Group((1,), (0,))]


@pytest.mark.parametrize(
    ("chosen", "n_channels", "sentence"),
    [
        ("YFP", 1, r"a.zarr has no channel 'YFP': it has 3 channels \(DAPI, GFP, Cy5\), numbered from 0"),
        ("3", 1, "no channel '3'"),
        ("GFP,1", 1, "names a channel twice"),
        ("GFP", 2, "names 1 channel, but the model was trained on 2"),
        (None, 1, r"has 3 channels \(DAPI, GFP, Cy5\) .* trained on 1. Choose them with --channels"),
    ],
)
def test_channels_that_do_not_fit_are_a_sentence(
    named: Path, chosen: str | None, n_channels: int, sentence: str
) -> None:
    with pytest.raises(ImageError, match=sentence):
        groups_of(open_image(named), n_channels, chosen, False)


@pytest.mark.parametrize("axes", ["CYX", "YXC"])
def test_each_chosen_channel_is_denoised_on_its_own_and_others_are_copied(tmp_path: Path, axes: str) -> None:
    array = IMAGE if axes == "CYX" else np.moveaxis(IMAGE, 0, -1).astype(np.uint16)
    np.save(tmp_path / "a.npy", array)
    one = denoiser()
    saved = denoised_to(one, open_image(tmp_path / "a.npy", axes), tmp_path / "out", 2, channels="2,0")
    result = tifffile.imread(saved.path)
    result = result if axes == "CYX" else np.moveaxis(result, -1, 0)
    np.testing.assert_array_equal(result[1], IMAGE[1])
    for c in (0, 2):
        np.testing.assert_array_equal(result[c], np.rint(one.denoise(IMAGE[c], 2, axes="YX").mean).clip(0))
    both = one.denoise(IMAGE, 2, axes="CYX", channels="2,0").mean
    np.testing.assert_array_equal(np.rint(both).clip(0), result)


def test_a_model_of_two_channels_takes_two_in_the_order_of_its_training(named: Path, tmp_path: Path) -> None:
    two = denoiser(2)
    saved = denoised_to(two, open_image(named), tmp_path / "out", 2, channels="Cy5,DAPI", uncertainty=True)
    expected = two.denoise(IMAGE[[2, 0]], 2, axes="CYX", uncertainty=True)
    np.testing.assert_array_equal(pixels(saved.path)[[2, 0]], np.rint(expected.mean).clip(0))
    np.testing.assert_array_equal(pixels(saved.path)[1], IMAGE[1])
    np.testing.assert_array_equal(pixels(saved.std_path)[[2, 0]], expected.std)
    assert not pixels(saved.std_path)[1].any()
    dropped = denoised_to(two, open_image(named), tmp_path / "dropped", 2, channels="Cy5,DAPI", others="drop")
    np.testing.assert_array_equal(pixels(dropped.path), np.rint(expected.mean).clip(0))
    assert [c.name for c in open_image(dropped.path).described().channels] == ["Cy5", "DAPI"]


def test_a_copied_channel_keeps_what_no_float_holds_and_what_is_no_number(tmp_path: Path) -> None:
    large = np.stack([IMAGE[0].astype(np.int32), np.full((40, 50), 2**31 - 2, np.int32)])
    saved = denoised_to(
        denoiser(), open_image(store(tmp_path / "a.zarr", large, "cyx")), tmp_path / "out", 2, channels="0"
    )
    np.testing.assert_array_equal(pixels(saved.path)[1], large[1])
    holes = np.stack([IMAGE[0], np.full((40, 50), np.nan)]).astype(np.float32)
    saved = denoised_to(
        denoiser(), open_image(store(tmp_path / "b.zarr", holes, "cyx")), tmp_path / "out", 2, channels="0"
    )
    assert np.isnan(pixels(saved.path)[1]).all()


def test_channels_of_an_array_are_chosen_by_number(tmp_path: Path) -> None:
    found: Any = denoiser().denoise(IMAGE, 2, axes="CYX", channels="1", others="drop").mean
    np.testing.assert_array_equal(found, denoiser().denoise(IMAGE[1:2], 2, axes="CYX").mean)
    assert groups_of(from_array(IMAGE, "CYX"), 1, "1", True) == [Group((1,), (0,))]


def test_a_view_of_some_channels_is_an_image_of_these(named: Path) -> None:
    image = of_channels(open_image(named), "Cy5,0")
    assert (image.n_channels, image.shape) == (2, (2, 40, 50))
    np.testing.assert_array_equal(image.read_item(0, 2), IMAGE[[2, 0]])
    np.testing.assert_array_equal(image.read_crop(0, 2, (3, 4), (9, 8), slice(1, 2)), IMAGE[:1, 3:12, 4:12])
    assert [c.name for c in image.described().channels] == ["Cy5", "DAPI"]
    assert of_channels(open_image(named), None).n_channels == 3


@pytest.mark.slow
def test_a_model_trained_on_one_channel_finds_it_in_other_images_by_its_name(named: Path, tmp_path: Path) -> None:
    from models import QUICK

    run = train([named], tmp_path / "run", quiet=True, **{**QUICK, "channels": "GFP", "max_steps": 2, "crop_px": 16})
    trained = load(run.folder, "cpu")
    assert trained.channel_names == ["GFP"]
    turned = store(tmp_path / "b.zarr", IMAGE[[1, 0]], "cyx", channels=("GFP", "DAPI"))
    saved = denoised_to(trained, open_image(turned), tmp_path / "out", 2)
    np.testing.assert_array_equal(pixels(saved.path)[1], IMAGE[0])
    np.testing.assert_array_equal(pixels(saved.path)[0], np.rint(trained.denoise(IMAGE[1], 2, axes="YX").mean).clip(0))
    other = store(tmp_path / "c.zarr", IMAGE[:2], "cyx", channels=("YFP", "DAPI"))
    with pytest.raises(ImageError, match=r"has 2 channels \(YFP, DAPI\)"):
        denoised_to(trained, open_image(other), tmp_path / "out", 2)
