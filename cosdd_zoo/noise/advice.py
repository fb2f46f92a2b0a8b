"""What follows from an inspection: whether the method suits the noise, settings with a reason each, and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import yaml

from cosdd_zoo.config import NetworkConfig, RunConfig, TrainingConfig
from cosdd_zoo.noise.inspection import N_LAGS, Noise, NoiseAxis

Suits = Literal["yes", "partly", "no"]
FAINT = 0.1
"""Below this correlation a method for uncorrelated noise leaves hardly anything behind."""
CURVED = 0.3
STILL = 0.2
"""Correlation from frame to frame that is a fixed pattern, or noise along z."""
LOW_SNR = 0.3
CLEAN_SNR = 500.0
ROUNDING = 0.35
"""Of a grey value, the deviation of noise that is hardly more than the rounding, 1 / sqrt(12) = 0.29."""
FEW_LEVELS = 1.5
"""Grey values; where the noise of the darkest places is narrower, that of one grey value which is added in training
would be as wide as it.
"""
MANY_BROKEN = 3e-4
MANY_CLIPPED = 0.01
COMBED = 0.7


class Setting(NamedTuple):
    section: Literal["network", "training"]
    name: str
    value: Any
    reason: str


class Traces(NamedTuple):
    """What was done to the images, of all their channels, and what else is odd about them."""

    is_jpeg: bool
    is_resampled: bool
    drift_px: float  # median distance between consecutive frames that show the same thing; 0 for none
    n_copies: int = 0  # frames that are those before them
    dtypes: tuple[str, ...] = ()  # of the images, where there are several


class Advice(NamedTuple):
    suits: Suits
    verdict: str
    settings: list[Setting]
    warnings: list[str]


def joint_axis(channels: Sequence[Noise]) -> NoiseAxis:
    """The axis of all channels: of those that have one the same, or "both"."""
    found = {c.axis for c in channels if c.axis != "none"}
    return "none" if not found else found.pop() if len(found) == 1 else "both"


def advise(channels: Sequence[Noise], traces: Traces, shape: tuple[int, ...]) -> Advice:
    """shape: of the smallest image, (Z, Y, X) in px."""
    axis = joint_axis(channels)
    suits, verdict = _verdict(axis, channels, traces)
    return Advice(suits, verdict, _settings(axis, channels, shape), _warnings(channels, traces))


def as_yaml(settings: Sequence[Setting], title: str) -> str:
    """A file that `train --config` takes; each setting under its reason."""
    lines = [f"# {title}", "# cosdd-zoo train IMAGES -o RUN --config THIS_FILE"]
    for section in ("network", "training"):
        own = [s for s in settings if s.section == section]
        lines += [f"{section}:"] if own else []
        for s in own:
            lines += [f"  # {s.reason}", f"  {yaml.safe_dump({s.name: s.value}, default_flow_style=False).strip()}"]
    return "\n".join(lines) + "\n"


def is_untold(axis: NoiseAxis, channels: Sequence[Noise]) -> bool:
    """Whether no correlation was found where one could not have been seen."""
    return axis == "none" and any(c.certainty == "unsure" for c in channels)


def _verdict(axis: NoiseAxis, channels: Sequence[Noise], traces: Traces) -> tuple[Suits, str]:
    strongest = max(channels, key=_strength)
    if all(_has_hardly_any(c) for c in channels):
        return "no", (
            f"There is hardly any noise (SNR {min(c.snr for c in channels):.2g}), or it is lost in the rounding to "
            "grey values: nothing to denoise, and nothing to learn a noise model from."
        )
    if axis == "z":
        return "partly", (
            f"Planes share noise (correlation {_strength(strongest):.2f} with the next, less with far ones), more than "
            "pixels of a plane do: it may be correlated along z. Fine signal of an oversampled stack looks the same: "
            "compare with --noise-axis x."
        )
    if axis == "both":
        split = {c.axis for c in channels} - {"none", "both"}
        if len(split) > 1:
            return "partly", (
                "The channels' noise is correlated along different axes, and a model has one: train a model for each "
                "channel with --channels."
            )
        why = (
            "the images were smoothed or resampled: go back to the raw ones"
            if traces.is_resampled
            else "go back to the raw images if anything was done to these; else use a method that models noise in two "
            "dimensions (structN2V with a mask over both axes), or average repeats"
        )
        return "no", f"The noise is correlated along both axes, so COSDD's assumption does not hold: {why}."
    if is_untold(axis, channels):
        return "partly", (
            "Whether the noise is correlated cannot be told: there are too few pixels in which noise alone is seen. "
            "Give more images, or larger ones. If there are none, name the axis along which the camera scans: "
            "--noise-axis x for most point scanners."
        )
    if axis == "none":
        return "partly", (
            "No correlation was found, so COSDD's AR decoder has nothing to do: train with noise_axis none. A "
            "blind-spot method (N2V) suits such noise as well."
        )
    much = _strength(strongest)
    if much < FAINT:
        return "yes", (
            f"The noise is correlated along {axis}, but little ({much:.2f}): COSDD suits, and a method for "
            "uncorrelated noise would leave little of it behind."
        )
    return "yes", f"The noise is correlated along {axis} (up to {much:.2f}) and not across: just what COSDD is for."


def _strength(c: Noise) -> float:
    return c.between if c.axis == "z" else c.along.strength


def _settings(axis: NoiseAxis, channels: Sequence[Noise], shape: tuple[int, ...]) -> list[Setting]:
    strongest = max(channels, key=_strength)
    trained: Any = axis if axis != "both" else "y" if strongest.is_along_y else "x"
    said = {
        "none": f"no correlation above {max(c.along.error.min() for c in channels) * 4:.3f} was found along x or y",
        "both": "the stronger of the two; the other one's noise will stay in the result",
    }
    along = f"along {axis} the noise's correlation is up to {_strength(strongest):.2f}, across it less"
    found = [] if is_untold(axis, channels) else [Setting("network", "noise_axis", trained, said.get(axis, along))]
    if axis == "z":
        found.insert(0, Setting("network", "n_dims", 3, "the noise is correlated from plane to plane"))
        depth = int(shape[0] / 1.3) // 4 * 4  # a crop and planes for validation
        if depth < int(TrainingConfig.model_fields["crop_depth_px"].default):
            found.append(Setting("training", "crop_depth_px", depth, f"there are {shape[0]} planes"))
    if axis != "none":
        found.append(_receptive_field(axis, max(c.length_px for c in channels), strongest))
    size = TrainingConfig().crop_px
    least = min(shape[1:])
    if least < 1.3 * size:  # a crop and a strip for validation
        fits = max(16, int(least / 1.3) // 16 * 16)
        found.append(Setting("training", "crop_px", fits, f"the smallest image is {least} px along one axis"))
    rises = [c.levels.trend == "rises" for c in channels]
    reason = (
        "the noise grows with the signal; the square-root transform makes it one size"
        if any(rises)
        else "the noise does not grow with the signal, of which the transform takes notice by being a straight line"
    )
    found.append(Setting("training", "stabilise", True, reason))
    narrowest = min(
        (c.levels.variance.min() ** 0.5 / c.pixels.step for c in channels if c.pixels.step), default=FEW_LEVELS
    )
    if narrowest < FEW_LEVELS:
        reason = (
            f"the noise in the dark is {narrowest:.1f} grey levels wide: uniform noise of one level would change it"
        )
        found.append(Setting("training", "likelihood", "bins", reason))
    share = max(c.broken_share for c in channels)
    at_end = max(max(c.pixels.low_share, c.pixels.high_share) for c in channels)
    reason = f"{share:.2g} of the pixels are broken and {at_end:.2g} clipped; they are left out of the losses"
    found.append(Setting("training", "mask", True, reason))
    RunConfig(
        network=NetworkConfig(**{s.name: s.value for s in found if s.section == "network"}),
        training=TrainingConfig(**{s.name: s.value for s in found if s.section == "training"}),
    )
    return found


def _receptive_field(axis: NoiseAxis, length: int, noise: Noise) -> Setting:
    usual = int(NetworkConfig.model_fields["receptive_field_px"].default)
    if axis == "z":
        return Setting("network", "receptive_field_px", usual, "the usual one: how far planes share noise is not known")
    if length >= N_LAGS:
        return Setting(
            "network", "receptive_field_px", usual,
            f"the correlation does not end within {N_LAGS} px, as an offset or a wave does not; {usual} px tell it",
        )  # fmt: skip
    needed = max(usual, 8 * -(-int(1.25 * max(length, noise.period_px)) // 8))
    return Setting(
        "network", "receptive_field_px", needed, f"the correlation ends after {length} px; more than that is seen"
    )


def _warnings(channels: Sequence[Noise], traces: Traces) -> list[str]:
    out = []
    if traces.is_jpeg:
        out.append("The images went through JPEG, which has changed the noise for good: use the originals.")
    if traces.is_resampled:
        out.append(
            "The noise lacks its highest frequencies along both axes: the images were smoothed, turned, enlarged or "
            "shifted by parts of a pixel. Denoise before such steps, not after them."
        )
    if traces.drift_px > 1:
        out.append(f"Consecutive frames are shifted by {traces.drift_px:.1f} px (median): they are no exact repeats.")
    if traces.n_copies:
        out.append(f"{traces.n_copies} of the frames that were looked at are exact copies of those before them.")
    if len(traces.dtypes) > 1:
        out.append(
            f"The images have different types ({', '.join(traces.dtypes)}): where their grey values mean different "
            "things, one model does not fit them all."
        )
    for n, c in enumerate(channels):
        of = f"Channel {n}: " if len(channels) > 1 else ""
        out += [of + sentence for sentence in _about(c)]
    return out


def _has_hardly_any(c: Noise) -> bool:
    return c.snr > CLEAN_SNR or c.noise_std < ROUNDING * c.pixels.step


def _about(c: Noise) -> list[str]:
    out = []
    if c.method == "high-pass residuals":
        out.append(
            "No place in the images is flat, so that fine signal may have been taken for noise: two exposures of the "
            "same thing would make this surer."
        )
    if c.certainty == "unsure" and c.axis != "z":
        out.append("There are few pixels, or the axes differ little: give more images to be surer of the noise axis.")
    if c.period_px:
        out.append(
            f"A wave of {c.period_px:.3g} px runs through the noise: interference, as from the mains or a clock. COSDD "
            "removes it; a better cable or another dwell time might too."
        )
    if c.offsets_period_px:
        lines = "columns" if c.is_along_y else "rows"
        out.append(
            f"The offsets of {lines} repeat after {c.offsets_period_px:.3g} {lines}: interference in step with the "
            "scan. No line alone can tell it from signal, so COSDD will leave some of it in."
        )
    if c.levels.trend == "falls":
        out.append("The noise falls with the signal, as after a correction or a logarithm: gain has no meaning here.")
    elif c.levels.trend == "rises" and c.levels.curvature > CURVED:
        out.append(
            f"The variance is no straight line against the signal ({c.levels.curvature:.0%} off): a gamma, clipping or "
            "multiplicative noise. Gain and read noise are rough."
        )
    if c.between > STILL and c.axis != "z":
        out.append(
            f"Noise repeats from frame to frame (correlation {c.between:.2f}): a fixed pattern, or fine signal that "
            "keeps still. A denoiser takes either for signal: where it is a pattern, subtract a dark frame first."
        )
    if c.broken_share > MANY_BROKEN:
        out.append(f"{c.broken_share:.2%} of the pixels are hot or dead.")
    for share, end in ((c.pixels.low_share, "lowest"), (c.pixels.high_share, "highest")):
        if share > MANY_CLIPPED:
            out.append(
                f"{share:.1%} of the pixels are at the {end} grey value: they are clipped, and no denoiser knows what "
                f"they were. {'Expose less' if end == 'highest' else 'Raise the offset'} next time."
            )
    if c.pixels.step and c.pixels.used_share < COMBED:
        out.append(
            f"Only {c.pixels.used_share:.0%} of the grey values are in use: the contrast was stretched after the "
            "acquisition. Use the originals if there are any."
        )
    if c.snr < LOW_SNR:
        out.append(f"The signal is far below the noise (SNR {c.snr:.2g}): many images are needed, or longer exposures.")
    return out
