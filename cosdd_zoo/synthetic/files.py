"""What a noise model draws, as files: beside the names of their images, complete or not there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.axes import spatial_axes
from cosdd_zoo.data.canvas import Form, Format
from cosdd_zoo.data.finding import Source
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.results import canvas, result_path
from cosdd_zoo.data.writing import write_tiff
from cosdd_zoo.errors import ConfigError, OutputError
from cosdd_zoo.inference.estimate import Advance
from cosdd_zoo.noise.lines import error_of_mean
from cosdd_zoo.synthetic.noise_model import Kind, NoiseModel, Strip

OFF, FEWEST = 0.1, 500
"""Bias of the noise, in its standard deviations, that is worth a word; pixels of a class that tell one."""
N_CLASSES = 6


def bias_said(strip: Strip) -> str:
    """A sentence where the noise on a clean image is off zero at some grey value, beyond chance; else nothing.

    So it is where the model has seen nothing like it, such as bright areas without structure.
    """
    for noisy, signal in zip(strip.noisy.astype(np.float64), strip.signal, strict=True):
        e = (noisy - signal).reshape(-1, noisy.shape[-1])
        inner = (signal > noisy.min() + e.std()).reshape(e.shape)  # the dark end is clipped
        line, level = np.broadcast_to(np.arange(len(e))[:, None], e.shape), signal.reshape(e.shape)
        edges = np.unique(np.quantile(level, np.linspace(0, 1, N_CLASSES + 1)))
        for low, high in itertools.pairwise(edges if len(edges) > 1 else [*edges, np.inf]):
            chosen = (level >= low) & (level <= high) & inner
            if chosen.sum() < FEWEST:
                continue
            mean, std = float(e[chosen].mean()), float(e[chosen].std())
            columns = np.broadcast_to(np.arange(e.shape[1]), e.shape)
            error = max(error_of_mean(e[chosen], along[chosen]) for along in (line, columns))
            if abs(mean) - 3 * error > OFF * std:
                return (
                    f"around grey value {float(level[chosen].mean()):.4g} the copies are {abs(mean):.3g} too "
                    f"{'bright' if mean > 0 else 'dark'} on average: the model has seen nothing like it"
                )
    return ""


class Made(NamedTuple):
    noisy: Path
    signal: Path | None
    note: str


def paths_of(source: Source, folder: Path, kind: Kind, copy: int, n_copies: int, format: Format) -> list[Path]:
    """NAME_noisy, or of reconstructions NAME_redrawn and NAME_signal; numbered where there are several."""
    number = f"_{copy + 1:0{len(str(n_copies))}}" if n_copies > 1 else ""
    words = ["_redrawn", "_signal"] if kind == "reconstructions" else ["_noisy"]
    return [result_path(source, folder, format, word + number) for word in words]


def check_places(sources: Sequence[Source], folder: Path, kind: Kind, n_copies: int, format: Format) -> list[Path]:
    """All results' paths. Raises ConfigError where two images would have one."""
    taken: dict[Path, Source] = {}
    for source in sources:
        for copy in range(n_copies):
            for path in paths_of(source, folder, kind, copy, n_copies, format):
                other = taken.setdefault(path, source)
                if other is not source:
                    raise ConfigError(
                        f"The results of {other.path} and {source.path} would both be {path}: draw one of them into "
                        "another folder, or give the folder above both with --recursive."
                    )
    return list(taken)


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
    name = str(source.folder / source.path.relative_to(source.holder.parent))
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
                for strip in model.item(image, index, kind, seed, copy, exposure, name):
                    start = [b[0] for b in strip.bounds]
                    for one, block in zip(canvases, (strip.noisy, strip.signal), strict=False):
                        one.write(number, index, start, block, strip.group.target)
                    if kind == "copies" and not note and number == 0 and not strip.group.copied:
                        note = bias_said(strip)
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
    numbers = [f"_{copy + 1:0{len(str(n_copies))}}" if n_copies > 1 else "" for copy in range(n_copies)]
    all_paths = [[folder / f"prior_{word}{number}.tif" for word in ("noisy", "signal")] for number in numbers]
    if not overwrite:
        check_free([path for paths in all_paths for path in paths])
    for copy, paths in enumerate(all_paths):
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
