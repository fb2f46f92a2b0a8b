"""The latents' noise is normal and independent, and belongs to a place in the image."""

import itertools

import pytest
import torch
from models import few_features, grey, model
from torch import Tensor

from cosdd_zoo.networks.build import receptive_radius
from cosdd_zoo.networks.latent_noise import latent_noise

SHAPE = [4, 256, 256]
N = 4 * 256 * 256


def noise(seed: int = 0, sample: int = 0, level: int = 0, origin: tuple[int, int] = (0, 0)) -> Tensor:
    return latent_noise(torch.zeros(1), seed, sample, level, SHAPE, list(origin)).double()[0]


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**40])
def test_it_is_standard_normal(seed: int) -> None:
    x = noise(seed)
    assert float(x.mean()) == pytest.approx(0, abs=5 / N**0.5)
    assert float(x.var()) == pytest.approx(1, abs=5 * (2 / N) ** 0.5)
    assert float((x**4).mean()) == pytest.approx(3, abs=5 * (96 / N) ** 0.5)
    assert float((x**3).mean()) == pytest.approx(0, abs=5 * (15 / N) ** 0.5)
    within = [float((x.abs() < s).double().mean()) for s in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=3e-3)


def test_neighbours_are_independent() -> None:
    x = noise()
    for dy, dx in [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 16), (16, 0), (0, 128)]:
        a, b = x[:, : 256 - dy, : 256 - dx], x[:, dy:, dx:]
        assert abs(correlation(a, b)) < 5 / N**0.5, (dy, dx)
        assert abs(correlation(a**2, b**2)) < 5 / N**0.5, (dy, dx)


def test_channels_levels_samples_and_seeds_are_independent() -> None:
    x = noise()
    for a, b in itertools.combinations(x, 2):
        assert abs(correlation(a, b)) < 5 / (N / 4) ** 0.5
        assert abs(correlation(a**2, b**2)) < 5 / (N / 4) ** 0.5
    others = [noise(seed=1), noise(sample=2), noise(sample=3), noise(level=1), noise(seed=1, sample=2)]
    others += [noise(seed=2, sample=0), noise(seed=0, sample=4), noise(seed=0, level=2)]
    assert all(abs(correlation(x, y)) < 5 / N**0.5 for y in others)


def test_samples_come_in_antithetic_pairs() -> None:
    assert torch.equal(noise(sample=0), -noise(sample=1))
    assert torch.equal(noise(sample=6), -noise(sample=7))


def test_a_place_has_the_same_noise_in_a_tile_as_in_the_whole() -> None:
    whole = noise()
    tile = latent_noise(torch.zeros(1), 0, 0, 0, [4, 50, 60], [100, 7])[0]
    assert torch.equal(tile.double(), whole[:, 100:150, 7:67])


def test_an_odd_number_of_channels_is_the_first_of_one_more() -> None:
    three, four = (latent_noise(torch.zeros(1), 0, 0, 0, [n, 8, 8], [0, 0])[0] for n in (3, 4))
    assert three.shape == (3, 8, 8)
    assert torch.equal(three, four[:3])


def test_places_far_away_are_as_normal() -> None:
    x = noise(origin=(2**31, 3 * 2**30))
    assert float(x.var()) == pytest.approx(1, abs=0.02)
    assert abs(correlation(x, noise())) < 5 / N**0.5


@pytest.mark.parametrize(("noise_axis", "n_dims"), [("x", 2), ("y", 2), ("z", 3)])
def test_the_same_seed_gives_the_same_sample_in_a_whole_image_and_in_a_tile(noise_axis: str, n_dims: int) -> None:
    config = few_features(noise_axis=noise_axis, n_dims=n_dims, downsample=(True, True), n_downsample_z=1)
    net = model(config)
    halo = -(-max(receptive_radius(config)) // 4) * 4
    inner, depth = 8, [2 * halo + 24] if n_dims == 2 else [24, 2 * halo + 24]
    size = [*depth, 2 * halo + 32]
    x = grey(1, 1, *size)
    start = [4] * n_dims
    stop = [min(n, 4 + inner + 2 * halo) for n in size]
    tile = x[(..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))]
    whole = net.sample(x, net.bottom_up(x), 5, 2, [0] * n_dims)
    part = net.sample(tile, net.bottom_up(tile), 5, 2, start)
    # where the tile ends with the image there is nothing beyond that it could lack
    inside = [slice(halo, n - halo) if n == inner + 2 * halo else slice(halo, n) for n in tile.shape[2:]]
    if n_dims == 3:
        inside[0] = slice(0, 0)
    compared = (..., *(slice(4 + i.start, 4 + i.stop) for i in inside))
    torch.testing.assert_close(part[(..., *inside)], whole[compared], rtol=1e-5, atol=1e-3)
