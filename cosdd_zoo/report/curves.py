"""The curves of a report: of the training, the noise, the residual and the posterior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cosdd_zoo.report.checks import INTERVAL, USUAL_SAMPLES, Curves
from cosdd_zoo.report.evidence import N_BINS, Evidence
from cosdd_zoo.report.figures import CI_95, COLOUR_X, COLOUR_Y, GREY, svg
from cosdd_zoo.report.measures import Curve, spectrum_of
from cosdd_zoo.report.reported import Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREEN = "#009e73"
MEASURED: dict[str, Any] = {"color": "black", "marker": "o", "label": "measured"}
DRAWN: dict[str, Any] = {"color": COLOUR_X, "marker": "s", "label": "drawn from the model"}
RESIDUAL: dict[str, Any] = {"color": COLOUR_Y, "marker": "^", "label": "removed (noisy minus denoised)"}
LEFT: dict[str, Any] = {"color": GREEN, "marker": "v", "label": "removed, and left open by the posterior"}
THIN: dict[str, Any] = {"linewidth": 1.1, "markersize": 4, "linestyle": "-"}


def losses(metrics: Metrics) -> str:
    """NLL + KL and KL, of training and validation."""

    def draw(axes: Axes) -> None:
        for split, colour, width in (("train", GREY, 0.8), ("validation", COLOUR_X, 1.6)):
            total = np.add(metrics.of(split, "nll"), metrics.of(split, "kl"))
            axes.plot(metrics.of(split, "step"), total, color=colour, linewidth=width, label=f"NLL + KL, {split}")
        if len(total) and np.isfinite(total).any():
            low, high = float(np.nanmin(total)), float(np.nanpercentile(total, 90))
            axes.set_ylim(low - 0.3 * (high - low) - 0.02, high + 2 * (high - low) + 0.02)
        axes.set(xlabel="step", ylabel="nats a pixel")
        axes.legend(frameon=False)

    return svg(draw)


def parts(metrics: Metrics) -> str:
    """KL and signal error of the validation."""

    def draw(axes: Axes) -> None:
        steps = metrics.of("validation", "step")
        axes.plot(steps, metrics.of("validation", "kl"), "o-", color=COLOUR_X, markersize=3, label="KL (nats a pixel)")
        axes.plot(
            steps, metrics.of("validation", "signal"), "s-", color=COLOUR_Y, markersize=3,
            label="error to the noisy image (variances)",
        )  # fmt: skip
        axes.set(xlabel="step", yscale="log")
        _plain_ticks(axes, None, [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])
        axes.legend(frameon=False)

    return svg(draw)


def correlation(c: Curves, noise_axis: str) -> str:
    """Along the noise axis, of measured, drawn and removed noise."""

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        for r, how in ((c.measured, MEASURED), (c.drawn, DRAWN), (c.residual, RESIDUAL)):
            axes.plot(np.arange(1, len(r) + 1), r, **how, **THIN)
        along = "x" if noise_axis == "none" else noise_axis
        axes.set(xlabel=f"lag along {along} (px)", ylabel="correlation of the noise")
        axes.legend(frameon=False)

    return svg(draw)


def across(c: Curves) -> str:
    """Across the noise axis, of drawn and removed noise: signal, if there is any."""

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        for r, how in ((c.drawn_across, DRAWN), (c.residual_across, RESIDUAL), (c.left_across, LEFT)):
            axes.plot(np.arange(1, len(r) + 1), r, **how, **THIN)
        low, high = axes.get_ylim()
        axes.set(ylim=(min(low, -0.1), max(high, 0.1)))
        axes.set(xlabel="lag across the lines (px)", ylabel="correlation")
        axes.legend(frameon=False)

    return svg(draw)


def variance(c: Curves) -> str:
    """Against the grey value, of measured, drawn and removed noise."""

    def draw(axes: Axes) -> None:
        for curve, how in (
            (c.variance_measured, MEASURED), (c.variance_drawn, DRAWN), (c.variance_residual, RESIDUAL),
        ):  # fmt: skip
            axes.plot(curve.x, curve.y, **how, **THIN)
        axes.set(xlabel="grey value", ylabel="variance of the noise", ylim=(0, None))
        axes.legend(frameon=False)

    return svg(draw)


def spectra(e: Evidence, along: str) -> str:
    """Power of what was removed and of drawn noise, along and across the noise axis."""

    def draw(axes: Axes) -> None:
        drawn = e.drawn - e.drawn_signal
        other = "x" if along == "y" else "y"
        for planes, colour, name in ((e.residual, COLOUR_Y, "removed"), (drawn, COLOUR_X, "drawn")):
            for axis, dash, words in ((along, "-", "along"), (other, ":", "across")):
                curve: Curve = spectrum_of(planes, axis)  # type: ignore[arg-type]
                axes.semilogy(curve.x[2:], curve.y[2:], dash, color=colour, linewidth=1.1, label=f"{name}, {words}")
        axes.set(xlabel="frequency (1 / px)", ylabel="power (grey values²)")
        axes.legend(frameon=False, ncols=2)

    return svg(draw)


def quantiles(e: Evidence) -> str:
    """The PIT histogram: flat if the likelihood is right."""

    def draw(axes: Axes) -> None:
        share = e.pit / max(int(e.pit.sum()), 1) * N_BINS
        axes.bar((np.arange(N_BINS) + 0.5) / N_BINS, share, 0.9 / N_BINS, color=COLOUR_X)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(xlabel="quantile of the likelihood", ylabel="pixels (1: as many as expected)", ylim=(0, None))

    return svg(draw)


def bias(c: Curves) -> str:
    """Noisy minus denoised against brightness."""

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.errorbar(c.bias.x, c.bias.y, CI_95 * c.bias_error, fmt="o-", color=COLOUR_X, markersize=4, linewidth=1)
        axes.set(xlabel="brightness of a block of 16 px", ylabel="noisy minus denoised (grey values)")

    return svg(draw)


def convergence(e: Evidence, sigma: float) -> str:
    """Error of the mean against the number of samples."""

    def draw(axes: Axes) -> None:
        n = 2 * np.arange(1, len(e.error) + 1)
        axes.loglog(n, np.maximum(e.error, 1e-12) / sigma, "o-", color=COLOUR_X, markersize=4, linewidth=1)
        axes.axvline(USUAL_SAMPLES, color=GREY, linewidth=0.8)
        axes.set(xlabel="samples", ylabel="error of the mean (std of the noise)")
        _plain_ticks(axes, [2, 4, 8, 16, 32, 64, 128], [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])

    return svg(draw)


def covered(e: Evidence) -> str:
    """Coverage of intervals: what is asked for against what they hold."""
    from cosdd_zoo.report.measures import coverage

    def draw(axes: Axes) -> None:
        shares = np.linspace(0.1, INTERVAL, 9)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        for ranks, colour, name in (
            (e.ranks, COLOUR_X, "the reference, by samples"),
            (e.repeat_ranks, GREEN, "a second frame, by drawn images"),
        ):  # fmt: skip
            if ranks.sum():
                axes.plot(shares, [coverage(ranks, s) for s in shares], "o-", color=colour, label=name, markersize=4)
        axes.set(xlabel="interval", ylabel="share of the pixels within it", xlim=(0, 1), ylim=(0, 1))
        axes.legend(frameon=False)

    return svg(draw)


def _plain_ticks(axes: Axes, x: list[int] | None, y: list[float]) -> None:
    """Numbers as people write them, where an axis is logarithmic."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    for axis, places in ((axes.xaxis, x), (axes.yaxis, y)):
        if places is not None:
            low, high = axis.get_view_interval()
            axis.set_major_locator(FixedLocator([p for p in places if low <= p <= high]))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def rings(e: Evidence) -> str:
    """Fourier ring correlations."""
    from cosdd_zoo.data.similarity import ONE_SEVENTH, fourier_ring_correlation

    pairs = [("two samples", e.two[0], e.two[1], COLOUR_X)]
    if e.repeat_mean is not None:
        pairs.append(("results of two frames", e.mean, e.repeat_mean, GREEN))
    if e.reference is not None:
        pairs.append(("result and reference", e.mean, e.reference, COLOUR_Y))

    def draw(axes: Axes) -> None:
        axes.axhline(ONE_SEVENTH, color=GREY, linewidth=0.8)
        for name, a, b, colour in pairs:
            found = [fourier_ring_correlation(first, second) for first, second in zip(a, b, strict=True)]
            axes.plot(found[0].frequency, np.mean([f.correlation for f in found], axis=0), color=colour, label=name)
        axes.set(xlabel="frequency (1 / px)", ylabel="Fourier ring correlation", ylim=(-0.1, 1.02))
        axes.legend(frameon=False)

    return svg(draw)
