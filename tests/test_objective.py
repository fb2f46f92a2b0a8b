"""The loss is what its formula says, and each of its terms teaches its own networks alone."""

import pytest
import torch
from models import few_features, grey, model
from torch import Generator, Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence
from torch.nn import functional as F

from cosdd_zoo.config import Likelihood
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.networks.likelihood import Mixture, gaussian, log_likelihood
from cosdd_zoo.training.objective import Detector, Losses, losses

STEP = torch.ones(1, 1, 1, 1)


def loss_of(
    net: Cosdd,
    x: Tensor,
    step: Tensor = STEP,
    seed: int = 0,
    likelihood: Likelihood = "dequantised",
    detector: Detector | None = None,
) -> Losses:
    nothing = torch.full_like(step, torch.inf)
    detector = detector or Detector(step, nothing, nothing, likelihood)
    return losses(net, x, detector, [Generator().manual_seed(seed + i) for i in range(len(x))])


def taught(net: Cosdd, loss: Tensor) -> set[str]:
    """The parts that get a gradient."""
    net.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name
        for name, part in net.named_children()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    }


@pytest.mark.parametrize(
    ("term", "parts"),
    [("elbo", {"encoder", "ar_decoder"}), ("signal", {"signal_decoder"}), ("direct", {"direct_denoiser"})],
)
def test_each_term_teaches_its_own_networks_alone(term: str, parts: set[str]) -> None:
    net = model(few_features(direct=True, downsample=(True, True)))
    assert taught(net, getattr(loss_of(net, grey(2, 1, 16, 16)), term)) == parts


def test_the_total_teaches_every_parameter() -> None:
    net = model(few_features(direct=True, downsample=(True, True)))
    loss_of(net, grey(2, 1, 16, 16)).total.backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def seen_by_the_networks(net: Cosdd, x: Tensor, step: Tensor) -> Tensor:
    """x as it comes to the VAE, in grey values."""
    seen = []
    handle = net.normalise.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    loss_of(net, x, step)
    handle.remove()
    return seen[0]


def test_integers_get_uniform_noise_of_their_quantisation_step_and_others_none() -> None:
    net, x = model(few_features(n_channels=3)), grey(2, 3, 32, 32)
    step = torch.tensor([1.0, 16.0, 0.0]).reshape(1, 3, 1, 1)
    added = seen_by_the_networks(net, x, step) - x
    largest = added.abs().amax(dim=(0, 2, 3))
    assert (largest <= step.flatten() / 2 + 1e-4).all()  # half a step, and float32's rounding
    assert (largest >= 0.49 * step.flatten()).all()
    assert added[:, 1].std() == pytest.approx(16 / 12**0.5, rel=0.05)
    assert torch.equal(added[:, 2], torch.zeros_like(added[:, 2]))


def test_the_losses_are_those_of_the_formula() -> None:
    net = model(few_features(direct=True, downsample=(True,)))
    x = grey(3, 1, 8, 12)
    found = loss_of(net, x, 4 * STEP, seed=3)

    noise = [Generator().manual_seed(3 + i) for i in range(3)]
    v = net.normalise(x + 4 * (torch.stack([torch.rand(1, 8, 12, generator=g) for g in noise]) - 0.5))
    maps = net.encoder.bottom_up(v)
    eps = torch.stack([torch.randn(3, 4, 6, generator=g) for g in noise])
    q = gaussian(net.encoder.top.posterior(maps[0]), net.encoder.top.min_std)
    p = gaussian(net.encoder.top.prior.expand(3, -1, 4, 6), net.encoder.top.min_std)
    code = net.encoder.top_down(maps, [eps], False).code
    predicted = net.ar_decoder(v, code)
    weight, mean, std = (part.movedim(2, -1) for part in predicted)
    nll = -MixtureSameFamily(Categorical(logits=weight), Normal(mean, std)).log_prob(v).mean()
    y, s = (x - net.normalise.mean) / net.normalise.std, net.signal_decoder(code)
    assert net.direct_denoiser is not None
    torch.testing.assert_close(found.nll, nll)
    torch.testing.assert_close(found.kl, (kl_divergence(Normal(*q), Normal(*p)).sum() / (3 * 8 * 12)).reshape(1))
    torch.testing.assert_close(found.signal, F.mse_loss(s, y))
    torch.testing.assert_close(found.direct, F.mse_loss(net.direct_denoiser(v), s))
    torch.testing.assert_close(found.total, found.nll + found.kl.sum() + found.signal + found.direct)


def test_the_likelihood_of_integers_is_that_of_their_bins_and_of_others_a_density() -> None:
    net = model(few_features(n_channels=2, noise_axis="y"))
    net.ar_decoder.to_mixture.weight.data.mul_(0.02)  # no pixel so unlikely that the expected value is inexact
    x = grey(2, 2, 16, 24).round()
    x[:, 1] += 0.25
    step = torch.tensor([8.0, 0.0]).reshape(1, 2, 1, 1)
    predicted: list[Mixture] = []
    net.ar_decoder.register_forward_hook(lambda _, __, output: predicted.append(output))
    found = loss_of(net, x, step, likelihood="bins")
    weight, mean, std = (part.movedim(2, -1).double() for part in predicted[0])
    v, low, high = (net.normalise(x + d).mT.double() for d in (0.0, -step / 2, step / 2))
    cdf = [(weight.exp() * Normal(mean, std).cdf(edge.unsqueeze(-1))).sum(-1) for edge in (low, high)]
    bins = torch.log((cdf[1] - cdf[0])[:, 0] / (high - low)[:, 0])
    density = MixtureSameFamily(Categorical(logits=weight), Normal(mean, std)).log_prob(v)[:, 1]
    expected = -torch.cat([bins.flatten(), density.flatten()]).mean()
    torch.testing.assert_close(found.nll.double(), expected, rtol=1e-4, atol=1e-4)


def test_hot_and_dead_pixels_count_in_no_loss_and_saturated_ones_in_no_likelihood() -> None:
    net = model(few_features(noise_axis="y"))
    x = grey(2, 1, 16, 32)
    x[0, 0, 3, 5], x[1, 0, 8, 9], x[1, 0, 12, 2] = 5000.0, -4000.0, 400.0
    knows = Detector(0 * STEP, 400.0 * STEP, 20.0 * STEP, "density")
    found, all_counted = loss_of(net, x, detector=knows), loss_of(net, x, 0 * STEP, likelihood="density")
    predicted: list[Tensor] = []
    net.signal_decoder.register_forward_hook(lambda _, __, output: predicted.append(output))
    net.ar_decoder.register_forward_hook(
        lambda _, arguments, output: predicted.append(log_likelihood(output, arguments[0]))
    )
    loss_of(net, x, detector=knows)
    log_p, s = (part.mT for part in predicted)
    counted = torch.ones_like(x, dtype=torch.bool)
    counted[0, 0, 3, 5] = counted[1, 0, 8, 9] = False
    error = (s - net.normalise.linear(x)) ** 2
    torch.testing.assert_close(found.signal, (error * counted).mean())
    counted[1, 0, 12, 2] = False
    torch.testing.assert_close(found.nll, -(log_p * counted).mean())
    assert found.signal < 0.5 * all_counted.signal


def test_the_kl_is_a_figure_per_channel_and_pixel() -> None:
    net = model(few_features(downsample=(True, True)))
    once, thrice = grey(1, 1, 16, 16), grey(1, 1, 16, 16).repeat(3, 1, 2, 2)
    net.encoder.top.posterior.weight.data.zero_()
    torch.testing.assert_close(loss_of(net, thrice).kl[0], loss_of(net, once).kl[0])


def test_crops_of_a_size_that_the_stride_does_not_divide_count_their_own_pixels_alone() -> None:
    net = model(few_features(direct=True))
    x = grey(2, 1, 19, 21)
    found = loss_of(net, x)
    assert all(torch.isfinite(value).all() for value in found)
    # all losses of a net that predicts nothing are known: those of zeros against the image's own pixels
    for part in (net.signal_decoder, net.direct_denoiser):
        for parameter in part.parameters():
            parameter.data.zero_()
    found = loss_of(net, x)
    assert found.signal.item() == pytest.approx((net.normalise.linear(x) ** 2).mean().item())
    assert found.direct.item() == 0


def test_without_a_direct_denoiser_its_loss_is_zero() -> None:
    assert float(loss_of(model(few_features()), grey(2, 1, 16, 16)).direct) == 0
