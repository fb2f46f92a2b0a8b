"""Noisy images in, denoised images out: whole or by windows, by samples or directly.

Windows are those of `tiling`, with a halo of context. Where memory does not suffice for one it is divided, and so are
all that are as large from then on: the noise of the latents belongs to places, so that the result stays the same.

Letters: C channels, * spatial axes of an item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosdd_zoo.config import NetworkConfig, RunConfig
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.devices import found_device
from cosdd_zoo.errors import ConfigError, ImageError
from cosdd_zoo.inference.channels import Group, groups_of
from cosdd_zoo.inference.estimate import Advance, Estimate, Estimator
from cosdd_zoo.inference.memory import give_back, is_out_of_memory, map_bytes
from cosdd_zoo.inference.tiling import Cuts, round_up
from cosdd_zoo.inference.windows import Bounds, cut, halos, halves_of, image_order, inner_of, read_window, within

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float32]
Compute = Callable[[Tensor, list[int], Advance], Estimate] | Estimator

N_SAMPLES_GPU = 100
N_SAMPLES_CPU = 16
"""Eight antithetic pairs: within 0.05 dB of the mean of 100 (benchmarks/results), for a user who waits."""


class Denoised(NamedTuple):
    """A result in the form of the input: numpy array or xarray.DataArray with the same axes, float32."""

    mean: Any
    std: Any  # None unless asked for


class Piece(NamedTuple):
    """Of one window, its inner pixels."""

    mean: Floats  # [C, *]
    std: Floats  # [C, *], zeros where no two samples were drawn
    n_samples: float


class Denoiser:
    """A model that is ready to run. engine: a Cosdd, or the scripted module of a package (the same methods)."""

    is_foreign = False

    def __init__(
        self, engine: Any, config: RunConfig, device: str = "auto", facts: dict[str, Any] | None = None
    ) -> None:
        self.config, self.facts = config, facts or {}
        self.device = torch.device(found_device(device))
        self.engine = engine.to(self.device)
        self.n_out_channels = config.network.n_channels
        self.items_at_once: int | None = None
        """By default as many as memory suffices for, on a GPU; one on a CPU."""
        self.has_divided = False
        self.most_px: int | None = None
        """Windows of more pixels are divided; known since memory did not suffice for one."""

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

    def as_made(self, groups: list[Group]) -> list[Group]:
        """The groups, or where the model makes channels of another kind than it takes those alone."""
        if self.n_out_channels == self.network.n_channels:
            return groups
        return [Group(group.source, tuple(range(self.n_out_channels))) for group in groups[:1]]

    @property
    def channel_names(self) -> list[str]:
        """Of the channels that it was trained on, where they have names."""
        return list(self.facts.get("channels", []))

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
        tolerance: float = 0.0,
        channels: str | None = None,
        others: str = "copy",
        seed: int = 0,
        tile_px: int | None = None,
        halo_px: int | None = None,
        advance: Advance = lambda share: None,
    ) -> Denoised:
        """The mean of n_samples posterior samples (or the direct denoiser's prediction), float32, grey values.

        n_samples 0: the signal of the latents' means, in one pass; no sample, and no uncertainty.

        image: any axes that hold the model's spatial ones, lazy or not; axes: their letters (STCZYX) when they cannot
        be guessed. tolerance: draw samples until the error of the mean is below it, in standard deviations of the
        noise; a DataArray's attribute `n_samples` then says how many it took on average. channels: which ones to
        denoise, by name or number from 0, "GFP,2"; the others are copied, or left out with others="drop". tile_px,
        halo_px: side of the windows and context around them, chosen by memory by default. advance: called with the
        share of the work just done; shares add up to 1.

        Raises ImageError for an image that does not fit the model, ConfigError for a model without direct denoiser.
        """
        check_uncertainty(uncertainty, direct, n_samples)
        opened = from_array(image, axes)
        groups = groups_of(opened, self.network.n_channels, channels, others == "drop", self.channel_names)
        groups = self.as_made(groups)
        estimator = self.estimator(self.default_samples if n_samples is None else n_samples, direct, seed, tolerance)
        n_dims, n_items = self.network.n_dims, self.n_items(opened)
        parts = [
            self.item(opened, i, estimator, groups, tile_px, halo_px, lambda share: advance(share / n_items))
            for i in range(n_items)
        ]
        mean = opened.labelled(opened.assemble([p.mean for p in parts], n_dims))
        std = opened.labelled(opened.assemble([p.std for p in parts], n_dims)) if uncertainty else None
        if tolerance and hasattr(mean, "attrs"):
            mean.attrs = {**mean.attrs, "n_samples": float(np.mean([p.n_samples for p in parts]))}
        return Denoised(mean, std)

    def item(
        self,
        image: ImageFile,
        index: int,
        estimator: Compute,
        groups: Sequence[Group] | None = None,
        tile_px: int | None = None,
        halo_px: int | None = None,
        advance: Advance = lambda share: None,
    ) -> Piece:
        """One item of an image, by windows. Raises ImageError for pixels that are not finite."""
        groups = groups or groups_of(image, self.network.n_channels, None, False)
        n_dims = self.network.n_dims
        size = image.item_shape(n_dims)[1:]
        cuts = self.cuts(size, tile_px, halo_px)
        share = 1.0 / (len(groups) * len(cuts))
        both = np.zeros((2, sum(len(g.target) for g in groups), *size), np.float32)
        spent: list[float] = []
        for group in groups:
            for bounds in cuts:
                x = read_window(image, index, n_dims, bounds, group)
                place = (list(group.target), *inner_of(bounds))
                if group.copied:
                    both[0][place] = x
                    advance(share)
                    continue
                done = self.piece(x, bounds, estimator, lambda part: advance(part * share), halo_px)
                both[0][place], both[1][place] = done.mean, done.std
                spent.append(done.n_samples)
        return Piece(both[0], both[1], float(np.mean(spent)))

    def samples(
        self, image: NDArray[Any] | xarray.DataArray, n_samples: int, *, axes: str | None = None, seed: int = 0
    ) -> Iterator[Any]:
        """Single posterior samples, one after another, each in the form of the input, float32.

        Raises ConfigError for a package that is not ours.
        """
        self.estimator(n_samples, seed=seed)
        opened = from_array(image, axes)
        n_items, n_dims = self.n_items(opened), self.network.n_dims
        for k in range(n_samples):

            def one(x: Tensor, origin: list[int], advance: Advance, k: int = k) -> Estimate:
                with torch.inference_mode():
                    s: Tensor = self.engine.sample(x, self.engine.bottom_up(x), seed, k, origin)
                return Estimate(s, torch.zeros_like(s), 1)

            parts = [self.item(opened, i, one).mean for i in range(n_items)]
            yield opened.labelled(opened.assemble(parts, n_dims))

    def estimator(self, n_samples: int, direct: bool = False, seed: int = 0, tolerance: float = 0.0) -> Estimator:
        """How pieces are denoised. Raises ConfigError for a model without direct denoiser."""
        if direct and not self.network.direct:
            raise ConfigError(
                "This model has no direct denoiser: leave out --direct, or make one with `cosdd-zoo distill`."
            )
        return Estimator(self.engine, n_samples, direct, seed, tolerance)

    def piece(
        self,
        x: Array,
        bounds: Bounds,
        compute: Compute,
        advance: Advance = lambda share: None,
        halo_px: int | None = None,
    ) -> Piece:
        """One window: its outer pixels x [C, *] -> what is found for the inner ones; divided where memory does not
        suffice. Raises ImageError where no division helps.
        """
        size = x.shape[1:]
        if self.most_px is None or np.prod(size) <= self.most_px:
            done = 0.0

            def counted(share: float) -> None:
                nonlocal done
                done += share
                advance(share)

            try:
                given = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None].to(self.device)
                y = compute(given, [b[2] for b in bounds], counted)
                mean, std = (cut(t[0].cpu().numpy(), bounds) for t in (y.mean, y.std))
                return Piece(mean, std, y.n_samples)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.most_px = int(np.prod(size)) - 1
                give_back(self.device)
                advance(-done)
        self.has_divided = True
        stride = image_order(self.network, self.network.total_stride())
        halves = halves_of(bounds, stride, halos(self.network, halo_px))
        if not halves:
            raise ImageError(
                f"The memory does not suffice even for pieces of {' x '.join(map(str, size))} px: close other "
                "programs, give a smaller --halo-px, or use --direct."
            )
        found = [
            self.piece(
                x[(slice(None), *within(half, bounds))], half, compute, lambda share: advance(share / 2), halo_px
            )
            for half in halves
        ]
        axis = next(a for a in range(len(bounds)) if halves[0][a][:2] != bounds[a][:2]) + 1
        mean, std = (np.concatenate(parts, axis) for parts in zip(*(f[:2] for f in found), strict=True))
        return Piece(mean, std, max(f.n_samples for f in found))

    def pieces(
        self,
        several: Sequence[Array],
        bounds: Bounds,
        compute: Compute,
        advance: Advance = lambda share: None,
        halo_px: int | None = None,
    ) -> list[Piece]:
        """As `piece`, of the same window of several items at once: on a GPU a small one leaves most of it idle."""
        if len(several) > 1:
            try:
                given = torch.from_numpy(np.stack(several).astype(np.float32)).to(self.device)
                y = compute(given, [b[2] for b in bounds], advance)
                return [
                    Piece(cut(mean, bounds), cut(std, bounds), y.n_samples)
                    for mean, std in zip(y.mean.cpu().numpy(), y.std.cpu().numpy(), strict=True)
                ]
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.items_at_once = 1
                give_back(self.device)
        share = 1.0 / len(several)
        return [self.piece(x, bounds, compute, lambda part: advance(part * share), halo_px) for x in several]

    def n_at_once(self, size: Sequence[int]) -> int:
        """How many items of a size, in px along *, are denoised together."""
        if self.items_at_once is None:
            free = map_bytes(self.device) // (4 * self.network.n_features) if self.device.type == "cuda" else 0
            return max(1, free // int(np.prod(size)))
        return self.items_at_once

    def cuts(self, size: Sequence[int], tile_px: int | None, halo_px: int | None, chunks: Sequence[int] = ()) -> Cuts:
        """The windows of an item of this size."""
        return Cuts(size, *self.windows(list(size), tile_px, halo_px, chunks))

    def windows(
        self, size: list[int], tile_px: int | None, halo_px: int | None, chunks: Sequence[int] = ()
    ) -> tuple[list[int], list[int]]:
        """Inner sizes and halos along the image's axes, in px, on the grid of the model.

        chunks: sides of the pieces in which the image is stored; windows are of whole ones where these are on the grid.
        """
        stride = image_order(self.network, self.network.total_stride())
        halo = halos(self.network, halo_px)
        side = tile_px or self.tile_px(halo_px)
        inner = [round_up(side, s) for s in stride]
        for axis, chunk in enumerate(chunks):
            if chunk % stride[axis] == 0 and chunk < inner[axis]:
                inner[axis] = inner[axis] // chunk * chunk
        return inner, halo

    def tile_px(self, halo_px: int | None = None) -> int:
        """The side of windows that memory suffices for now."""
        halo = halos(self.network, halo_px)
        pixels = map_bytes(self.device) / (4 * self.network.n_features)
        side = int(pixels ** (1 / self.network.n_dims))
        # at least as much image as halo, or most of the work would be thrown away
        return max(side - 2 * max(halo), 2 * max(halo), 64)

    def n_items(self, image: ImageFile) -> int:
        """How many items the image holds for this model. Raises ImageError when it does not fit."""
        return image.n_items(self.network.n_dims)


def check_uncertainty(uncertainty: bool, direct: bool, n_samples: int | None) -> None:
    """Raises ConfigError where a standard deviation is asked for that nothing can give."""
    if uncertainty and (direct or n_samples in (0, 1)):
        what = "The direct denoiser predicts" if direct else f"{n_samples} samples have"
        raise ConfigError(f"{what} no standard deviation: use two samples or more with --uncertainty.")
