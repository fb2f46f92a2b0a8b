"""Results as OME-Zarr 0.4 or 0.5: chunk by chunk, with a pyramid of coarser levels, in a store that appears when whole.

Blocks that meet only at the edges of chunks may be written by several processes at once.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cosdd_zoo.data.axes import Array, Layout, spatial_axes
from cosdd_zoo.data.beside import result_beside
from cosdd_zoo.data.canvas import Canvas, Finished, Form, Region, Turned, turned
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.journal import Journal
from cosdd_zoo.data.metadata import Channel, Metadata
from cosdd_zoo.data.ome_zarr import read_store
from cosdd_zoo.data.tiff_plan import shared_words
from cosdd_zoo.data.writing import can_be_gone_on_with, check_whole, finished, journal_of, key_of
from cosdd_zoo.errors import OutputError
from cosdd_zoo.version import __version__

CHUNK_PX = 512
SMALLEST_PX = 256
"""No coarser level is made of one whose image is no larger than this."""
_KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


class ZarrPlan(NamedTuple):
    version: str
    turned: Turned
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    form: Form


def zarr_plan(like: ImageFile, n_dims: int, dtype: np.dtype[Any], form: Form, inner: Sequence[int]) -> ZarrPlan:
    """How a result lies in its store.

    inner: sides of the windows that it is written by, in px along *; a chunk is a whole part of one.
    """
    source = like.layout.with_channels(form.n_channels or like.n_channels)
    axes = turned(source, "TCZYX", like.name)
    side = dict(zip(spatial_axes(n_dims), inner, strict=True))
    asked = dict(zip(like.axes, like.chunks, strict=False))
    chunks = tuple(
        min(n, _chunk(side[a], asked.get(a, CHUNK_PX), n)) if a in side else 1
        for a, n in zip(axes.layout.axes, axes.layout.shape, strict=True)
    )
    return ZarrPlan("0.4" if like.version.startswith("0.4") else "0.5", axes, chunks, dtype, form)


def _chunk(side: int, wanted: int, length: int) -> int:
    """The largest whole part of a window's side that is not above what is wanted; anything for a single window."""
    if side >= length or side % wanted == 0:
        return max(1, min(wanted, length))
    return max(n for n in range(1, side + 1) if side % n == 0 and n <= max(wanted, 64))


class ZarrCanvas(Canvas):
    """The finest level of a store."""

    def __init__(self, part: Path, plan: ZarrPlan, n_dims: int, journal: Journal) -> None:
        import zarr

        super().__init__(plan.turned, plan.dtype, n_dims, journal)
        self.part, self.plan = part, plan
        self.array: Any = zarr.open_array(str(part / "0"), mode="r+")
        self.attributes: dict[str, Any] = {}
        """Facts of the run, kept with the image."""

    def note(self, facts: dict[str, Any]) -> None:
        self.attributes |= facts

    def _put(self, region: Region, data: Array, crc: int) -> int:
        self.array[region] = data
        return zlib.crc32(data.tobytes(), crc)

    def _crc(self, region: Region, crc: int) -> int:
        try:
            return zlib.crc32(np.asarray(self.array[region]).tobytes(), crc)
        except Exception:  # a torn chunk fails in its codec
            return -1


@contextmanager
def zarr_canvas(
    path: Path,
    like: ImageFile,
    n_dims: int,
    dtype: DTypeLike,
    form: Form,
    inner: Sequence[int],
    *,
    work: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[Canvas]:
    """As `writing.tiff_canvas`, for a store. inner: sides of the windows that it will be written by, in px along *."""
    plan = zarr_plan(like, n_dims, np.dtype(dtype), form, inner)
    key = key_of(work, like, plan)
    if resume and (done := finished(path, key)) and done.n_pixels == math.prod(plan.turned.layout.shape):
        yield Finished(plan.turned, plan.dtype, n_dims, done)
        return
    with result_beside(path, overwrite, keep=can_be_gone_on_with if work is not None else None) as result:
        part = result.part
        journal = Journal(journal_of(path, work), key, resume and (part / "0").exists())
        try:
            if not journal.resume:
                _lay_out(part, plan)
            canvas = ZarrCanvas(part, plan, n_dims, journal)
            journal.keep(canvas.holds)
            yield canvas
            check_whole(canvas, path)
            said = shared_words(like, form, plan.turned.layout.n_channels)
            _finish(part, plan, said, path.name.split(".")[0], canvas.attributes)
            _verify(part, plan, path)
        except BaseException as error:
            if work is None or not can_be_gone_on_with(error):
                journal.remove()
            raise


def _lay_out(part: Path, plan: ZarrPlan) -> None:
    """An empty store, without a word yet that it is an image."""
    import shutil

    import zarr

    if part.exists():
        shutil.rmtree(part)
    zarr.create_group(store=str(part), zarr_format=2 if plan.version == "0.4" else 3)
    _level(part, 0, plan, plan.turned.layout.shape)


def _level(part: Path, number: int, plan: ZarrPlan, shape: tuple[int, ...]) -> Any:
    import zarr

    chunks = tuple(min(c, n) for c, n in zip(plan.chunks, shape, strict=True))
    how: dict[str, Any] = {"compressors": _codec(plan)}
    if plan.version == "0.4":
        how |= {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    else:
        how |= {"zarr_format": 3, "dimension_names": tuple(plan.turned.layout.axes.lower())}
    # chunks of zeros are stored like all others: what is not there was not written
    how["config"] = {"write_empty_chunks": True}
    return zarr.create_array(
        store=str(part / str(number)), shape=shape, chunks=chunks, dtype=plan.dtype, fill_value=0, overwrite=True, **how
    )


def _codec(plan: ZarrPlan) -> Any:
    import numcodecs
    import zarr.codecs

    name = plan.form.compression
    if name == "none":
        return None
    if plan.version == "0.4":
        blosc = numcodecs.Blosc(cname="zstd", clevel=3, shuffle=numcodecs.Blosc.SHUFFLE)
        return {"zlib": numcodecs.Zlib(5), "zstd": numcodecs.Zstd(3)}.get(name, blosc)
    blosc = zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=plan.dtype.itemsize)
    return {"zlib": zarr.codecs.GzipCodec(level=5), "zstd": zarr.codecs.ZstdCodec(level=3)}.get(name, blosc)


def _finish(part: Path, plan: ZarrPlan, said: Metadata, name: str, attributes: dict[str, Any]) -> None:
    """The coarser levels, each the mean of 2 x 2 pixels of the one before, and the words that make it an image."""
    import zarr

    layout, steps = plan.turned.layout, [[1.0] * len(plan.turned.layout.axes)]
    fine: Any = zarr.open_array(str(part / "0"), mode="r")
    while max(Layout(layout.axes, fine.shape).length(a) for a in "YX") > SMALLEST_PX:
        halved = [a in "YX" and n > 1 for a, n in zip(layout.axes, fine.shape, strict=True)]
        shape = tuple(-(-n // 2) if h else n for n, h in zip(fine.shape, halved, strict=True))
        coarse = _level(part, len(steps), plan, shape)
        for region in _regions(shape, coarse.chunks):
            finer = tuple(
                slice(2 * s.start, min(2 * s.stop, n)) if h else s
                for s, n, h in zip(region, fine.shape, halved, strict=True)
            )
            coarse[region] = _halved(np.asarray(fine[finer]), halved)
        steps.append([2 * s if h else s for s, h in zip(steps[-1], halved, strict=True)])
        fine = coarse
    words = _words(plan, said, said.name or name, steps)
    with_version = words if plan.version == "0.4" else {"ome": {"version": "0.5", **words}}
    group = zarr.open_group(str(part), mode="r+")
    group.attrs.update({**with_version, "cosdd_zoo": {"version": __version__, **attributes}})


def _regions(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[Region]:
    for at in np.ndindex(*(-(-n // c) for n, c in zip(shape, chunks, strict=True))):
        yield tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(at, chunks, shape, strict=True))


def _halved(block: Array, halved: Sequence[bool]) -> Array:
    """Means of two along some axes; the last pixel of an odd number stands for itself."""
    mean = block.astype(np.float64)
    for axis, asked in enumerate(halved):
        if asked:
            if mean.shape[axis] % 2:
                mean = np.concatenate([mean, mean.take([-1], axis)], axis)
            mean = (mean.take(range(0, mean.shape[axis], 2), axis) + mean.take(range(1, mean.shape[axis], 2), axis)) / 2
    return (np.rint(mean) if block.dtype.kind in "ui" else mean).astype(block.dtype)


def _words(plan: ZarrPlan, said: Metadata, name: str, steps: Sequence[Sequence[float]]) -> dict[str, Any]:
    axes = plan.turned.layout.axes
    named = [
        {"name": a.lower(), "type": _KINDS[a], **({"unit": said.units[a]} if said.units.get(a) else {})} for a in axes
    ]
    sizes = [said.sizes.get(a, 1.0) for a in axes]
    levels = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [s * n for s, n in zip(step, sizes, strict=True)]},
            ],
        }
        for level, step in enumerate(steps)
    ]
    scales: dict[str, Any] = {"name": name, "axes": named, "datasets": levels, "type": "mean of 2 x 2"}
    if plan.version == "0.4":
        scales["version"] = "0.4"
    words: dict[str, Any] = {"multiscales": [scales]}
    if said.channels:
        words["omero"] = {"channels": [_channel(c, plan.dtype) for c in said.channels]}
        if plan.version == "0.4":
            words["omero"]["version"] = "0.4"
    return words


def _channel(channel: Channel, dtype: np.dtype[Any]) -> dict[str, Any]:
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "ui" else (0, 1)
    start, end = channel.window or (low, high)
    window = {"min": min(low, start), "max": max(high, end), "start": start, "end": end}
    found = {"label": channel.name, "color": channel.color or "FFFFFF", "window": window, "active": True}
    return {k: v for k, v in found.items() if v != ""}


def _verify(part: Path, plan: ZarrPlan, path: Path) -> None:
    found = read_store(part, None)
    layout = plan.turned.layout
    if (found.axes, found.shape, found.dtype) != (layout.axes, layout.shape, plan.dtype):
        raise OutputError(
            f"{path.name} reads back as {found.axes} {found.shape} {found.dtype} instead of {layout.axes} "
            f"{layout.shape} {plan.dtype}, so it was not kept. Check the disk, and report it if it is sound."
        )
