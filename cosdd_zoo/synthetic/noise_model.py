"""Images with a camera's own noise, of any size: on a clean image, on what is seen in a noisy one, or on nothing.

    copies            clean or denoised images in; the same with noise out
    reconstructions   noisy images in; a plausible signal of each out, and that signal with new noise
    prior             a size in; what the model takes for an image out, with and without noise

An image is drawn strip by strip, each holding its lines from end to end, with a halo of context beside them. The
numbers that are drawn belong to places, to the seed, and to the image: its name, below the folder that was named, and
its pixels. So neither the strips nor the other images of a run change them.

Letters: C channels, * spatial axes of an item.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import SPATIAL_AXES
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.canvas import to_dtype
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.errors import ConfigError, ImageError
from cosdd_zoo.inference.channels import Group, groups_of
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.inference.memory import is_out_of_memory, map_bytes
from cosdd_zoo.inference.tiling import Cuts, round_up
from cosdd_zoo.inference.windows import Bounds, cut, halos, image_order, inner_of, read_window
from cosdd_zoo.noise.synthesis import Synthetic, add_noise, imagine, on_levels, seen_step, synthesise

Kind = Literal["copies", "reconstructions"]
Floats = NDArray[np.float32]
BEYOND = 0.25
"""Of the training images' range, how far a clean image may lie outside before the noise there is a guess."""
LARGEST_PX = 2**15
"""Along an axis of an image of the prior."""
LEAST_LINES_PX = 64
LAST_SEED = 2**32 - 1
KEY_PX, LOOKED_AT_PX = 256, 512


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
        self.seen = seen_step(checkpoint.config.training, self.step)

    def add(self, clean: Any, *, axes: str | None = None, seed: int = 0, copy: int = 0, exposure: float = 1.0) -> Any:
        """A clean or denoised image, in the camera's grey values, with the camera's noise.

        clean: numpy array or xarray.DataArray; axes: its letters (STCZYX) when they cannot be guessed. copy: number of
        the copy, each with other noise. exposure: factor of the signal above the camera's pedestal: 0.5 shows what half
        the light would give. Raises ImageError for an image that does not fit the model, ConfigError for a seed or an
        exposure that is none.
        """
        _check_numbers(seed, exposure)
        return self._drawn(from_array(clean, axes), "copies", seed, copy, exposure).noisy

    def redraw(self, noisy: Any, *, axes: str | None = None, seed: int = 0, copy: int = 0) -> Drawn:
        """A plausible signal of a noisy image, one posterior sample, and that signal with new noise.

        Raises ImageError for an image that does not fit the model, ConfigError for a seed that is none.
        """
        _check_numbers(seed)
        return self._drawn(from_array(noisy, axes), "reconstructions", seed, copy, 1.0)

    def imagine(self, size: Sequence[int], *, seed: int = 0, copy: int = 0) -> Drawn:
        """An image from the prior, [C, *size]: what the model takes for an image where it has seen none.

        Raises ConfigError for a size that has not the model's axes, or a seed that is none.
        """
        _check_numbers(seed)
        size = [int(n) for n in size]
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
            with _enough_memory(outer):
                made = imagine(self.denoiser.engine, outer, seed, number, origin, self.seen)
            place = (slice(None), *inner_of(bounds))
            noisy[place], signal[place] = cut(self._levels(made.noisy), bounds), cut(_array(made.signal), bounds)
        return Drawn(noisy, signal)

    def item(
        self, image: ImageFile, index: int, kind: Kind, seed: int, copy: int, exposure: float = 1.0, name: str = ""
    ) -> Iterator[Strip]:
        """The strips of one item, one after another. name: tells the image from others. Raises ImageError for pixels
        that are not finite, and where memory does not suffice.
        """
        n_dims = self.network.n_dims
        pixels = zlib.crc32(self._middle(image, index, KEY_PX).tobytes())
        for number, group in enumerate(self.groups(image)):
            key = number_of(f"{name or image.name}/{number}/{pixels}", index, copy)
            for bounds in self.strips(image.item_shape(n_dims)[1:]):
                x = read_window(image, index, n_dims, bounds, group)
                if group.copied:
                    yield Strip(group, bounds, to_dtype(x, self.dtype).array, x.astype(np.float32))
                    continue
                noisy, signal = self._strip(x, bounds, kind, seed, key, exposure)
                yield Strip(group, bounds, cut(noisy, bounds), cut(signal, bounds))

    def groups(self, image: ImageFile) -> list[Group]:
        """Which channels meet the model together. Raises ImageError where they do not fit."""
        n = self.network.n_channels
        every = ",".join(map(str, range(image.n_channels))) if n == 1 and image.n_channels > 1 else None
        return groups_of(image, n, every, False, self.denoiser.channel_names)

    def strips(self, size: Sequence[int]) -> Cuts:
        """Windows that hold the lines along the noise axis from end to end."""
        stride = image_order(self.network, self.network.total_stride())
        axes, axis = SPATIAL_AXES[self.network.n_dims], self.network.noise_axis
        pixels = map_bytes(self.denoiser.device) / (4 * self.network.n_features)
        lines = max(pixels / (size[axes.index(axis)] if axis != "none" else 1), 1.0)
        side = int(lines ** (1 / max(1, len(axes) - (axis != "none"))))
        halo = halos(self.network)
        sides = [max(side - 2 * h, LEAST_LINES_PX) if side < n else n for n, h in zip(size, halo, strict=True)]
        inner = [round_up(n if a == axis else m, s) for a, n, m, s in zip(axes, size, sides, stride, strict=True)]
        return Cuts(size, inner, halo)

    def said_of(self, image: ImageFile, exposure: float = 1.0) -> str:
        """A sentence where a clean image's grey values are not those that the model has seen; else nothing."""
        profile = self.denoiser.facts.get("profile")
        if profile is None:
            return ""
        x = self._middle(image, image.n_items(self.network.n_dims) // 2, LOOKED_AT_PX).astype(np.float64)
        groups = [g for g in self.groups(image) if not g.copied]
        for own, pedestal, c in [
            v for g in groups for v in zip(profile["channels"], self.pedestal, g.source, strict=True)
        ]:
            values = x[c]
            low, high = np.percentile(pedestal + exposure * (values - pedestal), [1, 99])
            room = BEYOND * (own["high"] - own["low"])
            if low < own["low"] - room or high > own["high"] + room:
                return (
                    f"its grey values ({low:.4g} to {high:.4g}) lie outside those of the training images "
                    f"({own['low']:.4g} to {own['high']:.4g}): the noise there is a guess"
                )
        return ""

    def _middle(self, image: ImageFile, index: int, side_px: int) -> Array:
        """Of an item: [C, *]."""
        n_dims = self.network.n_dims
        shape = image.item_shape(n_dims)[1:]
        size = [min(n, side_px) for n in shape]
        return image.read_crop(index, n_dims, [(n - m) // 2 for n, m in zip(shape, size, strict=True)], size)

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
        with _enough_memory(x.shape[1:]):
            made: Synthetic = draw(self.denoiser.engine, given, seed, key, [b[2] for b in bounds], self.seen)
        return self._levels(made.noisy), _array(made.signal)

    def _levels(self, noisy: Tensor) -> Array:
        """[1, C, *] -> [C, *], what a camera would have written."""
        return to_dtype(_array(on_levels(noisy, self.step)), self.dtype).array


def number_of(name: str, index: int, copy: int) -> int:
    """Whose noise it is: 31 bits of the image's name, of the item in it, and of the copy."""
    return zlib.crc32(f"{name}/{index}/{copy}".encode()) >> 1


def _check_numbers(seed: int, exposure: float = 1.0) -> None:
    """Raises ConfigError for a seed or an exposure that is none."""
    if not 0 <= seed <= LAST_SEED:
        raise ConfigError(f"{seed} is no seed: give a whole number from 0 to {LAST_SEED}.")
    if not (math.isfinite(exposure) and exposure >= 0):
        raise ConfigError(f"{exposure} is no exposure: give a factor from 0 on, such as 0.5.")


@contextmanager
def _enough_memory(size: Sequence[int]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ImageError(
            f"The memory does not suffice for lines of {' x '.join(map(str, size))} px, which are drawn in one piece: "
            "close other programs, or cut the image along the noise axis."
        ) from None


def _array(x: Tensor) -> Floats:
    """[1, C, *] -> [C, *]"""
    return x[0].float().cpu().numpy()
