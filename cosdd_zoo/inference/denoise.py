"""Noisy images in, denoised images out: whole or by windows, by samples or directly, arrays or files.

    mean = 1/k sum_k f(code(z_k)),   z_k ~ q(z | x)              MMSE estimate for k -> infinity
    std  = the samples' standard deviation                       where the model is unsure

Letters: C channels, * spatial axes of an item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosdd_zoo.config import SPATIAL_AXES, NetworkConfig, RunConfig
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.images import ImageFile, check_finite
from cosdd_zoo.data.writing import output_name, tiff_canvas
from cosdd_zoo.devices import found_device
from cosdd_zoo.errors import ConfigError, ImageError
from cosdd_zoo.inference.tiling import n_windows, round_up, window
from cosdd_zoo.networks.build import Moments, receptive_radius

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float32]
Advance = Callable[[float], None]
Compute = Callable[[Tensor, list[int], float], Tensor]
"""x [1, C, outer], its origin, its share of the work -> [1, C', outer]."""

N_SAMPLES_GPU = 100
N_SAMPLES_CPU = 16
"""Eight antithetic pairs: within 0.05 dB of the mean of 100 (benchmarks/results), for a user who waits."""
MAX_HALO_PX = 256
"""Deep ladders could in principle see further; what lies beyond changes less than the samples' own spread."""
MAP_BYTES = 2**28
"""A feature map of a window's size should not take more memory than this."""


class Denoised(NamedTuple):
    """A result in the form of the input: numpy array or xarray.DataArray with the same axes, float32."""

    mean: Any
    std: Any  # None unless asked for


class Item(NamedTuple):
    mean: Floats  # [C, *]
    std: Floats  # [C, *], zeros for the direct denoiser


class Saved(NamedTuple):
    path: Path
    std_path: Path | None
    n_saturated: int
    n_pixels: int


class Denoiser:
    """A model that is ready to run. engine: a Cosdd, or the scripted module of a package (the same methods)."""

    def __init__(
        self, engine: Any, config: RunConfig, device: str = "auto", facts: dict[str, Any] | None = None
    ) -> None:
        self.config, self.facts = config, facts or {}
        self.device = torch.device(found_device(device))
        self.engine = engine.to(self.device)

    @cached_property
    def digest(self) -> str:
        """What tells this model from others: a checksum of its weights."""
        found = hashlib.sha256()
        for name, value in self.engine.state_dict().items():
            found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    @property
    def network(self) -> NetworkConfig:
        return self.config.network

    @property
    def default_samples(self) -> int:
        return N_SAMPLES_CPU if self.device.type == "cpu" else N_SAMPLES_GPU

    def denoise(
        self,
        image: NDArray[Any] | xarray.DataArray,
        n_samples: int | None = None,
        *,
        axes: str | None = None,
        direct: bool = False,
        uncertainty: bool = False,
        seed: int = 0,
        tile_px: int | None = None,
        halo_px: int | None = None,
        advance: Advance = lambda share: None,
    ) -> Denoised:
        """The mean of n_samples posterior samples (or the direct denoiser's prediction), float32, grey values.

        n_samples 0: the signal of the latents' means, in one pass; no sample, and no uncertainty.

        image: any axes that hold the model's spatial ones; axes: their letters (STCZYX) when they cannot be guessed.
        tile_px, halo_px: side of the windows and context around them, chosen by memory by default.
        advance: called with the share of the work just done; shares add up to 1.

        Raises ImageError for an image that does not fit the model, ConfigError for a model without direct denoiser.
        """
        check_uncertainty(uncertainty, direct, n_samples)
        opened = from_array(image, axes)
        n_items = self.n_items(opened)
        parts = [
            self.item(opened, i, n_samples, direct, seed, tile_px, halo_px, lambda share: advance(share / n_items))
            for i in range(n_items)
        ]
        n_dims = self.network.n_dims
        mean = opened.labelled(opened.assemble([p.mean for p in parts], n_dims))
        std = opened.labelled(opened.assemble([p.std for p in parts], n_dims)) if uncertainty else None
        return Denoised(mean, std)

    def samples(
        self, image: NDArray[Any] | xarray.DataArray, n_samples: int, *, axes: str | None = None, seed: int = 0
    ) -> Iterator[Any]:
        """Single posterior samples, one after another, each in the form of the input, float32."""
        opened = from_array(image, axes)
        n_items, n_dims = self.n_items(opened), self.network.n_dims
        for k in range(n_samples):

            def one(x: Tensor, origin: list[int], share: float, k: int = k) -> Tensor:
                with torch.inference_mode():
                    s: Tensor = self.engine.sample(x, self.engine.bottom_up(x), seed, k, origin)
                return s

            parts = [self._by_windows(opened, i, None, None, one) for i in range(n_items)]
            yield opened.labelled(opened.assemble(parts, n_dims))

    def denoise_file(
        self,
        image: ImageFile,
        folder: Path,
        n_samples: int | None = None,
        *,
        direct: bool = False,
        uncertainty: bool = False,
        float32: bool = False,
        seed: int = 0,
        tile_px: int | None = None,
        halo_px: int | None = None,
        resume: bool = False,
        overwrite: bool = False,
        advance: Advance = lambda share: None,
    ) -> Saved:
        """Denoise a file into `folder`, under its own name, window by window; the deviation into <name>_std.tif.

        The result has the input's axes, pixel size and metadata, and its dtype (rounded, saturated) unless float32.
        resume: go on with what an interrupted call of the same settings left; the file is that of an unbroken one.
        Raises as `denoise`, and OutputError when the result cannot be written.
        """
        check_uncertainty(uncertainty, direct, n_samples)
        n_items, n_dims = self.n_items(image), self.network.n_dims
        count = self.default_samples if n_samples is None else n_samples
        path = folder / output_name(image)
        std_path = path.with_name(f"{path.stem}_std.tif") if uncertainty else None
        cuts = self.cuts(image.item_shape(n_dims)[1:], tile_px, halo_px)
        share, compute = 1.0 / (n_items * len(cuts)), self._mean_and_std(count, direct, seed, advance)
        how: dict[str, Any] = {
            "work": f"{self.digest} {self.device.type} {count} {direct} {seed} {cuts[0]} {len(cuts)}",
            "resume": resume,
            "overwrite": overwrite,
        }
        with ExitStack() as stack:
            dtype = np.dtype(np.float32) if float32 else image.dtype
            mean = stack.enter_context(tiff_canvas(path, image, n_dims, dtype, **how))
            # killed between the renaming of the two: the deviation is whole, and has its name already
            std_is_done = resume and std_path is not None and std_path.exists() and not mean.n_missing
            wanted = None if std_is_done else std_path
            std = stack.enter_context(tiff_canvas(wanted, image, n_dims, "float32", **how)) if wanted else None
            for number, (i, bounds) in enumerate((i, cut) for i in range(n_items) for cut in cuts):
                if mean.has(number) and (std is None or std.has(number)):
                    advance(share)
                    continue
                both = self._window(image, i, bounds, compute, share)
                done, start = Item(*np.split(both, 2)), [b[0] for b in bounds]
                mean.write(number, i, start, done.mean)
                if std is not None:
                    std.write(number, i, start, done.std)
        return Saved(path, std_path, mean.n_saturated, int(np.prod(image.shape)))

    def item(
        self,
        image: ImageFile,
        index: int,
        n_samples: int | None,
        direct: bool,
        seed: int,
        tile_px: int | None,
        halo_px: int | None,
        advance: Advance,
    ) -> Item:
        """One item of an image, by windows. Raises ImageError for pixels that are not finite."""
        count = self.default_samples if n_samples is None else n_samples
        both = self._by_windows(image, index, tile_px, halo_px, self._mean_and_std(count, direct, seed, advance))
        return Item(*np.split(both, 2))

    def _mean_and_std(self, count: int, direct: bool, seed: int, advance: Advance) -> Compute:
        if direct and not self.network.direct:
            raise ConfigError(
                "This model has no direct denoiser: leave out --direct, or make one with `cosdd-zoo distill`."
            )

        def mean_and_std(x: Tensor, origin: list[int], share: float) -> Tensor:
            m = self._moments(x, count, direct, seed, origin, lambda part: advance(part * share))
            return torch.cat([m.mean, torch.sqrt(m.squares / max(count - 1, 1))], dim=1)

        return mean_and_std

    def _by_windows(
        self, image: ImageFile, index: int, tile_px: int | None, halo_px: int | None, compute: Compute
    ) -> Floats:
        """compute(x [1, C, outer], its origin, its share of the item) for every window, put together: [C', *]."""
        size = image.item_shape(self.network.n_dims)[1:]
        cuts = self.cuts(size, tile_px, halo_px)
        whole: Floats | None = None
        for bounds in cuts:
            part = self._window(image, index, bounds, compute, 1.0 / len(cuts))
            if whole is None:
                whole = np.empty((len(part), *size), np.float32)
            whole[(slice(None), *(slice(b[0], b[1]) for b in bounds))] = part
        assert whole is not None
        return whole

    def _window(self, image: ImageFile, index: int, bounds: list[list[int]], compute: Compute, share: float) -> Floats:
        """One window of an item: [C', inner]. Reads no more of the image than that window's outer pixels."""
        start, stop = [b[2] for b in bounds], [b[3] for b in bounds]
        size = [n - m for m, n in zip(start, stop, strict=True)]
        x = image.read_crop(index, self.network.n_dims, start, size)
        check_finite(x, image.name)
        y = compute(torch.from_numpy(x.astype(np.float32))[None].to(self.device), start, share)
        inside = (slice(None), *(slice(b[0] - b[2], b[1] - b[2]) for b in bounds))
        part: Floats = y[0].cpu().numpy()[inside]
        return part

    def cuts(self, size: Sequence[int], tile_px: int | None, halo_px: int | None) -> list[list[list[int]]]:
        """The windows of an item of this size, as `tiling.window` gives them."""
        inner, halo = self.windows(list(size), tile_px, halo_px)
        return [window(w, list(size), inner, halo) for w in range(n_windows(list(size), inner))]

    def windows(self, size: list[int], tile_px: int | None, halo_px: int | None) -> tuple[list[int], list[int]]:
        """Inner sizes and halos along the image's axes, in px, on the grid of the model."""
        stride = image_order(self.network, self.network.total_stride())
        halo = halos(self.network, halo_px)
        if tile_px is not None:
            return [round_up(tile_px, s) for s in stride], halo
        pixels = MAP_BYTES / (4 * self.network.n_features)
        side = pixels ** (1 / len(size))
        # at least as much image as halo, or most of the work would be thrown away
        return [round_up(max(int(side) - 2 * h, 2 * h, 64), s) for h, s in zip(halo, stride, strict=True)], halo

    @torch.inference_mode()
    def _moments(
        self, x: Tensor, n_samples: int, direct: bool, seed: int, origin: list[int], advance: Advance
    ) -> Moments:
        if direct:
            mean = self.engine.direct(x)
            advance(1.0)
            return Moments(mean, torch.zeros_like(mean))
        maps = self.engine.bottom_up(x)
        if n_samples == 0:
            mean = self.engine.sample(x, maps, seed, -1, origin)
            advance(1.0)
            return Moments(mean, torch.zeros_like(mean))
        moments = Moments(torch.zeros_like(x), torch.zeros_like(x))
        for first in range(0, n_samples, 2):
            moments = Moments(*self.engine.update(moments, x, maps, seed, first, n_samples, origin))
            advance(min(2, n_samples - first) / n_samples)
        return moments

    def n_items(self, image: ImageFile) -> int:
        """How many items the image holds for this model. Raises ImageError when it does not fit."""
        if image.n_channels != self.network.n_channels:
            raise ImageError(
                f"{image.name} has {image.n_channels} channels (axes {image.axes}, shape {image.shape}), but the model "
                f"was trained on {self.network.n_channels}. Choose the channels first, or name the axes with --axes."
            )
        return image.n_items(self.network.n_dims)


def check_uncertainty(uncertainty: bool, direct: bool, n_samples: int | None) -> None:
    """Raises ConfigError where a standard deviation is asked for that nothing can give."""
    if uncertainty and (direct or n_samples in (0, 1)):
        what = "The direct denoiser predicts" if direct else f"{n_samples} samples have"
        raise ConfigError(f"{what} no standard deviation: use two samples or more with --uncertainty.")


def halos(network: NetworkConfig, halo_px: int | None = None) -> list[int]:
    """Context around a window along the image's axes, in px, on the model's grid; by default all that can matter."""
    radius = image_order(network, receptive_radius(network))
    stride = image_order(network, network.total_stride())
    wanted = [min(MAX_HALO_PX, r) if halo_px is None else halo_px for r in radius]
    return [round_up(w, s) for w, s in zip(wanted, stride, strict=True)]


def image_order(network: NetworkConfig, along: tuple[int, ...]) -> list[int]:
    """Numbers along the networks' axes, in the order of the image's."""
    order = network.network_axes()
    return [along[order.index(a)] for a in SPATIAL_AXES[network.n_dims]]
