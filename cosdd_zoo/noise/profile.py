r"""What the noise and the grey values of a model's training images are like, and whether an image is of their kind.

    v     log of the noise's variance over that of the training images at the same grey values, in flat blocks
    r     the noise's correlation at 1 to 4 px along x and y
    h     its power near the Nyquist frequency along x and y (noise.spectrum)

    grey  which grey values there are, and how many pixels are saturated (noise.grey_values)
    fit   of the model's likelihood: PIT, whiteness and NLL (noise.surprise), where the model has an AR decoder

Each is measured in windows of up to 512 px of the training images; their mean and deviation are the profile. An image
is of another kind where one of its own is further from the mean than `FAR` deviations and than what would matter.

Letters: G grey values of a curve, K lags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import RunConfig
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.errors import ImageError
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.noise.frames import LEAST_PX, Frame, frames_of
from cosdd_zoo.noise.grey_values import GreyProfile, ceiling_of, grey_profile, used_otherwise
from cosdd_zoo.noise.inspection import Noise, noise_of
from cosdd_zoo.noise.lines import Axis, Floats, blocks_along, correlation, groups_of, usable_blocks
from cosdd_zoo.noise.spectrum import spectrum_along
from cosdd_zoo.noise.spread import Spread, spread_of
from cosdd_zoo.noise.surprise import FitProfile, fit_profile, unlikely
from cosdd_zoo.noise.traces import is_jpeg

SIDE_PX = 512
N_LAGS = 4
N_WINDOWS = 8
"""Windows of the training images that a profile has at least, where they are large enough."""
LEAST_WINDOW_PX = 96
RATIO, CORRELATION, NYQUIST = math.log(1.25), 0.04, 0.15
"""Differences in v, r and h that do not matter yet."""
BEYOND = 1.0
"""Of the range of the training images' grey values, how far an image's may lie outside."""
PIXEL_SIZE = 0.05
FLATTEST = 1 / 2
LEAST_SHARE = 0.1
"""Of the curve's least variance, the least that is expected beyond its ends."""


class ChannelProfile(BaseModel):
    model_config = ConfigDict(frozen=True)

    level: list[float]  # [G]
    variance: list[float]  # [G]
    low: float  # lowest 1st percentile of the windows' grey values
    high: float  # highest 99th
    ratio: Spread
    x: list[Spread]  # [K]
    y: list[Spread]  # [K]
    nyquist_x: Spread
    nyquist_y: Spread
    grey: GreyProfile | None = None
    fit: FitProfile | None = None


class Profile(BaseModel):
    """A checkpoint's facts["profile"]."""

    model_config = ConfigDict(frozen=True)

    noise_axis: str
    is_jpeg: bool
    pixel_size: dict[str, float]  # of y and x, in `unit`; empty where nobody says
    unit: str = ""
    channels: list[ChannelProfile]


class Glance(NamedTuple):
    """One window of one channel."""

    ratio: float
    ratio_error: float
    x: Floats  # [K]
    x_error: Floats
    y: Floats
    y_error: Floats
    nyquist_x: float
    nyquist_y: float
    low: float
    high: float


def profile_of(images: Sequence[ImageFile], noise_axis: str) -> Profile | None:
    """Of training images; None where they are no planes, too small, or without noise."""
    if any("Y" not in image.axes or min(image.item_shape(2)[1:]) < LEAST_PX for image in images):
        return None
    frames = frames_of(images, N_WINDOWS)
    n_channels = frames[0].pixels.shape[0]
    axis: Axis = "y" if noise_axis == "y" else "x"
    channels = [_channel(frames, c, axis, ceiling_of(images[0].dtype)) for c in range(n_channels)]
    if any(c is None for c in channels):
        return None
    sizes, unit = _pixel_size(images[0])
    jpeg = any(is_jpeg(plane.astype(np.float64), only_here=True) for f in frames[:2] for plane in f.pixels)
    return Profile(
        noise_axis=noise_axis, is_jpeg=jpeg, pixel_size=sizes, unit=unit, channels=[c for c in channels if c]
    )


def with_fit(profile: Profile, model: Cosdd, images: Sequence[ImageFile], step: list[float]) -> Profile:
    """The profile with the fit of the model's likelihood to its training images."""
    if model.normalise.mean.dim() != 4:  # planes alone
        return profile
    frames = [f.pixels.astype(np.float64) for f in frames_of(images, N_WINDOWS)]
    fits = fit_profile(model, frames, max(1, -(-N_WINDOWS // len(frames))), step, profile.noise_axis)
    channels = [c.model_copy(update={"fit": fit}) for c, fit in zip(profile.channels, fits, strict=True)]
    return profile.model_copy(update={"channels": channels})


def differences(
    image: ImageFile, profile: Profile, channels: Sequence[int], engine: Any = None, step: list[float] | None = None
) -> list[str]:
    """How an image is of another kind than the training images, a sentence each; none where it is of their kind.

    channels: those of the image that the model's channels stand for, in order. engine: the model, and step its
    quantisation steps, where the likelihood is to be asked as well. An image that cannot be judged is not.
    """
    if "Y" not in image.axes or min(image.item_shape(2)[1:]) < LEAST_PX or len(channels) != len(profile.channels):
        return []
    out = _of_size(image, profile)
    size = image.item_shape(2)[1:]
    start = [(n - min(n, SIDE_PX)) // 2 // 8 * 8 for n in size]  # JPEG's grid stays in place
    window = image.read_crop(image.n_items(2) // 2, 2, start, [min(n, SIDE_PX) for n in size]).astype(np.float64)
    if not np.isfinite(window).all():
        return out
    if not profile.is_jpeg and any(is_jpeg(window[c], only_here=True) for c in channels):
        out.append("it went through JPEG")
    for own, c in zip(profile.channels, channels, strict=True):
        found = _glance(window[c], own.level, own.variance, "y" if profile.noise_axis == "y" else "x")
        said = _compared(found, own, profile.noise_axis) if found else []
        if own.grey is not None:
            said += used_otherwise(window[c], own.grey, ceiling_of(image.dtype))
        out += [s if len(channels) == 1 else f"channel {c}: {s}" for s in said]
    if not out and step is not None and isinstance(engine, Cosdd):
        fits = [own.fit for own in profile.channels]
        out += unlikely(window[list(channels)], fits, engine, step, profile.noise_axis)
    return out


def described(images: Sequence[ImageFile], config: RunConfig, trained: Checkpoint | None = None) -> dict[str, Any]:
    """What a checkpoint's facts hold of its training images: of them alone, or once it is trained."""
    if trained is not None:
        try:
            before = Profile.model_validate(trained.facts["profile"])
        except (KeyError, ValidationError):
            return {}
        step = list(trained.facts["quantisation_step"])
        return {"profile": with_fit(before, trained.model(), images, step).model_dump(mode="json")}
    found = profile_of(images, config.network.noise_axis)
    return {} if found is None else {"profile": found.model_dump(mode="json")}


class Judge(NamedTuple):
    """Whether images are of the kind that a model was trained on; may go to worker processes."""

    profile: Profile
    step: list[float] | None = None

    def __call__(self, image: ImageFile, channels: Sequence[int], engine: Any = None) -> list[str]:
        """A sentence for each way in which it is not. engine: the model, whose likelihood is asked if it has one."""
        return differences(image, self.profile, channels, engine, self.step)


def judge_of(facts: Mapping[str, Any]) -> Judge | None:
    """None for models without a profile: older ones, and those of images that have none."""
    try:
        return Judge(Profile.model_validate(facts["profile"]), facts.get("quantisation_step"))
    except (KeyError, ValidationError):
        return None


def _channel(frames: Sequence[Frame], c: int, axis: Axis, ceiling: float) -> ChannelProfile | None:
    pixels = [f.pixels[c] for f in frames]
    if not any(p.std() > 0 for p in pixels):
        return None
    try:
        noise: Noise = noise_of(pixels, [f.follows for f in frames])
    except ImageError:
        return None
    level, variance = noise.levels.level.tolist(), np.maximum(noise.levels.variance, 1e-300).tolist()
    each = max(1, -(-N_WINDOWS // len(pixels)))
    windows = [w for p in pixels for w in _windows(p.astype(np.float64), each)]
    glances = [g for w in windows if (g := _glance(w, level, variance, axis)) is not None]
    if not glances:
        return None
    return ChannelProfile(
        level=_short(level),
        variance=_short(variance),
        low=min(g.low for g in glances),
        high=max(g.high for g in glances),
        ratio=spread_of([g.ratio for g in glances]),
        x=[spread_of([g.x[k] for g in glances]) for k in range(N_LAGS)],
        y=[spread_of([g.y[k] for g in glances]) for k in range(N_LAGS)],
        nyquist_x=spread_of([g.nyquist_x for g in glances]),
        nyquist_y=spread_of([g.nyquist_y for g in glances]),
        grey=grey_profile(windows, ceiling),
    )


def _windows(frame: Floats, n: int) -> list[Floats]:
    """About n windows of a frame, none smaller than LEAST_WINDOW_PX unless the frame is."""
    per_axis = math.ceil(math.sqrt(n))
    counts = [max(1, min(per_axis, side // LEAST_WINDOW_PX)) for side in frame.shape]
    sides = [min(SIDE_PX, side // k) for side, k in zip(frame.shape, counts, strict=True)]
    steps = [(side - s) // max(1, k - 1) for side, s, k in zip(frame.shape, sides, counts, strict=True)]
    return [
        frame[i * steps[0] : i * steps[0] + sides[0], j * steps[1] : j * steps[1] + sides[1]]
        for i in range(counts[0])
        for j in range(counts[1])
    ]


def _glance(window: Floats, level: Sequence[float], variance: Sequence[float], axis: Axis) -> Glance | None:
    """None where the window has no noise in it."""
    if min(window.shape) < LEAST_PX or window.std() == 0:
        return None
    along: dict[Axis, Any] = {a: blocks_along(window, a, N_LAGS) for a in ("x", "y")}
    # more blocks than an inspection trusts: what signal is left in them is in those of the training images too
    kept = {a: _flattest(b.level, b.structure, np.flatnonzero(usable_blocks(b))) for a, b in along.items()}
    if not all(len(k) for k in kept.values()):
        return None
    x, y = (correlation(along[a], np.isin(np.arange(len(along[a].level)), kept[a])) for a in ("x", "y"))
    blocks = along[axis]
    at, found = blocks.level[kept[axis]], blocks.products[0, kept[axis]]
    shares = [found / expected for expected in _expected(at, np.asarray(level), np.asarray(variance))]
    ratios = [math.log(max(float(share.mean()), 1e-12)) for share in shares]
    errors = [share.std() / max(float(share.mean()), 1e-12) / math.sqrt(len(share)) for share in shares]
    nearest = int(np.argmin(np.abs(ratios)))
    low, high = np.percentile(window, [1, 99])
    return Glance(
        ratios[nearest] if ratios[0] * ratios[1] > 0 else 0.0,
        float(errors[nearest]),
        x.r, x.error, y.r, y.error,
        spectrum_along([window]).at_nyquist,
        spectrum_along([window.T]).at_nyquist,
        float(low), float(high),
    )  # fmt: skip


def _expected(at: Floats, level: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Bounds of the variance at grey values: beyond the curve's ends it may stay, or go on as its line does."""
    inside = np.interp(at, level, variance)
    slope = float(np.polyfit(level, variance, 1)[0]) if np.ptp(level) > 0 else 0.0
    beyond = inside + slope * (at - np.clip(at, level[0], level[-1]))
    return inside, np.maximum(beyond, LEAST_SHARE * variance.min())


def _flattest(level: Floats, structure: Floats, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the blocks of each grey value the half with the least structure."""
    kept: list[NDArray[np.int64]] = [index[:0]]
    for group in groups_of(level[index]) if len(index) else []:
        own = index[group]
        kept.append(own[np.argsort(structure[own], kind="stable")[: max(1, round(FLATTEST * len(own)))]])
    return np.concatenate(kept)


def _compared(g: Glance, own: ChannelProfile, axis: str) -> list[str]:
    out = []
    far_x = any(s.is_far(v, e, CORRELATION) for s, v, e in zip(own.x, g.x, g.x_error, strict=True))
    far_y = any(s.is_far(v, e, CORRELATION) for s, v, e in zip(own.y, g.y, g.y_error, strict=True))
    usual = own.x[0].mean - own.y[0].mean
    apart = Spread(mean=usual, std=math.hypot(own.x[0].std, own.y[0].std))
    found = float(g.x[0] - g.y[0])
    is_turned = (
        axis in ("x", "y")
        and abs(usual) > CORRELATION
        and apart.is_far(found, math.hypot(g.x_error[0], g.y_error[0]), CORRELATION)
        and abs(found + usual) < abs(found - usual)
    )
    is_smooth = own.nyquist_x.is_far(g.nyquist_x, 0, NYQUIST) and own.nyquist_y.is_far(g.nyquist_y, 0, NYQUIST)
    if is_smooth and g.nyquist_x < own.nyquist_x.mean and g.nyquist_y < own.nyquist_y.mean:
        out.append("its noise lacks the highest frequencies, as after smoothing or resampling")
    elif is_turned:
        out.append(f"its noise runs across the model's noise axis {axis}, as if it was turned by 90 degrees")
    elif far_x or far_y:
        out.append(
            f"its noise is correlated by {g.x[0]:.2f} along x and {g.y[0]:.2f} along y, theirs by "
            f"{own.x[0].mean:.2f} and {own.y[0].mean:.2f}"
        )
    is_across = far_x if axis == "y" else far_y  # the ratio is of differences across the lines, which then see less
    if not (is_turned or is_across) and own.ratio.is_far(g.ratio, g.ratio_error, RATIO):
        factor = math.exp(g.ratio - own.ratio.mean)
        out.append(
            f"its noise has {factor:.2g} times the variance that theirs has at the same grey values: another gain, "
            "offset, averaging or exposure"
        )
    width = max(own.high - own.low, 1e-300)
    if g.high > own.high + BEYOND * width or g.low < own.low - BEYOND * width:
        out.append(
            f"its grey values ({g.low:.4g} to {g.high:.4g}) lie outside theirs ({own.low:.4g} to {own.high:.4g})"
        )
    return out


def _of_size(image: ImageFile, profile: Profile) -> list[str]:
    sizes, unit = _pixel_size(image)
    if unit != profile.unit:
        return []
    for letter, size in profile.pixel_size.items():
        own = sizes.get(letter)
        if own and size and abs(own / size - 1) > PIXEL_SIZE:
            return [f"its pixels are {own:.4g} {unit} wide, theirs {size:.4g}"]
    return []


def _pixel_size(image: ImageFile) -> tuple[dict[str, float], str]:
    known = image.described()
    unit = known.units.get("X", "")
    sizes = {a: float(known.sizes[a]) for a in "YX" if a in known.sizes}
    return (sizes, unit) if unit else ({}, "")


def _short(values: Sequence[float]) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
