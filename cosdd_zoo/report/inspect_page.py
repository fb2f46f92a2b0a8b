"""The page of an inspection: what the noise is like, in pictures, and what follows for training."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.noise.advice import as_yaml
from cosdd_zoo.noise.inspected import ChannelFacts, Inspected
from cosdd_zoo.noise.inspection import Noise
from cosdd_zoo.report.figures import correlation_curves, correlation_map, histogram, png, spectra, variance_curve
from cosdd_zoo.report.pages import Picture, image, page

PREVIEW_PX = 320
LIGHT = {"yes": "good", "partly": "fair", "no": "bad"}
SURROUNDINGS_PX = 3.0
Row = tuple[str, str, str]


class _Channel(NamedTuple):
    facts: ChannelFacts
    pictures: list[Picture]
    rows: list[Row]


def inspect_page(found: Inspected) -> str:
    """The HTML text, a few hundred KB."""
    facts = found.facts
    channels = [
        _Channel(own, _pictures([f.pixels[c] for f in found.frames], noise), rows(own))
        for c, (own, noise) in enumerate(zip(facts.channels, found.noises, strict=True))
    ]
    title = facts.images[0] + (f" and {facts.n_images - 1} more" if facts.n_images > 1 else "")
    yaml = as_yaml(found.advice.settings, f"Found by cosdd-zoo {facts.cosdd_zoo} in {title}.")
    return page("inspect.html", facts=facts, light=LIGHT[facts.suits], title=title, channels=channels, yaml=yaml)


def rows(c: ChannelFacts) -> list[Row]:
    """Name, value and meaning of each fact, for people."""
    axis = {"none": "none", "both": "both x and y"}.get(c.noise_axis, c.noise_axis)
    strongest = c.correlation_y if c.noise_axis == "y" else c.correlation_x
    lags = ", ".join(f"{r:.2f}" for r in strongest[:5])
    where = "along x (none is clear), at 1 to 5 px" if c.noise_axis == "none" else "along it, at 1 to 5 px"
    length = f"{c.correlation_length_px} px"
    if c.noise_axis == "z":
        lags, where, length = f"{c.frame_to_frame_correlation:g}", "with the next plane", "not measured along z"
    across = ", ".join(f"{r:.2f}" for r in (c.correlation_x if c.noise_axis == "y" else c.correlation_y)[:5])
    out = [
        ("noise axis", f"{axis} ({c.certainty})", f"by {c.method}"),
        ("correlation", lags, where),
        ("across", across, "the same for the other axis"),
        ("correlation length", length, "the last lag that matters"),
        ("period", _or_none(c.period_px, "px"), "a wave in the noise: interference"),
        ("row offsets", f"{c.row_offset_std:g}", "their standard deviation, grey values"),
        ("column offsets", f"{c.column_offset_std:g}", ""),
        ("offsets' period", _or_none(c.offsets_period_px, "lines"), "interference in step with the scan"),
        ("from frame to frame", f"{c.frame_to_frame_correlation:g}", "correlation: a fixed pattern, if not about 0"),
        (
            "gain",
            f"{c.gain:g} ± {c.gain_error or float('nan'):g}",
            f"grey values a photon; the noise {_trend(c.noise_trend)}",
        ),
        ("offset", f"{c.offset:g}", "the darkest grey value there is"),
        ("read noise", f"{c.read_noise:g}", "standard deviation there, grey values"),
        ("noise", f"{c.noise_std:g}", "standard deviation over all pixels"),
        (
            "SNR",
            "no noise" if c.snr is None else f"{c.snr:g}",
            "standard deviation of the signal over that of the noise",
        ),
        ("grey values", _step(c), ""),
        ("clipped", f"{c.black_share:.2%} black, {c.saturated_share:.2%} saturated", ""),
        ("broken pixels", f"{c.broken_share:.3%}", "hot or dead"),
    ]
    return out


def _or_none(value: float, unit: str) -> str:
    return f"{value:g} {unit}" if value else "none"


def _trend(name: str) -> str:
    return {"rises": "grows with the signal", "falls": "falls with the signal"}.get(
        name, "does not depend on the signal"
    )


def _step(c: ChannelFacts) -> str:
    return f"steps of {c.quantisation_step:g}, {c.grey_values_used:.0%} used" if c.quantisation_step else "continuous"


def _pictures(frames: list[NDArray[Any]], noise: Noise) -> list[Picture]:
    first = _middle(frames[0]).astype(np.float64)
    residual = first - gaussian_blur(first, SURROUNDINGS_PX)
    low, high = np.percentile(first, [0.5, 99.7])
    far = float(np.percentile(np.abs(residual), 99))
    return [
        Picture(image(png(first, low, high), "the middle of the first frame"), "The first frame, its middle."),
        Picture(
            image(png(residual, -far, far), "the same without its surroundings' brightness"),
            "The same, minus its blurred self: what is fine in it, noise above all. Streaks show the noise axis.",
        ),
        Picture(
            correlation_curves(noise.x, noise.y),
            "Correlation of the noise along both axes, with intervals of 95 %. COSDD is for noise that has it along "
            "one.",
        ),
        Picture(
            correlation_map(noise.picture),
            "The same over both axes at once, in flat regions: a streak along the noise axis, and nothing else.",
        ),
        Picture(
            variance_curve(noise.levels),
            "Variance of the noise against the grey value. A straight line that rises is photon noise.",
        ),
        Picture(
            spectra(noise.spectrum_x, noise.spectrum_y),
            "Power of the noise along both axes. A peak is a wave; a fall at the right end along both is a blur.",
        ),
        Picture(histogram(frames), "Grey values. Piles at the ends are clipped pixels, gaps a stretched contrast."),
    ]


def _middle(frame: NDArray[Any]) -> NDArray[Any]:
    top, left = (max(0, (n - PREVIEW_PX) // 2) for n in frame.shape)
    return frame[top : top + PREVIEW_PX, left : left + PREVIEW_PX]
