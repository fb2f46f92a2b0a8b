"""The noise that is measured is the noise that is there."""

import numpy as np
import pytest

from cosdd_zoo.data.simulate.gaussian import unit_blur
from cosdd_zoo.noise.autocorrelation import autocorrelation, beyond_axis


def white(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def ar1(phi: float, n: int = 256) -> np.ndarray:
    e = white(n, n)
    for j in range(1, n):
        e[:, j] = phi * e[:, j - 1] + np.sqrt(1 - phi**2) * e[:, j]
    return e


@pytest.mark.parametrize("phi", [0.6, -0.3])
def test_the_autocorrelation_of_ar1_rows_is_that_of_the_formula(phi: float) -> None:
    found = autocorrelation(ar1(phi), 4)
    assert found.along("x") == pytest.approx(phi ** np.arange(1, 5), abs=0.03)
    assert found.along("y") == pytest.approx(np.zeros(4), abs=0.02)
    assert found.r[4, 4] == 1.0


def test_the_autocorrelation_of_blurred_noise_is_a_gaussian_of_twice_the_variance() -> None:
    found = autocorrelation(unit_blur(unit_blur(white(400, 400), 1.5, 0), 1.0, 1), 3)
    lag = np.arange(-3, 4)
    expected = np.exp(-(lag[:, None] ** 2) / (4 * 1.5**2) - lag**2 / (4 * 1.0**2))
    assert found.r == pytest.approx(expected, abs=0.03)


def test_the_autocorrelation_is_the_mean_over_all_pairs() -> None:
    images = white(2, 7, 9)
    e = images - images.mean(axis=(1, 2), keepdims=True)
    pairs = e[:, :-2, 1:] * e[:, 2:, :-1]
    found = autocorrelation(images, 3)
    assert found.r[3 + 2, 3 - 1] == pytest.approx(pairs.mean() / (e**2).mean())
    assert found.n_pairs[3 + 2, 3 - 1] == pairs.size
    assert found.r == pytest.approx(found.r[::-1, ::-1])


def test_correlation_along_the_noise_axis_is_none_beyond_it() -> None:
    rows = ar1(0.8)
    assert beyond_axis(rows, "x") < 0.02
    assert beyond_axis(rows, "y") > 0.1
    assert beyond_axis(rows.T, "y") < 0.02
    assert beyond_axis(rows, "none") > 0.1
    assert beyond_axis(white(256, 256), "none") == pytest.approx(1 / 256, rel=0.2)


def test_too_small_and_constant_images_are_refused() -> None:
    with pytest.raises(ValueError, match="4 x 9 px: lags up to 5 px need more"):
        autocorrelation(white(4, 9), 5)
    with pytest.raises(ValueError, match="constant"):
        autocorrelation(np.full((20, 20), 3.0), 5)
