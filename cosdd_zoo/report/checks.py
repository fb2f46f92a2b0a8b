"""Traffic lights: what speaks for a trained model and its result, what against, and what to do about it.

Limits are between what good models had on simulated and real images and what broken ones had (benchmarks/results).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cosdd_zoo.noise.inspection import Noise
from cosdd_zoo.noise.lines import Axis
from cosdd_zoo.report.evidence import N_BINS, Evidence, axis_in_planes
from cosdd_zoo.report.measures import (
    Curve,
    balance_of,
    bias_of,
    correlation_of,
    coverage,
    explained,
    noise_kept,
    plain_correlation,
    signal_lost,
    spread_of,
    variance_of,
)  # fmt: skip
from cosdd_zoo.training.recorder import COLLAPSED_KL

Floats = NDArray[np.float64]
Light = Literal["good", "fair", "bad", "unknown"]
GRADES: tuple[Light, ...] = ("bad", "fair", "unknown", "good")

WEAK_KL = 0.01
STILL_LEARNING = 0.005
"""Nats a pixel that the last quarter of the training gained: it was stopped too early."""
SKIPPED = 0.01, 0.1
CORRELATION = 0.03, 0.08
VARIANCE = 0.1, 0.25
PIT = 0.02, 0.05
BALANCE = 0.1, 0.25
EXPLAINED = 0.06, 0.15
ACROSS = 0.025, 0.06
BIAS = 0.05, 0.15
KEPT = 0.1, 0.25
CONVERGED = 0.03, 0.06
COVERED = 0.8, 0.6
"""Of the truth by the interval of 90 %, at least."""
USUAL_SAMPLES = 16
INTERVAL = 0.9


class Check(BaseModel):
    model_config = ConfigDict(frozen=True)

    key: str
    title: str
    light: Light
    found: str
    advice: str  # what to do about it; empty where nothing is to be done
    figures: dict[str, float]


class Curves(NamedTuple):
    """Of one channel, what is drawn; lags from 1 px, grey values."""

    measured: Floats  # correlation along the noise axis
    drawn: Floats
    residual: Floats
    residual_across: Floats
    drawn_across: Floats
    variance_measured: Curve
    variance_drawn: Curve
    variance_residual: Curve
    bias: Curve
    bias_error: Floats


class Judged(NamedTuple):
    checks: list[Check]
    curves: Curves
    noise_std: float


def graded(value: float, limits: tuple[float, float]) -> Light:
    """good up to the first limit, fair up to the second."""
    return "good" if value <= limits[0] else "fair" if value <= limits[1] else "bad"


def worst(lights: Sequence[Light]) -> Light:
    return min(lights, key=GRADES.index, default="unknown")


def of_training(facts: Mapping[str, Any], validation: Sequence[tuple[float, float]], kl: float) -> list[Check]:
    """validation: seconds and NLL + KL of each one, in order. kl: nats a pixel, of the images that are looked at."""
    collapsed = bool(facts.get("collapsed")) or kl < COLLAPSED_KL
    out = [
        Check(
            key="latents",
            title="The latents hold the signal",
            light="bad" if collapsed else "fair" if kl < WEAK_KL else "good",
            found=f"{kl:.3g} nats a pixel in these images; less than {COLLAPSED_KL} is nothing, a collapsed posterior.",
            advice=(
                "The result is hardly more than the data's mean: train longer, with another --seed, with fewer "
                "--n-mixture, or with a shorter --receptive-field-px."
                if collapsed
                else "It is little: look whether faint structures are in the result, and train longer if not."
                if kl < WEAK_KL
                else ""
            ),
            figures={"kl": kl},
        )
    ]
    if validation and "steps" in facts:
        skipped = facts["skipped_steps"] / max(facts["steps"], 1)
        end = validation[-1][0]
        before = [loss for seconds, loss in validation if seconds <= 0.75 * end]
        gain = min(before) - min(loss for _, loss in validation) if before else 0.0
        light = worst([graded(skipped, SKIPPED), "fair" if gain > STILL_LEARNING or not before else "good"])
        out.append(
            Check(
                key="training",
                title="The training came to its end",
                light=light,
                found=(
                    f"{facts['steps']} steps; the last quarter lowered the validation loss by {gain:.4f} nats a "
                    f"pixel, {skipped:.1%} of the steps were skipped."
                ),
                advice=""
                if light == "good"
                else "It was still learning: give it more --max-time."
                if graded(skipped, SKIPPED) == "good"
                else "Gradients exploded often: lower --learning-rate.",
                figures={"gain": gain, "skipped_share": skipped, "steps": float(facts["steps"])},
            )
        )
    return out


def of_channel(e: Evidence, noise: Noise, noise_axis: str, is_exact: bool = True) -> Judged:
    """noise: as it was measured in the same planes. noise_axis: the model's. is_exact: the reference is on the noisy
    images' scale by itself, as one of another exposure, with its own noise and saturation, is not.
    """
    in_planes = axis_in_planes(noise_axis)
    along: Axis = "y" if in_planes == "y" else "x"
    across: Axis = "x" if along == "y" else "y"
    sigma = float(np.sqrt(max(float(noise.levels.at(e.x).mean()), 1e-300)))
    measured, drawn = variance_of(e.x, e.x, along), variance_of(e.drawn, e.drawn, along)
    bias, bias_error = bias_of(e.x, e.mean)
    curves = Curves(
        correlation_of(e.x, along),
        correlation_of(e.drawn, along),
        plain_correlation(e.residual, along),
        plain_correlation(e.residual, across),
        plain_correlation(e.drawn - e.drawn_signal, across),
        Curve(measured.level, measured.variance),
        Curve(drawn.level, drawn.variance),
        spread_of(e.residual, e.mean),
        bias,
        bias_error,
    )
    checks = [
        _axis(noise, in_planes, noise_axis),
        _noise_model(curves),
        _likelihood(e),
        _signal(e, curves),
        _balance(e, sigma),
        _intensity(curves, sigma),
        _samples(e, sigma),
    ]
    if e.reference is not None:
        checks.append(_uncertainty(e.ranks, "the reference", is_exact))
    if e.repeat is not None and e.repeat_mean is not None:
        checks += [_repeats(e, sigma), _uncertainty(e.repeat_ranks, "the repeat")]
    return Judged(checks, curves, sigma)


def _axis(noise: Noise, in_planes: str, noise_axis: str) -> Check:
    other = noise.axis not in (in_planes, "none")
    light: Light = "good" if noise.axis == in_planes else "bad" if other and noise.certainty == "certain" else "fair"
    said = {"none": "is not correlated", "both": "is correlated along both axes"}.get(
        noise.axis, f"is correlated along {'z' if (noise_axis, noise.axis) == ('z', 'y') else noise.axis}"
    )
    advice = "" if light == "good" else f"Train with --noise-axis {noise.axis}."
    if light != "good" and noise.axis == "both":
        advice = "COSDD is for noise along one axis: look for the raw images, `cosdd-zoo inspect` says more."
    elif light != "good" and noise.axis == "none":
        advice = "It does little harm; --noise-axis none learns faster."
    return Check(
        key="noise_axis",
        title="The noise runs along the model's axis",
        light=light,
        found=f"The noise {said} ({noise.certainty}); the model's noise axis is {noise_axis}.",
        advice=advice,
        figures={"correlation_x": float(noise.x.r[0]), "correlation_y": float(noise.y.r[0])},
    )


def _noise_model(c: Curves) -> Check:
    apart = float(np.abs(c.measured - c.drawn).max())
    ratio = np.interp(c.variance_measured.x, *c.variance_drawn) / np.maximum(c.variance_measured.y, 1e-300)
    off = float(np.median(np.abs(ratio - 1)))
    light = worst([graded(apart, CORRELATION), graded(off, VARIANCE)])
    return Check(
        key="noise_model",
        title="Drawn noise is like the real noise",
        light=light,
        found=(
            f"Its correlation differs by up to {apart:.3f} at 1 to {len(c.measured)} px, its variance typically by "
            f"{off:.0%} at the same grey value."
        ),
        advice="" if light == "good" else "Train longer, with more --n-mixture or a longer --receptive-field-px.",
        figures={"correlation_off": apart, "variance_off": off},
    )


def _likelihood(e: Evidence) -> Check:
    total = max(int(e.pit.sum()), 1)
    off = float(np.abs(np.cumsum(e.pit) / total - np.arange(1, N_BINS + 1) / N_BINS).max())
    light = graded(off, PIT)
    return Check(
        key="likelihood",
        title="The likelihood is calibrated",
        light=light,
        found=f"Grey values fall into its quantiles as they should, within {off:.1%}; NLL {e.nll:.3f} nats a pixel.",
        advice="" if light == "good" else "The model misjudges its noise: train longer, or with more --n-mixture.",
        figures={"pit_off": off, "nll": e.nll},
    )


def _signal(e: Evidence, c: Curves) -> Check:
    share = explained(e.residual, e.mean)
    across = float(max(c.drawn_across[:5].max(), c.residual_across[:5].max(), 0.0))
    light = worst([graded(share, EXPLAINED), graded(across, ACROSS)])
    return Check(
        key="signal_in_residual",
        title="No signal is left in what was removed",
        light=light,
        found=(
            f"The result's own structure explains {share:.1%} of the residual, and neighbouring lines are correlated "
            f"by {across:.3f}, in the residual or in drawn noise; noise alone has neither."
        ),
        advice=""
        if light == "good"
        else "Look for structures in the residual. The result is too smooth, or holds noise: train longer, and check "
        "the noise axis.",
        figures={"explained": share, "across": across},
    )


def _balance(e: Evidence, sigma: float) -> Check:
    off = balance_of(e.residual, e.std, sigma**2)
    light = graded(abs(off), BALANCE)
    rms = float(np.sqrt(np.mean(e.residual**2)))
    advice = "Signal was removed along with the noise: train longer, or look for a larger preset."
    if off < 0:
        advice = "Noise was left in the result: check the noise axis, raise --receptive-field-px or --n-mixture."
    return Check(
        key="noise_left",
        title="As much was removed as there is noise",
        light=light,
        found=(
            f"What was removed (std {rms:.3g}) and what the posterior leaves open make {1 + off:.2f} of the noise's "
            f"variance as it was measured (std {sigma:.3g}); 1 is right, less is noise left in the result."
        ),
        advice="" if light == "good" else advice,
        figures={"balance": off, "residual_std": rms, "noise_std": sigma},
    )


def _intensity(c: Curves, sigma: float) -> Check:
    seen = np.maximum(np.abs(c.bias.y) - 2 * c.bias_error, 0.0) / sigma
    off, mean = float(seen.max()), float(np.mean(c.bias.y))
    light = graded(off, BIAS)
    return Check(
        key="intensity",
        title="Intensities are kept",
        light=light,
        found=f"Noisy minus denoised is {mean:.3g} grey values on average, at no brightness more than {off:.2f} std of "
        "the noise from 0 beyond chance.",
        advice="" if light == "good" else "Do not measure intensities in the result; train longer.",
        figures={"bias": mean, "largest_in_std": off},
    )


def _samples(e: Evidence, sigma: float) -> Check:
    counts = 2 * np.arange(1, len(e.error) + 1)
    at = float(e.error[0] * np.sqrt(2 / USUAL_SAMPLES)) / sigma
    n = int(np.ceil(2 * (e.error[0] / (CONVERGED[0] * sigma)) ** 2 / 2) * 2)
    light = graded(at, CONVERGED)
    return Check(
        key="samples",
        title=f"{USUAL_SAMPLES} samples are enough for the mean",
        light=light,
        found=f"Their mean is {at:.3f} std of the noise from that of endlessly many; {max(n, 2)} samples reach "
        f"{CONVERGED[0]}.",
        advice="" if light == "good" else f"Denoise with --samples {n}, or --samples auto.",
        figures={"error_in_std": at, "samples_needed": float(max(n, 2)), "drawn": float(counts[-1])},
    )


def _uncertainty(ranks: NDArray[np.int64], what: str, is_exact: bool = True) -> Check:
    share = coverage(ranks, INTERVAL)
    light: Light = "good" if share >= COVERED[0] else "fair" if share >= COVERED[1] or not is_exact else "bad"
    advice = "The standard deviation is too small: do not take it for an error bar."
    if not is_exact:
        advice += (
            " Or the reference is not the truth: it was of another exposure, with noise and saturation of its own."
        )
    drawn = " of drawn images" if what == "the repeat" else " of the samples"
    return Check(
        key="uncertainty_" + what.split()[-1],
        title=f"The interval{drawn} holds {what}",
        light=light,
        found=f"It lies within the interval of {INTERVAL:.0%} in {share:.1%} of the pixels.",
        advice="" if light == "good" else advice,
        figures={"coverage": share},
    )


def _repeats(e: Evidence, sigma: float) -> Check:
    assert e.repeat is not None and e.repeat_mean is not None
    lost = signal_lost(e.residual, e.repeat - e.repeat_mean, sigma**2)
    kept = noise_kept(e.mean, e.repeat_mean, e.x, e.repeat)
    light = worst([graded(max(lost, 0.0), KEPT), graded(kept, KEPT)])
    return Check(
        key="repeats",
        title="Two frames of the same thing agree",
        light=light,
        found=f"Their residuals share {lost:.1%} of the noise's variance, which is signal that was removed; their "
        f"results differ by {kept:.1%} of it, which is noise that was kept.",
        advice=""
        if light == "good"
        else "Train longer; if the frames do not show the same thing, leave the repeat out.",
        figures={"signal_lost": lost, "noise_kept": kept},
    )
