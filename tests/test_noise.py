"""The noise that is measured is the noise that is there."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from models import few_features, grey, model
from torch import Generator, Tensor

from cosdd_zoo.config import TrainingConfig
from cosdd_zoo.data.simulate.gaussian import unit_blur
from cosdd_zoo.networks.ar_decoder import ARDecoder
from cosdd_zoo.noise.autocorrelation import autocorrelation, beyond_axis
from cosdd_zoo.noise.sampling import Draws, draws, sample_lines
from cosdd_zoo.noise.surprise import fits, scored
from cosdd_zoo.noise.synthesis import on_levels, seen_step, synthesise


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


def one_after_the_other(
    decoder: ARDecoder, code: Tensor, random: Draws, held: Callable[[Tensor], Tensor] = torch.clone
) -> Tensor:
    """The definition: the whole decoder for every pixel, with what was drawn so far."""
    v = torch.zeros_like(random.u)
    for i in range(v.size(-1)):
        p = decoder(held(v), code)
        weight, mean, std = (part[..., i].movedim(2, -1) for part in p)
        k = torch.searchsorted(weight.exp().cumsum(-1), random.u[..., i, None].contiguous()).clamp(
            max=weight.size(-1) - 1
        )
        v[..., i] = mean.gather(-1, k)[..., 0] + std.gather(-1, k)[..., 0] * random.eps[..., i]
    return v


@pytest.mark.parametrize("shape", [(23,), (4, 23), (2, 3, 23)], ids=["1-D", "2-D", "3-D"])
@pytest.mark.parametrize(
    "settings",
    [
        {"ar_code_maps": 3, "receptive_field_px": 7},
        {"ar_code_maps": 0, "ar_blocks": 3, "receptive_field_px": 11},
        {"ar_code_maps": 0, "ar_blocks": 8, "receptive_field_px": 40},
        {"noise_axis": "none"},
    ],
    ids=["one wide block", "dilated", "longer than the line", "no noise axis"],
)
def test_lines_drawn_in_one_go_are_those_drawn_pixel_by_pixel(
    shape: tuple[int, ...], settings: dict[str, object]
) -> None:
    config = few_features(n_dims=len(shape), n_channels=2, **settings)
    decoder = model(config).ar_decoder
    generator = Generator().manual_seed(0)
    code = torch.randn([2, config.n_code, *shape], generator=generator)
    random = draws([2, 2, *shape], torch.device("cpu"), 0)
    with torch.no_grad():
        expected = one_after_the_other(decoder, code, random)
        of_whole = one_after_the_other(decoder, code, random, torch.round)
    torch.testing.assert_close(sample_lines(decoder, code, random), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sample_lines(decoder, code, random, torch.round), of_whole, rtol=1e-4, atol=1e-4)


def test_drawn_noise_has_the_correlation_of_the_decoder_that_it_was_drawn_from() -> None:
    decoder = ARDecoder(few_features(ar_code_maps=1, ar_blocks=2, receptive_field_px=3, ar_features=2, n_mixture=1))
    for parameter in decoder.parameters():
        parameter.data.zero_()
    # v_i = 0.7 v_i-1 + eps_i sqrt(1 - 0.7^2): relu(0.7 v) - relu(-0.7 v)
    decoder.first.causal.conv.weight.data[:, 0, -1] = torch.tensor([0.7, -0.7])
    decoder.first.out.weight.data[:, :, 0] = torch.eye(2)
    decoder.to_mixture.weight.data[1, :, 0] = torch.tensor([1.0, -1.0])
    scale = np.sqrt(1 - 0.7**2) - decoder.min_scale
    decoder.to_mixture.bias.data[2] = float(np.log(np.expm1(scale)))
    random = draws([1, 1, 400, 400], torch.device("cpu"), 0)
    found = autocorrelation(sample_lines(decoder, torch.zeros(1, 5, 400, 400), random)[0].numpy(), 4)
    assert found.along("x") == pytest.approx(0.7 ** np.arange(1, 5), abs=0.03)
    assert found.along("y") == pytest.approx(np.zeros(4), abs=0.02)


@pytest.mark.parametrize("n_maps", [0, 3], ids=["dilated", "one wide block"])
def test_a_pixel_of_drawn_noise_changes_the_later_pixels_of_its_line_and_channel_and_nothing_else(n_maps: int) -> None:
    config = few_features(n_channels=2, receptive_field_px=4, ar_code_maps=n_maps, ar_blocks=3, ar_features=16)
    decoder = model(config).ar_decoder
    generator = Generator().manual_seed(0)
    code = torch.randn([1, config.n_code, 3, 20], generator=generator)
    random = draws([1, 2, 3, 20], torch.device("cpu"), 0)
    other = random.eps.clone()
    other[0, 1, 2, 7] += 1.0
    changed = sample_lines(decoder, code, random) != sample_lines(decoder, code, random._replace(eps=other))
    assert {tuple(at[:3]) for at in torch.nonzero(changed).tolist()} == {(0, 1, 2)}
    # pixels after 11 do not see pixel 7, but what came of it
    assert torch.nonzero(changed[0, 1, 2]).flatten().tolist()[:3] == [7, 8, 9]


@pytest.mark.parametrize("stabilise", [True, False])
def test_the_normalisation_has_an_inverse(stabilise: bool) -> None:
    net = model(few_features())
    net.normalise.stabilise = stabilise
    x = torch.linspace(-3000, 60_000, 1001).reshape(1, 1, 7, 143)
    torch.testing.assert_close(net.normalise.inverse(net.normalise(x)), x, rtol=1e-5, atol=0.02)


@pytest.mark.parametrize("stabilise", [True, False])
def test_every_grey_value_of_a_16_bit_camera_survives_dequantisation_normalisation_and_back(stabilise: bool) -> None:
    net = model(few_features())
    net.normalise.stabilise = stabilise
    x = torch.arange(0, 65536, 3, dtype=torch.float32).reshape(1, 1, 1, -1)
    added = 3.0 * 0.98 * (torch.rand(x.shape, generator=Generator().manual_seed(0)) - 0.5)
    assert torch.equal(on_levels(net.normalise.inverse(net.normalise(x + added)), [3.0]), x)


def test_channels_without_a_quantisation_step_keep_their_values() -> None:
    x = torch.tensor([[1.3, 2.6], [1.3, 2.6]]).reshape(1, 2, 1, 2)
    assert torch.equal(on_levels(x, [0.0, 2.0]).flatten(), torch.tensor([1.3, 2.6, 2.0, 2.0]))


def test_a_model_that_saw_whole_grey_values_draws_each_pixel_after_whole_ones() -> None:
    """Shown the unrounded ones, the drawn background was a tenth of a grey value too dark."""
    assert seen_step(TrainingConfig(likelihood="bins"), [3.0, 0.0]) == [3.0, 0.0]
    assert seen_step(TrainingConfig(likelihood="dequantised"), [3.0, 0.0]) is None
    net, x = model(few_features(n_channels=2, noise_axis="y")), grey(1, 2, 9, 11)
    plain, found = (synthesise(net, x, 0, seen=seen) for seen in (None, [3.0, 0.0]))
    assert torch.equal(found.signal, plain.signal)
    assert torch.equal(found.noisy[:, :, 0], plain.noisy[:, :, 0])  # nothing is before the first line
    assert not torch.equal(found.noisy[:, 0, 1:], plain.noisy[:, 0, 1:])
    torch.testing.assert_close(found.noisy[:, 1], plain.noisy[:, 1])  # continuous


@pytest.mark.parametrize(("axis", "n_dims"), [("y", 2), ("y", 3), ("z", 3)])
def test_along_another_noise_axis_the_synthetic_image_is_that_of_the_transposed_one(axis: str, n_dims: int) -> None:
    settings = {"n_dims": n_dims, "n_downsample_z": 4}
    dim = {"y": -2, "z": -3}[axis]
    x = grey(1, 1, *[7, 10, 13][-n_dims:])
    expected = synthesise(model(few_features(noise_axis="x", **settings)), x, 0)
    turned = model(few_features(noise_axis=axis, **settings))
    found = synthesise(turned, x.transpose(dim, -1), 0)
    torch.testing.assert_close(found.noisy, expected.noisy.transpose(dim, -1))
    torch.testing.assert_close(found.signal, expected.signal.transpose(dim, -1))


@pytest.mark.parametrize("shape", [(37,), (5, 9, 11)], ids=["1-D", "3-D"])
def test_synthetic_lines_and_volumes_are_a_signal_plus_noise(shape: tuple[int, ...]) -> None:
    x = grey(2, 1, *shape)
    made = synthesise(model(few_features(n_dims=len(shape))), x, 0)
    assert made.noisy.shape == x.shape
    torch.testing.assert_close(made.signal + made.noise, made.noisy)


@pytest.mark.parametrize("axis", ["x", "y", "none"])
def test_a_synthetic_image_has_the_size_and_grey_values_of_its_own(axis: str) -> None:
    net = model(few_features(noise_axis=axis, n_channels=2))
    x = grey(1, 2, 19, 26)
    first = synthesise(net, x, 0)
    assert first.noisy.shape == first.signal.shape == x.shape
    assert not first.noisy.requires_grad
    assert torch.equal(first.noisy, synthesise(net, x, 0).noisy)
    assert not torch.equal(first.noisy, synthesise(net, x, 1).noisy)
    torch.testing.assert_close(first.signal, net.posterior(x, 1, 0, [0, 0]).mean)


@pytest.mark.parametrize("step", [0.0, 1.0], ids=["continuous", "integer, also clipped at both ends"])
def test_grey_values_drawn_from_a_likelihood_fall_evenly_into_its_quantiles(step: float) -> None:
    net = model(few_features(noise_axis="none"))
    for parameter in net.ar_decoder.parameters():
        parameter.data.zero_()
    net.ar_decoder._spread_means(1, net.ar_decoder.n_mixture)
    v = sample_lines(net.ar_decoder, torch.zeros(1, 5, 128, 256), draws([1, 1, 128, 256], torch.device("cpu"), 3))
    x = net.normalise.inverse(v)
    if step:
        low, high = (float(torch.round(torch.quantile(x, q) / step) * step) for q in (0.3, 0.75))
        x = (torch.round(x / step) * step).clamp(low, high)
    found = scored(net, x, [step])
    assert np.abs(np.sort(found.u.numpy(), axis=None) - np.linspace(0, 1, x.numel())).max() < 0.01
    assert found.is_known.mean() < 0.5 if step else found.is_known.all()
    (fit,) = fits(net, x[0].numpy().astype(np.float64), [step], "x")
    assert fit.off < 0.01 and abs(fit.along) < 0.02 and abs(fit.across) < 0.02
    wider = scored(net, net.normalise.inverse(1.3 * v), [0.0])
    assert np.abs(np.sort(wider.u.numpy(), axis=None) - np.linspace(0, 1, x.numel())).max() > 0.03
