"""Curves as SVG and images as PNG, for pages; the same text for the same numbers.

Colours are told apart by the colour-blind too, and lines by their markers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cosdd_zoo.noise.autocorrelation import Autocorrelation
from cosdd_zoo.noise.levels import Levels
from cosdd_zoo.noise.lines import Correlation
from cosdd_zoo.noise.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR_X, COLOUR_Y = "#0072b2", "#d55e00"
GREY = "0.55"
LAGS_SHOWN_PX = 20
LEAST_SCALE = 0.05
"""Of a map's colours: correlations below it are hardly more than chance."""
CI_95 = 1.96


def svg(draw: Callable[[Axes], None], size: tuple[float, float] = (5.2, 3.3)) -> str:
    """What `draw` puts on axes, as an <svg> element that scales with its place; text stays text."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "cosdd_zoo", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        buffer = StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", buffer.getvalue())  # a page has several figures with the same names
    start = text.index("<svg")
    head = text[start : text.index(">", start) + 1]
    view_box = head[head.index("viewBox") :].split('"')[1]
    return (
        f'<svg viewBox="{view_box}" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        + (text[start + len(head) :])
    )


def png(image: NDArray[Any], low: float, high: float) -> str:
    """An image [Y, X] as a data URL, grey from `low` to `high`."""
    grey = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-300), 0, 1)
    buffer = BytesIO()
    Image.fromarray(np.rint(255 * grey).astype(np.uint8)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def correlation_curves(x: Correlation, y: Correlation) -> str:
    """Along both axes, with intervals of 95 %."""

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        for r, label, colour, marker in ((x, "along x", COLOUR_X, "o"), (y, "along y", COLOUR_Y, "s")):
            n = min(LAGS_SHOWN_PX, len(r.r))
            error = np.where(np.isfinite(r.error[:n]), CI_95 * r.error[:n], np.nan)
            how: Any = {"fmt": f"{marker}-", "color": colour, "markersize": 4, "linewidth": 1, "elinewidth": 1}
            axes.errorbar(np.arange(1, n + 1), r.r[:n], error, label=label, **how)
        axes.set(xlabel="lag (px)", ylabel="correlation of the noise")
        axes.legend(frameon=False)

    return svg(draw)


def correlation_map(found: Autocorrelation) -> str:
    """Over lags along both axes; the lag 0, which is 1 by definition, is left out."""

    def draw(axes: Axes) -> None:
        m = found.max_lag_px
        r = found.r.copy()
        r[m, m] = np.nan
        scale = max(LEAST_SCALE, float(np.nanmax(np.abs(r))))
        edges = np.arange(-m - 0.5, m + 1)
        mesh = axes.pcolormesh(edges, edges, r, cmap="RdBu_r", vmin=-scale, vmax=scale)
        axes.set(xlabel="lag along x (px)", ylabel="lag along y (px)", aspect="equal")
        axes.invert_yaxis()
        axes.figure.colorbar(mesh, ax=axes, shrink=0.85, label="correlation")

    return svg(draw, (4.8, 3.9))


def variance_curve(levels: Levels) -> str:
    """Variance against the grey value, and the line that gain and read noise are taken from."""

    def draw(axes: Axes) -> None:
        axes.errorbar(
            levels.level, levels.variance, CI_95 * levels.error, fmt="o", color=COLOUR_X, markersize=4, elinewidth=1,
            label="measured",
        )  # fmt: skip
        ends = np.array([levels.level.min(), levels.level.max()])
        axes.plot(ends, levels.at(ends), "-", color=COLOUR_Y, label=f"gain {levels.gain:.3g}")
        axes.set(xlabel="grey value", ylabel="variance of the noise", ylim=(0, None))
        axes.legend(frameon=False)

    return svg(draw)


def spectra(x: Spectrum, y: Spectrum) -> str:
    """Power of the noise along both axes."""

    def draw(axes: Axes) -> None:
        for found, label, colour in ((x, "along x", COLOUR_X), (y, "along y", COLOUR_Y)):
            axes.semilogy(
                found.frequency[2:], np.maximum(found.power[2:], 1e-6), "-", color=colour, label=label, linewidth=1
            )
        axes.axhline(1, color=GREY, linewidth=0.8)
        axes.set(xlabel="frequency (1 / px)", ylabel="power (white noise: 1)")
        axes.legend(frameon=False)

    return svg(draw)


def histogram(frames: list[NDArray[Any]]) -> str:
    """Grey values, on a logarithmic scale: piles at the ends are clipped pixels."""

    def draw(axes: Axes) -> None:
        values = np.concatenate([f.ravel()[:: max(1, f.size // 2**18)] for f in frames]).astype(np.float64)
        low, high = float(values.min()), float(values.max())
        told_apart = (high - low) / max(float(np.spacing(max(abs(low), abs(high)))), 1e-300)
        n = int(min(256, max(1, told_apart / 4), len(np.unique(values))))
        axes.hist(values, bins=n, color=COLOUR_X, log=True)
        axes.set(xlabel="grey value", ylabel="pixels")

    return svg(draw)
