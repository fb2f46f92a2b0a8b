r"""What the noise of some images is like, found before anything is trained and without a clean image.

Of up to 12 frames, 1024 x 1024 px of each at most: the noise's correlation along both axes with its error, its variance
against the grey value, broken and saturated pixels, traces of processing, and drift.

The noise is that of single frames, or of differences of consecutive ones where these show less structure, which they do
when the same thing was taken twice; both through differences across lines, in flat blocks (noise.lines).

    frame differences     e = (x_2 - x_1) / sqrt(2)
    flat regions          the flattest blocks show at most twice the structure that the noise alone would
    high-pass residuals   they show more: there is no flat place, and signal may be taken for noise
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.errors import ImageError
from cosdd_zoo.noise.autocorrelation import Autocorrelation, masked_autocorrelation
from cosdd_zoo.noise.frames import mended_of, told_apart
from cosdd_zoo.noise.levels import Levels, Lines, levels_of
from cosdd_zoo.noise.lines import (
    BLUR_PX,
    CERTAIN,
    FEW_BANDS,
    Axis,
    Blocks,
    Correlation,
    Floats,
    blocks_along,
    correlation,
    flat,
    spread_out,
    together,
)  # fmt: skip
from cosdd_zoo.noise.spectrum import Spectrum, offsets_period, spectrum_along
from cosdd_zoo.noise.traces import Pixels, pixels_of

NoiseAxis = Literal["x", "y", "z", "none", "both"]
Method = Literal["frame differences", "flat regions", "high-pass residuals"]
Certainty = Literal["certain", "likely", "unsure"]
N_LAGS = 40
ALL_EDGES = 60.0
"""Times the structure of noise alone in the flattest blocks, above which what they have is edges and no noise, if most
blocks have nothing at all."""
WEAK = 0.03
"""A correlation that is none yet: the method is at its best from about 0.05 on."""
BOTH = 0.5
"""Of the stronger axis' correlation, what the weaker one has where the noise is correlated along both."""
LESS = 0.5
"""Of the structure of single frames, what differences show at most to be used."""
STILL = 0.2
"""The same where nothing but noise is left."""
FLAT = 2.0
"""Times the structure of noise alone that flat blocks show at most."""
REPEATS = 0.1
"""Correlation of frames' noise above which they count as one for errors."""
SURROUNDINGS_PX = 8.0
PICTURE_LAGS_PX = 10


class Noise(NamedTuple):
    """Of one channel."""

    axis: NoiseAxis
    certainty: Certainty
    method: Method
    x: Correlation
    y: Correlation
    spectrum_x: Spectrum
    spectrum_y: Spectrum
    offsets_period_px: float  # of the lines' offsets from line to line; 0 for none
    picture: Autocorrelation  # of both axes together, in flat blocks
    between: float  # correlation with the next frame: a fixed pattern, or noise along z; 0 for single frames
    levels: Levels
    structure: float  # of the flattest blocks, in that of noise alone
    noise_std: float  # grey values, root mean square over all pixels
    signal_std: float
    broken_share: float
    pixels: Pixels

    @property
    def snr(self) -> float:
        return self.signal_std / self.noise_std if self.noise_std > 0 else float("inf")

    @property
    def is_along_y(self) -> bool:
        """Whether y is the axis that has more of the correlation."""
        return self.axis == "y" or (self.axis != "x" and self.y.strength > self.x.strength)

    @property
    def along(self) -> Correlation:
        """Along the axis that has more of it."""
        return self.y if self.is_along_y else self.x

    @property
    def length_px(self) -> int:
        """The last lag at which the noise is correlated, a tenth as much as where it is most."""
        if self.axis == "none":
            return 0
        r = self.along
        far = np.flatnonzero(np.abs(r.r) > np.maximum(max(WEAK / 2, 0.1 * r.strength), CERTAIN * r.error))
        return int(far[-1]) + 1 if len(far) else 0

    @property
    def period_px(self) -> float:
        """Of a wave in the noise, along the axis; 0 where there is none."""
        return (self.spectrum_y if self.is_along_y else self.spectrum_x).period_px

    @property
    def row_std(self) -> float:
        """Standard deviation of the rows' offsets in grey values: noise that is the same all along x."""
        return self._offsets(self.x)

    @property
    def column_std(self) -> float:
        """Standard deviation of the columns' offsets, in grey values."""
        return self._offsets(self.y)

    def _offsets(self, r: Correlation) -> float:
        return self.noise_std * float(np.sqrt(_plateau(r)))


def _plateau(r: Correlation) -> float:
    """The correlation that is left at the longest lags, the share of lines' offsets in the variance; 0 for none."""
    late = slice(len(r.r) // 2, None)
    plateau = float(np.mean(r.r[late]))
    return plateau if plateau > max(WEAK / 2, CERTAIN * float(np.mean(r.error[late]))) else 0.0


def noise_of(frames: Sequence[NDArray[Any]], follows: Sequence[bool]) -> Noise:
    """The noise of one channel of some frames, each [Y, X]; follows: whether a frame comes directly after the last.

    Raises ImageError for images without noise.
    """
    try:
        return _noise_of(*told_apart(frames, follows))
    except ValueError as error:
        raise ImageError(
            f"No noise can be found in the images ({error}): they are constant, masks, or were made by a computer. "
            "Give raw images, or check --axes."
        ) from None


def _noise_of(frames: Sequence[NDArray[Any]], follows: Sequence[bool]) -> Noise:
    pixels = pixels_of(frames)
    mended, clipped, n_broken = mended_of(frames, pixels)
    parts = {
        a: [blocks_along(f, a, N_LAGS, c, step=pixels.step) for f, c in zip(mended, clipped, strict=True)] for a in _XY
    }
    singles = {a: together(parts[a]) for a in _XY}
    pairs = [n for n, is_next in enumerate(follows) if is_next]
    differences, by_difference, still = singles, False, 1.0
    between = 0.0
    if pairs:
        apart = [_lines(mended, clipped, n, True) for n in pairs]
        differences = {
            a: together([blocks_along(e.noise, a, N_LAGS, e.clipped, e.grey, pixels.step) for e in apart]) for a in _XY
        }
        still = _structure(differences["x"]) / max(_structure(singles["x"]), 1e-300)
        by_difference = still < LESS
        first, second = (together([parts["x"][n + k] for n in pairs]) for k in (-1, 0))
        between = _between(first, second, differences["x"])
        if between > REPEATS:
            singles = {a: together(parts[a], repeats=True) for a in _XY}
    blocks = differences if by_difference else singles
    chosen = {a: flat(blocks[a]) for a in _XY}
    x, y = (correlation(blocks[a], chosen[a]) for a in _XY)
    axis, certainty = axis_of(x, y)
    main: Axis = "y" if axis == "y" else "x"
    lines = [_lines(mended, clipped, n, by_difference) for n in (pairs if by_difference else range(len(mended)))]
    has_offsets = _plateau(y if main == "y" else x) > 0
    levels = levels_of([line.turned() for line in lines] if main == "y" else lines, has_offsets)
    structure = _over_noise(blocks[main], chosen[main], y if main == "y" else x)
    if structure > ALL_EDGES and float((blocks[main].products[0] > 0).mean()) < 0.7:
        raise ValueError("there is none but at edges")
    method: Method = (
        "frame differences" if by_difference else "flat regions" if structure <= FLAT else "high-pass residuals"
    )
    is_flat = spread_out(chosen[main], [line.grey.shape for line in lines], main)
    variance = float(np.mean([levels.at(f).mean() for f in mended]))
    total = float(np.mean([f.var() for f in mended]))
    return Noise(
        axis=axis,
        certainty=certainty if min(x.n_bands, y.n_bands) >= FEW_BANDS else "unsure",
        method=method,
        x=x,
        y=y,
        spectrum_x=spectrum_along([line.noise for line in lines]),
        spectrum_y=spectrum_along([line.noise.T for line in lines]),
        offsets_period_px=offsets_period([line.noise.T if main == "y" else line.noise for line in lines])
        if by_difference and still < STILL  # else lines' means are signal
        else 0.0,
        picture=_picture(lines, is_flat),
        between=between,
        levels=levels,
        structure=structure,
        noise_std=float(np.sqrt(variance)),
        signal_std=float(np.sqrt(max(total - variance, 0.0))),
        broken_share=n_broken / sum(f.size for f in mended),
        pixels=pixels,
    )


def _picture(lines: Sequence[Lines], is_flat: Sequence[NDArray[np.bool_]]) -> Autocorrelation:
    """Over lags along both axes, of what stands out of its surroundings where it is flat; bright places count most, as
    they have most of the noise.
    """
    residuals = [line.noise - gaussian_blur(line.noise, SURROUNDINGS_PX) for line in lines]
    try:
        return masked_autocorrelation(residuals, is_flat, PICTURE_LAGS_PX)
    except ValueError:  # flat blocks are too few and far between
        return masked_autocorrelation(residuals, [np.ones_like(m) for m in is_flat], PICTURE_LAGS_PX)


def axis_of(x: Correlation, y: Correlation) -> tuple[NoiseAxis, Certainty]:
    """The axis of correlation, from that along x and along y."""
    strong, weak = max(x.strength, y.strength), min(x.strength, y.strength)
    if strong < WEAK:
        least = max(float(x.error.min()), float(y.error.min()))  # what could have been seen
        return "none", "certain" if least < WEAK / 4 else "likely" if least < WEAK / 2 else "unsure"
    if weak >= max(WEAK, BOTH * strong):
        return "both", "likely"
    axis: NoiseAxis = "x" if x.strength > y.strength else "y"
    return axis, "certain" if weak < 0.2 * strong else "likely" if weak < 0.35 * strong else "unsure"


_XY: tuple[Axis, Axis] = ("x", "y")


def _lines(mended: list[Floats], clipped: list[NDArray[np.bool_]], n: int, by_difference: bool) -> Lines:
    """Frame n, or its difference from the one before, which has the variance of one frame's noise."""
    if not by_difference:
        return Lines(mended[n], mended[n], clipped[n])
    first, second = mended[n - 1], mended[n]
    return Lines((second - first) / np.sqrt(2.0), (first + second) / 2, clipped[n - 1] | clipped[n])


def _structure(blocks: Blocks) -> float:
    """Over the noise's variance, on average."""
    return float(blocks.structure.mean() / max(float(blocks.products[0].mean()), 1e-300))


def _between(first: Blocks, second: Blocks, differences: Blocks) -> float:
    """Correlation of the noise with that of the frame before:  1 - Var[(e_2 - e_1) / sqrt 2] / Var[e]."""
    chosen = flat(first) & flat(second)
    if not chosen.any():
        return 0.0
    variance = float((first.products[0, chosen] + second.products[0, chosen]).mean()) / 2
    return 1.0 - float(differences.products[0, chosen].mean()) / variance if variance > 0 else 0.0


def _over_noise(blocks: Blocks, chosen: NDArray[np.bool_], r: Correlation) -> float:
    """The structure of the chosen blocks in that of noise with this correlation along its lines."""
    found = float(blocks.structure[chosen].mean() / blocks.products[0, chosen].mean())
    n = 256
    fx, fy = np.fft.fftfreq(n), np.fft.fftfreq(n)
    lags = np.arange(1, len(r.r) + 1)
    seen = r.r * (np.abs(r.r) > 2 * r.error)
    spectrum = np.maximum(1 + 2 * (seen[:, None] * np.cos(2 * np.pi * lags[:, None] * fx)).sum(axis=0), 0.0)
    blur = np.exp(-2 * (np.pi * BLUR_PX) ** 2 * (fx[None] ** 2 + fy[:, None] ** 2)) ** 2
    slope = np.sin(2 * np.pi * fx[None]) ** 2 + np.sin(2 * np.pi * fy[:, None]) ** 2
    return found / float((spectrum[None] * blur * slope).mean())
