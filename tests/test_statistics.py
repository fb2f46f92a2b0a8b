"""Statistics are exact, over every training pixel, and the noise model is near the truth."""

from typing import Any

import numpy as np
import pytest
import torch
from models import quick, scene
from numpy.typing import NDArray

from cosdd_zoo.data import statistics as module
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.crops import Region, split
from cosdd_zoo.data.outliers import standing_out
from cosdd_zoo.data.simulate import NOISES, scene_stack
from cosdd_zoo.data.statistics import NoiseLine, Statistics, noise_lines, statistics
from cosdd_zoo.errors import ImageError


def whole(image: Any, axes: str, **settings: Any) -> Statistics:
    opened = from_array(image, axes)
    n_dims = settings.get("n_dims", 2)
    size = opened.item_shape(n_dims)[1:]
    regions = [Region(0, i, (0,) * n_dims, size) for i in range(opened.n_items(n_dims))]
    return statistics([opened], regions, quick(**settings))


def test_mean_and_std_are_those_of_numpy_in_float64_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(20_000, 3, (3, 2, 64, 48)).astype(np.float32)
    image[:, 1] += 40_000
    found = whole(image, "SCYX").scaling
    exact = image.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, exact.std((0, 2, 3)), rtol=1e-9)


def test_of_more_pixels_than_can_be_read_regions_all_over_the_data_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the frames here; those that were not read are drawn from as the average one is."""
    image = scene(40, 64, 48)
    every = whole(image, "TYX")
    monkeypatch.setattr(module, "MOST_PX", image.size // 4)
    some = whole(image, "TYX")
    assert sum(b.size > 1 for b in some.brightness) == 10
    assert all(b == 0 for b in some.brightness if b.size == 1)
    np.testing.assert_allclose(some.scaling.mean, every.scaling.mean, rtol=0.02)
    np.testing.assert_allclose(some.scaling.std, every.scaling.std, rtol=0.05)


def test_images_of_different_sizes_count_by_their_pixels() -> None:
    images = [scene(40, 40), 3 * scene(64, 100)]
    opened = [from_array(i, "YX") for i in images]
    regions = [Region(k, 0, (0, 0), i.shape) for k, i in enumerate(images)]
    pixels = np.concatenate([i.ravel() for i in images]).astype(np.float64)
    found = statistics(opened, regions, quick()).scaling
    assert found.mean == pytest.approx([pixels.mean()], rel=1e-12)
    assert found.std == pytest.approx([pixels.std()], rel=1e-9)


def test_validation_pixels_do_not_count() -> None:
    image = scene(80, 48)
    opened = from_array(image, "YX")
    parts = split([opened], quick())
    kept = parts.validation[0].start[0]
    image[kept:] = 60_000
    found = statistics([opened], parts.training, quick()).scaling
    assert found.mean == pytest.approx([image[:kept].astype(float).mean()])


def test_the_stabilised_moments_are_those_of_the_stabilised_pixels() -> None:
    image = scene(2, 64, 64)
    s = whole(image, "SYX").scaling
    u = (image.astype(float) - s.pedestal[0]) / s.softness[0]
    t = 2 * u / (1 + np.sqrt(1 + np.abs(u)))
    assert (s.t_mean[0], s.t_std[0]) == pytest.approx((t.mean(), t.std()), rel=1e-9)


@pytest.mark.parametrize(
    ("image", "step"),
    [
        (scene(48, 48), 1),
        (16 * scene(48, 48), 16),
        ((16 * scene(48, 48)).astype(np.float32), 16),
        (scene(48, 48).astype(np.int32) * 6 - 3000, 6),
        (scene(48, 48) / np.float32(7), 0),
        (scene(48, 48) + np.float64(0.5), 0),
    ],
    ids=["integers", "12 bits in 16", "integers in floats", "negative", "floats", "half-integers"],
)
def test_the_quantisation_step_is_found(image: NDArray[Any], step: float) -> None:
    assert whole(image, "YX").step == [step]


def test_each_channel_has_its_own_numbers() -> None:
    image = np.stack([scene(64, 64), 8 * scene(64, 64, seed=1) + np.uint16(500)])
    both = whole(image, "CYX")
    alone = [whole(channel, "YX") for channel in image]
    for found, *expected in zip(both.scaling, *(a.scaling for a in alone), strict=True):
        assert found == pytest.approx([e[0] for e in expected])
    assert both.step == [a.step[0] for a in alone]


def simulated(gain: float, pedestal: float, read_std: float, seed: int = 0) -> NDArray[np.float64]:
    """Poisson-Gaussian noise on a smooth signal of 0 to 60 photons, and correlated along x."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256] / 20.0
    photons = 30 * (1 + np.sin(y) * np.cos(x)) * (1 + np.tanh(x - 6)) / 2
    photons[:64] = 0  # background
    white = rng.standard_normal((256, 258))
    rows = (white[:, :-2] + white[:, 1:-1] + white[:, 2:]) / np.sqrt(3)
    return pedestal + gain * rng.poisson(photons) + read_std * rows


def noise_line_of(image: NDArray[Any], noise_axis: str = "x") -> NoiseLine:
    opened = from_array(image, "YX")
    return noise_lines([opened], [Region(0, 0, (0, 0), image.shape)], quick(noise_axis=noise_axis))[0]


@pytest.mark.parametrize(
    ("gain", "pedestal", "read_std"), [(4.0, 100.0, 12.0), (0.5, 20_000.0, 2.0), (30.0, 0.0, 60.0)]
)
@pytest.mark.parametrize("noise_axis", ["x", "y"])
def test_gain_pedestal_and_floor_of_the_noise_are_found(
    gain: float, pedestal: float, read_std: float, noise_axis: str
) -> None:
    image = simulated(gain, pedestal, read_std)
    line = noise_line_of(image if noise_axis == "x" else image.T, noise_axis)
    assert line.gain == pytest.approx(gain, rel=0.25)
    # taken from the quieter blocks, since signal can only add: a little low, which softness bears
    assert line.floor == pytest.approx(read_std**2, rel=0.5)
    assert line.pedestal == pytest.approx(pedestal, abs=read_std)


def test_noise_of_one_size_everywhere_makes_the_transform_a_straight_line() -> None:
    rng = np.random.default_rng(0)
    y, _ = np.mgrid[:128, :128]
    scaling = whole(1000 + 200 * np.sin(y / 15) + rng.normal(0, 10, (128, 128)), "YX").scaling
    assert scaling.softness[0] > 20 * scaling.std[0]


def test_the_stabilised_noise_has_about_one_size_at_any_brightness() -> None:
    gain, read_std = 4.0, 12.0
    s = whole(simulated(gain, 100, read_std), "YX").scaling
    levels = 100 + gain * np.array([0.0, 5.0, 20.0, 60.0])
    u = (levels - s.pedestal[0]) / s.softness[0]
    slope = 1 / np.sqrt(1 + np.abs(u)) / s.softness[0]
    noise = slope * np.sqrt(read_std**2 + gain**2 * np.array([0.0, 5.0, 20.0, 60.0]))
    assert noise.max() / noise.min() < 1.5


def test_moved_statistics_are_those_of_the_moved_image() -> None:
    image = scene(96, 96).astype(np.float64)
    found = whole(3 * image + 50, "YX").scaling
    for name, value in whole(image, "YX").scaling.moved([3.0], [50.0])._asdict().items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize(
    ("image", "axes", "sentence"),
    [
        (
            np.full((48, 48), 7),
            "YX",
            "Channel 0 of The array is constant \\(7 everywhere\\): there is no noise to learn",
        ),
        (np.stack([scene(48, 48), np.zeros((48, 48))]), "CYX", "Channel 1 of The array is constant"),
        (np.full((2, 48, 48), 1e9 + 0.1), "SYX", "is constant"),
    ],
)
def test_a_constant_image_is_refused(image: NDArray[Any], axes: str, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        whole(image, axes)


def test_pixels_that_are_not_finite_are_refused_with_their_count() -> None:
    image = scene(48, 48).astype(np.float32)
    image[3, 4:7], image[9, 9] = np.nan, np.inf
    with pytest.raises(ImageError, match="The array has 3 NaN and 1 infinite pixels of 2304"):
        whole(image, "YX")


@pytest.mark.parametrize(("n_dims", "axes", "shape"), [(1, "SX", (30, 200)), (3, "ZYX", (6, 48, 48))])
def test_lines_and_volumes_have_statistics_too(n_dims: int, axes: str, shape: tuple[int, ...]) -> None:
    found = whole(scene(*shape), axes, n_dims=n_dims)
    assert np.isfinite([v for values in found.scaling for v in values]).all()
    assert min(found.scaling.std[0], found.scaling.softness[0], found.scaling.t_std[0]) > 0


def broken(image: NDArray[Any]) -> NDArray[np.bool_]:
    """The pixels [S, Y, X] that the losses would leave out."""
    found = whole(image, "SYX")
    s = found.scaling
    u = torch.tensor((image.astype(np.float64) - s.pedestal[0]) / s.softness[0])[:, None]
    v = 2 * u / (1 + torch.sqrt(1 + u.abs())) / s.t_std[0]
    return (standing_out(v).abs() > found.outlier[0])[:, 0].numpy()


@pytest.mark.parametrize("kind", NOISES)
def test_hot_and_dead_pixels_are_found_and_nothing_else_is(kind: str) -> None:
    image = scene_stack(NOISES[kind](), n_frames=4, size=128).noisy.astype(np.float32)
    assert broken(image).sum() <= 1
    rng = np.random.default_rng(0)
    places = rng.choice(image.size, 20, replace=False)
    image.flat[places[:15]], image.flat[places[15:]] = 4000, -3000
    found = np.flatnonzero(broken(image))
    assert set(found) <= set(places.tolist())
    assert len(found) >= 18  # two beside each other hide each other


def test_hot_pixels_do_not_widen_the_scaling() -> None:
    image = scene_stack(NOISES["stripes"](), n_frames=4, size=128).noisy
    hot = np.random.default_rng(0).random(image.shape) < 1 / 2000
    clean = whole(image, "SYX").scaling
    found = whole(np.where(hot, 65535, image).astype(np.uint16), "SYX").scaling
    for name in ("mean", "std", "t_mean", "t_std"):
        assert getattr(found, name) == pytest.approx(getattr(clean, name), rel=0.01), name


def test_of_an_image_where_hardly_any_pixel_stands_out_none_is_left_out() -> None:
    image = np.zeros((4, 128, 128))
    image.flat[:: 128 * 40 + 64] = 50
    found = whole(image, "SYX")
    assert found.outlier == [np.inf]
    assert found.scaling.std == [pytest.approx(image.std())]


def test_broken_pixels_are_found_in_what_the_vae_sees_without_the_square_root_too() -> None:
    image = scene_stack(NOISES["stripes"](), n_frames=4, size=128).noisy.astype(np.float32)
    image[:, 64, 64] = 4000
    found = whole(image, "SYX", stabilise=False)
    out = standing_out(torch.tensor(image / found.scaling.std[0])[:, None]).abs() > found.outlier[0]
    assert out.sum() == 4
    assert out[:, 0, 64, 64].all()


def test_single_photons_in_the_dark_are_no_hot_pixels() -> None:
    rng = np.random.default_rng(0)
    image = 30 * rng.poisson(0.02, (4, 128, 128)) * rng.exponential(1.0, (4, 128, 128)) + rng.normal(
        0, 1, (4, 128, 128)
    )
    assert broken(image).mean() < 1e-4


def test_the_grey_value_on_which_pixels_pile_up_is_the_ceiling() -> None:
    image = scene_stack(NOISES["stripes"](), n_frames=2, size=128).noisy
    clipped = np.minimum(image, int(np.quantile(image, 0.995)))
    assert whole(image, "SYX").ceiling == [np.inf]
    assert whole(clipped, "SYX").ceiling == [float(clipped.max())]
    assert whole(np.minimum(image / np.float64(7.3), 40.5), "SYX").ceiling == [np.inf]  # not of a detector
    assert whole((image > 150).astype(np.uint8) + rng_bits(image.shape), "SYX").ceiling == [np.inf]


def rng_bits(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 4, shape, dtype=np.uint8)
