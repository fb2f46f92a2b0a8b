"""An inspection: the noise of each channel, traces of processing, and the advice that follows, as numbers and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cosdd_zoo.data.channels import numbers_of
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.errors import ImageError
from cosdd_zoo.noise.advice import Advice, Suits, Traces, advise, joint_axis
from cosdd_zoo.noise.frames import Frame, frames_of
from cosdd_zoo.noise.inspection import WEAK, Certainty, Method, Noise, NoiseAxis, noise_of
from cosdd_zoo.noise.traces import drift, is_jpeg, is_resampled
from cosdd_zoo.version import __version__

N_ASKED = 4
"""Frames that are searched for JPEG's lattice."""
FIXED = 2.0
"""Times the correlation within a plane that the one between planes has where z is the noise axis."""
FALLS = 0.5
"""Of the correlation with the next plane, what that with a far one is at most: a fixed pattern stays."""
LEAST_PLANES = 12
"""A 3-D model needs crops of several planes, and some more for validation."""


class Facts(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ChannelFacts(Facts):
    name: str
    noise_axis: NoiseAxis
    certainty: Certainty
    method: Method
    """How the noise was told from the signal."""
    correlation_x: list[float]
    """At lags of 1, 2, ... px."""
    correlation_x_error: list[float | None]
    """Standard errors; a confidence interval of 95 % is 1.96 of them to either side. null: too few lines to tell."""
    correlation_y: list[float]
    correlation_y_error: list[float | None]
    correlation_length_px: int
    period_px: float
    """Of a wave along the noise axis; 0: none."""
    row_offset_std: float
    column_offset_std: float
    offsets_period_px: float
    """Lines after which their offsets repeat; 0: none."""
    frame_to_frame_correlation: float
    gain: float
    """Grey values per photon, from the slope of the variance against the grey value."""
    gain_error: float | None
    offset: float
    """The darkest grey value there is."""
    read_noise: float
    """Standard deviation at the offset, grey values."""
    noise_trend: str
    """How the noise goes with the signal: rises, falls or constant."""
    curvature: float
    noise_std: float
    snr: float | None
    """Standard deviation of the signal over that of the noise."""
    quantisation_step: float
    """0: continuous values."""
    grey_values_used: float
    saturated_share: float
    black_share: float
    broken_share: float


class Inspection(Facts):
    """Keys of the JSON; those of the noise are of the channel with the strongest correlation, which `channels` holds
    with all others.
    """

    cosdd_zoo: str = __version__
    images: list[str]
    n_images: int
    n_frames: int
    """Frames that were looked at."""
    dtype: str
    noise_axis: NoiseAxis
    certainty: Certainty
    method: Method
    correlation_length_px: int
    period_px: float
    gain: float
    offset: float
    read_noise: float
    snr: float | None
    jpeg: bool
    resampled: bool
    drift_px: float
    suits: Suits
    verdict: str
    warnings: list[str]
    recommended: dict[str, dict[str, Any]]
    """Sections of settings, as `train --config` takes them."""
    reasons: dict[str, str]
    channels: list[ChannelFacts]


class Inspected(NamedTuple):
    """The facts, and what they come from, for pictures."""

    facts: Inspection
    advice: Advice
    noises: list[Noise]
    frames: list[Frame]
    names: list[str]  # of the channels


def inspect(images: Sequence[ImageFile]) -> Inspected:
    """What the noise of images is like. Raises ImageError for images that say nothing of it."""
    counts = {image.n_channels for image in images}
    if len(counts) > 1:
        raise ImageError(
            f"The images' channel counts differ ({', '.join(map(str, sorted(counts)))}): inspect one kind at a time, "
            "or choose channels with --channels."
        )
    frames = frames_of(images)
    follows = [frame.follows for frame in frames]
    told = [channel.name for channel in images[0].described().channels]
    n_channels = counts.pop()
    numbers = numbers_of(images[0])
    names = told if len(told) == n_channels and all(told) else [f"channel {c}" for c in numbers]
    noises = [_of_channel(frames, follows, c, names, numbers) for c in range(n_channels)]
    sides = [image.item_shape(2)[1:] for image in images]
    n_planes = min(image.layout.length("Z") for image in images)
    if n_planes >= LEAST_PLANES:
        noises = [_along_z(noise, [f.pixels[c] for f in frames], follows) for c, noise in enumerate(noises)]
    traces = _traces(images, frames, noises)
    advice = advise(noises, traces, (n_planes, *(min(s[a] for s in sides) for a in (0, 1))))
    return Inspected(_facts(images, frames, noises, names, traces, advice), advice, noises, frames, names)


def _of_channel(
    frames: Sequence[Frame], follows: Sequence[bool], c: int, names: Sequence[str], numbers: Sequence[int]
) -> Noise:
    try:
        return noise_of([f.pixels[c] for f in frames], follows)
    except ImageError as error:
        if len(names) == 1:
            raise
        others = ",".join(str(number) for k, number in enumerate(numbers) if k != c)
        raise ImageError(f"Channel {numbers[c]} ({names[c]}): {error} Or leave it out: --channels {others}.") from None


def _along_z(noise: Noise, planes: Sequence[NDArray[Any]], follows: Sequence[bool]) -> Noise:
    """Where planes share the noise of the next more than pixels of a plane do, and not that of far ones, it is z."""
    within = max(noise.x.strength, noise.y.strength, WEAK)
    if noise.between <= FIXED * within:
        return noise
    planes = [plane for plane in planes if plane.shape == planes[0].shape]
    half = len(planes) // 2
    pairs = [plane for k in range(half) for plane in (planes[k], planes[k + half])]
    far = noise_of(pairs, [bool(k % 2) for k in range(len(pairs))]).between
    return noise._replace(axis="z", certainty="unsure") if far < FALLS * noise.between else noise


def _traces(images: Sequence[ImageFile], frames: Sequence[Frame], noises: Sequence[Noise]) -> Traces:
    some = frames[:: max(1, len(frames) // N_ASKED)][:N_ASKED]
    jpeg = any(
        is_jpeg(f.pixels[c].astype(np.float64), noise.pixels.step) for f in some for c, noise in enumerate(noises)
    )
    resampled = all(is_resampled(n.spectrum_x.at_nyquist, n.spectrum_y.at_nyquist) for n in noises)
    moves = [
        math.hypot(*drift(frames[n - 1].pixels[0].astype(np.float64), f.pixels[0].astype(np.float64)))
        for n, f in enumerate(frames)
        if f.follows
    ]
    seen = [m for m in moves if not math.isnan(m)]
    copies = sum(f.follows and np.array_equal(f.pixels, frames[n - 1].pixels) for n, f in enumerate(frames))
    dtypes = tuple(sorted({str(image.dtype) for image in images}))
    return Traces(jpeg, resampled, float(np.median(seen)) if seen else 0.0, copies, dtypes)


def _facts(
    images: Sequence[ImageFile],
    frames: Sequence[Frame],
    noises: Sequence[Noise],
    names: Sequence[str],
    traces: Traces,
    advice: Advice,
) -> Inspection:
    channels = [_channel(noise, name) for noise, name in zip(noises, names, strict=True)]
    leading = channels[int(np.argmax([noise.along.strength for noise in noises]))]
    sections: dict[str, dict[str, Any]] = {}
    for setting in advice.settings:
        sections.setdefault(setting.section, {})[setting.name] = setting.value
    return Inspection(
        images=[image.name for image in images[:20]],
        n_images=len(images),
        n_frames=len(frames),
        dtype=str(images[0].dtype),
        noise_axis=joint_axis(noises),
        certainty=leading.certainty,
        method=leading.method,
        correlation_length_px=leading.correlation_length_px,
        period_px=leading.period_px,
        gain=leading.gain,
        offset=leading.offset,
        read_noise=leading.read_noise,
        snr=leading.snr,
        jpeg=traces.is_jpeg,
        resampled=traces.is_resampled,
        drift_px=round(traces.drift_px, 2),
        suits=advice.suits,
        verdict=advice.verdict,
        warnings=advice.warnings,
        recommended=sections,
        reasons={s.name: s.reason for s in advice.settings},
        channels=channels,
    )


def _channel(noise: Noise, name: str) -> ChannelFacts:
    levels = noise.levels
    return ChannelFacts(
        name=name,
        noise_axis=noise.axis,
        certainty=noise.certainty,
        method=noise.method,
        correlation_x=[round(float(v), 4) for v in noise.x.r],
        correlation_x_error=_rounded(noise.x.error),
        correlation_y=[round(float(v), 4) for v in noise.y.r],
        correlation_y_error=_rounded(noise.y.error),
        correlation_length_px=noise.length_px,
        period_px=_short(noise.period_px),
        row_offset_std=_short(noise.row_std),
        column_offset_std=_short(noise.column_std),
        offsets_period_px=_short(noise.offsets_period_px),
        frame_to_frame_correlation=round(noise.between, 3),
        gain=_short(levels.gain),
        gain_error=_short(levels.gain_error) if math.isfinite(levels.gain_error) else None,
        offset=_short(levels.offset),
        read_noise=_short(levels.read_noise),
        noise_trend=levels.trend,
        curvature=round(levels.curvature, 3),
        noise_std=_short(noise.noise_std),
        snr=_short(noise.snr) if math.isfinite(noise.snr) else None,
        quantisation_step=noise.pixels.step,
        grey_values_used=round(noise.pixels.used_share, 3),
        saturated_share=_short(noise.pixels.high_share),
        black_share=_short(noise.pixels.low_share),
        broken_share=_short(noise.broken_share),
    )


def _rounded(values: Any) -> list[float | None]:
    """JSON knows no infinity."""
    return [round(float(v), 4) if math.isfinite(v) else None for v in values]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
