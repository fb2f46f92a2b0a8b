"""Pictures: what they show, and that they appear whole or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cosdd_zoo.data.pictures import contrast, cover, panel
from cosdd_zoo.errors import OutputError


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)


def pixels(path: Path) -> NDArray[Any]:
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)


def test_panels_stand_side_by_side_under_their_names_in_one_contrast(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (256, 1))
    panel({"noisy": ramp, "half": ramp / 2}, tmp_path / "p.png")
    picture = pixels(tmp_path / "p.png")
    assert picture.shape == (256 + 24 + 8, 2 * 256 + 3 * 8)
    assert (picture[:24, 8:60] < 128).any() and (picture[:24, 272:320] < 128).any()
    first, second = picture[24:280, 8:264].astype(int), picture[24:280, 272:528].astype(int)
    assert first[0, 0] == 0 and first[0, -1] == 255
    assert abs(second[0, -1] - 127) <= 2
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_a_given_scale_is_what_black_and_white_mean(tmp_path: Path) -> None:
    panel({"a": np.full((256, 256), 5.0)}, tmp_path / "p.png", scale=(0, 10))
    assert pixels(tmp_path / "p.png")[100, 100] == 128


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (40, 64), (1500, 700)])
def test_panels_of_any_size_are_fit_to_look_at(tmp_path: Path, shape: tuple[int, int]) -> None:
    panel({"a": noise(*shape), "b": noise(*shape)}, tmp_path / "p.png")
    height, width = pixels(tmp_path / "p.png").shape
    assert height <= 640 + 32 and width <= 2 * 640 + 24


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 64)), np.full((64, 64), 1e9, np.float32), np.full((64, 64), np.nan), np.zeros((64, 64), np.uint16)],
)
def test_a_constant_image_or_one_of_nan_is_drawn_all_the_same(tmp_path: Path, image: NDArray[Any]) -> None:
    low, high = contrast(image)
    assert np.isfinite([low, high]).all() and low < high
    panel({"a": image}, tmp_path / "p.png")
    cover(image, image, tmp_path / "c.png")


def test_hot_pixels_do_not_darken_the_rest() -> None:
    image = noise(256, 256)
    image[0, :5] = 1e6
    assert contrast(image)[1] < 200


@pytest.mark.parametrize("shape", [(1024, 1024), (448, 2000), (300, 200), (7, 9), (1, 1)])
def test_a_cover_is_twice_as_wide_as_high_and_under_500_kb(tmp_path: Path, shape: tuple[int, int]) -> None:
    cover(noise(*shape), noise(*shape), tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").shape == (448, 896)
    assert (tmp_path / "c.png").stat().st_size < 500_000


def test_a_cover_shows_the_part_with_most_to_see_and_the_noisy_one_left(tmp_path: Path) -> None:
    denoised = np.zeros((1000, 1000), np.float32)
    denoised[700:800, 700:800] = 1
    cover(np.zeros_like(denoised), denoised, tmp_path / "c.png")
    picture = pixels(tmp_path / "c.png")
    assert picture[:, :448].max() == 0 and picture[:, 448:].max() == 255


def test_a_picture_replaces_the_one_before_and_a_missing_folder_is_said(tmp_path: Path) -> None:
    for shape in ((300, 300), (400, 400)):
        panel({"a": noise(*shape)}, tmp_path / "p.png")
    assert pixels(tmp_path / "p.png").shape[1] == 416
    with pytest.raises(OutputError, match=r"There is no folder .*gone for p.png. Create it first"):
        panel({"a": noise(9, 9)}, tmp_path / "gone" / "p.png")
