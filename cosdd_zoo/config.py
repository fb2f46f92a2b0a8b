"""Every setting, its default and its meaning; presets; YAML in and out. The one home of these facts: the CLI's help,
the README's table and `config.yaml` in a run folder derive from here.

Configs are frozen and refuse unknown keys, naming the nearest known one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cosdd_zoo.errors import ConfigError
from cosdd_zoo.presets import PRESETS

NoiseAxis = Literal["x", "y", "z", "none"]
Likelihood = Literal["bins", "dequantised", "density"]
TrainOnly = Literal["all", "ar_decoder", "direct_denoiser"]
StatisticsFrom = Literal["images", "init"]
Device = Literal["auto", "cpu", "cuda", "mps"]
LayerFamily = Literal["ours", "authors"]
SPATIAL_AXES = {1: "x", 2: "yx", 3: "zyx"}


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class NetworkConfig(Settings):
    """What the networks look like. Stored with the weights; cannot be changed after training."""

    n_dims: Literal[1, 2, 3] = 2
    """Spatial dimensions: 1 (lines), 2 (planes) or 3 (volumes)."""
    n_channels: int = Field(1, ge=1)
    """Channels of the images; the noise of each is modelled independently. Taken from the images."""
    noise_axis: NoiseAxis = "x"
    """Axis along which the noise is correlated: x (rows), y (columns), z, or none. For training also auto."""
    receptive_field_px: int = Field(40, ge=1)
    """Previous pixels of a line that the AR decoder sees. At least the noise's correlation length."""
    n_mixture: int = Field(3, ge=1)
    """Components of p(x_i | x_<i, code). Raise it if noise survives in the output, lower it if training fails."""
    n_features: int = Field(64, ge=1)
    """Feature maps of the ladder and of the direct denoiser."""
    n_code: int = Field(64, ge=1)
    """Feature maps of the code and of the signal decoder, at full resolution."""
    n_latents: int = Field(32, ge=1)
    """Latent channels of each level."""
    downsample: tuple[bool, ...] = Field((True,) * 6, min_length=1, max_length=32)
    """One entry a level of the ladder, the finest first: whether the level halves the resolution."""
    n_downsample_z: int = Field(2, ge=0)
    """At most so many halvings along z, which usually has fewer and coarser samples than y and x."""
    full_resolution_blocks: bool = True
    """Residual blocks at full resolution, before the first level and after the last: more quality for more time.
    Without them the finest level's map is rearranged into pixels."""
    gated: bool = True
    """Residual blocks end in a gate, tanh(a) * sigmoid(b)."""
    merge_blocks: bool = True
    """Paths are merged by learned blocks rather than added."""
    ar_features: int = Field(64, ge=1)
    """Feature maps of the AR decoder, for each channel."""
    ar_blocks: int = Field(8, ge=2)
    """Blocks of the AR decoder."""
    ar_code_maps: int = Field(0, ge=0)
    """Maps of the code that the AR decoder sees beside the past pixels; if any, its first block takes all taps."""
    signal_layers: int = Field(4, ge=1)
    """3x3 convolutions of the signal decoder."""
    min_scale: float = Field(0.03, gt=0)
    """Floor of the mixture's scales, in standard deviations of the (stabilised) data."""
    min_std: float = Field(1e-3, gt=0)
    """Floor of the latents' standard deviations; the prior's are about 1."""
    blocks: LayerFamily = "ours"
    """Layers of the networks: ours, or those of the method's authors, in models that were imported."""
    direct: bool = False
    """Also train a direct denoiser, which predicts the mean of all posterior samples in one pass."""
    direct_features: int | None = Field(None, ge=1)
    """Feature maps of the direct denoiser, by default those of the ladder; fewer are faster."""
    direct_levels: int | None = Field(None, ge=1)
    """Levels of the direct denoiser, the finest ones of the ladder; by default all. Fewer see less of the image."""

    @property
    def n_levels(self) -> int:
        return len(self.downsample)

    def network_axes(self) -> str:
        """The spatial axes in the networks' order: the noise axis is swapped with x, so that it is the last."""
        axes = SPATIAL_AXES[self.n_dims]
        if self.noise_axis == "none":
            return axes
        swap: dict[str, str] = {self.noise_axis: "x", "x": self.noise_axis}
        return "".join(swap.get(a, a) for a in axes)

    def level_strides(self) -> list[tuple[int, ...]]:
        """Stride of each level along the networks' axes, the finest level first."""
        limit = {"z": self.n_downsample_z}
        strides = []
        for level, halves in enumerate(self.downsample):
            done = sum(self.downsample[:level])
            strides.append(tuple(2 if halves and done < limit.get(a, 32) else 1 for a in self.network_axes()))
        return strides

    def cumulative_strides(self) -> list[tuple[int, ...]]:
        """Pixels of the image per pixel of each level's map along the networks' axes, the finest level first."""
        total = (1,) * self.n_dims
        strides = []
        for level in self.level_strides():
            total = tuple(t * s for t, s in zip(total, level, strict=True))
            strides.append(total)
        return strides

    def total_stride(self) -> tuple[int, ...]:
        """Pixels of the image per pixel of the coarsest map along the networks' axes."""
        return self.cumulative_strides()[-1]

    @model_validator(mode="after")
    def _noise_axis_exists(self) -> NetworkConfig:
        axes = SPATIAL_AXES[self.n_dims]
        if self.noise_axis != "none" and self.noise_axis not in axes:
            raise ValueError(
                f"noise_axis is {self.noise_axis}, but a {self.n_dims}-D model has the axes {', '.join(axes)}: "
                f"choose one of them or none"
            )
        return self

    @model_validator(mode="after")
    def _blocks_reach_the_receptive_field(self) -> NetworkConfig:
        # the first block sees 4 to 7 pixels, each later one at most five times what was seen before it
        most = (4 + self.receptive_field_px % 4) * 5 ** (self.ar_blocks - 1)
        if self.noise_axis != "none" and not self.ar_code_maps and self.receptive_field_px > most:
            raise ValueError(
                f"receptive_field_px is {self.receptive_field_px}, but {self.ar_blocks} ar_blocks see {most} previous "
                f"pixels at most: use more blocks, or a shorter receptive field"
            )
        return self

    @model_validator(mode="after")
    def _imported_ar_decoders_have_one_shape(self) -> NetworkConfig:
        shape = (self.ar_blocks, self.receptive_field_px, self.ar_code_maps)
        if self.blocks == "authors" and shape != (8, 40, 0):
            raise ValueError(
                f"blocks is authors, whose AR decoder has 8 blocks that see 40 previous pixels and no code maps, but "
                f"ar_blocks is {shape[0]}, receptive_field_px {shape[1]} and ar_code_maps {shape[2]}: leave them out"
            )
        return self


class TrainingConfig(Settings):
    """How the networks learn."""

    init_from: str | None = None
    """Run or checkpoint whose (averaged) weights and network settings this training starts from."""
    train_only: TrainOnly = "all"
    """The part that learns; the others stay as they are in --init-from's model."""
    statistics_from: StatisticsFrom = "images"
    """Whose mean, deviation and noise level normalise: the new images' or those of --init-from's model."""
    teacher_samples: int = Field(2, ge=0)
    """With --train-only direct_denoiser: posterior samples averaged for its target, in opposite pairs. Their mean is
    unbiased for any number; more make it less noisy. 0: the latents' means."""
    max_steps: int = Field(20_000, ge=1)
    """Optimiser steps at most."""
    max_time: float | None = Field(None, gt=0)
    """Minutes of training at most; the learning rate's decay is planned for whichever limit comes first."""
    batch_size: int = Field(8, ge=1)
    """Crops in one pass through the networks, on each device."""
    accumulate: int = Field(1, ge=1)
    """Passes on each device whose gradients are averaged into one optimiser step."""
    crop_px: int = Field(64, ge=4)
    """Side of the training crops, in pixels."""
    crop_depth_px: int = Field(16, ge=1)
    """Depth of the training crops of a 3-D model, in planes."""
    bright_crops: float = Field(0.5, ge=0, le=1)
    """Share of crops drawn by local brightness instead of evenly: most of a micrograph is background."""
    flip: bool = True
    """Mirror half of the crops along the axes that the noise is not correlated along."""
    learning_rate: float = Field(1e-2, gt=0)
    """Learning rate after the warm-up, of Muon for the kernels and of Adamax for all else."""
    warmup_steps: int = Field(50, ge=0)
    """Steps over which the learning rate rises from zero."""
    kl_warmup_steps: int = Field(200, ge=0)
    """Steps over which the weight of the KL rises from zero: against posteriors that collapse at the start."""
    clip_norm: float = Field(5.0, gt=0)
    """Gradients longer than this are shortened to it."""
    ema_decay: float = Field(0.99, ge=0, lt=1)
    """Decay of the averaged weights, the ones that denoise; shorter memory at the start."""
    validation_share: float = Field(0.1, gt=0, lt=1)
    """Share of the images (or of each image's area, when there are fewer than ten) kept for validation."""
    validate_every: int = Field(200, ge=1)
    """Steps between validations."""
    validation_crops: int = Field(32, ge=1)
    """Crops of each validation, always the same."""
    patience: int = Field(25, ge=1)
    """Training stops after so many validations without a better one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 mixed precision on CUDA and float32 elsewhere by default."""
    device: Device = "auto"
    """CUDA if there is one, else MPS if there is one, else the CPU."""
    devices: int = Field(1, ge=1)
    """GPUs of each node (on the CPU processes), each with batches of its own: the step's batch is so much larger."""
    nodes: int = Field(1, ge=1)
    """Machines that train together; srun or torchrun starts the processes on each."""
    n_workers: int = Field(0, ge=0)
    """Processes that read and cut crops."""
    seed: int = Field(0, ge=0)
    """The same seed, data and device give the same training."""
    stabilise: bool = True
    """Square-root transform in front of the VAE, so that noise of any brightness has about the same size."""
    likelihood: Likelihood = "dequantised"
    """Of integer data: the probability of the whole grey level, or the density with noise of one level added, or the
    bare density, which is unbounded. Continuous data always have a density."""
    mask: bool = True
    """Leave hot and dead pixels out of the losses, and saturated ones out of the likelihood."""

    @property
    def crops_per_device(self) -> int:
        """Crops of one optimiser step that each device sees."""
        return self.batch_size * self.accumulate

    @property
    def crops_per_step(self) -> int:
        return self.crops_per_device * self.devices * self.nodes


class DataConfig(Settings):
    """What the images are."""

    images: tuple[str, ...] = ()
    """Files, folders or globs; empty for arrays in memory."""
    axes: str | None = None
    """Axes of the images' files, letters of STCZYX in the files' order; by default from their metadata."""
    channels: str | None = None
    """Channels to train on, by name or number from 0, separated by commas; by default all."""


class RunConfig(Settings):
    """One training, whole: config.yaml of a run folder."""

    preset: str = "tiny"
    """The preset that the other settings start from."""
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    data: DataConfig = DataConfig()


def preset(name: str, **overrides: Any) -> RunConfig:
    """The configuration of a preset, with settings of any section replaced by name, e.g. preset("tiny", seed=1).

    Raises ConfigError for an unknown preset or setting.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}. {nearest(name, PRESETS)}")
    sections = {section: dict(values) for section, values in PRESETS[name].items()}
    for key, value in overrides.items():
        sections.setdefault(section_of(key), {})[key] = value
    return validated({"preset": name, **sections})


def section_of(key: str) -> str:
    """The section that a setting lives in. Raises ConfigError when there is none."""
    owners = {name: section for section, fields in _sections().items() for name in fields}
    if key not in owners:
        raise ConfigError(f"There is no setting {key!r}. {nearest(key, owners)}")
    return owners[key]


def validated(values: Mapping[str, Any]) -> RunConfig:
    """A RunConfig from nested plain values. Raises ConfigError, one sentence a mistake."""
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(" ".join(_sentence(e) for e in error.errors())) from None


def read_yaml(path: Path, example: str = "`--dry-run` prints") -> dict[str, Any]:
    """The nested settings of a YAML file, as they stand there; `example` ends the sentence on what was expected.

    Raises ConfigError when the file cannot be read or is no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read as YAML ({reason}): expected settings as {example}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, not settings: expected `section: {{key: value}}`.")
    return values


def resolve(preset_name: str | None, file: Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> RunConfig:
    """One config from three layers: the preset, then a YAML file's settings, then single settings by name."""
    file = dict(file or {})
    name = preset_name or file.pop("preset", "tiny")
    file.pop("preset", None)
    base = preset(name).model_dump()
    for section, values in file.items():
        if section not in _sections():
            raise ConfigError(f"There is no section {section!r}. {nearest(section, _sections())}")
        if not isinstance(values, Mapping | None):
            raise ConfigError(f"{section} is {values!r}: expected settings, one a line, indented below `{section}:`.")
        base[section] = {**base[section], **(values or {})}
    for key, value in overrides.items():
        base[section_of(key)][key] = value
    return validated(base)


def to_yaml(config: RunConfig) -> str:
    """The whole config as YAML that `read_yaml` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _sections() -> dict[str, list[str]]:
    fields = RunConfig.model_fields
    return {s: list(fields[s].default.__class__.model_fields) for s in ("network", "training", "data")}


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that there is not: the known one that may have been meant, or all."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(known)}."


def _sentence(error: Any) -> str:
    section = error["loc"][0] if len(error["loc"]) > 1 else None
    known = _sections().get(section, ["preset", *_sections()]) if section else ["preset", *_sections()]
    return problem(error, known)


def problem(error: Any, known: Iterable[str]) -> str:
    """One of pydantic's errors as a sentence; `known` are the settings that there are where one was misspelt."""
    place = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"There is no setting {place!r}. {nearest(str(error['loc'][-1]), known)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place} is {error['input']!r}: {message}." if place and error["type"] != "value_error" else f"{message}."
