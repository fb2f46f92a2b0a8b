"""`noise_axis: auto`: the axis that an inspection of the training images finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cosdd_zoo.data.opening import open_all
from cosdd_zoo.errors import ConfigError
from cosdd_zoo.noise.inspected import inspect

AUTO = "auto"


def with_found_axis(
    images: Any, file: Mapping[str, Any] | None, settings: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """Single settings, in which a noise axis "auto", of theirs or of the file's, is the one that was found.

    say: is told in a sentence what was found. Raises ConfigError where the noise is correlated along both axes or
    along z, or where that cannot be told, and ImageError for images that cannot be inspected.
    """
    network, data = ((file or {}).get(section) or {} for section in ("network", "data"))
    if settings.get("noise_axis", network.get("noise_axis")) != AUTO:
        return dict(settings)
    asked = {name: settings.get(name, data.get(name)) for name in ("axes", "channels")}
    found = inspect(open_all(images, asked["axes"], asked["channels"])[1]).facts
    n_dims = settings.get("n_dims", network.get("n_dims", 2))
    if found.noise_axis == "both":
        raise ConfigError(f"{found.verdict} To train all the same, name the axis: --noise-axis x or y.")
    if "noise_axis" not in found.recommended.get("network", {}):
        raise ConfigError(found.verdict)
    if found.noise_axis == "z" and n_dims != 3:
        raise ConfigError(
            "The noise seems to be correlated along z, which a 2-D model does not see: train with --n-dims 3, or name "
            "another axis with --noise-axis."
        )
    say(f"Noise axis {found.noise_axis} ({found.certainty}). {found.verdict}")
    return {**settings, "noise_axis": found.noise_axis}
