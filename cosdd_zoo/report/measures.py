r"""What the evidence of one channel comes to.

    correlation    sum d_j d_j+k / sum d_j^2,  d of order 6 across the lines (noise.lines), over all pixels: the same
                   sum of an image and of one drawn on its signal, which the difference takes away from both
    variance       against the grey value, by noise.levels, of both in the same way
    balance        (<e^2> + <std^2>) / sigma^2 - 1,   e = x - mean, sigma^2 of the noise as it was measured
    explained      R^2 of e, regressed on the mean's own structure: its gradients, and what it loses when blurred by
                   1, 2 and 4 px
    bias           <e> over blocks of 16 px, against their brightness: single pixels would be chosen by their noise
    repeats        <e e'> / sigma^2 is signal alone, as the noise of two frames is independent;
                   var(mean - mean') / var(x - x') is noise alone

The balance is 0 for the mean of the right posterior: with Gaussian noise of covariance S, Tweedie's formula
E[s | x] = x + S grad log p(x) gives Cov[s | x] = S d mean / dx, hence <n mean> = <std^2>, <e^2> = sigma^2 - <std^2>.
More is signal that was lost, less is noise that was kept (or a std that is too small).

Letters: P planes [Y, X], G groups of about one grey value, K lags.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.noise.levels import Levels, Lines, levels_of
from cosdd_zoo.noise.lines import BLOCK_PX, Axis, across

Floats = NDArray[np.float64]
N_LAGS = 10
N_GROUPS = 12
BLURS_PX = (1.0, 2.0, 4.0)


class Curve(NamedTuple):
    x: Floats
    y: Floats


def correlation_of(planes: Floats, axis: Axis) -> Floats:
    """[K], of the noise along the axis."""
    return _normed([across(plane if axis == "x" else plane.T) for plane in planes])


def plain_correlation(planes: Floats, axis: Axis) -> Floats:
    """[K], of all that there is, each plane minus its mean."""
    return _normed([(plane if axis == "x" else plane.T) - plane.mean() for plane in planes])


def variance_of(noise: Floats, grey: Floats, axis: Axis) -> Levels:
    """Of the noise in planes, against the grey value. Raises ValueError where there is none."""
    lines = [Lines(n, g, np.zeros(g.shape, bool)) for n, g in zip(noise, grey, strict=True)]
    return levels_of([line.turned() for line in lines] if axis == "y" else lines)


def spread_of(residual: Floats, mean: Floats) -> Curve:
    """Variance of the residual in groups of about one grey value of the mean [G]."""
    groups = np.array_split(np.argsort(mean, axis=None, kind="stable"), N_GROUPS)
    m, e = mean.ravel(), residual.ravel()
    return Curve(np.array([m[g].mean() for g in groups]), np.array([e[g].var() for g in groups]))


def spectrum_of(planes: Floats, axis: Axis) -> Curve:
    """Power along an axis, in grey values^2, over frequencies in 1 / px, under a Hann window."""
    lines = planes if axis == "x" else planes.transpose(0, 2, 1)
    window = np.hanning(lines.shape[2])
    e = lines - lines.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.rfft(e * window, axis=2)) ** 2).mean(axis=(0, 1)) / float((window**2).sum())
    return Curve(np.asarray(np.fft.rfftfreq(lines.shape[2]), np.float64), np.asarray(power))


def balance_of(residual: Floats, std: Floats, noise_variance: float) -> float:
    """0 for the mean of the right posterior; above, signal was lost, below, noise was kept."""
    return (float(np.mean(residual**2)) + float(np.mean(std**2))) / max(noise_variance, 1e-300) - 1


def explained(residual: Floats, mean: Floats) -> float:
    """R^2 of the residual on the structure of the mean; 0 where the mean has none."""
    lost = [mean - np.stack([gaussian_blur(m, blur) for m in mean]) for blur in BLURS_PX]
    features = [*lost, *np.gradient(mean, axis=(1, 2)), mean - mean.mean()]
    design = np.stack([f.ravel() for f in features])
    e = (residual - residual.mean()).ravel()
    scale = design.std(axis=1)
    kept = scale > 1e-6 * max(float(np.abs(mean).max()), 1e-300)
    if not kept.any() or e.std() == 0:
        return 0.0
    a = design[kept] / scale[kept, None]
    right = a @ e
    found, *_ = np.linalg.lstsq(a @ a.T, right, rcond=None)
    return float(np.clip(found @ right / float(e @ e), 0.0, 1.0))


def correlation_with(residual: Floats, mean: Floats) -> dict[str, float]:
    """Pearson's correlation of the residual with the mean, its gradients and its Laplacian."""
    dy, dx = np.gradient(mean, axis=(1, 2))
    laplacian = np.gradient(dy, axis=1) + np.gradient(dx, axis=2)
    parts = {"denoised": mean, "gradient along x": dx, "gradient along y": dy, "Laplacian": laplacian}
    return {name: _pearson(residual, part) for name, part in parts.items()}


def bias_of(x: Floats, mean: Floats) -> tuple[Curve, Floats]:
    """< x - mean > of blocks [G] against their brightness, darkest first, and its standard error."""
    n_y, n_x = (n // BLOCK_PX for n in x.shape[1:])
    cut = slice(0, n_y * BLOCK_PX), slice(0, n_x * BLOCK_PX)

    def blocks(v: Floats) -> Floats:
        return np.asarray(v[:, *cut].reshape(len(v), n_y, BLOCK_PX, n_x, BLOCK_PX).mean(axis=(2, 4)).ravel())

    level, e = blocks(mean), blocks(x - mean)
    groups = np.array_split(np.argsort(level, kind="stable"), min(N_GROUPS, max(1, len(level) // 4)))
    error = np.array([e[g].std() / np.sqrt(max(len(g) - 1, 1)) for g in groups])
    return Curve(np.array([level[g].mean() for g in groups]), np.array([e[g].mean() for g in groups])), error


def coverage(ranks: NDArray[np.int64], share: float) -> float:
    """Of the truth, by the interval that holds this share of the samples. ranks: [K + 1]."""
    n = len(ranks) - 1
    inner = (1 - share) / 2 * (n + 1)
    place = np.arange(n + 1) + 0.5
    weight = np.clip(np.minimum(place + 0.5 - inner, n + 1 - inner - (place - 0.5)), 0.0, 1.0)
    return float((ranks * weight).sum() / max(int(ranks.sum()), 1))


def signal_lost(residual: Floats, repeat_residual: Floats, noise_variance: float) -> float:
    """< e e' > over the noise's variance."""
    a, b = (e - e.mean() for e in (residual, repeat_residual))
    return float(np.mean(a * b)) / max(noise_variance, 1e-300)


def noise_kept(mean: Floats, repeat_mean: Floats, x: Floats, repeat: Floats) -> float:
    """var(mean - mean') / var(x - x')"""
    return float((mean - repeat_mean).var() / max(float((x - repeat).var()), 1e-300))


def _normed(lines: list[Floats]) -> Floats:
    k = min(N_LAGS, lines[0].shape[1] - 1)
    total = np.sum([[float((d[:, : d.shape[1] - n] * d[:, n:]).mean()) for n in range(k + 1)] for d in lines], axis=0)
    return np.asarray(total[1:] / max(float(total[0]), 1e-300))


def _pearson(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(np.mean(a * b) / max(float(a.std() * b.std()), 1e-300))
