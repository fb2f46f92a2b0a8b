"""The page of a report: lights first, then the pictures, linked, then the curves that the lights come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.report import curves
from cosdd_zoo.report.checks import USUAL_SAMPLES, Judged
from cosdd_zoo.report.evidence import Evidence
from cosdd_zoo.report.figures import png
from cosdd_zoo.report.lights import Check
from cosdd_zoo.report.looked_at import axis_in_planes
from cosdd_zoo.report.pages import Picture, image, page
from cosdd_zoo.report.reported import ChannelReport, Metrics, Reported

SHOWN_PX, MOST_CHANNELS = 512, 4
"""Sides of the pictures of one channel, smaller of several, and channels that have some: a page is below 10 MB."""
MARKS = {"good": "● Good", "fair": "◐ Look", "bad": "○ Bad", "unknown": "◌ Unknown"}
DETAIL_PX = 128


class View(NamedTuple):
    key: str
    name: str
    url: str


class Channel(NamedTuple):
    facts: ChannelReport
    views: list[View]
    width: int
    height: int
    samples: list[Picture]
    noise: list[Picture]
    figures: list[Picture]
    rows: list[tuple[str, str]]


def report_page(found: Reported) -> str:
    """The HTML text, a few MB at most; pictures of the first four channels."""
    facts = found.facts
    side = int(SHOWN_PX / np.sqrt(min(len(facts.channels), MOST_CHANNELS)))
    axis = facts.settings["network"]["noise_axis"]
    channels = [
        _channel(own, e, judged, axis, side if c < MOST_CHANNELS else 0)
        for c, (own, e, judged) in enumerate(zip(facts.channels, found.evidence, found.judged, strict=True))
    ]
    lights: list[tuple[str, Check]] = [("", c) for c in facts.checks]
    lights += [(own.name if len(channels) > 1 else "", c) for own in facts.channels for c in own.checks]
    return page(
        "report.html", facts=facts, marks=MARKS, lights=lights, channels=channels, axis=axis,
        training=_training(found.metrics), script="viewer.js", rows=_rows(found),
    )  # fmt: skip


def _training(metrics: Metrics) -> list[Picture]:
    if len(metrics.of("validation", "step")) < 2:
        return []
    return [
        Picture(curves.losses(metrics), "The loss. Grey: crops of the training, which are brighter than average."),
        Picture(
            curves.parts(metrics),
            "KL: how much the latents hold; near 0 they hold nothing. The error to the noisy image ends at the noise.",
        ),
    ]


def _channel(own: ChannelReport, e: Evidence, judged: Judged, axis: str, side: int) -> Channel:
    along = "y" if axis_in_planes(axis) == "y" else "x"
    c = judged.curves
    figures = [
        Picture(curves.correlation(c, axis), "Correlation of the noise along its axis. Drawn should lie on measured."),
        Picture(curves.variance(c), "Variance of the noise against the grey value. Drawn should lie on measured."),
        Picture(
            curves.across(c),
            "The same across the lines, where noise has none. Drawn, and removed with what is left open, should be 0: "
            "more is signal that was lost, less is noise that was kept",
        ),
        Picture(
            curves.spectra(e, along),
            "Power of what was removed, and of noise alone. Removed above drawn: signal went too. Below, at low "
            "frequencies: the result follows the image there, as it should.",
        ),
        Picture(curves.quantiles(e), "Where grey values fall in the model's likelihood. Flat: it knows its noise."),
        Picture(curves.bias(c), "Noisy minus denoised against brightness. On the line: intensities are kept."),
        Picture(
            curves.convergence(e, judged.noise_std),
            f"Error of the mean of samples; the line is at {USUAL_SAMPLES}, a CPU's usual number.",
        ),
        Picture(
            curves.rings(e),
            "Fourier ring correlation. Where two samples agree, the image is known; results of two frames, or with a "
            "reference, say whether it is right.",
        ),
    ]
    if e.ranks.sum() or e.repeat_ranks.sum():
        figures.append(
            Picture(curves.covered(e), "Intervals and what they hold. Below the line: the model is too sure of itself.")
        )
    views, shape = _views(e, side) if side else ([], (1, 1))
    return Channel(
        own, views, shape[1], shape[0], _samples(e) if side else [], _noise(e) if side else [], figures, _facts(own)
    )


def _views(e: Evidence, side: int) -> tuple[list[View], tuple[int, int]]:
    x = _middle(e.x[0], side)
    low, high = np.percentile(x, [0.5, 99.7])
    residual, std = _middle(e.residual[0], side), _middle(e.std[0], side)
    far = float(np.percentile(np.abs(residual), 99.5))
    pictures = [
        ("noisy", "noisy", png(x, low, high)),
        ("denoised", "denoised", png(_middle(e.mean[0], side), low, high)),
        ("std", "posterior std", png(std, 0.0, float(np.percentile(std, 99.7)))),
        ("residual", "residual", png(residual, -far, far)),
    ]
    if e.reference is not None:
        pictures.append(("reference", "reference", png(_middle(e.reference[0], side), low, high)))
    return [View(*p) for p in pictures], (x.shape[0], x.shape[1])


def _samples(e: Evidence) -> list[Picture]:
    low, high = np.percentile(e.samples, [0.5, 99.8])
    return [
        Picture(image(png(s, low, high), f"posterior sample {n + 1}"), f"sample {n + 1}")
        for n, s in enumerate(e.samples)
    ]


def _noise(e: Evidence) -> list[Picture]:
    removed, drawn = (_middle(v, DETAIL_PX) for v in (e.residual[0], (e.drawn - e.drawn_signal)[0]))
    far = float(np.percentile(np.abs(drawn), 99.5))
    again = _middle(e.drawn[0], DETAIL_PX)
    x = _middle(e.x[0], DETAIL_PX)
    low, high = np.percentile(x, [0.5, 99.7])
    return [
        Picture(image(png(x, low, high), "noisy"), "noisy"),
        Picture(image(png(again, low, high), "the same signal with drawn noise"), "drawn anew"),
        Picture(image(png(removed, -far, far), "removed noise"), "removed"),
        Picture(image(png(drawn, -far, far), "drawn noise"), "drawn noise"),
    ]


def _middle(plane: NDArray[Any], side: int) -> NDArray[Any]:
    top, left = (max(0, (n - side) // 2) for n in plane.shape)
    return plane[top : top + side, left : left + side]


def _facts(own: ChannelReport) -> list[tuple[str, str]]:
    rows = [
        ("noise, std", f"{own.noise_std:.4g} grey values"),
        ("posterior std", f"{own.posterior_std:.4g} grey values"),
        ("likelihood", f"NLL {own.nll:.4f} nats a pixel"),
        ("residual correlated with", ", ".join(f"{k} {v:+.3f}" for k, v in own.residual_correlated_with.items())),
        ("Fourier ring correlation below 1/7 at", ", ".join(f"{k} {v:g} px" for k, v in own.frc.items())),
    ]
    if own.reference:
        r = own.reference
        rows.append(
            (
                "against the reference",
                f"PSNR {r['psnr_db']:.2f} dB (noisy {r['noisy_psnr_db']:.2f}), bias {r['bias']:.3g}",
            )
        )
        if "ssim" in r:
            rows.append(("SSIM", f"{r['ssim']:.4f} (noisy {r['noisy_ssim']:.4f})"))
    if own.repeat:
        words = f"bias {own.repeat['bias']:.3g}"
        if "psnr_db" in own.repeat:
            words = f"PSNR {own.repeat['psnr_db']:.2f} dB, from a second frame's noise and no reference; " + words
        rows.append(("against the second frame", words))
    return rows


def _rows(found: Reported) -> Sequence[tuple[str, str]]:
    n, t, facts = found.facts.settings["network"], found.facts.training, found.facts
    rows = [
        (
            "networks",
            f"{n['n_dims']}-D, {len(n['downsample'])} levels, {n['n_features']} features, {n['n_latents']} latents",
        ),
        ("noise axis", f"{n['noise_axis']}, {n['receptive_field_px']} px back"),
        (
            "looked at",
            f"{facts.n_frames} planes of {' x '.join(map(str, facts.side_px))} px of {', '.join(facts.images[:4])}",
        ),
        ("samples", f"{facts.n_samples}"),
    ]
    if "steps" in t:
        rows.append(("training", f"{t['steps']} steps, {t.get('minutes', 0):g} min on {t.get('device', '')}"))
    if any(pair != (1.0, 0.0) for pair in facts.reference_scale):
        fits = ", ".join(f"{a:.4g} s {b:+.4g}" for a, b in facts.reference_scale)
        rows.append(("the reference", f"was of another exposure, and was brought to the noisy images' scale: {fits}"))
    if facts.repeats != "none":
        rows.append(
            ("second frames", {"given": "given", "found": "found: consecutive frames show the same"}[facts.repeats])
        )
    return rows
