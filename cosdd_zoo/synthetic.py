"""Images with a camera's own noise, of any size: on a clean image, on what is seen in a noisy one, or on nothing.

    copies            clean or denoised images in; the same with noise out
    reconstructions   noisy images in; a plausible signal of each out, and that signal with new noise
    prior             a size in; what the model takes for an image out, with and without noise

An image is drawn strip by strip, each holding its lines from end to end, with a halo of context beside them. The
numbers that are drawn belong to places, to the seed and to the image's name, so that neither the strips nor the other
images of a run change them.

Letters: C channels, * spatial axes of an item.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import SPATIAL_AXES
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.axes import Array, spatial_axes
from cosdd_zoo.data.canvas import Form, Format, to_dtype
from cosdd_zoo.data.finding import Source
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.results import canvas, result_path
from cosdd_zoo.data.writing import write_tiff
from cosdd_zoo.errors import ConfigError, OutputError
from cosdd_zoo.inference.channels import Group, groups_of
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.inference.estimate import Advance
from cosdd_zoo.inference.memory import map_bytes
from cosdd_zoo.inference.tiling import Cuts, round_up
from cosdd_zoo.inference.windows import Bounds, cut, halos, image_order, inner_of, read_window
from cosdd_zoo.noise.synthesis import N_ROUNDS, Synthetic, add_noise, imagine, on_levels, synthesise

Kind = Literal["copies", "reconstructions"]
Floats = NDArray[np.float32]
BEYOND = 0.25
"""Of the training images' range, how far a clean image may lie outside before the noise there is a guess."""
LARGEST_PX = 2**15
"""Along an axis of an image of the prior."""


class Drawn(NamedTuple):
    """In the form of the input: numpy array or xarray.DataArray with the same axes."""

    noisy: Any  # of the training images' dtype, on their quantisation levels
    signal: Any  # float32


class Strip(NamedTuple):
    group: Group
    bounds: Bounds
    noisy: Array  # [C, *], of the training images' dtype
    signal: Floats  # [C, *]


class NoiseModel:
    """What a model has learned of a camera's noise, ready to draw from it.

    checkpoint: of a run; a package holds no AR decoder.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self.denoiser = Denoiser(checkpoint.model(), checkpoint.config, device, checkpoint.facts)
        self.network = checkpoint.config.network
        self.pedestal = checkpoint.scaling.pedestal
        self.dtype = np.dtype(checkpoint.facts.get("dtype", "float32"))
        self.step: list[float] = list(checkpoint.facts.get("quantisation_step", [0.0] * self.network.n_channels))

    def add(self, clean: Any, *, axes: str | None = None, seed: int = 0, copy: int = 0, exposure: float = 1.0) -> Any:
        """A clean or denoised image, in the camera's grey values, with the camera's noise.

        clean: numpy array or xarray.DataArray; axes: its letters (STCZYX) when they cannot be guessed. copy: number of
        the copy, each with other noise. exposure: factor of the signal above the camera's pedestal: 0.5 shows what half
        the light would give. Raises ImageError for an image that does not fit the model.
        """
        return self._drawn(from_array(clean, axes), "copies", seed, copy, exposure).noisy

    def redraw(self, noisy: Any, *, axes: str | None = None, seed: int = 0, copy: int = 0) -> Drawn:
        """A plausible signal of a noisy image, one posterior sample, and that signal with new noise.

        Raises ImageError for an image that does not fit the model.
        """
        return self._drawn(from_array(noisy, axes), "reconstructions", seed, copy, 1.0)

    def imagine(self, size: Sequence[int], *, seed: int = 0, copy: int = 0) -> Drawn:
        """An image from the prior, [C, *size]: what the model takes for an image where it has seen none.

        Raises ConfigError for a size that has not the model's axes.
        """
        axes = SPATIAL_AXES[self.network.n_dims]
        if len(size) != len(axes) or min(size) < 1 or max(size) > LARGEST_PX:
            raise ConfigError(
                f"An image of {' x '.join(map(str, size))} px cannot be drawn: give {len(axes)} sizes along "
                f"{', '.join(axes)}, from 1 to {LARGEST_PX} px."
            )
        shape = (self.network.n_channels, *size)
        noisy, signal = np.zeros(shape, self.dtype), np.zeros(shape, np.float32)
        number = number_of("prior", 0, copy)
        for bounds in self.strips(size):
            outer, origin = [b[3] - b[2] for b in bounds], [b[2] for b in bounds]
            made = imagine(self.denoiser.engine, outer, seed, number, origin)
            place = (slice(None), *inner_of(bounds))
            noisy[place], signal[place] = cut(self._levels(made.noisy), bounds), cut(_array(made.signal), bounds)
        return Drawn(noisy, signal)

    def item(
        self, image: ImageFile, index: int, kind: Kind, seed: int, copy: int, exposure: float = 1.0
    ) -> Iterator[Strip]:
        """The strips of one item, one after another. Raises ImageError for pixels that are not finite."""
        n_dims = self.network.n_dims
        for number, group in enumerate(self.groups(image)):
            key = number_of(f"{image.name}/{number}", index, copy)
            for bounds in self.strips(image.item_shape(n_dims)[1:]):
                x = read_window(image, index, n_dims, bounds, group)
                if group.copied:
                    yield Strip(group, bounds, to_dtype(x, self.dtype).array, x.astype(np.float32))
                    continue
                noisy, signal = self._strip(x, bounds, kind, seed, key, exposure)
                yield Strip(group, bounds, cut(noisy, bounds), cut(signal, bounds))

    def groups(self, image: ImageFile) -> list[Group]:
        """Which channels meet the model together. Raises ImageError where they do not fit."""
        return groups_of(image, self.network.n_channels, None, False, self.denoiser.channel_names)

    def strips(self, size: Sequence[int]) -> Cuts:
        """Windows that hold the lines along the noise axis from end to end, with context for all rounds of a copy."""
        stride = image_order(self.network, self.network.total_stride())
        axes, axis = SPATIAL_AXES[self.network.n_dims], self.network.noise_axis
        pixels = map_bytes(self.denoiser.device) / (4 * self.network.n_features)
        lines = max(pixels / (size[axes.index(axis)] if axis != "none" else 1), 1.0)
        side = int(lines ** (1 / max(1, len(axes) - (axis != "none"))))
        inner = [round_up(n if a == axis else max(side, 1), s) for a, n, s in zip(axes, size, stride, strict=True)]
        return Cuts(size, inner, [N_ROUNDS * halo for halo in halos(self.network)])

    def said_of(self, image: ImageFile, exposure: float = 1.0) -> str:
        """A sentence where a clean image's grey values are not those that the model has seen; else nothing."""
        profile = self.denoiser.facts.get("profile")
        if profile is None or len(profile["channels"]) != image.n_channels:
            return ""
        n_dims = self.network.n_dims
        x = image.read_item(image.n_items(n_dims) // 2, n_dims).astype(np.float64)
        for own, pedestal, values in zip(profile["channels"], self.pedestal, x, strict=True):
            low, high = np.percentile(pedestal + exposure * (values - pedestal), [1, 99])
            room = BEYOND * (own["high"] - own["low"])
            if low < own["low"] - room or high > own["high"] + room:
                return (
                    f"its grey values ({low:.4g} to {high:.4g}) lie outside those of the training images "
                    f"({own['low']:.4g} to {own['high']:.4g}): the noise there is a guess"
                )
        return ""

    def _drawn(self, image: Any, kind: Kind, seed: int, copy: int, exposure: float) -> Drawn:
        n_dims, parts = self.network.n_dims, []
        for index in range(image.n_items(n_dims)):
            shape = image.item_shape(n_dims)
            noisy, signal = np.zeros(shape, self.dtype), np.zeros(shape, np.float32)
            for strip in self.item(image, index, kind, seed, copy, exposure):
                place: Any = (list(strip.group.target), *inner_of(strip.bounds))
                noisy[place], signal[place] = strip.noisy, strip.signal
            parts.append((noisy, signal))
        return Drawn(*(image.labelled(image.assemble([p[k] for p in parts], n_dims)) for k in (0, 1)))

    def _strip(
        self, x: Array, bounds: Bounds, kind: Kind, seed: int, key: int, exposure: float
    ) -> tuple[Array, Floats]:
        """Outer pixels [C, *] -> those with noise, and the signal."""
        given = torch.from_numpy(np.ascontiguousarray(x, np.float32))[None].to(self.denoiser.device)
        if exposure != 1.0:
            pedestal = torch.tensor(self.pedestal, device=given.device).reshape([1, -1] + [1] * (given.dim() - 2))
            given = pedestal + exposure * (given - pedestal)
        draw = add_noise if kind == "copies" else synthesise
        made: Synthetic = draw(self.denoiser.engine, given, seed, key, [b[2] for b in bounds])
        return self._levels(made.noisy), _array(made.signal)

    def _levels(self, noisy: Tensor) -> Array:
        """[1, C, *] -> [C, *], what a camera would have written."""
        return to_dtype(_array(on_levels(noisy, self.step)), self.dtype).array


def number_of(name: str, index: int, copy: int) -> int:
    """Whose noise it is: 31 bits of the image's name, of the item in it, and of the copy."""
    return zlib.crc32(f"{name}/{index}/{copy}".encode()) >> 1


class Made(NamedTuple):
    noisy: Path
    signal: Path | None
    note: str


def paths_of(source: Source, folder: Path, kind: Kind, copy: int, n_copies: int, format: Format) -> list[Path]:
    """NAME_noisy, or of reconstructions NAME_redrawn and NAME_signal; numbered where there are several."""
    number = f"_{copy + 1:0{len(str(n_copies))}}" if n_copies > 1 else ""
    words = ["_redrawn", "_signal"] if kind == "reconstructions" else ["_noisy"]
    return [result_path(source, folder, format, word + number) for word in words]


def sample_file(
    model: NoiseModel,
    source: Source,
    image: ImageFile,
    folder: Path,
    kind: Kind,
    *,
    n_copies: int = 1,
    seed: int = 0,
    exposure: float = 1.0,
    format: Format = "same",
    overwrite: bool = False,
    advance: Advance = lambda share: None,
) -> Iterator[Made]:
    """Write what is drawn of one image, with its axes and metadata; yields each result once it is there.

    advance: called with shares of the image's work, which add up to 1. Raises ImageError for an image that does not
    fit the model, OutputError for a result that is there already or cannot be written.
    """
    n_dims = model.network.n_dims
    size, n_items = image.item_shape(n_dims)[1:], image.n_items(n_dims)
    strips = model.strips(size)
    share = 1.0 / (n_copies * n_items * len(model.groups(image)) * len(strips))
    note = model.said_of(image, exposure) if kind == "copies" else ""
    for copy in range(n_copies):
        paths = paths_of(source, folder, kind, copy, n_copies, format)
        with ExitStack() as stack:
            canvases = []
            for path, dtype in zip(paths, (model.dtype, np.dtype(np.float32)), strict=False):
                path.parent.mkdir(parents=True, exist_ok=True)
                form = Form(format, n_channels=image.n_channels)
                canvases.append(
                    stack.enter_context(canvas(path, image, n_dims, dtype, form, strips.inner, overwrite=overwrite))
                )
            number = 0
            for index in range(n_items):
                for strip in model.item(image, index, kind, seed, copy, exposure):
                    start = [b[0] for b in strip.bounds]
                    for one, block in zip(canvases, (strip.noisy, strip.signal), strict=False):
                        one.write(number, index, start, block, strip.group.target)
                    number += 1
                    advance(share)
        yield Made(paths[0], paths[1] if len(paths) > 1 else None, note)


def sample_prior(
    model: NoiseModel,
    size: Sequence[int],
    folder: Path,
    *,
    n_copies: int = 1,
    seed: int = 0,
    overwrite: bool = False,
    advance: Callable[[float], None] = lambda share: None,
) -> Iterator[Made]:
    """Write images from the prior, prior_noisy.tif and prior_signal.tif, numbered where there are several."""
    n_dims = model.network.n_dims
    for copy in range(n_copies):
        number = f"_{copy + 1:0{len(str(n_copies))}}" if n_copies > 1 else ""
        paths = [folder / f"prior_{word}{number}.tif" for word in ("noisy", "signal")]
        drawn = model.imagine(size, seed=seed, copy=copy)
        for path, whole in zip(paths, drawn, strict=True):
            alone = len(whole) == 1
            like = from_array(whole[0] if alone else whole, ("" if alone else "C") + spatial_axes(n_dims))
            write_tiff(path, [whole], like, n_dims, overwrite=overwrite)
        advance(1.0 / n_copies)
        yield Made(paths[0], paths[1], "")


def check_free(paths: Sequence[Path]) -> None:
    """Raises OutputError where one of the results is there already."""
    if taken := [path for path in paths if path.exists()]:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise OutputError(f"{taken[0]}{more} is there already: choose another -o, or use --overwrite.")


def _array(x: Tensor) -> Floats:
    """[1, C, *] -> [C, *]"""
    return x[0].float().cpu().numpy()
