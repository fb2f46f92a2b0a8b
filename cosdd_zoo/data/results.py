"""Where a result goes, and in what format: {stem}_denoised beside the others, as deep as its input lay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from cosdd_zoo.data.canvas import Canvas, Form, Format
from cosdd_zoo.data.finding import TIFF_SUFFIXES, Source
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.ome_zarr import is_store
from cosdd_zoo.data.writing import tiff_canvas
from cosdd_zoo.data.zarr_writing import zarr_canvas

_DOUBLE = (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf8", ".ome.tf2")


def result_path(source: Source, folder: Path, format: Format = "same", word: str = "_denoised") -> Path:
    """The place of a result below a folder. An image of a plate, or of several series, stays in a store of its own if
    the result is OME-Zarr; else its place in the store becomes a part of its name.
    """
    name = source.holder.name
    if is_a_store(source.holder):
        stem, ends = re.sub(r"(\.ome)?\.zarr$", "", name, flags=re.IGNORECASE), ".ome.zarr"
        ends = ends if format == "same" else _suffix(ends, format)
    else:
        stem, suffix = split_name(name)
        ends = _suffix(suffix, format)
    within = source.path.relative_to(source.holder)
    if within.parts and not ends.endswith(".zarr"):
        stem = "_".join([stem, *within.parts])
        within = Path()
    return folder / source.folder / f"{stem}{word}{ends}" / within


def is_a_store(path: Path) -> bool:
    return path.name.lower().endswith(".zarr") or is_store(path)


def split_name(name: str) -> tuple[str, str]:
    """Stem and ending, which may have two parts: `a.ome.tif` is `a` and `.ome.tif`."""
    ending = next((d for d in _DOUBLE if name.lower().endswith(d)), Path(name).suffix)
    return name[: len(name) - len(ending)], name[len(name) - len(ending) :]


def _suffix(own: str, format: Format) -> str:
    if format != "same":
        return {"tiff": ".tif", "ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}[format]
    if own.lower().endswith(TIFF_SUFFIXES):
        return own
    if own.lower() in (".npy", ".png"):
        return ".tif"
    return ".ome.tif"


def canvas(
    path: Path, like: ImageFile, n_dims: int, dtype: DTypeLike, form: Form, inner: Sequence[int], **how: Any
) -> AbstractContextManager[Canvas]:
    """A canvas in the format that is asked for; as `writing.tiff_canvas` and `zarr_writing.zarr_canvas`."""
    if form.format == "ome-zarr" or (form.format == "same" and like.kind == "ome-zarr"):
        return zarr_canvas(path, like, n_dims, dtype, form, inner, **how)
    return tiff_canvas(path, like, n_dims, dtype, form, **how)


def finish_stores(folder: Path, sources: Sequence[tuple[Source, Path]]) -> None:
    """The words of a plate, or of a collection of series, for the store of its results, once images are in it.

    sources: images that are done, with their results.
    """
    from cosdd_zoo.data.plates import describe

    stores: dict[Path, tuple[Path, list[Path]]] = {}
    for source, path in sources:
        within = source.path.relative_to(source.holder)
        if within.parts and is_store(path):
            store = path.parents[len(within.parts) - 1]
            stores.setdefault(store, (source.holder, []))[1].append(within)
    for store, (holder, images) in stores.items():
        describe(store, holder, images)
