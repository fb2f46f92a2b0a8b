"""Figures of noise, drawn by matplotlib: PNG, the same bytes for the same numbers."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from cosdd_zoo.noise.autocorrelation import Autocorrelation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 110
_COLOURS = {"x": "#0072b2", "y": "#d55e00"}  # told apart by the colour-blind too
_LEAST_SCALE = 0.05  # of the map's colours: correlations below it are hardly more than chance


def autocorrelation_figure(found: Autocorrelation, title: str) -> bytes:
    """The autocorrelation as a map over lags along x and y, and as curves along both axes: the bytes of a PNG.

    The band around 0 is what noise without correlation stays within in 95 of 100 cases, +- 1.96 / sqrt(pairs).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
    _map(figure, left, found)
    _curves(right, found)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _map(figure: Figure, axes: Axes, found: Autocorrelation) -> None:
    m = found.max_lag_px
    r = found.r.copy()
    r[m, m] = np.nan  # 1 by definition; it would hide all others
    scale = max(_LEAST_SCALE, float(np.nanmax(np.abs(r))))
    edge = m + 0.5
    image = axes.imshow(r, cmap="RdBu_r", vmin=-scale, vmax=scale, extent=(-edge, edge, edge, -edge))
    axes.set(xlabel="lag along x (px)", ylabel="lag along y (px)")
    figure.colorbar(image, ax=axes, shrink=0.85)


def _curves(axes: Axes, found: Autocorrelation) -> None:
    m = found.max_lag_px
    lags = np.arange(1, m + 1)
    chance = 1.96 / np.sqrt(found.n_pairs[m, m])
    axes.axhspan(-chance, chance, color="0.85", label="no correlation (95 %)")
    axes.axhline(0, color="0.5", linewidth=0.8)
    for axis, colour in _COLOURS.items():
        axes.plot(lags, found.along(axis), "o-", color=colour, label=f"along {axis}", markersize=4)
    axes.set(xlabel="lag (px)", ylabel="autocorrelation", xticks=lags)
    axes.legend(frameon=False)
