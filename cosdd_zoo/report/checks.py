"""Traffic lights: what speaks for a trained model and its result, what against, and what to do about it.

Limits are between what good models had on simulated and real images and what broken ones had (benchmarks/results).
What chance alone makes of so many pixels, about two standard errors, is taken off a figure before it is judged.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.noise.inspection import Noise
from cosdd_zoo.noise.levels import N_GROUPS as N_CURVE
from cosdd_zoo.noise.levels import Levels
from cosdd_zoo.noise.lines import Axis
from cosdd_zoo.report.evidence import N_BINS, Evidence
from cosdd_zoo.report.lights import Check, Light, by_chance, graded, worst
from cosdd_zoo.report.looked_at import axis_in_planes
from cosdd_zoo.report.measures import (
    Curve,
    balance_of,
    bias_of,
    correlation_of,
    covariance_of,
    coverage,
    explained,
    noise_kept,
    plain_correlation,
    signal_lost,
    spots_of,
    spread_of,
    variance_of,
)  # fmt: skip

Floats = NDArray[np.float64]
CORRELATION = 0.03, 0.08
VARIANCE = 0.1, 0.25
PIT = 0.02, 0.05
BALANCE = 0.1, 0.25
EXPLAINED = 0.06, 0.15
ACROSS = 0.025, 0.06
BIAS = 0.05, 0.15
REPEATS = 0.1, 0.25
SPOTS = 0.0, 3.0
FEWEST_PX = 4096
"""Fewer pixels tell nothing of noise."""
CONVERGED = 0.03, 0.06
COVERED = 0.8, 0.6
"""Of the truth by the interval of 90 %, at least."""
NEAR_PX = 5
USUAL_SAMPLES = 16
INTERVAL = 0.9


class Curves(NamedTuple):
    """Of one channel, what is drawn; lags from 1 px, grey values."""

    measured: Floats  # correlation along the noise axis
    drawn: Floats
    residual: Floats
    residual_across: Floats
    left_across: Floats  # of the residual and of what the posterior leaves open, over the noise's variance
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


def of_channel(e: Evidence, noise: Noise, noise_axis: str, is_exact: bool = True) -> Judged:
    """noise: as it was measured in the same planes. noise_axis: the model's. is_exact: the reference is on the noisy
    images' scale by itself, as one of another exposure, with its own noise and saturation, is not.
    """
    in_planes = axis_in_planes(noise_axis)
    along: Axis = "y" if in_planes == "y" else "x"
    across: Axis = "x" if along == "y" else "y"
    sigma = float(np.sqrt(max(float(noise.levels.at(e.x).mean()), 1e-300)))
    measured, drawn = variance_of(e.x, e.x, along), variance_of(e.drawn, e.drawn, along)
    bias, bias_error = bias_of(e.x, e.mean, along)
    curves = Curves(
        correlation_of(e.x, along),
        correlation_of(e.drawn, along),
        plain_correlation(e.residual, along),
        plain_correlation(e.residual, across),
        _left(e, across, sigma),
        plain_correlation(e.drawn - e.drawn_signal, across),
        Curve(measured.level, measured.variance),
        Curve(drawn.level, drawn.variance),
        spread_of(e.residual, e.mean),
        bias,
        bias_error,
    )
    checks = [
        _axis(noise, in_planes, noise_axis),
        _noise_model(curves, e.x.size),
        _likelihood(e),
        _signal(e, curves),
        _spots(e, measured, drawn),
        _balance(e, sigma),
        _intensity(curves, sigma),
        _samples(e, sigma),
    ]
    if e.x.size < FEWEST_PX:
        checks = [_untold(check, e.x.size) for check in checks]
    if e.reference is not None:
        checks.append(_uncertainty(e.ranks, "the reference", is_exact))
    if e.repeat is not None and e.repeat_mean is not None:
        checks += [_repeats(e, sigma), _uncertainty(e.repeat_ranks, "the repeat")]
    return Judged(checks, curves, sigma)


def _axis(noise: Noise, in_planes: str, noise_axis: str) -> Check:
    other, untold = noise.axis not in (in_planes, "none"), (noise.axis, noise.certainty) == ("none", "unsure")
    light: Light = "good" if noise.axis == in_planes else "bad" if other and noise.certainty == "certain" else "fair"
    if untold and noise_axis != "none":
        light = "unknown"
    said = {"none": "is not correlated", "both": "is correlated along both axes"}.get(
        noise.axis, f"is correlated along {'z' if (noise_axis, noise.axis) == ('z', 'y') else noise.axis}"
    )
    advice = "" if light == "good" else f"Train with --noise-axis {noise.axis}."
    if light != "good" and noise.axis == "both":
        advice = "COSDD is for noise along one axis: look for the raw images, `cosdd-zoo inspect` says more."
    elif light != "good" and noise.axis == "none":
        advice = "It does little harm; --noise-axis none learns faster."
    if light == "unknown":
        said = "shows no correlation that could be told from chance"
        advice = "There are too few pixels in which noise alone is seen: look at more images, or larger ones."
    return Check(
        key="noise_axis",
        title="The noise runs along the model's axis",
        light=light,
        found=f"The noise {said} ({noise.certainty}); the model's noise axis is {noise_axis}.",
        advice=advice,
        figures={"correlation_x": float(noise.x.r[0]), "correlation_y": float(noise.y.r[0])},
    )


def _untold(check: Check, n_px: int) -> Check:
    """Of too few pixels to tell."""
    advice = f"{n_px} pixels are too few: look at larger images, or more of them."
    return check.model_copy(update={"light": "unknown", "advice": advice})


def _left(e: Evidence, axis: Axis, sigma: float) -> Floats:
    """[K], covariance across lines of what was removed, and of what is left open."""
    open_ = np.mean([covariance_of(s - e.mean, axis) for s in e.two], axis=0)
    return np.asarray((covariance_of(e.residual, axis) + open_)[1:] / sigma**2)


def _noise_model(c: Curves, n_px: int) -> Check:
    apart = float(np.abs(c.measured - c.drawn).max())
    ratio = np.interp(c.variance_measured.x, *c.variance_drawn) / np.maximum(c.variance_measured.y, 1e-300)
    off = float(np.median(np.abs(ratio - 1)))
    chance = by_chance(n_px)
    light = worst(
        [
            graded(apart - math.sqrt(2) * chance, CORRELATION),
            graded(off - math.sqrt(2 * N_CURVE) * chance / 2, VARIANCE),
        ]
    )
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
    light = graded(off - 0.7 * by_chance(total), PIT)
    return Check(
        key="likelihood",
        title="The likelihood is calibrated",
        light=light,
        found=f"Grey values fall into its quantiles as they should, within {off:.1%}; NLL {e.nll:.3f} nats a pixel.",
        advice="" if light == "good" else "The model misjudges its noise: train longer, or with more --n-mixture.",
        figures={"pit_off": off, "nll": e.nll},
    )


def _signal(e: Evidence, c: Curves) -> Check:
    across = float(max(c.left_across[:NEAR_PX].max(), c.drawn_across[:NEAR_PX].max(), 0.0))
    share = explained(e.residual, e.mean, e.two[0] - e.mean)
    chance = by_chance(e.x.size)
    light = worst([graded(share - 6 * chance**2, EXPLAINED), graded(across - chance, ACROSS)])
    return Check(
        key="signal_in_residual",
        title="What was removed has no structure of the result",
        light=light,
        found=(
            f"The result's own structure explains {share:.1%} of the residual, and neighbouring lines share "
            f"{across:.1%} of the noise's variance; noise alone has neither."
        ),
        advice=""
        if light == "good"
        else "Look for structures in the residual. The result is too smooth, or holds noise: train longer, and check "
        "the noise axis.",
        figures={"explained": share, "across": across},
    )


def _spots(e: Evidence, measured: Levels, drawn: Levels) -> Check:
    std, drawn_std = np.sqrt(measured.at(e.mean)), np.sqrt(drawn.at(e.drawn_signal))
    floor = 0.1 * float(np.sqrt(np.mean(std**2)))
    found = spots_of(e.residual, e.drawn - e.drawn_signal, np.maximum(std, floor), np.maximum(drawn_std, floor))
    where = ", ".join(f"({y}, {x})" + (f" in plane {p}" if len(e.x) > 1 else "") for p, y, x in found[:5])
    light, count = graded(len(found), SPOTS), "one place" if len(found) == 1 else f"{len(found)} places"
    return Check(
        key="spots",
        title="No object was removed",
        light=light,
        found="Nowhere does the residual, blurred as a small object is, stand out of what noise makes of it."
        if not found
        else f"In {count} more was removed than noise ever is; y and x in the pieces shown: {where}.",
        advice="" if light == "good" else "Look there, in the residual: a small object, or a hit of the detector?",
        figures={"places": float(len(found))},
    )


def _balance(e: Evidence, sigma: float) -> Check:
    off = balance_of(e.residual, e.std, sigma**2)
    light = graded(abs(off) - 2 * by_chance(e.x.size), BALANCE)
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
    light = graded(off, BIAS) if np.isfinite(c.bias_error).any() else "unknown"
    if light == "unknown":
        return Check(
            key="intensity",
            title="Intensities are kept",
            light=light,
            found=f"Noisy minus denoised is {mean:.3g} grey values on average; whether by chance cannot be told.",
            advice="There are too few lines for it: look at larger images, or more of them.",
            figures={"bias": mean},
        )
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
    expected = float(np.mean(e.std**2)) / sigma**2
    light = graded(max(lost, 0.0) + kept - expected - 2 * by_chance(e.x.size), REPEATS)
    return Check(
        key="repeats",
        title="Two frames of the same thing agree",
        light=light,
        found=f"Their residuals share {lost:.1%} of the noise's variance, which is signal that was removed; their "
        f"results differ by {kept:.1%} of it, which is noise that was kept. The posterior expects {expected:.1%} of "
        "both together.",
        advice=""
        if light == "good"
        else "Train longer; if the frames do not show the same thing, leave the repeat out.",
        figures={"signal_lost": lost, "noise_kept": kept, "expected": expected},
    )
