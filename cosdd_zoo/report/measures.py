r"""What the evidence of one channel comes to.

    correlation    sum d_j d_j+k / sum d_j^2,  d of order 6 across the lines (noise.lines), over all pixels: the same
                   sum of an image and of one drawn on its signal, which the difference takes away from both
    variance       against the grey value, by noise.levels, of both in the same way
    balance        (<e^2> + <d^2>) / sigma^2 - 1,   sigma^2 of the noise as it was measured
    across         the largest <e_i e_j> + <d_i d_j> of lines i and j, some px apart, over sigma^2
    explained      R^2 of e, regressed on the mean's own structure f(mean), with <e f(mean)> - <d f(d)> in the place of
                   <e f(mean)>; f: gradients, and what is lost when blurred by 1, 2 and 4 px
    bias           <e> over blocks of 16 px, against their brightness: single pixels would be chosen by their noise
    repeats        <e e'> / sigma^2 is signal that was lost, as the noise of two frames is independent;
                   var(mean - mean') / var(x - x') is noise that was kept
    spots          places where e, blurred and over the noise's std there, stands out as drawn noise nowhere does

e = x - mean is what was removed, d = s_k - mean what the posterior leaves open. If the posterior is the right one,
s - mean is uncorrelated with any function of x; hence, for noise n of any kind that is uncorrelated with the signal,
<e_i e_j> + <d_i d_j> = <n_i n_j>, <e f(mean)> = <d f(d)>, and lost + kept = <d^2> / sigma^2. More is signal that was
lost, less is noise that was kept (or a posterior that is too narrow).

Letters: P planes [Y, X], G groups of about one grey value, K lags.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.data.outliers import standing_out, threshold
from cosdd_zoo.noise.levels import Levels, Lines, levels_of
from cosdd_zoo.noise.lines import BLOCK_PX, Axis, across, error_of_mean

Floats = NDArray[np.float64]
N_LAGS = 10
N_GROUPS = 12
BLURS_PX = (1.0, 2.0, 4.0)
SPOT_BLURS_PX = (1.5, 3.0)
"""Sigmas of the objects that a microscope shows smallest."""
SPOT_FARTHEST, SPOT_BEYOND = 6.0, 1.3
"""In standard deviations of the blurred noise, and times the farthest that drawn noise is."""
MOST_SPOTS = 64


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


def explained(residual: Floats, mean: Floats, open_: Floats) -> float:
    """R^2 of the residual on the structure of the mean; 0 where the mean has none. open_: sample minus mean."""
    design = _structure(mean)
    e = (residual - residual.mean()).ravel()
    scale = design.std(axis=1)
    kept = scale > 1e-6 * max(float(np.abs(mean).max()), 1e-300)
    if not kept.any() or e.std() == 0:
        return 0.0
    a = design[kept] / scale[kept, None]
    right = a @ e - _structure(open_)[kept] / scale[kept, None] @ (open_ - open_.mean()).ravel()
    found, *_ = np.linalg.lstsq(a @ a.T, right, rcond=None)
    return float(np.clip(found @ right / float(e @ e), 0.0, 1.0))


def covariance_of(planes: Floats, axis: Axis) -> Floats:
    """[1 + K], of all that there is at lags 0, 1 .. K, each plane minus its mean."""
    return _products([(plane if axis == "x" else plane.T) - plane.mean() for plane in planes])


def spots_of(residual: Floats, drawn: Floats, std: Floats, drawn_std: Floats) -> list[tuple[int, int, int]]:
    """Plane, y and x of places where signal alone can be, the most striking first.

    drawn: noise that was drawn; std, drawn_std: the noise's at each pixel. Single pixels, hits that no signal explains,
    do not count.
    """
    e, reference = (_without_hits(v / np.maximum(s, 1e-300)) for v, s in ((residual, std), (drawn, drawn_std)))
    found: list[tuple[float, tuple[int, int, int]]] = []
    for blur in SPOT_BLURS_PX:
        seen, usual = (np.abs(np.stack([gaussian_blur(p, blur) for p in v])) for v in (e, reference))
        limit = max(SPOT_FARTHEST * float(usual.std() + usual.mean()), SPOT_BEYOND * float(usual.max()))
        for p, plane in enumerate(seen):
            while (peak := float(plane.max())) > limit and len(found) < MOST_SPOTS:
                y, x = np.unravel_index(int(plane.argmax()), plane.shape)
                found.append((peak / limit, (p, int(y), int(x))))
                r = round(4 * blur)
                plane[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1] = 0
    apart: list[tuple[int, int, int]] = []
    for _, place in sorted(found, reverse=True):
        if all(place[0] != o[0] or max(abs(place[1] - o[1]), abs(place[2] - o[2])) > 8 for o in apart):
            apart.append(place)
    return apart


def correlation_with(residual: Floats, mean: Floats) -> dict[str, float]:
    """Pearson's correlation of the residual with the mean, its gradients and its Laplacian."""
    dy, dx = np.gradient(mean, axis=(1, 2))
    laplacian = np.gradient(dy, axis=1) + np.gradient(dx, axis=2)
    parts = {"denoised": mean, "gradient along x": dx, "gradient along y": dy, "Laplacian": laplacian}
    return {name: _pearson(residual, part) for name, part in parts.items()}


def bias_of(x: Floats, mean: Floats, axis: Axis = "x") -> tuple[Curve, Floats]:
    """< x - mean > of blocks [G] against their brightness, darkest first, and its standard error.

    axis: of the noise, along which blocks share its offsets: the error is that of independent bands of lines.
    """
    n_y, n_x = (n // BLOCK_PX for n in x.shape[1:])
    cut = slice(0, n_y * BLOCK_PX), slice(0, n_x * BLOCK_PX)

    def blocks(v: Floats) -> Floats:
        return np.asarray(v[:, *cut].reshape(len(v), n_y, BLOCK_PX, n_x, BLOCK_PX).mean(axis=(2, 4)).ravel())

    level, e = blocks(mean), blocks(x - mean)
    groups = np.array_split(np.argsort(level, kind="stable"), min(N_GROUPS, max(1, len(level) // 4)))
    plane, row, column = np.indices((len(x), n_y, n_x)).reshape(3, -1)
    band = plane * max(n_y, n_x) + (column if axis == "y" else row)
    error = np.array([_error(e[g], band[g]) for g in groups])
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
    mean = _products(lines)
    return np.asarray(mean[1:] / max(float(mean[0]), 1e-300))


def _products(lines: list[Floats]) -> Floats:
    """[1 + K], means of d_j d_j+k."""
    k = min(N_LAGS, lines[0].shape[1] - 1)
    means = [[float((d[:, : d.shape[1] - n] * d[:, n:]).mean()) for n in range(k + 1)] for d in lines]
    return np.asarray(np.mean(means, axis=0))


def _structure(mean: Floats) -> Floats:
    """[6, N], what is fine in planes, their gradients, and themselves."""
    lost = [mean - np.stack([gaussian_blur(m, blur) for m in mean]) for blur in BLURS_PX]
    return np.stack([f.ravel() for f in (*lost, *np.gradient(mean, axis=(1, 2)), mean - mean.mean())])


def _without_hits(z: Floats) -> Floats:
    """Of unit variance; pixels that stand out of their neighbours as far as no signal does are left out."""
    out = standing_out(torch.from_numpy(z)[:, None])[:, 0].numpy()
    return np.where(np.abs(out) > threshold(out), 0.0, z)


def _error(e: Floats, band: NDArray[np.int64]) -> float:
    """Of the mean of e, of which those of one band go together; infinite for one band."""
    n = len(np.unique(band))
    return error_of_mean(e, band) * math.sqrt(n / (n - 1)) if n > 1 else math.inf


def _pearson(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(np.mean(a * b) / max(float(a.std() * b.std()), 1e-300))
