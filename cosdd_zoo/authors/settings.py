"""What the networks in a checkpoint of the authors look like: by its settings, training-config.yaml, and its weights.

The weights' shapes tell everything but noise axis and scale-initialisation. What both tell must agree, so that the
settings of another training are not taken for these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cosdd_zoo.authors.tensors import Tensors
from cosdd_zoo.config import NoiseAxis, RunConfig, preset, problem, read_yaml
from cosdd_zoo.errors import CheckpointError, ConfigError

STEM = "vae.first_bottom_up.0.conv.weight"
CODE = "vae.final_top_down.conv.weight"
LEVELS = "vae.bottom_up_layers."
AR_FIRST = "ar_decoder.layers.layers.0.in_conv.conv.conv.weight"
AR_OUT = "ar_decoder.out_conv.conv.weight"
DIRECT = "direct_denoiser.first_bottom_up.0.conv.weight"

NO_FLOOR = 1e-8
"""They have no floor under scales and deviations. This one is far below any that a training reaches; squared, one over
it is still a float32."""


class _Theirs(BaseModel):
    """Names with hyphens; settings that the networks do not depend on are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=lambda name: name.replace("_", "-"))


class Data(_Theirs):
    number_dimensions: Literal[1, 2, 3]


class HyperParameters(_Theirs):
    noise_direction: NoiseAxis
    s_code_channels: int = Field(ge=2)
    number_layers: int = Field(ge=1, le=32)
    number_gaussians: int = Field(ge=1)
    scale_initialisation: bool

    @field_validator("noise_direction", mode="before")
    @classmethod
    def _in_any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class AuthorsSettings(_Theirs):
    """The part of training-config.yaml that says what the networks look like."""

    data: Data
    hyper_parameters: HyperParameters

    @property
    def said(self) -> dict[str, object]:
        """All of it, by their names."""
        return {**self.data.model_dump(by_alias=True), **self.hyper_parameters.model_dump(by_alias=True)}


def read_settings(path: Path) -> AuthorsSettings:
    """Raises ConfigError for a file that is none of theirs, one sentence a mistake."""
    values = read_yaml(path, "in training-config.yaml, which the authors' training.py writes")
    try:
        return AuthorsSettings.model_validate(values)
    except ValidationError as error:
        mistakes = " ".join(_sentence(e) for e in error.errors())
        raise ConfigError(
            f"{path}: {mistakes} Expected training-config.yaml, which the authors' training.py writes beside its "
            f"checkpoint."
        ) from None


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"{place} is missing." if error["type"] == "missing" else problem(error, [])


def config_of(tensors: Tensors, settings: AuthorsSettings) -> RunConfig:
    """The networks that the weights belong to. Raises CheckpointError when the settings are of others."""
    _refuse_other_settings(tensors, settings)
    asked = settings.hyper_parameters
    n_features, n_channels, *_ = tensors.kernel(STEM)
    return preset(
        "base",
        n_dims=settings.data.number_dimensions,
        n_channels=n_channels,
        noise_axis=asked.noise_direction,
        n_mixture=asked.number_gaussians,
        n_features=n_features,
        n_code=asked.s_code_channels,
        n_latents=asked.s_code_channels // 2,
        downsample=[tensors.has(f"{LEVELS}{i}.bu_blocks.0.pre_conv.conv.weight") for i in range(asked.number_layers)],
        n_downsample_z=asked.number_layers,  # they halve all axes alike
        ar_features=tensors.kernel(AR_OUT)[1],
        min_scale=NO_FLOOR,
        min_std=NO_FLOOR,
        direct=tensors.has(DIRECT),
        blocks="authors",
        stabilise=False,
    )


def _refuse_other_settings(tensors: Tensors, settings: AuthorsSettings) -> None:
    n_channels, n_dims = tensors.kernel(STEM)[1], len(tensors.kernel(STEM)) - 2
    possible: dict[str, tuple[object, ...]] = {
        "number-dimensions": (n_dims,),
        "s-code-channels": (tensors.kernel(CODE)[0],),
        "number-layers": (tensors.count(LEVELS),),
        "number-gaussians": (tensors.kernel(AR_OUT)[0] // (3 * n_channels),),
        "noise-direction": _noise_axes(tensors),
    }
    wrong = [
        f"{name} is {settings.said[name]}, but {' or '.join(map(str, values))} in the weights"
        for name, values in possible.items()
        if settings.said[name] not in values
    ]
    if wrong:
        raise CheckpointError(
            f"{tensors.path} was not trained with these settings ({'; '.join(wrong)}): give the training-config.yaml "
            f"that was written beside it."
        )


def _noise_axes(tensors: Tensors) -> tuple[NoiseAxis, ...]:
    """Those that the AR decoder's weights are possible for."""
    if not tensors.has(AR_FIRST):  # the first of their layers, which has no weights, turns the image
        return ("y", "z")
    return ("none",) if tensors.kernel(AR_FIRST)[-1] == 1 else ("x",)
