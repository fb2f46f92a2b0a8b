"""Figures of merit on cases whose values are known in closed form."""

import numpy as np
import pytest

from cosdd_zoo.data.metrics import affine_fit, affine_psnr, best_gaussian, gaussian_blur, psnr

RAMP = np.linspace(0.0, 100.0, 64 * 64).reshape(64, 64)


def test_psnr_of_a_constant_error_is_twenty_log_range_over_error() -> None:
    assert psnr(RAMP + 1.0, RAMP) == pytest.approx(40.0)
    assert psnr(RAMP, RAMP) == np.inf


def test_psnr_refuses_images_of_different_shapes() -> None:
    with pytest.raises(ValueError, match="give two of the same shape"):
        psnr(RAMP[1:], RAMP)


def test_the_affine_fit_brings_a_truth_of_another_exposure_to_the_scale_of_the_noisy_image() -> None:
    assert affine_fit(7.0 * RAMP - 20.0, RAMP) == pytest.approx(RAMP)
    assert affine_psnr(RAMP + 1.0, 0.01 * RAMP, RAMP) == pytest.approx(40.0)


def test_a_denoiser_that_darkens_its_input_pays_for_it() -> None:
    assert affine_psnr(0.9 * RAMP, RAMP, RAMP) < 30.0


def test_a_gaussian_blur_of_white_noise_leaves_the_variance_that_theory_says() -> None:
    white = np.random.default_rng(0).standard_normal((512, 512))
    sigma = 2.0
    assert gaussian_blur(white, sigma).var() == pytest.approx(1.0 / (4.0 * np.pi * sigma**2), rel=0.05)


def test_the_best_gaussian_is_better_than_its_neighbours_and_than_the_noisy_image() -> None:
    truth = gaussian_blur(np.random.default_rng(1).standard_normal((128, 128)), 3.0)
    noisy = truth + 0.1 * np.random.default_rng(2).standard_normal(truth.shape)
    best = best_gaussian(noisy, truth)
    assert best.psnr > psnr(noisy, truth) + 5.0
    for other in (best.sigma_px - 0.3, best.sigma_px + 0.3):
        assert psnr(gaussian_blur(noisy, other), truth) < best.psnr
