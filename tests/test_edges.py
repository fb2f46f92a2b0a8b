"""What a package says of its halo is measured: how much a cut edge changes, how far away."""

from pathlib import Path

import numpy as np
import pytest
import torch
from exported import contents, noisy
from numpy.typing import NDArray
from torch import nn

from cosdd_zoo.export.edges import MAX_ERROR, errors_from_a_cut, measured_halo


def mean_of(reach: int, axis: str) -> nn.Conv2d:
    """Each pixel becomes the mean of those up to `reach` away along one axis."""
    kernel = (2 * reach + 1, 1) if axis == "y" else (1, 2 * reach + 1)
    conv = nn.Conv2d(1, 1, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False)
    nn.init.constant_(conv.weight, 1 / (2 * reach + 1))
    return conv


def run(module: nn.Module, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("axis", ["y", "x"])
def test_a_cut_is_felt_as_far_as_the_network_sees_and_no_further(axis: str) -> None:
    module = mean_of(5, axis)
    errors = errors_from_a_cut(lambda x: run(module, x), noisy(1, 256, 256), 1 if axis == "y" else 2, 128)
    assert errors.shape == (128,)
    assert (errors[:5] > 1e-3).all()
    assert errors[5:].max() < 1e-5
    other = errors_from_a_cut(lambda x: run(module, x), noisy(1, 256, 256), 2 if axis == "y" else 1, 128)
    assert other.max() < 1e-5


@pytest.mark.parametrize("reach, expected", [(3, 4), (5, 8), (8, 8), (20, 20)])
def test_the_halo_is_the_shortest_one_beyond_which_a_cut_is_hardly_felt(reach: int, expected: int) -> None:
    module = mean_of(reach, "x")
    halo = measured_halo(lambda x: run(module, x), noisy(1, 90, 300), "yx", [32, 32], [4, 4])
    assert halo.px == (4, expected)
    assert halo.error <= MAX_ERROR


def test_a_halo_at_its_limit_says_what_is_lost() -> None:
    module = mean_of(9, "x")
    halo = measured_halo(lambda x: run(module, x), noisy(1, 256, 256), "yx", [4, 4], [4, 4])
    errors = errors_from_a_cut(lambda x: run(module, x), noisy(1, 256, 256)[:, 64:192], 2, 128)
    assert halo.px == (4, 4)
    assert halo.error == errors[4:].max() > MAX_ERROR


def test_standard_deviations_are_left_out() -> None:
    def with_std(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([x, np.full_like(x, float(x.shape[-1]))], axis=1)

    assert measured_halo(with_std, noisy(1, 256, 256), "yx", [16, 16], [8, 8]) == ((8, 8), 0.0)


def test_the_readme_states_halo_and_error(package: Path) -> None:
    readme = contents(package)["README.md"].decode()
    assert "| halo (px) | y 16, x 16 |" in readme
    assert "| largest error beyond the halo (std) | 0" in readme
