"""The simulated stack: its formula holds, so that a PSNR against its signal means something."""

import numpy as np
import pytest

from cosdd_zoo.data import simulate
from cosdd_zoo.data.simulate import Simulated, confocal_stack


@pytest.fixture(scope="module")
def stack() -> Simulated:
    return confocal_stack(n_frames=8, size=192, seed=1)


def test_the_same_seed_gives_the_same_stack_and_another_seed_another() -> None:
    one, same, other = (confocal_stack(2, 64, seed) for seed in (3, 3, 4))
    assert np.array_equal(one.noisy, same.noisy)
    assert not np.array_equal(one.noisy, other.noisy)


def test_the_signal_is_the_expectation_of_the_noisy_frames(stack: Simulated) -> None:
    error = stack.noisy.astype(float) - stack.signal
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(error.size / 10)  # rows are correlated over a few pixels


def test_noise_is_correlated_along_rows_as_the_formula_says_and_not_along_columns(stack: Simulated) -> None:
    error = stack.noisy.astype(float) - stack.signal
    shot = simulate.GAIN**2 * ((stack.signal - simulate.PEDESTAL) / simulate.GAIN).mean()
    total = shot + simulate.READ_STD**2 + simulate.ROW_STD**2 + 1 / 12
    assert error.var() == pytest.approx(total, rel=0.03)
    for lag in (1, 2, 3):
        along = (error[:, :, lag:] * error[:, :, :-lag]).mean() / error.var()
        expected = simulate.ROW_STD**2 / total * np.exp(-(lag**2) / (4 * simulate.ROW_SIGMA_PX**2))
        assert along == pytest.approx(expected, abs=0.02)
        assert abs((error[:, lag:] * error[:, :-lag]).mean() / error.var()) < 0.02


def test_noise_grows_with_the_signal_as_photons_do(stack: Simulated) -> None:
    error = stack.noisy.astype(float) - stack.signal
    bright, dark = stack.signal > np.quantile(stack.signal, 0.95), stack.signal < np.quantile(stack.signal, 0.5)
    slope = (error[bright].var() - error[dark].var()) / (stack.signal[bright].mean() - stack.signal[dark].mean())
    assert slope == pytest.approx(simulate.GAIN, rel=0.15)
