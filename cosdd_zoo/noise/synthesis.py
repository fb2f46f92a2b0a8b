r"""Images that were never taken: a signal, and noise on it as the model has learned it.

    reconstruction    z ~ q(z | x)      s = f(code(z)),   x' ~ p(x | code(z))
    prior             z ~ p(z)          the same
    copy of s         x_0 = s,   x_n+1 = s + (x' - f(c_n)),   x' ~ p(x' | c_n),   n = 0 .. N_ROUNDS - 1
                      c_0 = code(x_0),   c_n = mean of code(x_1) .. code(x_n),   code(x) = code(z), z = E q(z | x)

A copy's signal is the given one. The encoder has never seen an image without noise, and what it makes of one has too
much contrast and noise; so it is shown the image with the noise that this gave. The code of one such image is that of
its noise too, and what is too bright in one round is too dark in the next; the mean over rounds comes to rest, nearer
to s (benchmarks/results).

Every number that is drawn belongs to a place (networks.latent_noise), so that a piece of an image is that of the whole,
if it holds the lines from end to end.

Letters: B batch, C channels, F features of the code, * spatial axes, *' the same with the noise axis last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cosdd_zoo.config import TrainingConfig
from cosdd_zoo.networks.build import Cosdd, crop_like
from cosdd_zoo.networks.latent_noise import latent_noise
from cosdd_zoo.noise.sampling import draws, sample_lines

N_ROUNDS = 5
"""Of a copy."""


class Synthetic(NamedTuple):
    """A noisy image that was never taken, and the signal in it; grey values, float32."""

    noisy: Tensor  # [B, C, *]
    signal: Tensor  # [B, C, *]

    @property
    def noise(self) -> Tensor:
        return self.noisy - self.signal


@torch.no_grad()
def synthesise(
    model: Cosdd,
    x: Tensor,
    seed: int,
    item: int = 0,
    origin: list[int] | None = None,
    seen: list[float] | None = None,
) -> Synthetic:
    """Other noise on the signal of raw x [B, C, *]: z ~ q(z | x), then x' ~ p(x' | code).

    Continuous values; `on_levels` makes them those of a camera again. item: each has other noise. origin: absolute
    coordinate of the first pixel along *, divisible by the stride. model: of a checkpoint, not of a package, which
    holds no AR decoder. seen: of `seen_step`.
    """
    place = origin or [0] * (x.dim() - 2)
    return _of_code(model, _code(model, x, seed, 2 * item, place), x, seed, item, place, seen)


@torch.no_grad()
def add_noise(
    model: Cosdd,
    s: Tensor,
    seed: int,
    item: int = 0,
    origin: list[int] | None = None,
    seen: list[float] | None = None,
) -> Synthetic:
    """The camera's noise on the signal s [B, C, *], grey values; see `synthesise`."""
    place, x = origin or [0] * (s.dim() - 2), s
    code = _code(model, s, seed, -1, place)
    for n in range(N_ROUNDS):
        key = (item + n * 0x3C6EF372) & 0x7FFFFFFF  # each round draws other numbers
        if n > 0:
            found = _code(model, x if seen is None else on_levels(x, seen), seed, -1, place)
            code = found if n == 1 else code + (found - code) / n
        x = s + _of_code(model, code, s, seed, key, place, seen).noise
    return Synthetic(x, s)


@torch.no_grad()
def imagine(
    model: Cosdd,
    size: list[int],
    seed: int,
    item: int = 0,
    origin: list[int] | None = None,
    seen: list[float] | None = None,
) -> Synthetic:
    """An image of nothing, z ~ p(z): what the model takes for an image, of any size along *; see `synthesise`."""
    place = origin or [0] * len(size)
    like = model.normalise.mean.expand([1, -1, *size])
    turned, start = [_turned(v, model.noise_dim - 2) for v in (size, place)]
    rounded = [-(-n // step) * step for n, step in zip(turned, model.stride, strict=True)]
    eps = []
    for level, strides in enumerate(model.encoder.level_strides):
        shape = [model.encoder.n_latents] + [n // s for n, s in zip(rounded, strides, strict=True)]
        first = [n // s for n, s in zip(start, strides, strict=True)]
        eps.append(latent_noise(like, seed, 2 * item, level, shape, first))
    return _of_code(model, model.encoder.imagined(eps), like, seed, item, place, seen)


def on_levels(x: Tensor, step: list[float]) -> Tensor:
    """The nearest multiples of each channel's quantisation step: undoes dequantisation. x [B, C, *] -> [B, C, *].

    step: of length C, a checkpoint's facts["quantisation_step"]; a channel of step 0 is continuous and stays.
    """
    width = torch.tensor(step, device=x.device).reshape([1, -1] + [1] * (x.dim() - 2))
    return torch.where(width > 0, torch.round(x / width) * width, x)


def seen_step(training: TrainingConfig, step: list[float]) -> list[float] | None:
    """Quantisation step, of length C, of the pixels that the model was trained to see; None if they were dequantised.

    step: that of the training images, a checkpoint's facts["quantisation_step"].
    """
    return None if training.likelihood == "dequantised" or not any(step) else step


def _code(model: Cosdd, x: Tensor, seed: int, sample: int, place: list[int]) -> Tensor:
    """Of a posterior sample, or of the latents' means (-1): [B, F, *'], padded to the stride."""
    maps = model.bottom_up(x)
    return model.encoder.top_down(maps, model.noise(maps, seed, sample, place), False).code


def _of_code(
    model: Cosdd, code: Tensor, x: Tensor, seed: int, item: int, place: list[int], seen: list[float] | None
) -> Synthetic:
    """code: [B, F, *']; x: [B, C, *], of the size that is asked for."""
    like = x.transpose(model.noise_dim, -1)
    random = draws(list(like.shape), x.device, seed, item, _turned(place, model.noise_dim - 2))
    v = sample_lines(model.ar_decoder, crop_like(code, like), random, _held(model, seen))
    noisy = model.normalise.inverse(v.transpose(model.noise_dim, -1))
    return Synthetic(noisy, model.to_image(model.signal_decoder(code), x))


def _held(model: Cosdd, seen: list[float] | None) -> Callable[[Tensor], Tensor] | None:
    """The decoder's values [N, C, 1] of the grey values that a camera would have written for them."""
    if seen is None:
        return None

    def held(v: Tensor) -> Tensor:
        x = model.normalise.inverse(v.reshape([*v.shape[:2]] + [1] * (model.normalise.mean.dim() - 2)))
        whole: Tensor = model.normalise(on_levels(x, seen))
        return whole.reshape(v.shape)

    return held


def _turned(along: list[int], axis: int) -> list[int]:
    """The noise axis last."""
    turned = list(along)
    turned[axis], turned[-1] = along[-1], along[axis]
    return turned
