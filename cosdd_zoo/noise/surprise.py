r"""How well a model's likelihood fits an image: whether its noise is noise as the model knows it.

    PIT     u_i = F(x_i | x_<i, code), uniform in 0..1 if the likelihood is right; of integers, F at a place that is
            drawn uniformly within the bin of the grey value (Czado, Gneiting & Held 2009)
    off     largest distance of the u's distribution from the uniform one (Kolmogorov and Smirnov's)
    g_i     Phi^-1(u_i), standard normal and white if it is right: its correlation with the next pixel along the noise
            axis, and with that of the next line
    turned  NLL of the same pixels with x and y exchanged, minus NLL: above 0 where lines run along the noise axis,
            however weak their correlation is, and whatever the image shows

These do not depend on what the image shows, as long as the model has learned such structures: what it has not learned
stays in the scores, both ways, and will not be in the result. All pixels count, not the flat ones alone. The NLL does
depend on it: it is low where an image is dark. So it is told, but does not decide.

Letters: B batch, C channels, * spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from cosdd_zoo.networks.build import Cosdd, crop_like
from cosdd_zoo.networks.latent_noise import latent_noise
from cosdd_zoo.networks.likelihood import cumulative, log_bin_density, log_likelihood
from cosdd_zoo.noise.lines import BLOCK_PX, error_of_mean
from cosdd_zoo.noise.sampling import DRAWS
from cosdd_zoo.noise.spread import Spread, spread_of
from cosdd_zoo.noise.traces import pixels_of

Floats = NDArray[np.float64]

PLACES = DRAWS - 1
"""The level of the latents' noise (networks.latent_noise) that a place within a grey value's bin is drawn by."""
PIT, WHITE = 0.025, 0.1
"""Differences of the PIT's distribution and of the scores' correlation that do not matter yet."""
FIT_PX = 256
"""Side of the window that the likelihood's fit is told from."""
SURELY, LIKELY = 5.0, 2.0
"""Errors below 0 at which an image is turned: by itself, and if it is unlike the training images too."""
SHIFT, BOTH = 0.06, 3.0
"""Of the scores' correlation across lines less that along them: what matters, and the deviations that it must be."""
FARTHEST = 4.0
"""Of a normal score: single pixels that nothing explains shall not decide."""


class Scored(NamedTuple):
    u: Tensor  # [B, C, *]
    nll: Tensor  # [B, C, *], nats
    kl: float  # nats a pixel and channel
    is_known: NDArray[np.bool_]  # [C, *] of the first of the batch: pixels that are not clipped


class Fit(NamedTuple):
    """Of one channel of a plane."""

    off: float
    along: float
    across: float
    nll: float  # nats a pixel
    turned: float  # nats a pixel
    turned_error: float


class FitProfile(BaseModel):
    """How well the model's likelihood fits windows of the training images."""

    model_config = ConfigDict(frozen=True)

    off: Spread
    along: Spread
    across: Spread
    nll: Spread
    turned: Spread | None = None


@torch.inference_mode()
def scored(model: Cosdd, x: Tensor, step: list[float], seed: int = 0) -> Scored:
    """The likelihood of raw x [B, C, *] by a posterior sample of its code.

    step: of length C, a checkpoint's facts["quantisation_step"]; 0 where values are continuous.
    """
    d, place = model.noise_dim, [0] * (x.dim() - 2)
    maps = model.bottom_up(x)
    code, kl = model.encoder.top_down(maps, model.noise(maps, seed, 0, place), True)
    v = model.normalise(x).transpose(d, -1)
    p = model.ar_decoder(v, crop_like(code, v))
    width = torch.tensor(step, device=x.device).reshape([1, -1] + [1] * (x.dim() - 2))
    half = 0.5 * torch.where(width > 0, width, torch.ones_like(width))
    low, high = (model.normalise(edge).transpose(d, -1) for edge in (x - half, x + half))
    is_integer = (width > 0).transpose(d, -1)
    a, b = (cumulative(p, torch.where(is_integer, edge, v)) for edge in (low, high))
    ends = [_clipped(own) for own in x[0].cpu().numpy()]
    clipped = [torch.from_numpy(np.stack([end[k] for end in ends]))[None].to(x.device) for k in (0, 1)]
    # all that is known of a clipped pixel is that it lies beyond
    a = torch.where(clipped[0].transpose(d, -1), 0.0, a)
    b = torch.where(clipped[1].transpose(d, -1), 1.0, b)
    at = torch.special.ndtr(latent_noise(x, seed, 0, PLACES, list(x.shape[1:]), place)).transpose(d, -1)
    nll = -torch.where(is_integer, log_bin_density(p, low, high), log_likelihood(p, v))
    known = ~(clipped[0] | clipped[1])[0].cpu().numpy()
    u = a + at * (b - a)
    return Scored(u.transpose(d, -1), nll.transpose(d, -1), float(kl.sum()) / x[0].numel(), known)


def fits(model: Cosdd, x: NDArray[np.float64], step: list[float], noise_axis: str) -> list[Fit]:
    """Of each channel of a plane x [C, Y, X], grey values."""
    v = torch.from_numpy(np.ascontiguousarray(x, np.float32))[None].to(model.normalise.mean.device)
    found = scored(model, v, step)
    gap = (scored(model, v.transpose(-1, -2), step).nll.transpose(-1, -2) - found.nll)[0].cpu().numpy()
    out = []
    for c, is_known in enumerate(found.is_known):
        u, nll = (t[0, c].cpu().numpy().astype(np.float64) for t in (found.u, found.nll))
        is_known = is_known if is_known.any() else np.ones_like(is_known)
        ordered = np.sort(u, axis=None)
        off = float(np.abs(ordered - (np.arange(len(ordered)) + 0.5) / len(ordered)).max())
        score = torch.special.ndtri(torch.from_numpy(np.clip(u, 1e-6, 1 - 1e-6))).numpy().clip(-FARTHEST, FARTHEST)
        g = score - score.mean()
        g = g.T if noise_axis == "y" else g
        square = max(float(np.mean(g**2)), 1e-300)
        along, across = (float(np.mean(e)) / square for e in (g[:, 1:] * g[:, :-1], g[1:] * g[:-1]))
        out.append(Fit(off, along, across, float(nll[is_known].mean()), *_mean_of(gap[c].astype(np.float64))))
    return out


def fit_profile(model: Cosdd, frames: Sequence[Floats], n: int, step: list[float], noise_axis: str) -> list[FitProfile]:
    """Of each channel of the training images' frames [C, Y, X], n windows of each."""
    found = [fits(model, w, step, noise_axis) for frame in frames for w in _windows(frame, n)]
    return [
        FitProfile(**{name: spread_of([getattr(f[c], name) for f in found]) for name in FitProfile.model_fields})
        for c in range(len(found[0]))
    ]


def unlikely(
    window: Floats, profiles: Sequence[FitProfile | None], model: Cosdd, step: list[float], noise_axis: str
) -> list[str]:
    """How the middle of a window [C, Y, X] is not as the model expects it, a sentence for each channel where it is so;
    none without profiles.
    """
    (part,) = _windows(window, 1)
    out, chance = [], 1 / math.sqrt(part[0].size)
    for known, found in zip(profiles, fits(model, part, step, noise_axis) if all(profiles) else (), strict=False):
        if known is None:
            continue
        if noise_axis in ("x", "y") and _is_turned(found, known, chance):
            out.append(
                f"its noise runs across the model's noise axis {noise_axis}, as if it was turned by 90 degrees: "
                "so turned the model explains it better"
            )
        elif known.across.is_far(found.across, chance, WHITE) or known.along.is_far(found.along, chance, WHITE):
            both = min(found.along - known.along.mean, found.across - known.across.mean)
            out.append(
                "it shows structures that the model has not learned, which may be lost: train on such images too"
                if both > WHITE / 2
                else f"its noise is correlated otherwise than along the model's noise axis {noise_axis}"
            )
        elif found.off > known.off.mean and known.off.is_far(found.off, chance, PIT):
            out.append(
                f"it is unlikely by the model's likelihood (NLL {found.nll:.2f} nats a pixel, theirs "
                f"{known.nll.mean:.2f}): other noise, or grey values that were changed"
            )
    return out


def _is_turned(found: Fit, known: FitProfile, chance: float) -> bool:
    """By the likelihoods, or where these alone leave it open, by the scores' correlation along the noise axis against
    that across it, of which structures that the model has not learned take no side. Not of a model that explains its
    own training images better turned: it knows no axis, or the wrong one.
    """
    if known.turned is None or known.turned.mean <= 0 or found.turned >= 0:
        return False
    below = -found.turned / max(found.turned_error, 1e-300)
    likely = below > LIKELY and known.turned.is_far(found.turned, found.turned_error, 0.0)
    shift = abs((found.across - found.along) - (known.across.mean - known.along.mean))
    exchanged = shift > max(SHIFT, BOTH * math.hypot(known.across.std, known.along.std, chance, chance))
    return below > SURELY or likely or exchanged


def _mean_of(values: Floats) -> tuple[float, float]:
    """Mean of a plane [Y, X], and its error, by blocks that are taken for independent; infinite of a single one."""
    rows, columns = (np.arange(n) // BLOCK_PX for n in values.shape)
    block = np.add.outer(rows * (columns[-1] + 1), columns).ravel()
    return float(values.mean()), error_of_mean(values.ravel(), block) if block[-1] > 0 else math.inf


def _windows(frame: Floats, n: int) -> list[Floats]:
    """n windows [C, y, x] of a frame [C, Y, X], spread over it."""
    sizes = [min(n_px, FIT_PX) for n_px in frame.shape[1:]]
    places = [(k / (n - 1), k * 0.618 % 1) for k in range(n)] if n > 1 else [(0.5, 0.5)]
    room = [a - b for a, b in zip(frame.shape[1:], sizes, strict=True)]
    starts = [[round(p * r) for p, r in zip(place, room, strict=True)] for place in places]
    return [frame[:, y : y + sizes[0], x : x + sizes[1]] for y, x in starts]


def _clipped(own: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where one channel is at the lower end of its range, and at the upper one, if pixels pile up there."""
    pixels = pixels_of([own.reshape(-1, own.shape[-1])])
    return (own == pixels.low) & (pixels.low_share > 0), (own == pixels.high) & (pixels.high_share > 0)
