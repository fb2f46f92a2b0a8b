"""The simulated stacks: every formula holds, so that a figure against their truth means something."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cosdd_zoo.data.simulate import NOISES, Noise, confocal_stack, photon_stack, scene_stack, to_photons
from cosdd_zoo.data.simulate.folder import Simulation, resolve_simulation, write_simulation
from cosdd_zoo.data.simulate.noises import PEDESTAL, Ar1, Scmos, Stripes, Uncorrelated
from cosdd_zoo.data.simulate.scenes import PEAK_PHOTONS, SCENES
from cosdd_zoo.data.simulate.stack import DARK
from cosdd_zoo.errors import ConfigError, ImageError

KINDS = list(NOISES)
N_SIGMA = 4.5  # a chance of 1e-5 for each comparison, were the seed not fixed
Lines = NDArray[np.float64]  # [lines, along]: the noise of independent lines along the noise axis


class Estimate(NamedTuple):
    """A mean over independent samples, and the standard error of that mean."""

    mean: float
    error: float

    @classmethod
    def of(cls, samples: NDArray[np.float64]) -> "Estimate":
        return cls(float(samples.mean()), float(samples.std() / np.sqrt(len(samples))))

    def is_within_its_error_of(self, expected: float) -> bool:
        return abs(self.mean - expected) < N_SIGMA * self.error


def lines(noise: Noise, photons: float, n: int = 4096, length_px: int = 48, seed: int = 0) -> Lines:
    """The noise on an even field; of scmos the columns, since its noise axis is y."""
    along_y = noise.axis == "y"
    field = np.full((length_px, n) if along_y else (n, length_px), photons)
    e = noise.expose(field, np.random.default_rng(seed)) - noise.gain * photons
    return e.T if along_y else e


def expected(noise: Noise, photons: float, lag_px: int) -> float:
    return float(noise.correlation(lag_px, np.asarray(photons)))


def variance(noise: Noise, photons: float) -> float:
    return float(noise.variance(np.asarray(photons)))


def test_the_demo_stack_is_the_one_that_its_figures_were_measured_on() -> None:
    noisy = confocal_stack(n_frames=2, size=64, seed=3).noisy
    assert hashlib.sha256(noisy.tobytes()).hexdigest().startswith("a2c2cf5154552b4f")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_stack_and_another_seed_another(kind: str) -> None:
    one, same, other = (scene_stack(NOISES[kind](), n_frames=2, size=64, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.noisy, same.noisy)
    assert np.array_equal(one.signal, same.signal)
    assert not np.array_equal(one.noisy, other.noisy)
    assert not np.array_equal(one.noisy[0], one.noisy[1])


def test_a_frame_has_the_same_truth_under_every_noise_and_among_any_number_of_frames() -> None:
    first = scene_stack(Stripes(), n_frames=1, size=64).signal[0]
    for kind in KINDS:
        assert np.array_equal(scene_stack(NOISES[kind](), n_frames=2, size=64).signal[0], first)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_zero_on_average_given_the_signal(kind: str) -> None:
    rng, noise, n = np.random.default_rng(1), NOISES[kind](), 1500
    photons = np.tile(np.geomspace(0.3, 40.0, 24), (6, 1))
    cameras = [noise.model_copy(update={"chip": i}) for i in range(n)]  # of scmos, another one for each draw
    e = np.stack([camera.expose(photons, rng) for camera in cameras]) - noise.gain * photons
    pixels = e.mean(0) / (e.std(0) / np.sqrt(n))
    assert np.abs(pixels).max() < N_SIGMA
    assert Estimate.of(e.mean((1, 2))).is_within_its_error_of(0)
    assert Estimate.of(e.mean((1, 2))).error < 0.3  # grey levels, of 160


@pytest.mark.parametrize("kind", KINDS)
def test_correlation_along_the_noise_axis_is_the_documented_one(kind: str) -> None:
    noise = NOISES[kind]()
    e = lines(noise, photons=9.0)
    for lag_px in (1, 2, 3, 5, 8, 13):
        together = (e[:, lag_px:] * e[:, :-lag_px]).mean(1) / variance(noise, 9.0)
        found = Estimate.of(together - expected(noise, 9.0, lag_px) * (e**2).mean(1) / variance(noise, 9.0))
        assert found.is_within_its_error_of(0), f"lag {lag_px}: {found}"
        assert found.error < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_independent_of_each_other(kind: str) -> None:
    noise = NOISES[kind]()
    e = lines(noise, photons=9.0)
    for a, b in ((e[0::2], e[1::2]), (e[0::4], e[2::4])):  # pairs that share no line
        found = Estimate.of((a * b).mean(1) / variance(noise, 9.0))
        assert found.is_within_its_error_of(0)
        assert found.error < 0.04


@pytest.mark.parametrize("kind", KINDS)
def test_variance_is_the_documented_one_at_every_brightness(kind: str) -> None:
    noise = NOISES[kind]()
    for photons in (0.5, 5.0, 40.0):
        found = Estimate.of((lines(noise, photons) ** 2).mean(1) / variance(noise, photons))
        assert found.is_within_its_error_of(1), f"{photons} photons: {found}"
        assert found.error < 0.04


@pytest.mark.parametrize("kind", KINDS)
def test_noise_rises_with_the_signal_and_only_the_checkerboard_falls(kind: str) -> None:
    dark, bright = ((lines(NOISES[kind](), photons, 512) ** 2).mean() for photons in (1.0, 30.0))
    assert bright < dark / 2 if kind == "checkerboard" else bright > 1.3 * dark


def test_the_kinds_have_the_noise_axes_that_a_model_is_to_be_told() -> None:
    assert {kind: NOISES[kind].axis for kind in KINDS} == {
        "uncorrelated": "none", "stripes": "x", "pickup": "x", "ar1": "x", "checkerboard": "x", "emccd": "x",
        "scmos": "y",
    }  # fmt: skip


def test_neighbours_have_the_signs_that_the_kinds_are_for() -> None:
    neighbours = {kind: expected(NOISES[kind](), 9.0, 1) for kind in KINDS}
    assert neighbours["checkerboard"] < -0.7
    assert expected(NOISES["checkerboard"](), 9.0, 2) > 0.7
    assert -0.10 < neighbours["emccd"] < -0.05  # as measured on real EMCCD frames
    assert neighbours["stripes"] > 0.2
    far_px = 127  # ten periods
    assert expected(NOISES["pickup"](), 9.0, far_px) > 0.25


def test_multiplying_electrons_doubles_the_variance_of_photons() -> None:
    noise = NOISES["emccd"](read_std=0, undershoot=0)
    shot = Uncorrelated(read_std=0)
    excess = Estimate.of((lines(noise, 20.0) ** 2).mean(1) / variance(shot, 20.0))
    assert excess.is_within_its_error_of(2)


def test_ar1_without_signal_dependence_is_as_strong_in_the_light_as_in_the_dark() -> None:
    noise = Ar1(signal_dependent=False)
    for photons in (1.0, 30.0):
        assert Estimate.of((lines(noise, photons) ** 2).mean(1)).is_within_its_error_of(noise.read_std**2)


def test_ar1_remembers_how_bright_it_was_before() -> None:
    noise = Ar1(read_std=1.0)
    photons = np.repeat([[30.0] * 8 + [0.0] * 8], 4096, axis=0)
    e = noise.expose(photons, np.random.default_rng(0)) - noise.gain * photons
    bright, dark = variance(noise, 30.0), variance(noise, 0.0)
    for steps in (1, 2, 4):
        faded = dark + (bright - dark) * noise.coefficient ** (2 * steps)
        assert Estimate.of(e[:, 7 + steps] ** 2).is_within_its_error_of(faded)


def test_the_pixels_of_a_chip_differ_as_much_as_documented() -> None:
    pixels = {"column_std": 0.0, "gain_spread": 0.19, "read_spread": 0.5}
    for photons, read_std in ((0.0, 8.0), (0.5, 0.0), (40.0, 0.0)):
        noise = Scmos(read_std=read_std, **pixels)
        found = Estimate.of((lines(noise, photons) ** 2).mean(1) / variance(noise, photons))
        assert found.is_within_its_error_of(1)
        assert found.error < 0.01


def test_a_chip_keeps_its_gains_in_all_frames_and_its_columns_only_when_told() -> None:
    field = np.full((16, 256), 50.0)

    def shared(noise: Scmos) -> float:
        """Correlation between the noise of two frames."""
        frames = [noise.expose(field, np.random.default_rng(seed)).ravel() for seed in (0, 1)]
        return float(np.corrcoef(*frames)[0, 1])

    uneven = {"read_std": 0.0, "gain_spread": 0.15, "column_std": 0.0}
    assert shared(Scmos(**uneven)) == pytest.approx(0.15**2 * 50 / (1 + 0.15**2 * 51), abs=0.05)
    assert shared(Scmos(gain_spread=0.0, column_std=100.0, fixed_columns=True)) > 0.9
    assert abs(shared(Scmos(gain_spread=0.0, column_std=100.0))) < 0.2
    maps = [Scmos(chip=chip, **uneven).expose(field, np.random.default_rng(0)).ravel() for chip in (0, 1)]
    assert not np.array_equal(*maps)


@pytest.mark.parametrize("kind", KINDS)
def test_the_signal_is_the_expectation_of_the_noisy_frames(kind: str) -> None:
    stack = scene_stack(NOISES[kind](), n_frames=8, size=96, seed=1)
    assert (stack.noisy.dtype, stack.signal.dtype) == (np.uint16, np.float32)
    assert stack.noisy.shape == stack.signal.shape == (8, 96, 96)
    assert stack.n_clipped < 5
    error = stack.noisy - stack.signal.astype(np.float64)
    per_line = error.mean(1 if NOISES[kind].axis == "y" else 2).ravel()
    assert Estimate.of(per_line).is_within_its_error_of(0)


def test_what_is_beyond_the_range_is_clipped_and_counted() -> None:
    dark = scene_stack(Uncorrelated(read_std=500.0), n_frames=1, size=64)
    assert dark.noisy.min() == 0
    bright = scene_stack(Uncorrelated(gain=2000.0), n_frames=1, size=64)
    assert bright.noisy.max() == 65535
    for stack in (dark, bright):
        assert stack.n_clipped == int(np.isin(stack.noisy, (0, 65535)).sum()) > 10
    assert bright.signal.max() > 65535  # the truth is not clipped


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_has_photons_everywhere_and_is_as_bright_as_the_others(scene: str) -> None:
    frames = np.stack([SCENES[scene](128, np.random.default_rng(i)) for i in range(12)])
    assert frames.shape == (12, 128, 128)
    assert frames.min() > 0
    assert np.percentile(frames, 99.9) == pytest.approx(PEAK_PHOTONS, rel=0.1)
    assert frames.std() > 4
    assert not np.allclose(frames[0], frames[1])


def test_fewer_photons_are_noisier_relative_to_the_signal() -> None:
    def relative(photons: float) -> float:
        stack = scene_stack(Stripes(), n_frames=2, size=64, photons=photons)
        return float((stack.noisy - stack.signal).std() / stack.signal.std())

    assert relative(80.0) < relative(40.0) < relative(10.0)


def test_given_images_are_scaled_to_photons_whatever_their_unit_and_offset() -> None:
    images = np.random.default_rng(0).gamma(2.0, 1.0, (3, 80, 80))
    photons, same = (to_photons(given, 20.0) for given in (images, 1000 + 7e-3 * images))
    assert np.allclose(photons, same)
    assert photons.min() == pytest.approx(DARK * 20.0)
    assert np.percentile(photons, 99.9) == pytest.approx(20.0)
    assert np.corrcoef(photons.ravel(), images.ravel())[0, 1] > 0.99


def test_photons_of_one_s_own_are_exposed_as_they_are() -> None:
    photons = np.random.default_rng(0).gamma(2.0, 5.0, (3, 80, 80)).astype(np.float32)
    stack = photon_stack(Stripes(), photons, seed=1)
    assert np.allclose(stack.signal, PEDESTAL + Stripes().gain * photons)
    assert not np.array_equal(stack.noisy, photon_stack(Stripes(), photons, seed=2).noisy)


def test_constant_images_hold_nothing_to_simulate_on() -> None:
    with pytest.raises(ImageError, match=r"The clean images are 7 nearly everywhere"):
        to_photons(np.full((2, 32, 32), 7))


def test_the_settings_of_a_stack_give_it_again(tmp_path: Path) -> None:
    settings = Simulation(noise=Scmos(column_std=20.0), clean="lattice", n_frames=2, size_px=48, photons=25.0, seed=9)
    first = write_simulation(settings, tmp_path / "first")
    again = write_simulation(resolve_simulation(None, settings.model_dump(mode="json")), tmp_path / "again")
    for one, other in zip(first[:3], again[:3], strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_file_keeps_its_parameters_unless_another_noise_is_named() -> None:
    file = {"noise": {"kind": "stripes", "row_std": 30.0}, "n_frames": 3}
    assert resolve_simulation("stripes", file, seed=2).noise == Stripes(row_std=30.0)
    assert resolve_simulation("stripes", file, seed=2, n_frames=4).n_frames == 4
    assert resolve_simulation("pickup", file).noise == NOISES["pickup"]()
    assert resolve_simulation(None, {"noise": "ar1"}).noise == Ar1()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "--noise is missing: choose one of uncorrelated, stripes"),
        ({"noise": "strips"}, "There is no noise 'strips'. Did you mean 'stripes'"),
        ({"noise": ["ar1"]}, r"There is no noise \['ar1'\]"),
        ({"noise": {"kind": "ar1", "row_std": 1}}, "There is no setting 'noise.row_std'. Did you mean 'read_std'"),
        ({"noise": {"kind": "ar1", "coefficient": 1}}, "noise.coefficient is 1: Input should be less than 1"),
        ({"noise": {"kind": "ar1", "read_std": float("inf")}}, "noise.read_std is inf"),
        ({"noise": "ar1", "n_frame": 2}, "There is no setting 'n_frame'. Did you mean 'n_frames'"),
        ({"noise": "ar1", "photons": 0}, "photons is 0: Input should be greater than 0"),
        ({"noise": "ar1", "n_frames": 600, "size_px": 1024}, "600 frames of 1024 x 1024 px are 629145600 pixels, more"),
    ],
)
def test_settings_that_there_are_not_are_a_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolve_simulation(None, values)
