"""`cosdd-zoo report`: a good model passes every check, and each of a row of broken ones is told by its own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from models import few_features, model, scaling
from numpy.typing import NDArray
from torch import Tensor, nn

from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint
from cosdd_zoo.config import preset
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.simulate import NOISES, photon_stack
from cosdd_zoo.data.simulate.scenes import SCENES
from cosdd_zoo.errors import CheckpointError, ConfigError, ImageError
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.networks.ladder_vae import Level
from cosdd_zoo.noise.inspection import noise_of
from cosdd_zoo.noise.synthesis import add_noise
from cosdd_zoo.report.checks import of_channel
from cosdd_zoo.report.lights import Check
from cosdd_zoo.report.looked_at import Amount, items_of, repeats_in
from cosdd_zoo.report.measures import (
    balance_of,
    bias_of,
    correlation_of,
    covariance_of,
    coverage,
    explained,
    noise_kept,
    signal_lost,
    variance_of,
)  # fmt: skip
from cosdd_zoo.report.reported import Reported, report, report_on
from cosdd_zoo.report.run_checks import of_training

KEPT = Path(__file__).parent / "kept"
FEW = Amount(n_items=2, side_px=192, n_samples=16)
FEWER = Amount(n_items=1, side_px=160, n_samples=12)
Images = NDArray[Any]


def frames(seed: int, exposure: int = 0) -> tuple[Images, Images]:
    """Noisy and true, [2, 192, 192], of scenes that the kept models have not seen; another exposure is a repeat."""
    rng = np.random.default_rng(seed)
    stack = photon_stack(NOISES["stripes"](), np.stack([SCENES["filaments"](192, rng) for _ in range(2)]), exposure)
    return stack.noisy, stack.signal


NOISY, TRUTH = frames(1000)
AGAIN = frames(1000, exposure=1)[0]


def reported(
    kept: str = "stripes",
    change: Callable[[Cosdd], None] | None = None,
    noisy: Images = NOISY,
    reference: Images | None = None,
    repeat: Images | None = None,
    amount: Amount = FEW,
) -> Reported:
    found = load_checkpoint(KEPT / f"{kept}.safetensors")

    class Changed(Checkpoint):
        def model(self) -> Cosdd:
            net = Checkpoint.model(self)
            if change is not None:
                change(net)
            return net

    given = [[] if v is None else [from_array(v, "TYX")] for v in (noisy, reference, repeat)]
    return report_on(Changed(*found), Path("run"), *given, amount, "cpu")


def lights(found: Reported) -> dict[str, str]:
    return {c.key: c.light for c in found.facts.checks + found.facts.channels[0].checks}


def check(found: Reported, key: str) -> Check:
    return next(c for c in found.facts.checks + found.facts.channels[0].checks if c.key == key)


@pytest.fixture(scope="module")
def good() -> Reported:
    """Of a trained model, with the truth and a second frame at hand."""
    return reported(reference=TRUTH, repeat=AGAIN)


def test_a_trained_model_passes_every_check(good: Reported) -> None:
    assert set(lights(good).values()) == {"good"}, [c for c in good.facts.channels[0].checks if c.light != "good"]
    assert good.facts.light == "good" and good.facts.other_kind == []
    assert {c.key for c in good.facts.channels[0].checks} == {
        "noise_axis", "noise_model", "likelihood", "signal_in_residual", "spots", "noise_left", "intensity", "samples",
        "uncertainty_reference", "repeats", "uncertainty_repeat",
    }  # fmt: skip


def collapsed(net: Cosdd) -> None:
    """The latents come from the prior, whatever the image is."""
    ladder = net.encoder

    def top(bottom_up: Tensor, eps: Tensor, with_kl: bool) -> Level:
        return Level(ladder.top.imagined(eps.expand(len(bottom_up), *eps.shape[1:])), torch.zeros([]))

    def level(layer: Any) -> Callable[..., Level]:
        return lambda above, bottom_up, eps, with_kl: Level(layer.imagined(above, eps), torch.zeros([]))

    ladder.top.forward = top  # type: ignore[method-assign]
    for layer in ladder.levels:
        layer.forward = level(layer)  # type: ignore[method-assign]


class Blurred(nn.Module):
    """The signal decoder's image, blurred by a Gaussian of 1.5 px."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        kernel = torch.exp(-0.5 * (torch.arange(-5.0, 6.0) / 1.5) ** 2)
        self.kernel = kernel / kernel.sum()

    def forward(self, code: Tensor) -> Tensor:
        y = F.pad(self.inner(code), (5, 5, 5, 5), mode="replicate")
        return F.conv2d(F.conv2d(y, self.kernel.view(1, 1, 1, -1)), self.kernel.view(1, 1, -1, 1))


def over_smoothed(net: Cosdd) -> None:
    net.signal_decoder = Blurred(net.signal_decoder)  # type: ignore[assignment]


def decoding(change: Callable[[Cosdd, Tensor, list[Tensor], list[Tensor], Callable[..., Tensor]], Tensor]) -> Any:
    """A break in how latents become an image."""

    def broken(net: Cosdd) -> None:
        plain = net.decoded
        net.decoded = MethodType(  # type: ignore[method-assign]
            lambda self, x, maps, eps: change(self, x, maps, eps, plain), net
        )

    return broken


def noise_left_in(net: Cosdd) -> None:
    decoding(lambda net, x, maps, eps, plain: 0.75 * plain(x, maps, eps) + 0.25 * x)(net)


def dimmed(net: Cosdd) -> None:
    """Brightness above the pedestal is a tenth too small."""
    decoding(lambda net, x, maps, eps, plain: 100 + 0.9 * (plain(x, maps, eps) - 100))(net)


def unsteady(net: Cosdd) -> None:
    """Samples are four times as far apart."""

    def change(net: Cosdd, x: Tensor, maps: list[Tensor], eps: list[Tensor], plain: Callable[..., Tensor]) -> Tensor:
        middle = plain(x, maps, [0 * e for e in eps])
        return middle + 4 * (plain(x, maps, eps) - middle)

    decoding(change)(net)


def too_sure(net: Cosdd) -> None:
    decoding(lambda net, x, maps, eps, plain: plain(x, maps, [0.15 * e for e in eps]))(net)


def wrong_noise(net: Cosdd) -> None:
    """Mixture components are wider than the noise."""
    decoder, n = net.ar_decoder, net.ar_decoder.n_mixture
    with torch.no_grad():
        decoder.to_mixture.bias.view(1, 3, n)[:, 2] += 0.7  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "told_by"),
    [
        (collapsed, ["latents", "signal_in_residual", "noise_left"]),
        (over_smoothed, ["signal_in_residual"]),
        (noise_left_in, ["noise_left"]),
        (dimmed, ["intensity"]),
        (unsteady, ["samples"]),
        (wrong_noise, ["noise_model", "likelihood"]),
    ],
)
def test_a_broken_model_is_told_by_the_checks_of_what_is_broken(
    change: Callable[[Cosdd], None], told_by: list[str]
) -> None:
    found = reported(change=change)
    assert {key: lights(found)[key] for key in told_by} == dict.fromkeys(told_by, "bad")
    assert found.facts.light == "bad" and "Do not rely" in found.facts.verdict
    assert all(check(found, key).advice for key in told_by)


def test_a_model_of_the_wrong_axis_is_told_and_which_one_is_right() -> None:
    found = reported("wrong-axis")
    assert lights(found)["noise_axis"] == "bad" and lights(found)["noise_left"] == "bad"
    assert "--noise-axis x" in check(found, "noise_axis").advice


def test_a_posterior_that_is_too_sure_is_told_where_the_truth_is_known(good: Reported) -> None:
    found = reported(change=too_sure, reference=TRUTH)
    assert lights(found)["uncertainty_reference"] == "bad"
    assert check(good, "uncertainty_reference").figures["coverage"] > 0.85


def test_two_frames_of_the_same_thing_tell_signal_that_was_lost_and_noise_that_was_kept(good: Reported) -> None:
    lost = check(reported(change=over_smoothed, repeat=AGAIN, amount=FEWER), "repeats")
    kept = check(reported(change=noise_left_in, repeat=AGAIN, amount=FEWER), "repeats").figures["noise_kept"]
    fine = check(good, "repeats").figures
    assert lost.light != "good" and lost.figures["signal_lost"] > fine["signal_lost"] + 0.08
    assert kept > 0.0625 - 0.01 and fine["noise_kept"] < 0.05  # a fourth of the noise has a 16th of its variance


def test_the_psnr_told_from_a_second_frame_is_that_of_the_truth(good: Reported) -> None:
    own = good.facts.channels[0]
    mse = float(np.mean((good.evidence[0].mean - good.evidence[0].reference) ** 2))  # type: ignore[operator]
    told = 10 ** (-own.repeat["psnr_db"] / 10) * float(np.ptp(good.evidence[0].mean)) ** 2
    assert told == pytest.approx(mse, rel=0.25)
    assert own.reference["psnr_db"] > own.reference["noisy_psnr_db"] + 8
    assert own.reference["ssim"] > own.reference["noisy_ssim"]
    assert own.frc["result and reference"] < 8


def test_a_reference_of_another_exposure_is_brought_to_the_images_scale(good: Reported) -> None:
    other = reported(reference=3 * TRUTH + 50, amount=FEWER)
    same = reported(reference=TRUTH, amount=FEWER)
    assert same.facts.reference_scale == [(1.0, 0.0)]
    a, b = other.facts.reference_scale[0]
    assert a == pytest.approx(1 / 3, rel=0.05) and b == pytest.approx(-50 / 3, abs=6)
    psnrs = [r.facts.channels[0].reference["psnr_db"] for r in (other, same)]
    assert psnrs[0] == pytest.approx(psnrs[1], abs=0.3)


def test_frames_that_show_the_same_are_found_and_others_are_not() -> None:
    same = np.stack([NOISY[0], AGAIN[0]])
    assert len(repeats_in([from_array(same, "TYX")], 2, FEW)) == 2
    assert repeats_in([from_array(NOISY, "TYX")], 2, FEW) == []
    assert repeats_in([from_array(same, "ZYX")], 2, FEW) == []  # another depth
    assert repeats_in([from_array(NOISY[0], "YX")], 2, FEW) == []
    found = reported(noisy=same, amount=FEWER)
    assert found.facts.repeats == "found" and "repeats" in lights(found)


def test_images_of_another_kind_than_the_training_s_are_told() -> None:
    turned = reported(noisy=NOISY.transpose(0, 2, 1).copy())
    assert any("turned by 90 degrees" in said for said in turned.facts.other_kind)


def test_the_evidence_is_the_same_each_time() -> None:
    first, again = (reported(reference=TRUTH, amount=FEWER).facts.model_dump() for _ in range(2))
    assert first == again


FACTS: dict[str, Any] = {"steps": 1000, "skipped_steps": 0, "collapsed": False}
FLAT = [(float(s), 1.0 + 0.1 * np.exp(-s / 10)) for s in range(0, 101, 10)]


def of(facts: dict[str, Any], validation: Sequence[tuple[float, float]] = FLAT, kl: float = 0.05) -> dict[str, str]:
    return {c.key: c.light for c in of_training(facts, validation, kl)}


def test_a_training_that_was_cut_short_or_stumbled_is_told() -> None:
    assert of(FACTS) == {"latents": "good", "training": "good"}
    assert of(FACTS, FLAT[:4])["training"] == "fair"
    assert of({**FACTS, "skipped_steps": 50})["training"] == "fair"
    assert of({**FACTS, "skipped_steps": 500})["training"] == "bad"
    assert of(FACTS, [])["latents"] == "good"  # a checkpoint alone


def test_latents_that_hold_nothing_are_told_by_the_training_or_by_the_images() -> None:
    assert of({**FACTS, "collapsed": True})["latents"] == "bad"
    assert of(FACTS, kl=0.001)["latents"] == "bad"
    assert of(FACTS, kl=0.006)["latents"] == "fair"


def test_an_interval_covers_the_share_of_ranks_that_lie_within_it() -> None:
    even = np.ones(17, np.int64)
    for share in (0.1, 0.5, 0.9):
        assert coverage(even, share) == pytest.approx(share)
    middle = np.zeros(17, np.int64)
    middle[8] = 10
    assert coverage(middle, 0.9) == 1.0
    ends = np.zeros(17, np.int64)
    ends[[0, 16]] = 5
    assert coverage(ends, 0.8) == 0.0


def test_the_balance_of_the_right_posterior_is_zero_whatever_the_noise_is_correlated_like() -> None:
    rng = np.random.default_rng(0)
    n, power = 256, 4.0 / (1 + (np.abs(np.fft.fftfreq(256)) * 20) ** 2)
    signal = np.fft.ifft(np.fft.fft(rng.standard_normal((n, n))) * np.sqrt(power)).real
    white = rng.standard_normal((n, n + 1))
    noise = (white[:, 1:] + 0.7 * white[:, :-1]) / np.sqrt(1 + 0.7**2)
    spectrum = np.abs(1 + 0.7 * np.exp(-2j * np.pi * np.fft.fftfreq(n))) ** 2 / (1 + 0.7**2)
    gain = power / (power + spectrum)  # the linear filter of least error is the posterior's mean
    mean = np.fft.ifft(np.fft.fft(signal + noise) * gain).real
    std = np.sqrt(np.mean(gain * spectrum))
    x = signal + noise
    assert balance_of(x - mean, np.full_like(x, std), 1.0) == pytest.approx(0, abs=0.03)
    half = 0.5 * (x + mean)  # noise is left
    assert balance_of(x - half, np.full_like(x, std), 1.0) < -0.3
    assert balance_of(x - x.mean(), np.zeros_like(x), 1.0) > 0.3  # signal is lost


def gaussian_posterior(seed: int = 0) -> dict[str, Images]:
    """Fields whose posterior is known exactly: two noisy frames of a signal, their means, and a sample of the first."""
    rng = np.random.default_rng(seed)
    n = 256
    q = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    power = 0.02 / np.maximum(q, 1 / n) ** 2

    def field(spectrum: Images) -> Images:
        return np.asarray(np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) * np.sqrt(spectrum)).real)[None]

    def filtered(x: Images) -> Images:
        return np.asarray(np.fft.ifft2(np.fft.fft2(x) * power / (power + 1)).real)

    signal = field(power)
    x, again = (signal + rng.standard_normal((1, n, n)) for _ in range(2))
    return {
        "x": x, "mean": filtered(x), "again": again, "again_mean": filtered(again),
        "open": field(power / (power + 1)), "variance": np.array(np.mean(power / (power + 1))),
    }  # fmt: skip


def test_the_exact_posterior_of_a_fine_signal_is_not_taken_for_a_blur() -> None:
    g = gaussian_posterior()
    residual = g["x"] - g["mean"]
    assert explained(residual, g["mean"], np.zeros_like(residual)) > 0.3  # what cannot be known is missing in the mean
    assert explained(residual, g["mean"], g["open"]) < 0.01
    lost = signal_lost(residual, g["again"] - g["again_mean"], 1.0)
    kept = noise_kept(g["mean"], g["again_mean"], g["x"], g["again"])
    assert lost + kept == pytest.approx(float(g["variance"]), abs=0.01) and float(g["variance"]) > 0.15
    left = covariance_of(residual, "y") + covariance_of(g["open"], "y")
    assert left == pytest.approx([1, *[0] * 10], abs=0.02)


def test_a_small_object_that_was_removed_is_found_where_it_is(good: Reported) -> None:
    e = good.evidence[0]
    noise = noise_of(list(e.x), [False, False])
    assert next(c for c in of_channel(e, noise, "x").checks if c.key == "spots").light == "good"
    y, x = np.mgrid[:192, :192]
    spots = [(40, 60), (120, 33), (150, 160), (90, 100)]
    lost = sum(120 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * 1.5**2)) for a, b in spots)
    found = next(c for c in of_channel(e._replace(x=e.x + lost), noise, "x").checks if c.key == "spots")
    assert found.light == "bad" and found.figures["places"] == 8  # in both planes
    hit = e.x.copy()
    hit[0, 50, 50] = 5000
    assert next(c for c in of_channel(e._replace(x=hit), noise, "x").checks if c.key == "spots").light == "good"


def test_a_camera_s_offset_changes_nothing(good: Reported) -> None:
    found = load_checkpoint(KEPT / "stripes.safetensors")
    moved = found._replace(scaling=found.scaling.moved([1.0], [50000.0]), facts={"quantisation_step": [1.0]})
    plain = found._replace(facts={"quantisation_step": [1.0]})
    a, b = (
        report_on(c, Path("run"), [from_array(NOISY.astype(np.float64) + o, "TYX")], amount=FEWER, device="cpu")
        for c, o in ((plain, 0), (moved, 50000))
    )
    assert b.evidence[0].error == pytest.approx(a.evidence[0].error, rel=0.02)
    assert float(np.mean(b.evidence[0].std)) == pytest.approx(float(np.mean(a.evidence[0].std)), rel=0.01)


def test_the_spread_of_a_few_opposite_samples_is_that_of_many() -> None:
    few, many = (reported(amount=Amount(1, 96, n)).evidence[0].std for n in (4, 32))
    assert float(np.mean(few**2)) == pytest.approx(float(np.mean(many**2)), rel=0.06)


def test_too_few_pixels_are_said_to_be_too_few() -> None:
    found = reported(noisy=NOISY[:, :40, :40], amount=FEWER)
    assert set(lights(found).values()) <= {"unknown", "good", "fair"} and found.facts.light != "bad"
    assert "too few" in check(found, "likelihood").advice


def test_the_residual_of_a_blur_is_explained_by_the_result_and_noise_is_not() -> None:
    from cosdd_zoo.data.metrics import gaussian_blur

    noise = np.random.default_rng(0).standard_normal(TRUTH.shape)
    truth = (TRUTH - TRUTH.mean()) / TRUTH.std()
    blurred = np.stack([gaussian_blur(t, 1.5) for t in truth])
    assert explained(noise, truth, nothing := np.zeros_like(noise)) < 0.005
    assert explained(noise + truth - blurred, blurred, nothing) > 0.05
    assert explained(noise, nothing, nothing) == 0.0


def test_bias_against_intensity_is_not_fooled_by_pixels_chosen_for_their_noise() -> None:
    noise = 10 * np.random.default_rng(0).standard_normal((4, 256, 256))
    ramp = np.broadcast_to(np.linspace(0, 100, 256), (4, 256, 256))
    kept = ramp + 0.2 * noise  # a result with noise in it
    curve, error = bias_of(ramp + noise, kept)
    assert np.all(np.abs(curve.y) < 4 * error + 0.2)
    curve, error = bias_of(ramp + noise, 0.9 * ramp)
    assert curve.y[-1] == pytest.approx(9.5, abs=1) and np.all(np.diff(curve.y) > 0)


@pytest.mark.parametrize(
    ("shape", "settings"),
    [((2, 3, 64, 80), {"n_channels": 3}), ((1, 30, 40, 48), {"n_dims": 3, "noise_axis": "z"}),
     ((1, 6, 64, 48), {"n_dims": 3, "noise_axis": "y"}), ((2, 1, 64, 48), {"noise_axis": "none"})],
    ids=["three channels", "volume, noise along z", "volume, noise along y", "no noise axis"],
)  # fmt: skip
def test_any_model_of_planes_or_volumes_gets_a_report(shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    config = few_features(**settings)
    whole = preset("tiny").model_copy(update={"network": config})
    facts = {"dtype": "uint16", "quantisation_step": [1.0] * config.n_channels}
    found = Checkpoint(whole, scaling(config.n_channels), model(config).state_dict(), facts)
    image = (100 + 20 * np.random.default_rng(0).standard_normal(shape)).round().astype(np.uint16)
    axes = "TZYX" if config.n_dims == 3 else "TCYX"
    out = report_on(found, Path("run"), [from_array(image, axes)], amount=Amount(2, 64, 4), device="cpu")
    assert len(out.facts.channels) == config.n_channels
    assert out.facts.n_frames == out.evidence[0].x.shape[0]
    assert all(np.isfinite(e.x).all() and np.isfinite(e.std).all() for e in out.evidence)
    assert [c.name for c in out.facts.channels] == [f"channel {c}" for c in range(config.n_channels)]


LITTLE = Amount(n_items=3, side_px=64, n_samples=4)


def test_what_was_not_compared_is_not_said_to_be_alike() -> None:
    known = load_checkpoint(KEPT / "stripes.safetensors")
    bare = known._replace(facts={k: v for k, v in known.facts.items() if k != "profile"})
    images = [from_array(x, "YX") for x in (NOISY[0], NOISY[1])] * 5 + [from_array(np.rot90(NOISY[0]).copy(), "YX")]
    untold = report_on(bare, Path("run"), images[:1], amount=LITTLE, device="cpu")
    assert lights(untold)["kind"] == "unknown" and "nothing was compared" in check(untold, "kind").found
    alike = report_on(known, Path("run"), images[:1], amount=LITTLE, device="cpu")
    assert lights(alike)["kind"] == "good" and "pixel size" not in check(alike, "kind").found
    last = report_on(known, Path("run"), images, amount=LITTLE, device="cpu")  # the last one is among those looked at
    assert lights(last)["kind"] == "fair" and "turned by 90 degrees" in check(last, "kind").found


def test_references_go_by_name_in_whatever_order_they_are_given(tmp_path: Path) -> None:
    for n, name in enumerate(("f1", "f10")):
        for kind, stack in (("noisy", NOISY), ("gt", TRUTH)):
            tifffile.imwrite(tmp_path / f"{name}_{kind}.tif", stack[n])
    files = {kind: [tmp_path / f"{name}_{kind}.tif" for name in ("f1", "f10")] for kind in ("noisy", "gt")}
    run = KEPT / "stripes.safetensors"
    much: dict[str, Any] = {"n_samples": 4, "n_items": 2, "side_px": 64, "device": "cpu"}
    psnr, other = (
        report(run, files["noisy"][::way], reference=files["gt"], **much).facts.channels[0].reference["psnr_db"]
        for way in (1, -1)
    )
    assert psnr > 25 and other == pytest.approx(psnr, abs=0.5)


def test_too_little_to_tell_is_unknown() -> None:
    """Too few lines for an error of the mean, and too few pixels for the noise's axis."""
    rng = np.random.default_rng(0)
    stack = photon_stack(NOISES["stripes"](), SCENES["filaments"](600, rng)[None])
    known = load_checkpoint(KEPT / "stripes.safetensors")
    flat = report_on(
        known, Path("run"), [from_array(stack.noisy[0, :24], "YX")], amount=Amount(1, 600, 4), device="cpu"
    )
    assert lights(flat)["intensity"] == "unknown" and "cannot be told" in check(flat, "intensity").found
    found = reported(noisy=NOISY[:1, :30, :30], amount=Amount(1, 64, 4))
    assert "not correlated" not in check(found, "noise_axis").found
    assert lights(found)["noise_axis"] == "unknown"


def test_each_mistake_has_its_sentence(package: Path, tmp_path: Path) -> None:
    image = from_array(NOISY, "TYX")
    with pytest.raises(ImageError, match="There are 1 images and 2 references"):
        items_of([image], [image, image], [], 2, FEW)
    with pytest.raises(ImageError, match="give one of the same shape"):
        items_of([image], [from_array(TRUTH[:, :100], "TYX")], [], 2, FEW)
    with pytest.raises(ImageError, match="a report needs 23 px"):
        items_of([from_array(NOISY[:, :20], "TYX")], [], [], 2, FEW)
    with pytest.raises(ImageError, match="this model is of lines"):
        items_of([image], [], [], 1, FEW)
    with pytest.raises(ImageError, match="training images are not known"):
        report(KEPT / "stripes.safetensors")
    with pytest.raises(CheckpointError, match="no AR decoder"):
        report(package)
    deep = few_features(n_dims=3, noise_axis="z")
    whole = preset("tiny").model_copy(update={"network": deep})
    flat = Checkpoint(whole, scaling(), model(deep).state_dict(), {})
    with pytest.raises(ImageError, match="has 10 planes along z, the model's noise axis: 23 are needed"):
        report_on(flat, Path("run"), [from_array(np.zeros((10, 64, 64), np.uint16), "ZYX")], amount=Amount(1, 64, 4))
    with pytest.raises(ConfigError, match="give 4, 8, 12"):
        report(KEPT / "stripes.safetensors", NOISY, axes="TYX", n_samples=6)
    with pytest.raises(ImageError, match="was trained on 1"):
        report(KEPT / "stripes.safetensors", np.stack([NOISY, NOISY], 1), axes="TCYX", n_samples=4)


def test_noise_put_on_a_clean_image_is_the_camera_s(good: Reported) -> None:
    """What `cosdd-zoo sample` draws, against the noise that is simulated: correlation, variance, and independence."""
    net = load_checkpoint(KEPT / "stripes.safetensors").model()
    noisy, truth = (np.concatenate(part) for part in zip(*(frames(1000 + k) for k in range(3)), strict=True))
    clean = [torch.from_numpy(t.astype(np.float32))[None, None] for t in truth]
    drawn = np.stack([add_noise(net, s, 0, n).noisy[0, 0].numpy().astype(np.float64) for n, s in enumerate(clean)])
    real = noisy.astype(np.float64)
    assert correlation_of(drawn, "x") == pytest.approx(correlation_of(real, "x"), abs=0.03)
    found, expected = (variance_of(v, truth, "x") for v in (drawn, real))
    np.testing.assert_allclose(np.interp(expected.level, found.level, found.variance), expected.variance, rtol=0.2)
    assert abs(np.median(found.variance / expected.variance) - 1) < 0.1
    other = add_noise(net, clean[0], 1, 0).noisy[0, 0].numpy()
    assert abs(np.corrcoef((other - truth[0]).ravel(), (drawn[0] - truth[0]).ravel())[0, 1]) < 0.1
