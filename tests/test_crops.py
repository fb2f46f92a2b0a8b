"""Every pixel is used once, for training or for validation, and every crop can be drawn again."""

from typing import Any

import numpy as np
import pytest
from models import quick, scene
from numpy.typing import NDArray

from cosdd_zoo.config import RunConfig, preset
from cosdd_zoo.data import crops as module
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.crops import Crops, Region, Split, cell_means, crop_size, split
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.errors import ImageError


def stack(n: int, *shape: int) -> list[ImageFile]:
    return [from_array(scene(n, *(shape or (64, 48))), "SYX")]


def covered(images: list[ImageFile], parts: Split, n_dims: int) -> list[list[NDArray[np.int64]]]:
    """How often each pixel of each item is used, by image and item."""
    counts = [[np.zeros(i.item_shape(n_dims)[1:], int) for _ in range(i.n_items(n_dims))] for i in images]
    for r in [*parts.training, *parts.validation]:
        counts[r.image][r.item][tuple(slice(a, a + n) for a, n in zip(r.start, r.size, strict=True))] += 1
    return counts


@pytest.mark.parametrize("n_items", [1, 2, 9, 10, 11, 24])
@pytest.mark.parametrize("noise_axis", ["x", "y", "none"])
def test_every_pixel_trains_or_validates_and_never_both(n_items: int, noise_axis: str) -> None:
    images = [*stack(n_items), *stack(1, 40, 70)]
    parts = split(images, quick(noise_axis=noise_axis))
    assert all((c == 1).all() for item in covered(images, parts, 2) for c in item)
    assert parts.training
    assert parts.validation


@pytest.mark.parametrize(("n_items", "n_kept"), [(10, 1), (24, 2), (100, 10)])
def test_from_ten_images_on_whole_ones_are_kept_for_validation(n_items: int, n_kept: int) -> None:
    parts = split(stack(n_items, 32, 32), quick())
    items = [r.item for r in parts.validation]
    assert len(set(items)) == len(items) == n_kept
    assert sorted(items + [r.item for r in parts.training]) == list(range(n_items))


@pytest.mark.parametrize("n_items", [2, 10])
def test_large_items_are_divided_into_regions_that_fit_into_memory(
    n_items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pixels train and validate, and each region still holds a crop."""
    whole = split(stack(n_items, 400, 300), quick())
    monkeypatch.setattr(module, "PART_PX", {2: 128})
    parts = split(stack(n_items, 400, 300), quick())
    assert max(max(r.size) for r in (*parts.training, *parts.validation)) <= 128
    assert min(min(r.size) for r in parts.training) >= crop_size(quick())[0]
    for few, many in zip(whole, parts, strict=True):
        counts = [np.zeros((n_items, 400, 300), int) for _ in range(2)]
        for count, regions in zip(counts, (few, many), strict=True):
            for r in regions:
                count[(r.item, *(slice(a, a + n) for a, n in zip(r.start, r.size, strict=True)))] += 1
        np.testing.assert_array_equal(*counts)


@pytest.mark.parametrize("n_items", [1, 2, 9])
def test_of_fewer_images_a_strip_of_each_is_kept(n_items: int) -> None:
    parts = split(stack(n_items), quick(noise_axis="x"))
    assert parts.training == [Region(0, i, (0, 0), (56, 48)) for i in range(n_items)]
    assert parts.validation == [Region(0, i, (56, 0), (8, 48)) for i in range(n_items)]


@pytest.mark.parametrize(("noise_axis", "strip"), [("x", (8, 96)), ("y", (48, 10)), ("none", (48, 10))])
def test_the_strip_lies_across_the_noise_so_that_no_line_is_cut(noise_axis: str, strip: tuple[int, int]) -> None:
    parts = split(stack(1, 48, 96), quick(noise_axis=noise_axis))
    assert parts.validation[0].size == strip


def test_a_volume_is_divided_in_the_plane() -> None:
    image = from_array(scene(1, 6, 64, 64), "SZYX")
    parts = split([image], quick(n_dims=3, crop_depth_px=4, noise_axis="z"))
    assert [r.size[0] for r in (*parts.training, *parts.validation)] == [6, 6]


def test_the_choice_follows_the_seed() -> None:
    images = stack(40, 32, 32)
    chosen = [[r.item for r in split(images, quick(seed=s)).validation] for s in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize(
    ("shape", "settings", "sentence"),
    [
        (
            (20, 48),
            {},
            "20 x 48 px, smaller than the training crop of 32 x 32 px: use smaller crops, e.g. --crop-px 15",
        ),
        ((34, 48), {}, "8 px along y are kept for validation, which leaves less than a crop of 32 x 32 px to train on"),
    ],
)
def test_an_image_that_cannot_hold_a_crop_is_refused_with_a_size_that_works(
    shape: tuple[int, int], settings: dict[str, Any], sentence: str
) -> None:
    images = [from_array(scene(*shape), "YX")]
    with pytest.raises(ImageError, match=sentence) as caught:
        split(images, quick(**settings))
    advised = int(str(caught.value).split("--crop-px ")[1].rstrip("."))
    split(images, quick(crop_px=advised))


def test_a_volume_that_is_too_flat_is_refused_with_a_depth_that_works() -> None:
    images = [from_array(scene(6, 48, 48), "ZYX")]
    with pytest.raises(ImageError, match="6 x 48 x 48 px, smaller than the training crop of 16 x 32 x 32 px") as caught:
        split(images, quick(n_dims=3))
    words = str(caught.value).rstrip(".").split()
    advised = {"crop_px": int(words[-3]), "crop_depth_px": int(words[-1])}
    split(images, quick(n_dims=3, **advised))


def crops(image: NDArray[Any], config: RunConfig, axes: str = "YX", bright: bool = False, stream: int = 0) -> Crops:
    opened = from_array(image, axes)
    region = Region(0, 0, (0,) * config.network.n_dims, opened.item_shape(config.network.n_dims)[1:])
    side = config.training.crop_px
    light = [cell_means(image.astype(float), (side,) * image.ndim)] if bright else []
    return Crops([opened], [region], config, light, stream)


def test_a_crop_is_a_function_of_seed_and_index() -> None:
    image = scene(64, 64)
    first, again, other = (crops(image, quick(seed=s)) for s in (3, 3, 4))
    backwards = [again[i] for i in reversed(range(6))][::-1]
    assert all(np.array_equal(first[i], backwards[i]) for i in range(6))
    assert not any(np.array_equal(first[i], other[i]) for i in range(6))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], crops(image, quick(seed=3), stream=1)[0])


def test_a_crop_is_a_part_of_its_image() -> None:
    image = np.arange(40 * 50).reshape(40, 50).astype(np.uint16)
    for i in range(20):
        crop = crops(image, quick(flip=False))[i]
        y, x = divmod(int(crop[0, 0, 0]), 50)
        np.testing.assert_array_equal(crop[0], image[y : y + 32, x : x + 32])
        assert crop.dtype == np.float32


def test_crops_reach_every_pixel_and_prefer_none() -> None:
    image = np.arange(40 * 50).reshape(40, 50)
    drawn = crops(image, quick(flip=False))
    corners = np.array([divmod(int(drawn[i][0, 0, 0]), 50) for i in range(2000)])
    assert corners.min(0).tolist() == [0, 0]
    assert corners.max(0).tolist() == [8, 18]
    np.testing.assert_allclose(corners.mean(0), [4, 9], atol=0.6)


def test_larger_regions_give_more_crops() -> None:
    images = [from_array(np.full((64, 64), 1.0), "YX"), from_array(np.full((64, 192), 2.0), "YX")]
    regions = [Region(0, 0, (0, 0), (64, 64)), Region(1, 0, (0, 0), (64, 192))]
    drawn = Crops(images, regions, quick())
    assert np.mean([drawn[i].mean() == 2 for i in range(1000)]) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("axis", ["x", "y", "none"])
def test_crops_are_never_mirrored_along_the_noise(axis: str) -> None:
    y, x = np.mgrid[:32, :32]
    image = (100 * y + x).astype(np.uint16)
    drawn = crops(image, quick(noise_axis=axis))
    turned = {(bool(c[0, 0, 0] > c[0, -1, 0]), bool(c[0, 0, 0] > c[0, 0, -1])) for c in (drawn[i] for i in range(60))}
    along_y, along_x = {t[0] for t in turned}, {t[1] for t in turned}
    assert along_y == ({False} if axis == "y" else {False, True})
    assert along_x == ({False} if axis == "x" else {False, True})


def test_bright_places_are_preferred_as_far_as_asked() -> None:
    image = np.zeros((256, 256))
    image[150:180, 60:90] = 1000
    light = [
        np.mean([drawn[i].max() > 0 for i in range(300)])
        for drawn in (crops(image, quick(bright_crops=share), bright=True) for share in (0.0, 0.5, 1.0))
    ]
    assert light[0] < 0.15
    assert light[1] == pytest.approx((light[0] + light[2]) / 2, abs=0.1)
    assert light[2] > 0.95


def test_crops_of_small_regions_shrink_so_that_they_can_be_stacked() -> None:
    images = [from_array(scene(64, 64), "YX"), from_array(scene(64, 40), "YX")]
    drawn = Crops(images, split(images, preset("tiny", crop_px=40)).validation, preset("tiny", crop_px=40))
    assert {drawn[i].shape for i in range(20)} == {(1, 8, 40)}


def test_cells_are_means_of_equal_parts() -> None:
    image = np.arange(24.0).reshape(4, 6)
    np.testing.assert_allclose(cell_means(image, (4, 6)), image.reshape(2, 2, 2, 3).mean((1, 3)))
    assert cell_means(image, (100, 100)).shape == (1, 1)
