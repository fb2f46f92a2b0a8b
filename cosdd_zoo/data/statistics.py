r"""Per-channel statistics of the training images, in float64, in one pass of little memory: over every training pixel,
or where these are more than 2^30 over regions that are spread over them.

    mean, std        of the grey values
    step             the quantisation step: the greatest common divisor of integer data's grey values; 0 if continuous
    pedestal         the grey value of no signal: the 1st percentile of the brightness of small blocks
    softness         v / g of the noise model  var(noise) = v + g (s - pedestal), fitted to many small blocks
    t_mean, t_std    of the stabilised values (networks.build)
    ceiling          the grey value at which pixels saturate: the largest one, where integer data pile up on it
    outlier          how far a pixel stands out of its neighbours when it is broken (data.outliers), in the VAE's values

Broken pixels count as the brightest (dead ones: darkest) of their neighbours in all but step and ceiling: one hot pixel
in 2000 can widen std thirtyfold. They are found in values stabilised by a first guess, which has no such care.

The noise variance of a block comes from second differences along an axis that the noise is not correlated along:
E[(x_i-1 - 2 x_i + x_i+1)^2] = 6 var(noise) where the signal is about straight. The lowest-variance half of the blocks
of each brightness is used, since signal can only add.

Letters: C channels, * spatial axes, P pixels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cosdd_zoo.config import SPATIAL_AXES, RunConfig
from cosdd_zoo.data.crops import Region, cell_means, crop_size
from cosdd_zoo.data.images import ImageFile, check_finite
from cosdd_zoo.data.outliers import standing_out, threshold
from cosdd_zoo.errors import ImageError
from cosdd_zoo.scaling import Scaling

Floats = NDArray[np.float64]
Mend = Callable[[Floats], Floats]
BLOCK_PX = 8
N_TOP = 4
"""So many of the largest grey values tell whether pixels are saturated."""
N_PROBED = 64
"""Items that the noise is estimated from, spread over the data: more change nothing."""
MOST_PX = 2**30
"""Of more pixels, regions that are spread over the data are read, as many as make so many."""
N_ASKED = 2**18
"""Pixels of an item that tell how far pixels usually stand out."""


class Statistics(NamedTuple):
    scaling: Scaling
    step: list[float]  # quantisation step of each channel, 0 where values are continuous
    brightness: list[Floats]  # mean of the channels' z-scores in each cell of each region
    ceiling: list[float]  # grey value of saturated pixels of each channel, infinite where none are
    outlier: list[float]  # how far a broken pixel stands out, in each channel's values as the VAE sees them


class NoiseLine(NamedTuple):
    """var(noise) = floor + gain * (signal - pedestal)."""

    pedestal: float
    floor: float
    gain: float


def statistics(
    images: Sequence[ImageFile], regions: Sequence[Region], config: RunConfig, kept: Scaling | None = None
) -> Statistics:
    """Statistics of the regions' pixels. kept: a model's scaling, to stand in for that of the pixels.

    Raises ImageError for NaN or infinite pixels and for channels that are constant everywhere.
    """
    mend = _mending(images, regions, config)
    lines = noise_lines(images, regions, config, mend)
    n_channels = len(lines)
    unscaled = _unscaled(lines)
    linear, root = _Moments(n_channels), _Moments(n_channels)
    divisor = [0] * n_channels
    tops = [_Top() for _ in range(n_channels)]
    cells: list[Floats | None] = []
    is_read = _read_of(regions)
    for region, wanted in zip(regions, is_read, strict=True):
        if not wanted:
            cells.append(None)
            continue
        x = _read(images, region, config.network.n_dims)
        for c in range(n_channels):
            tops[c].add(x[c])
        divisor = [_divisor(x[c], divisor[c]) for c in range(n_channels)]
        x = mend(x)
        linear.add(x)
        root.add(_stabilised(x, unscaled))
        cells.append(np.stack([cell_means(x[c], crop_size(config)) for c in range(n_channels)]))
    _refuse_constant(images, linear)
    scaling = kept or Scaling(
        linear.mean.tolist(),
        linear.std.tolist(),
        unscaled.pedestal,
        unscaled.softness,
        root.mean.tolist(),
        root.std.tolist(),
    )
    known = [c for c in cells if c is not None]
    offset, scale = (_columns(v.tolist(), known[0]) for v in (linear.mean, linear.std))
    steps = [float(max(d, 0)) for d in divisor]
    ceiling = [top.ceiling() if step > 0 else np.inf for top, step in zip(tops, steps, strict=True)]
    # what was not read counts as bright as all that was
    brightness = [
        np.zeros((1,) * config.network.n_dims) if b is None else ((b - offset) / scale).mean(0) for b in cells
    ]
    outlier = _outliers(images, regions, config, lambda x: _seen(x, scaling, config))
    return Statistics(scaling, steps, brightness, ceiling, outlier)


def _read_of(regions: Sequence[Region]) -> list[bool]:
    """Which regions are read, so that these are no more than MOST_PX."""
    total = sum(math.prod(r.size) for r in regions)
    share = min(1.0, MOST_PX / total)
    return [int((k + 1) * share) > int(k * share) for k in range(len(regions))]


def noise_lines(
    images: Sequence[ImageFile], regions: Sequence[Region], config: RunConfig, mend: Mend = lambda x: x
) -> list[NoiseLine]:
    """The noise model of each channel, from items spread over the data."""
    n_dims = config.network.n_dims
    axis = _uncorrelated_axis(config)
    blocks = [[_blocks(c, axis) for c in mend(_read(images, r, n_dims))] for r in _spread(regions)]
    n_channels = len(blocks[0])
    return [noise_line(np.concatenate([b[c] for b in blocks], axis=1)) for c in range(n_channels)]


def noise_line(blocks: Floats) -> NoiseLine:
    """Pedestal, floor and gain from blocks' means and noise variances [2, n], robustly, on the data's own scale."""
    mean, variance = blocks
    pedestal = float(np.quantile(mean, 0.01))
    order = np.argsort(mean)
    groups = [g for g in np.array_split(order, min(24, max(1, len(order) // 16))) if len(g)]
    level = np.array([mean[g].mean() for g in groups]) - pedestal
    noise = np.array([np.quantile(variance[g], 0.25) for g in groups])
    weight = 1.0 / np.maximum(noise, 1e-3 * noise.max() + 1e-300)
    design = np.stack([np.ones_like(level), level], axis=1) * weight[:, None]
    floor, gain = np.linalg.lstsq(design, noise * weight, rcond=None)[0]
    smallest = max(float(noise.min()), 1e-6 * float(noise.max()))
    return NoiseLine(pedestal, max(float(floor), 0.5 * smallest), max(float(gain), 0.0))


def _softness(line: NoiseLine) -> float:
    """v / g; where the noise does not grow with the signal so large that the transform is a straight line."""
    if line.floor <= 0:
        return 1.0
    return float(line.floor / max(line.gain, 1e-6 * np.sqrt(line.floor)))


def _stabilised(x: Floats, scaling: Scaling) -> Floats:
    """Grey values x [C, *] as the VAE sees them, but for an offset (networks.build.Normalise)."""
    u = (x - _columns(scaling.pedestal, x)) / _columns(scaling.softness, x)
    return np.asarray(2.0 * u / (1.0 + np.sqrt(1.0 + np.abs(u)))) / _columns(scaling.t_std, x)


def _seen(x: Floats, scaling: Scaling, config: RunConfig) -> Floats:
    return _stabilised(x, scaling) if config.training.stabilise else x / _columns(scaling.std, x)


def _unscaled(lines: Sequence[NoiseLine]) -> Scaling:
    """The scaling of which only pedestal and softness are known."""
    zero, one = [0.0] * len(lines), [1.0] * len(lines)
    return Scaling(zero, one, [line.pedestal for line in lines], [_softness(line) for line in lines], zero, one)


def _columns(values: Sequence[float], like: Floats) -> Floats:
    """One value a channel [C], to meet [C, *]."""
    return np.reshape(np.asarray(values, dtype=np.float64), [-1] + [1] * (like.ndim - 1))


def _blocks(x: Floats, axis: int) -> Floats:
    """Mean and noise variance of the blocks of one channel [*]: [2, blocks]."""
    x = np.moveaxis(x, axis, 0)
    second = x[:-2] - 2.0 * x[1:-1] + x[2:]
    size = tuple(2 * min(BLOCK_PX, n) for n in second.shape)
    return np.stack([cell_means(x[1:-1], size).ravel(), cell_means(second**2 / 6.0, size).ravel()])


def _uncorrelated_axis(config: RunConfig) -> int:
    axes = SPATIAL_AXES[config.network.n_dims]
    free = [a for a in "yxz" if a in axes and a != config.network.noise_axis] or [axes[-1]]
    return axes.index(free[0])


class _Moments:
    """Mean and standard deviation of each channel, merged region by region (Chan, Golub & LeVeque 1983)."""

    def __init__(self, n_channels: int) -> None:
        self.n = 0
        self.mean = np.zeros(n_channels)
        self.squares = np.zeros(n_channels)

    def add(self, x: Floats) -> None:
        flat = x.reshape(len(x), -1)
        n, mean = flat.shape[1], flat.mean(axis=1)
        shift = mean - self.mean
        self.squares += ((flat - mean[:, None]) ** 2).sum(axis=1) + shift**2 * self.n * n / (self.n + n)
        self.mean += shift * n / (self.n + n)
        self.n += n

    @property
    def std(self) -> Floats:
        return np.asarray(np.sqrt(self.squares / self.n))


def _mending(images: Sequence[ImageFile], regions: Sequence[Region], config: RunConfig) -> Mend:
    """What brings the broken pixels of an item [C, *] back to the nearest value among their neighbours."""
    if not config.training.mask:
        return lambda x: x
    guess = _unscaled(noise_lines(images, regions, config))
    limit = _outliers(images, regions, config, lambda x: _stabilised(x, guess))

    def mend(x: Floats) -> Floats:
        is_broken = np.abs(_standing_out(_stabilised(x, guess))) > _columns(limit, x)
        return np.where(is_broken, x - _standing_out(x), x) if is_broken.any() else x

    return mend


def _outliers(
    images: Sequence[ImageFile], regions: Sequence[Region], config: RunConfig, see: Callable[[Floats], Floats]
) -> list[float]:
    """The threshold of each channel, in what `see` makes of an item [C, *], from items spread over the data."""
    out = []
    for region in _spread(regions):
        item = _standing_out(see(_read(images, region, config.network.n_dims)))
        flat = item.reshape(len(item), -1)
        step = flat.shape[1] // N_ASKED + 1
        while math.gcd(step, item.shape[-1]) > 1:  # every column has its turn
            step += 1
        out.append(flat[:, ::step])
    return [threshold(channel) for channel in np.concatenate(out, axis=1)]


def _standing_out(x: Floats) -> Floats:
    """By how much each pixel of x [C, *] is above (positive) or below (negative) all its neighbours."""
    return np.asarray(standing_out(torch.from_numpy(x)[None])[0].numpy())


def _spread(regions: Sequence[Region]) -> Sequence[Region]:
    return regions[:: max(1, len(regions) // N_PROBED)][:N_PROBED]


class _Top:
    """The largest grey values and how many pixels have them."""

    def __init__(self) -> None:
        self.counts: Counter[float] = Counter()

    def add(self, x: Floats) -> None:
        for _ in range(N_TOP):
            if x.size:
                largest = x.max()
                self.counts[float(largest)] += int(np.sum(x == largest))
                x = x[x < largest]

    def ceiling(self) -> float:
        """The largest value if it is far more frequent than the next ones; infinite otherwise."""
        ceiling, *below = sorted(self.counts, reverse=True)[:N_TOP]
        piled_up = self.counts[ceiling] >= max(20, 4 * max((self.counts[value] for value in below), default=0))
        return ceiling if piled_up else np.inf


def _divisor(x: Floats, before: int) -> int:
    """Greatest common divisor of the grey values seen so far; -1 as soon as one is no integer."""
    if before < 0 or not np.array_equal(x, np.rint(x)) or np.abs(x).max() > 2**53:
        return -1
    return int(np.gcd.reduce(np.append(np.unique(x).astype(np.int64), before)))


def _read(images: Sequence[ImageFile], region: Region, n_dims: int) -> Floats:
    image = images[region.image]
    x = image.read_crop(region.item, n_dims, region.start, region.size)
    check_finite(x, image.name)
    return np.asarray(x, dtype=np.float64)


def _refuse_constant(images: Sequence[ImageFile], moments: _Moments) -> None:
    for c, (mean, std) in enumerate(zip(moments.mean, moments.std, strict=True)):
        if std <= 1e-12 * max(abs(mean), 1e-300):
            names = ", ".join(image.name for image in images[:3])
            raise ImageError(
                f"Channel {c} of {names} is constant ({mean:g} everywhere): there is no noise to learn. "
                f"Give images that hold more than one grey value, or check --axes."
            )
