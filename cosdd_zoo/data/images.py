"""Images as the rest of the package sees them: items [C, *spatial], lazily, from a file of any kind or an array.

for path in find_images(["stacks/", "more/*.tif"]):
    image = open_image(path)                # reads the header only
    plane = image.read_item(0, n_dims=2)    # [C, Y, X] in the file's own dtype
"""

import functools
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cosdd_zoo.data.axes import Array, Layout, check_axes, guess_axes, spatial_axes, translate, unsaid
from cosdd_zoo.data.dims import axes_of_dims
from cosdd_zoo.data.finding import SUFFIXES, find_images, kinds
from cosdd_zoo.data.metadata import Metadata, nothing_known
from cosdd_zoo.data.ome_zarr import is_store, read_store
from cosdd_zoo.data.pixels import Mapped, Pixels, Png, stamp
from cosdd_zoo.data.readers import metadata_of, read_with
from cosdd_zoo.data.tiff import Kind, read_header
from cosdd_zoo.data.tiff_metadata import in_shared_words
from cosdd_zoo.errors import ImageError

if TYPE_CHECKING:
    import xarray

AxesSource = Literal["given", "metadata", "guess"]


@dataclass(frozen=True)
class ImageFile:
    """An image and how to read it; holds no open file, so it may go to worker processes."""

    name: str
    path: Path | None
    """None for an array in memory."""
    layout: Layout
    dtype: np.dtype[Any]
    """In native byte order."""
    pixels: Pixels
    axes_source: AxesSource
    """Who named the axes: worth a line to the user where it was a guess."""
    kind: Kind = "plain"
    file_axes: str = ""
    """The axes in tifffile's letters, as the file itself has them: a result is written with these."""
    described: Callable[[], Metadata] = nothing_known
    """Pixel sizes, time step and channels, in words that all formats share; reads the file."""
    chunks: tuple[int, ...] = ()
    """Along each axis of `shape`; empty where pixels do not lie in chunks."""
    version: str = ""
    """Of OME-Zarr."""

    @property
    def axes(self) -> str:
        """Letters of STCZYX, one for each axis of `shape`."""
        return self.layout.axes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layout.shape

    @property
    def n_channels(self) -> int:
        return self.layout.n_channels

    def n_items(self, n_dims: int) -> int:
        return self._fitting(n_dims).n_items(n_dims)

    def item_shape(self, n_dims: int) -> tuple[int, ...]:
        """(C, *spatial). Raises ImageError if the image lacks one of the `n_dims` spatial axes."""
        return self._fitting(n_dims).item_shape(n_dims)

    def read_item(self, index: int, n_dims: int) -> Array:
        """[C, *spatial] in the file's dtype; a copy."""
        layout = self._fitting(n_dims)
        return layout.to_item(self.pixels.read(layout.region(index, n_dims)), n_dims)

    def read_crop(
        self, index: int, n_dims: int, start: Sequence[int], size: Sequence[int], channels: slice | None = None
    ) -> Array:
        """[C, *size], from `start` [spatial] of item `index`; no more is read than the file's own pieces ask for.

        channels: a range of them, all by default.
        """
        layout = self._fitting(n_dims)
        return layout.to_item(self.pixels.read(layout.region(index, n_dims, start, size, channels)), n_dims)

    def to_xarray(self) -> "xarray.DataArray":
        """The image as an xarray.DataArray with named axes, lazy (dask); attrs hold pixel sizes, unit and time step."""
        from cosdd_zoo.data.lazy import labelled_lazily

        return labelled_lazily(self.layout, self.pixels, self.dtype, self.chunks, self.described())

    def assemble(self, items: Iterable[Array], n_dims: int) -> Array:
        """Items [C', *spatial], in order, as one array with the image's axes and the items' dtype.

        An image without C gets one before Y if there is more than one channel. Raises ValueError for too few items.
        """
        layout, whole = self._fitting(n_dims), np.empty(0)
        n_items = layout.n_items(n_dims)
        for index, item in zip(range(n_items), items, strict=False):
            if index == 0:
                layout = layout.with_channels(item.shape[0])
                whole = np.empty(layout.shape, item.dtype)
            whole[layout.region(index, n_dims)] = layout.to_block(item, n_dims)
            n_items -= 1
        if n_items:
            raise ValueError(f"{n_items} items are missing for {self.name}")
        return whole

    def _fitting(self, n_dims: int) -> Layout:
        missing = [a for a in spatial_axes(n_dims) if a not in self.axes]
        if not missing:
            return self.layout
        # the axis that would be z, had the user said so
        candidates = [a for a in self.axes if a in "ST"]
        renamed = self.axes.replace(candidates[-1], "Z") if candidates and missing == ["Z"] else ""
        raise ImageError(
            f"{self.name} has axes {self.axes} and shape {self.shape}, but a {n_dims}-D model needs "
            f"{spatial_axes(n_dims)}. "
            + (f"If {candidates[-1]} is depth, use --axes {renamed}; if not, a" if renamed else "A")
            + f" model of {n_dims - len(missing)} dimensions fits."
        )


def open_image(path: str | Path, axes: str | None = None) -> ImageFile:
    """The image in a TIFF, NPY or PNG file; reads its header only.

    axes: letters of STCZYX, one for each axis; by default what the file says, or what its shape suggests.
    Raises ImageError for a file that cannot be denoised, AxesError for axes that do not fit or nobody has named.
    """
    path = Path(path)
    if not is_store(path) and not (path.is_file() and path.name.lower().endswith(kinds())):
        path = find_images([path])[0]  # says what is wrong with the path, if anything
    if is_store(path):
        return _open_store(path, axes)
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path.name} is empty (0 bytes). Copy it again from where it was acquired.")
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            return _open_by_reader(path, axes)
        return (_open_npy if suffix == ".npy" else _open_png if suffix == ".png" else _open_tiff)(path, axes)
    except OSError as exc:
        raise ImageError(f"{path.name} cannot be read: {exc.strerror or exc}. Check its permissions.") from exc


def _open_tiff(path: Path, axes: str | None) -> ImageFile:
    header = read_header(path)
    _check_pixels(path.name, header.shape, header.dtype)
    if axes and len(axes) > len(header.shape):  # named as the format has them, with those of length 1
        short = {a for a, n in zip(header.full_axes, header.full_shape, strict=True) if n == 1}
        axes = "".join(a for a in axes if a.upper() not in short) or axes
    source: AxesSource = "given" if axes else "guess" if header.kind == "plain" else "metadata"
    own = translate(header.axes)
    # tifffile long took any 3 or 4 planes for planes of colour when it wrote, so such a file says nothing
    colour_by_default = header.kind == "plain" and "S" in header.axes[:-1]
    if not axes and (len(set(own)) < len(own) or "X" not in own or colour_by_default):
        raise unsaid(path.name, header.shape)
    layout = Layout(check_axes(path.name, header.shape, axes) if axes else own, header.shape)
    described = functools.partial(in_shared_words, path, header.kind, layout.n_channels)
    return ImageFile(path.name, path, layout, header.dtype, header.pixels, source, header.kind, header.axes, described)


def _open_store(path: Path, axes: str | None) -> ImageFile:
    header = read_store(path, axes)
    _check_pixels(path.name, header.shape, header.dtype)
    named = header.axes or guess_axes(path.name, header.shape)
    layout = Layout(named, header.shape)
    source: AxesSource = "given" if axes else "metadata" if header.version else "guess"
    described = functools.partial(_same, header.metadata)
    whole = [p for p in (path, *path.parents) if p.name.lower().endswith(".zarr")]
    name = str(path.relative_to(whole[-1].parent)) if whole else path.name
    return ImageFile(
        name, path, layout, header.pixels.dtype, header.pixels, source, "ome-zarr", _written_axes(layout),
        described, header.chunks, header.version or "0.5",
    )  # fmt: skip


def _open_by_reader(path: Path, axes: str | None) -> ImageFile:
    found, pixels = read_with(path)
    shape = tuple(map(int, found.shape))
    _check_pixels(path.name, shape, found.dtype)
    named = check_axes(path.name, shape, axes) if axes else axes_of_dims(tuple(map(str, found.dims)), shape, path.name)
    layout = Layout(named, shape)
    described = functools.partial(_same, metadata_of(found, named))
    dtype = found.dtype.newbyteorder("=")
    return ImageFile(
        path.name,
        path,
        layout,
        dtype,
        pixels,
        "given" if axes else "metadata",
        "other",
        _written_axes(layout),
        described,
    )


def _same(metadata: Metadata) -> Metadata:
    return metadata


def _open_npy(path: Path, axes: str | None) -> ImageFile:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as exc:  # its header is Python, and fails in as many ways
        raise ImageError(
            f"{path.name} cannot be read as a NumPy array ({exc}). Save it again with numpy.save, as numbers."
        ) from exc
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    pixels = Mapped(path, int(getattr(array, "offset", 0)), array.shape, array.dtype, fortran)
    return unlabelled(path.name, path, pixels, array, axes)


def _open_png(path: Path, axes: str | None) -> ImageFile:
    with path.open("rb") as file:
        head = file.read(26)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26:
        raise ImageError(f"{path.name} is not a PNG file. Export it again as PNG or TIFF.")
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    coloured = colour in (2, 3, 6)  # RGB, palette, RGBA
    shape = (height, width, 3) if coloured else (height, width)
    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
    _check_pixels(path.name, shape, dtype)
    layout = Layout(check_axes(path.name, shape, axes) if axes else "YXC"[: len(shape)], shape)
    pixels = Png(path, stamp(path), shape)
    source: AxesSource = "given" if axes else "metadata"
    return ImageFile(path.name, path, layout, dtype, pixels, source, "plain", _written_axes(layout))


def unlabelled(name: str, path: Path | None, pixels: Pixels, array: Array, axes: str | None) -> ImageFile:
    shape = tuple(map(int, array.shape))
    _check_pixels(name, shape, array.dtype)
    layout = Layout(check_axes(name, shape, axes) if axes else guess_axes(name, shape), shape)
    source: AxesSource = "given" if axes else "guess"
    return ImageFile(name, path, layout, array.dtype.newbyteorder("="), pixels, source, "plain", _written_axes(layout))


def _written_axes(layout: Layout) -> str:
    """In tifffile's letters, where S is a colour sample, which comes last, and Q any sequence."""
    named = layout.axes.replace("S", "Q")
    return f"{named[:-1]}S" if named.endswith("C") else named


def _check_pixels(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not shape or not math.prod(shape):
        raise ImageError(f"{name} has shape {shape}, so it holds no pixels. Expected at least one line of them.")
    if dtype.kind not in "uif":
        kind = {"c": "complex numbers", "b": "true or false", "O": "Python objects"}.get(dtype.kind, str(dtype))
        raise ImageError(
            f"{name} holds {kind}. Expected integers or floating-point numbers: the intensities as they were acquired."
        )


def check_finite(item: Array, name: str) -> None:
    """Raises ImageError if any pixel is NaN or infinite; says which image and how many."""
    if item.dtype.kind != "f" or np.isfinite(item).all():
        return
    n_nan, n_infinite = int(np.isnan(item).sum()), int(np.isinf(item).sum())
    raise ImageError(
        f"{name} has {n_nan} NaN and {n_infinite} infinite pixels of {item.size}. "
        "Crop them away, or replace them by a value near their neighbours'."
    )
