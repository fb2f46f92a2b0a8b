r"""What a trained model does to some of its images, as numbers to judge it by.

    mean, std     of K posterior samples s_k = f(code(z_k)),  z_k ~ q(z | x)
    two           samples 0 and 2, which are independent: where they agree, the image is known
    drawn         x' ~ p(x' | code(z)) and its signal: noise as the model knows it
    PIT           where grey values fall in the likelihood (noise.surprise)
    ranks         how many of the K samples lie below the truth; of a repeat, how many of K drawn images lie below it

All is gathered in one pass over the samples; memory holds a few images.

Letters: C channels, * spatial axes of an item, P planes of a channel [Y, X], with the noise axis among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.errors import ConfigError
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.noise.surprise import scored
from cosdd_zoo.noise.synthesis import on_levels, seen_step, synthesise
from cosdd_zoo.report.looked_at import Item, planes

Floats = NDArray[np.float64]
N_BINS = 20
N_STRIP, STRIP_PX = 6, 128


class Evidence(NamedTuple):
    """Of one channel, [P, Y, X] each; grey values."""

    x: Floats
    mean: Floats
    std: Floats
    drawn: Floats
    drawn_signal: Floats
    two: tuple[Floats, Floats]
    error: Floats  # [K / 2], rms error of the mean of 2, 4 .. K samples, from the spread of the pairs
    pit: NDArray[np.int64]  # [N_BINS]
    nll: float  # nats a pixel
    kl: float  # nats a pixel and channel, of all channels together
    samples: Floats  # [N_STRIP, y, x] of the middle of the first plane
    reference: Floats | None
    ranks: NDArray[np.int64]  # [K + 1], of the reference; zeros without one
    repeat: Floats | None  # another noisy image of the same thing
    repeat_mean: Floats | None  # denoised
    repeat_ranks: NDArray[np.int64]  # [K + 1]
    name: str

    @property
    def residual(self) -> Floats:
        return self.x - self.mean


def gather(
    checkpoint: Checkpoint,
    items: Sequence[Item],
    n_samples: int,
    device: str = "auto",
    advance: Callable[[float], None] = lambda share: None,
) -> list[Evidence]:
    """The evidence of each channel. n_samples: a multiple of 4. advance: called with shares that add up to 1.

    Raises ConfigError for another number of samples.
    """
    if n_samples < 4 or n_samples % 4:
        raise ConfigError(f"A report from {n_samples} samples cannot be made: give 4, 8, 12 and so on.")
    network = checkpoint.config.network
    denoiser = Denoiser(checkpoint.model(), checkpoint.config, device, checkpoint.facts)
    step = list(checkpoint.facts.get("quantisation_step", [0.0] * network.n_channels))
    seen = seen_step(checkpoint.config.training, step)
    found = [
        _of_item(denoiser, item, n, n_samples, step, seen, lambda part: advance(part / len(items)))
        for n, item in enumerate(items)
    ]
    return [_channel([one[c] for one in found], items, network.noise_axis, c) for c in range(network.n_channels)]


@torch.inference_mode()
def _of_item(
    denoiser: Denoiser,
    item: Item,
    number: int,
    n_samples: int,
    step: list[float],
    seen: list[float] | None,
    advance: Callable[[float], None],
) -> list[dict[str, Any]]:
    """What is found in one item, by channel, in the item's own axes."""
    model: Cosdd = denoiser.engine
    x = _tensor(item.x, denoiser.device)
    origin = [0] * (x.dim() - 2)
    share = 1.0 / (n_samples * (2 if item.repeat is not None else 1) + 2)
    maps = model.bottom_up(x)
    truth = None if item.reference is None else _tensor(item.reference, x.device)
    other = None if item.repeat is None else _tensor(item.repeat, x.device)
    mean, squares = torch.zeros_like(x), torch.zeros_like(x)
    two: list[Tensor] = []
    below, below_other = torch.zeros_like(x), torch.zeros_like(x)
    kept: list[Tensor] = []
    pair, of_pairs, pairs_mean = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
    for k in range(n_samples):
        s = model.sample(x, maps, 0, k, origin)
        off = s - mean
        mean = mean + off / (k + 1)
        squares = squares + off * (s - mean)
        if k in (0, 2):
            two.append(s)
        below += 0 if truth is None else (s < truth)
        if k % 2 == 0 and len(kept) < N_STRIP:  # the odd ones are their opposites
            kept.append(s)
        pair = s if k % 2 == 0 else 0.5 * (pair + s)
        if k % 2:
            away = pair - pairs_mean
            pairs_mean = pairs_mean + away / (k // 2 + 1)
            of_pairs = of_pairs + away * (pair - pairs_mean)
        if other is not None:
            drawn = on_levels(synthesise(model, x, 0, number * n_samples + k, seen=seen).noisy, step)
            # equal grey values are in half of the cases below
            below_other += (drawn < other).float() + 0.5 * (drawn == other)
            advance(share)
        advance(share)
    n_pairs = n_samples // 2
    between = of_pairs / max(n_pairs - 1, 1)
    # samples of a pair are opposites, so that their sum of squares is short of K var by K var(mean), not by var
    spread = torch.sqrt(squares / n_samples + between / n_pairs)
    made = synthesise(model, x, 1, number, seen=seen)
    advance(share)
    u, nll, kl, is_known = scored(model, x, step, number)
    advance(share)
    repeat_mean = None
    if other is not None:
        repeat_mean = model.posterior(other, n_samples, 0, origin).mean
    out = []
    for c in range(x.size(1)):
        out.append(
            {
                "x": item.x[c],
                "mean": _array(mean, c),
                "std": _array(spread, c),
                "drawn": _array(on_levels(made.noisy, step), c),
                "drawn_signal": _array(made.signal, c),
                "two": [_array(s, c) for s in two],
                "between": _array(between, c),
                "pit": np.histogram(_array(u, c), N_BINS, (0, 1))[0],
                "kl": kl,
                "nll": float(_array(nll, c)[is_known[c]].mean()),
                "samples": [_array(s, c) for s in kept],
                "reference": None if item.reference is None else item.reference[c],
                "ranks": _ranks(None if truth is None else below, c, n_samples),
                "repeat": None if item.repeat is None else item.repeat[c],
                "repeat_mean": None if repeat_mean is None else _array(repeat_mean, c),
                "repeat_ranks": _ranks(None if other is None else below_other, c, n_samples),
            }
        )
    return out


def _channel(found: Sequence[dict[str, Any]], items: Sequence[Item], noise_axis: str, c: int) -> Evidence:
    def joined(name: str) -> Floats:
        return np.concatenate([planes(one[name], noise_axis) for one in found])

    def optional(name: str) -> Floats | None:
        return None if any(one[name] is None for one in found) else joined(name)

    n_pairs = len(found[0]["ranks"]) // 2
    between = float(np.mean(joined("between")))
    two = [np.concatenate([planes(one["two"][k], noise_axis) for one in found]) for k in (0, 1)]
    first = [planes(s, noise_axis)[0] for s in found[0]["samples"]]
    y, x = ((n - min(n, STRIP_PX)) // 2 for n in first[0].shape)
    return Evidence(
        x=joined("x"),
        mean=joined("mean"),
        std=joined("std"),
        drawn=joined("drawn"),
        drawn_signal=joined("drawn_signal"),
        two=(two[0], two[1]),
        error=np.sqrt(between / np.arange(1, n_pairs + 1)),
        pit=np.sum([one["pit"] for one in found], axis=0),
        nll=float(np.mean([one["nll"] for one in found])),
        kl=float(np.mean([one["kl"] for one in found])),
        samples=np.stack([s[y : y + STRIP_PX, x : x + STRIP_PX] for s in first]),
        reference=optional("reference"),
        ranks=np.sum([one["ranks"] for one in found], axis=0),
        repeat=optional("repeat"),
        repeat_mean=optional("repeat_mean"),
        repeat_ranks=np.sum([one["repeat_ranks"] for one in found], axis=0),
        name=str(c),
    )


def _ranks(below: Tensor | None, c: int, n: int) -> NDArray[np.int64]:
    if below is None:
        return np.zeros(n + 1, np.int64)
    return np.bincount(_array(below, c).round().astype(int).ravel(), minlength=n + 1).astype(np.int64)


def _tensor(x: Floats, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, np.float32))[None].to(device)


def _array(x: Tensor, c: int) -> Floats:
    return x[0, c].cpu().numpy().astype(np.float64)
