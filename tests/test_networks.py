"""The networks do what the method says: who sees what, which density it is, at any size and along any axis."""

import numpy as np
import pytest
import torch
from models import few_features, grey, model, randomise, scaling
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.distributions import kl_divergence as kl_of_torch
from torch.nn import functional as F

from cosdd_zoo.config import NetworkConfig, preset
from cosdd_zoo.errors import ConfigError
from cosdd_zoo.networks.ar_decoder import ARDecoder
from cosdd_zoo.networks.authors_blocks import LinearUpsample, mirrored
from cosdd_zoo.networks.build import Cosdd, receptive_radius
from cosdd_zoo.networks.likelihood import Gaussian, gaussian, kl_divergence, log_bin_density, log_likelihood, mixture

MILLIONS = {
    "small": {"encoder": 2.74, "ar_decoder": 0.21, "signal_decoder": 0.11, "direct_denoiser": 2.2},
    "base": {"encoder": 3.66, "ar_decoder": 0.21, "signal_decoder": 0.11, "direct_denoiser": 2.95},
    "large": {"encoder": 25.1, "ar_decoder": 0.24, "signal_decoder": 0.44, "direct_denoiser": 20.1},
}
"""Parameters of the paper's and its authors' networks."""


@pytest.mark.parametrize("name", MILLIONS)
def test_the_presets_have_the_sizes_of_the_published_networks(name: str) -> None:
    with torch.device("meta"):
        net = Cosdd(preset(name, direct=True).network, scaling(), stabilise=True)
    found = {part: sum(p.numel() for p in net.get_submodule(part).parameters()) / 1e6 for part in MILLIONS[name]}
    # a count that was published with two digits is known to half of its last one
    assert found == {part: pytest.approx(n, rel=0.02, abs=0.005) for part, n in MILLIONS[name].items()}


def test_tiny_is_well_under_half_a_million_parameters() -> None:
    net = Cosdd(preset("tiny", direct=True).network, scaling(), stabilise=True)
    assert sum(p.numel() for p in net.parameters()) < 450_000


def seen_by_ar(config: NetworkConfig, shape: list[int], pixel: list[int]) -> Tensor:
    """How much the density of one pixel [C, *] depends on each pixel of x: gradients [C, *]."""
    decoder = ARDecoder(config).double()
    randomise(decoder)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn([1, *shape], dtype=torch.float64, generator=generator, requires_grad=True)
    code = torch.randn([1, config.n_code, *shape[1:]], dtype=torch.float64, generator=generator)
    p = decoder(x, code)
    parts = [part[0, pixel[0]] for part in p]
    for at in pixel[1:]:
        parts = [part[:, at] for part in parts]
    torch.cat([part.flatten() * (i + 1) for i, part in enumerate(parts)]).exp().sum().backward()
    return torch.zeros(shape) if x.grad is None else x.grad[0].abs()


@pytest.mark.parametrize(("n_blocks", "n_maps"), [(4, 0), (8, 0), (2, 3)])
@pytest.mark.parametrize("length", [1, 3, 7, 10, 40, 120])
def test_the_ar_decoder_sees_exactly_the_configured_number_of_previous_pixels(
    length: int, n_blocks: int, n_maps: int
) -> None:
    config = few_features(receptive_field_px=length, ar_blocks=n_blocks, ar_code_maps=n_maps, ar_features=12)
    seen = seen_by_ar(config, [1, 1, 140], [0, 0, 130])[0, 0]
    assert torch.nonzero(seen).flatten().tolist() == list(range(130 - length, 130))


def test_the_ar_decoder_of_imported_models_sees_40_previous_pixels() -> None:
    config = few_features("small", blocks="authors", ar_features=12)
    seen = seen_by_ar(config, [1, 1, 60], [0, 0, 50])[0, 0]
    assert torch.nonzero(seen).flatten().tolist() == list(range(10, 50))
    with pytest.raises(ConfigError, match=r"blocks is authors, whose AR decoder has 8 .* receptive_field_px 20 "):
        few_features("small", blocks="authors", receptive_field_px=20)


def test_a_receptive_field_that_the_blocks_cannot_fill_is_refused() -> None:
    few_features(receptive_field_px=20, ar_blocks=2, ar_code_maps=0)
    with pytest.raises(ConfigError, match="receptive_field_px is 24, but 2 ar_blocks see 20 previous pixels at most"):
        few_features(receptive_field_px=24, ar_blocks=2, ar_code_maps=0)


@pytest.mark.parametrize("n_maps", [0, 3])
@pytest.mark.parametrize("shape", [[2, 9], [2, 5, 9], [2, 3, 5, 9]], ids=["1-D", "2-D", "3-D"])
def test_the_ar_decoder_never_sees_its_own_pixel_nor_a_later_one_nor_another_line_nor_another_channel(
    shape: list[int], n_maps: int
) -> None:
    many = {"n_channels": 2, "receptive_field_px": 4, "ar_features": 16, "ar_code_maps": n_maps}
    config = few_features(n_dims=len(shape) - 1, **many)
    pixel = [1, *([1] * (len(shape) - 2)), 6]
    expected = torch.zeros(shape, dtype=torch.bool)
    expected[(1, *([1] * (len(shape) - 2)), slice(2, 6))] = True
    assert torch.equal(seen_by_ar(config, shape, pixel) > 0, expected)


@pytest.mark.parametrize("n_maps", [0, 3])
def test_without_a_noise_axis_the_ar_decoder_sees_nothing_of_the_image(n_maps: int) -> None:
    assert not seen_by_ar(few_features(noise_axis="none", ar_code_maps=n_maps), [1, 5, 9], [0, 2, 6]).any()


def test_the_ar_decoder_sees_the_code_of_past_pixels_of_its_line() -> None:
    config = few_features(receptive_field_px=4, ar_code_maps=3, ar_features=16)
    code = torch.zeros(1, config.n_code, 3, 12, requires_grad=True)
    p = model(config).ar_decoder(torch.zeros(1, 1, 3, 12), code)
    p.mean[0, :, :, 1, 7].square().sum().backward()
    assert code.grad is not None
    assert torch.nonzero(code.grad[0].abs().sum(0)).tolist() == [[1, i] for i in range(3, 8)]


@pytest.mark.parametrize(("axis", "n_dims"), [("y", 2), ("y", 3), ("z", 3)])
def test_another_noise_axis_is_the_transposed_model(axis: str, n_dims: int) -> None:
    settings = {"n_dims": n_dims, "downsample": (True, True), "n_downsample_z": 2, "direct": True}
    along_x = model(few_features(noise_axis="x", **settings))
    turned = model(few_features(noise_axis=axis, **settings))
    dim = {"y": -2, "z": -3}[axis]
    x = grey(1, 1, *[7, 10, 13][-n_dims:])
    origin = [8, 16, 24][-n_dims:]
    turned_origin = list(origin)
    turned_origin[dim], turned_origin[-1] = origin[-1], origin[dim]
    expected = along_x.posterior(x, 2, 0, origin)
    found = turned.posterior(x.transpose(dim, -1), 2, 0, turned_origin)
    torch.testing.assert_close(found.mean, expected.mean.transpose(dim, -1))
    torch.testing.assert_close(found.std, expected.std.transpose(dim, -1))
    torch.testing.assert_close(turned.direct(x.transpose(dim, -1)), along_x.direct(x).transpose(dim, -1))


def test_the_kl_is_zero_for_equal_gaussians_and_that_of_torch_for_others() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, std = torch.randn(2, 3, 4, 5, generator=generator), torch.rand(2, 3, 4, 5, generator=generator) + 0.01
    q, p = Gaussian(mean, std), Gaussian(mean.flip(0), std.flip(0))
    assert torch.equal(kl_divergence(q, q), torch.zeros_like(mean))
    torch.testing.assert_close(kl_divergence(q, p), kl_of_torch(Normal(*q), Normal(*p)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ratio", [1e-9, 1e-4, 0.49, 0.51, 1 - 1e-3, 1 + 1e-3, 1 + 1e-2, 30.0])
def test_the_kl_keeps_its_digits_in_float32_where_the_posterior_is_nearly_the_prior_or_far_from_it(
    ratio: float,
) -> None:
    p = Gaussian(torch.zeros(1), torch.full([1], 0.7))
    q = Gaussian(torch.full([1], 1e-4), torch.full([1], 0.7 * ratio))
    exact = kl_of_torch(*(Normal(g.mean.double(), g.std.double()) for g in (q, p))).float()
    torch.testing.assert_close(kl_divergence(q, p), exact, rtol=2e-4, atol=0.0)


def test_the_mixture_likelihood_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = 3 * torch.randn(2, 2 * 3 * 4, 5, 6, generator=generator)
    x = 2 * torch.randn(2, 2, 5, 6, generator=generator)
    p = mixture(parameters, 2, 4, 0.03)
    weight, mean, std = (part.movedim(2, -1) for part in p)
    expected = MixtureSameFamily(Categorical(logits=weight), Normal(mean, std)).log_prob(x)
    torch.testing.assert_close(log_likelihood(p, x), expected)
    torch.testing.assert_close(p.log_weight.exp().sum(2), torch.ones(2, 2, 5, 6))


def test_the_probabilities_of_all_grey_values_sum_to_one() -> None:
    generator = torch.Generator().manual_seed(0)
    p = mixture(2 * torch.randn(1, 9, 1, 1, generator=generator), 1, 3, 0.03)
    for step in (1e-3, 0.05, 0.7):
        edges = torch.arange(-40.0, 40.0, step, dtype=torch.float64).reshape(1, 1, 1, -1)
        density = log_bin_density(p, edges[..., :-1], edges[..., 1:]).double()
        assert float((density.exp() * edges.diff(dim=-1)).sum()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("width", [1e-4, 9e-3, 1.1e-2, 0.3, 5.0])
def test_the_bin_density_is_the_integral_of_the_mixture(width: float) -> None:
    generator = torch.Generator().manual_seed(0)
    p = mixture(torch.randn(1, 9, 50, 1, generator=generator), 1, 3, 0.03)
    low = torch.linspace(-6, 6, 50).reshape(1, 1, 50, 1)
    wide = [part.double() for part in p]
    ends = [Normal(wide[1], wide[2]).cdf((low.double() + w).unsqueeze(2)) for w in (0.0, width)]
    expected = torch.log((wide[0].exp() * (ends[1] - ends[0])).sum(2) / width)
    likely = expected > -12  # further out the expected value is itself inexact
    found = log_bin_density(p, low, low + width).double()
    torch.testing.assert_close(found[likely], expected[likely], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.3, 300.0])
@pytest.mark.parametrize("place", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_the_bin_density_and_its_gradient_stay_finite_far_out_and_for_any_width(width: float, place: float) -> None:
    parameters = torch.tensor([0.0, 1.0, -1.0, -1e4, 0.0, 3.0, -1e3, 0.0, 9.0]).reshape(1, 9, 1, 1).requires_grad_()
    p = mixture(parameters, 1, 3, 1e-3)
    low = torch.full((1, 1, 1, 1), place)
    density = log_bin_density(p, low, low + max(width, abs(place) * 1e-6))
    density.sum().backward()
    assert torch.isfinite(density).all()
    assert parameters.grad is not None
    assert torch.isfinite(parameters.grad).all()


def test_the_probability_of_a_grey_value_does_not_grow_without_bound() -> None:
    low, high = torch.full((1, 1, 1, 1), -0.5), torch.full((1, 1, 1, 1), 0.5)
    narrow = mixture(torch.tensor([0.0, 0.0, -1e4]).reshape(1, 3, 1, 1), 1, 1, 1e-9)
    assert float(log_likelihood(narrow, torch.zeros(1, 1, 1, 1))) > 19
    assert float(log_bin_density(narrow, low, high)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("value", [-1e30, -1e4, -100.0, 0.0, 100.0, 1e4])
def test_scales_and_stds_have_floors_and_densities_stay_finite(value: float) -> None:
    p = mixture(torch.full([1, 9, 4, 4], value), 1, 3, 0.03)
    q = gaussian(torch.full([1, 6, 4, 4], value), 1e-3)
    assert p.std.min() >= 0.03
    assert q.std.min() >= 1e-3
    assert torch.isfinite(log_likelihood(p, torch.zeros(1, 1, 4, 4))).all() or abs(value) > 1e10
    assert torch.isfinite(kl_divergence(q, gaussian(torch.zeros(1, 6, 1, 1), 1e-3))).all() or abs(value) > 1e10


def test_densities_are_float32_whatever_the_precision_around_them() -> None:
    parameters = torch.randn(1, 9, 4, 4, dtype=torch.bfloat16)
    p, q = mixture(parameters, 1, 3, 0.03), gaussian(torch.randn(1, 6, 4, 4, dtype=torch.bfloat16), 1e-3)
    found = [*p, *q, log_likelihood(p, torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16)), kl_divergence(q, q)]
    assert {t.dtype for t in found} == {torch.float32}


def test_bfloat16_leaves_grey_values_near_20000_fine() -> None:
    far = scaling().moved([0.25], [20_000.0])  # std of 5 grey values
    net = model(few_features(), scaled=far)
    x = 20_000 + grey(1, 1, 24, 24) / 4
    exact = net.posterior(x, 1, 0, [0, 0]).mean
    with torch.autocast("cpu", torch.bfloat16):
        rough = net.posterior(x, 1, 0, [0, 0]).mean
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 2.5  # half a std; the steps of bfloat16 itself are 128 there
    assert len(rough.unique()) > 50


SIZES = {1: [[1], [2], [37]], 2: [[1, 1], [1, 30], [3, 2], [33, 17]], 3: [[1, 1, 1], [3, 1, 5], [5, 9, 12]]}
WHOLE = ["tiny", "small", "base", "large"]
# volumes padded to the 128 px of base and large are the same code at a hundred times the cost
ANY_SIZE = [(name, d, s) for d, sizes in SIZES.items() for s in sizes for name in WHOLE[: 2 if d == 3 else 4]]


@pytest.mark.parametrize(("name", "n_dims", "size"), ANY_SIZE)
def test_any_size_from_one_pixel_up_goes_through_every_preset(name: str, n_dims: int, size: list[int]) -> None:
    config = few_features(name, n_dims=n_dims, n_features=2, n_code=2, n_latents=1, direct=True)
    net, x = model(config), grey(1, 1, *size)
    found = net.posterior(x, 2, 0, [0] * n_dims)
    for image in (found.mean, found.std, net.direct(x)):
        assert image.shape == x.shape
        assert torch.isfinite(image).all()


@pytest.mark.parametrize(("n_dims", "size"), [(d, s) for d, sizes in SIZES.items() for s in sizes])
def test_any_size_goes_through_the_blocks_of_imported_models(n_dims: int, size: list[int]) -> None:
    settings = {"n_features": 4, "n_code": 2, "n_latents": 1, "downsample": (True,) * 3, "direct": True}
    net, x = model(few_features("small", n_dims=n_dims, blocks="authors", **settings)), grey(1, 1, *size)
    for image in (net.posterior(x, 2, 0, [0] * n_dims).mean, net.direct(x)):
        assert image.shape == x.shape
        assert torch.isfinite(image).all()


@pytest.mark.parametrize("shape", [[7], [5, 6], [4, 3, 5]], ids=["1-D", "2-D", "3-D"])
def test_mirrored_borders_and_linear_upsampling_are_those_of_torch(shape: list[int]) -> None:
    x = grey(2, 3, *shape) / 100
    torch.testing.assert_close(mirrored(x), F.pad(x, [1, 1] * len(shape), mode="reflect"))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(shape)]
    found = LinearUpsample((2,) * len(shape))(x)
    torch.testing.assert_close(found, F.interpolate(x, scale_factor=2, mode=mode))


def test_a_batch_gives_what_its_images_give_alone() -> None:
    net, x = model(few_features()), grey(3, 1, 20, 24)
    alone = torch.cat([net.posterior(item, 2, 0, [0, 0]).mean for item in x.split(1)])
    torch.testing.assert_close(net.posterior(x, 2, 0, [0, 0]).mean, alone, rtol=1e-5, atol=5e-3)


def test_one_bottom_up_pass_serves_all_samples() -> None:
    net, x = model(few_features()), grey(1, 1, 20, 24)
    passes = []
    net.encoder.bottom_up.register_forward_hook(lambda *_: passes.append(1))
    net.posterior(x, 5, 0, [0, 0])
    assert len(passes) == 1
    maps = net.bottom_up(x)
    shared = [net.sample(x, maps, 3, k, [0, 0]) for k in range(3)]
    single = [net.sample(x, net.bottom_up(x), 3, k, [0, 0]) for k in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(shared, single, strict=True))


def test_the_posterior_moments_are_the_mean_and_std_of_its_samples() -> None:
    net, x = model(few_features(n_channels=2)), grey(1, 2, 20, 24)
    maps = net.bottom_up(x)
    samples = np.stack([net.sample(x, maps, 7, k, [0, 0]).detach().numpy() for k in range(6)]).astype(np.float64)
    found = net.posterior(x, 6, 7, [0, 0])
    np.testing.assert_allclose(found.mean.detach(), samples.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.std.detach(), samples.std(0), rtol=1e-3, atol=1e-3)
    assert samples.std(0).mean() > 0.1
    assert not net.posterior(x, 1, 7, [0, 0]).std.any()


@pytest.mark.parametrize(("factor", "offset"), [(3.0, -40.0), (0.01, 2.0)])
def test_the_result_follows_gain_and_offset_of_the_image(factor: float, offset: float) -> None:
    config = few_features(direct=True)
    net = model(config)
    moved = model(config, scaled=scaling().moved([factor], [offset]))
    x = grey(1, 1, 20, 24)
    for run in (lambda m, x: m.posterior(x, 2, 0, [0, 0]).mean, lambda m, x: m.direct(x)):
        expected = factor * run(net, x) + offset
        torch.testing.assert_close(run(moved, factor * x + offset), expected, rtol=1e-4, atol=2e-3 * factor)


@pytest.mark.parametrize(("name", "blocks"), [("tiny", "ours"), ("small", "ours"), ("small", "authors")])
def test_nothing_beyond_the_receptive_radius_matters(name: str, blocks: str) -> None:
    config = few_features(name, downsample=(True, True), noise_axis="y", blocks=blocks)
    net, radius = model(config).double(), max(receptive_radius(config))
    side = (2 * radius + 24) // 4 * 4
    x = grey(1, 1, side, side).double().requires_grad_()
    maps = net.encoder.bottom_up(x)
    eps = [torch.zeros_like(m[:, : config.n_latents]) for m in maps]
    code = net.encoder.top_down(maps, eps, False).code
    at = radius + 10
    net.signal_decoder(code)[0, 0, at, at].backward()
    assert x.grad is not None
    seen = torch.nonzero(x.grad[0, 0])
    assert (seen - at).abs().max() <= radius
    assert (seen - at).abs().max() > radius // 2  # the bound is no far cry
