"""A simulated stack as files in one folder, made again from its settings at any time.

noisy.tif         what a camera would have stored, uint16
truth.tif         the expectation of each of its pixels, float32
simulation.yaml   all settings, resolved, with what they mean for the noise
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from cosdd_zoo.config import Settings, nearest, problem
from cosdd_zoo.data.beside import beside, make_folder
from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, check_finite, open_image
from cosdd_zoo.data.simulate.noises import NOISES, PEDESTAL, AnyNoise, Noise
from cosdd_zoo.data.simulate.scenes import PEAK_PHOTONS, SCENES
from cosdd_zoo.data.simulate.stack import Simulated, photon_stack, scene_stack, to_photons
from cosdd_zoo.errors import ConfigError, ImageError, OutputError
from cosdd_zoo.version import __version__

NOISY, TRUTH, SETTINGS = "noisy.tif", "truth.tif", "simulation.yaml"
EXAMPLE = f"in the {SETTINGS} that `cosdd-zoo simulate` writes"
MAX_PIXELS = 2**27  # simulating as many takes 3 GiB of memory


class Simulation(Settings):
    """All that a simulated stack depends on, but for the versions of this package and of NumPy."""

    noise: AnyNoise = Field(discriminator="kind")
    """Kind of noise, and its parameters."""
    clean: str = "filaments"
    """A scene (filaments, nuclei, lattice), or clean images: a file, a folder or a glob."""
    axes: str | None = None
    """Axes of the clean images' files, letters of STCZYX; by default from their metadata."""
    n_frames: int = Field(24, ge=1)
    """Frames. Given images are taken in turn, and again from the first where they are fewer."""
    size_px: int = Field(256, ge=16)
    """Side of the frames; of given images the middle is cut out."""
    photons: float = Field(PEAK_PHOTONS, gt=0, le=10_000)
    """Photons per pixel in the brightest places, about; fewer are noisier."""
    seed: int = Field(0, ge=0)
    """The same settings with the same seed give the same stack."""

    @model_validator(mode="after")
    def _fits_a_file(self) -> Simulation:
        if self.n_frames * self.size_px**2 > MAX_PIXELS:
            raise ValueError(
                f"{self.n_frames} frames of {self.size_px} x {self.size_px} px are {self.n_frames * self.size_px**2} "
                f"pixels, more than the {MAX_PIXELS} of one file: make several folders, each with its own --seed"
            )
        return self


class SimulationFiles(NamedTuple):
    noisy: Path
    truth: Path
    settings: Path
    stack: Simulated


def resolve_simulation(noise: str | None, file: Mapping[str, Any] | None = None, **overrides: Any) -> Simulation:
    """Settings from three layers: defaults, those of a file, and single ones by name (None: not given).

    noise: a key of NOISES; the file's parameters of that noise are kept if it has the same. Raises ConfigError.
    """
    values = {**(file or {}), **{name: value for name, value in overrides.items() if value is not None}}
    found = values.get("noise")
    kind = found.get("kind") if isinstance(found, Mapping) else found
    if isinstance(found, str) or (noise is not None and noise != kind):
        kind = noise or kind
        values["noise"] = {"kind": kind}
    if kind is None:
        raise ConfigError(f"--noise is missing: choose one of {', '.join(NOISES)}.")
    if str(kind) not in NOISES:
        raise ConfigError(f"There is no noise {kind!r}. {nearest(str(kind), NOISES)}")
    try:
        return Simulation.model_validate(values)
    except ValidationError as error:
        raise ConfigError(" ".join(_sentence(e) for e in error.errors())) from None


def write_simulation(settings: Simulation, folder: Path, overwrite: bool = False) -> SimulationFiles:
    """Simulate, and write all three files or none of them.

    Raises OutputError if one is there already (unless `overwrite`) or cannot be written, ConfigError for a scene that
    there is not, ImageError and AxesError for clean images that cannot be used.
    """
    paths = [folder / name for name in (NOISY, TRUTH, SETTINGS)]
    if not overwrite and (taken := [path.name for path in paths if path.exists()]):
        raise OutputError(f"{folder} holds {', '.join(taken)} already: choose another -o, or use --overwrite.")
    given = None if settings.clean in SCENES else to_photons(clean_images(settings), settings.photons)
    make_folder(folder)
    stack = _simulated(settings, given)
    noisy, truth, text = (beside(path, overwrite) for path in paths)
    with noisy as noisy_part, truth as truth_part, text as text_part:  # renamed once all three are complete
        _save(noisy_part, stack.noisy)
        _save(truth_part, stack.signal)
        text_part.write_text(_described(settings, stack), encoding="utf-8")
    return SimulationFiles(paths[0], paths[1], paths[2], stack)


def clean_images(settings: Simulation) -> NDArray[Any]:
    """The middle of as many clean images as there are frames, the first again where they run out; [S, Y, X].

    Raises ConfigError for a misspelt scene, ImageError for images that are missing, too small, of several channels or
    not finite.
    """
    if settings.clean.isidentifier() and not Path(settings.clean).exists():
        raise ConfigError(f"There is no scene and no file {settings.clean!r}. {nearest(settings.clean, SCENES)}")
    images = [open_image(path, settings.axes) for path in find_images([settings.clean])]
    items = [(image, index) for image in images for index in range(image.n_items(2))][: settings.n_frames]
    cut = [_middle(image, index, settings.size_px) for image, index in items]
    return np.stack([cut[frame % len(cut)] for frame in range(settings.n_frames)])


def _middle(image: ImageFile, index: int, size_px: int) -> NDArray[Any]:
    """The middle [size, size] of one item."""
    n_channels, *shape = image.item_shape(2)
    if n_channels > 1:
        raise ImageError(
            f"{image.name} has {n_channels} channels, but noise is simulated on one: give each channel as a file."
        )
    if min(shape) < size_px:
        raise ImageError(
            f"{image.name} is {shape[0]} x {shape[1]} px, but frames of {size_px} px were asked for: "
            f"use --size {min(shape)}, or larger images."
        )
    crop: NDArray[Any] = image.read_crop(index, 2, [(n - size_px) // 2 for n in shape], [size_px, size_px])[0]
    check_finite(crop, image.name)
    return crop


def _simulated(settings: Simulation, given: NDArray[np.float64] | None) -> Simulated:
    """A stack of the photons [S, Y, X] of given images, or of a scene."""
    noise, seed = settings.noise, settings.seed
    if given is not None:
        return photon_stack(noise, given, seed)
    return scene_stack(noise, settings.clean, settings.n_frames, settings.size_px, settings.photons, seed)


def _save(part: Path, stack: NDArray[Any]) -> None:
    """An ImageJ stack, which is compared with what was to be written."""
    image = stack if len(stack) > 1 else stack[0]
    tifffile.imwrite(part, image, imagej=True, metadata={"axes": "TYX"[-image.ndim :]})
    if not np.array_equal(tifffile.imread(part), image):
        raise OutputError(f"{part.parent} does not give back what was written to it: check the disk.")


def _described(settings: Simulation, stack: Simulated) -> str:
    """The settings as YAML, under comments that say what they are and mean."""
    level = np.asarray((stack.signal.mean(dtype=np.float64) - PEDESTAL) / settings.noise.gain)
    return (
        f"# cosdd-zoo {__version__}, NumPy {np.__version__}. Again: cosdd-zoo simulate -o FOLDER --config {SETTINGS}\n"
        f"# {_facts(settings.noise, level)}\n"
    ) + yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def _facts(noise: Noise, photons: NDArray[np.float64]) -> str:
    correlation = " ".join(f"{noise.correlation(lag, photons):.3f}" for lag in (1, 2, 3))
    along = f", correlation along {noise.axis} at 1, 2 and 3 px {correlation}" if noise.axis != "none" else ""
    deviation = np.sqrt(noise.variance(photons))
    return f"noise axis {noise.axis}; at the mean of {photons:.1f} photons: std {deviation:.1f} grey levels{along}"


def _sentence(error: Any) -> str:
    place = tuple(part for part in error["loc"] if part not in NOISES)  # pydantic names the kind that it tried
    kind = error["loc"][1] if error["loc"][:1] == ("noise",) and len(error["loc"]) > 2 else None
    return problem({**error, "loc": place}, (NOISES[kind] if kind else Simulation).model_fields)
