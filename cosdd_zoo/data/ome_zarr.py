"""OME-Zarr, versions 0.4 (Zarr 2) and 0.5 (Zarr 3), and older ones: images, plates, and collections of series.

A store is a folder. An image is a group with `multiscales`, whose first level is read. A plate, and what bioformats2raw
makes, hold many images: each is a folder of its own within the store.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cosdd_zoo.data.axes import Array, check_axes
from cosdd_zoo.data.metadata import Channel, Metadata, nothing_known
from cosdd_zoo.data.pixels import DecodedCache, Region, native, stamp
from cosdd_zoo.errors import ImageError

_AXES = "tczyx"
_CHUNKS = DecodedCache(96 * 2**20)
"""Two rows of chunks of a wide image, which windows that follow one another share, in each process."""
_HEADERS = ("zarr.json", ".zgroup", ".zarray")


class ZarrHeader(NamedTuple):
    axes: str  # letters of ours
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    version: str  # of OME-Zarr; "" for an array without a word of it
    pixels: Chunked
    metadata: Metadata


@dataclass(frozen=True)
class Chunked:
    """Pixels of a Zarr array; a chunk is decoded when a region needs it, and the last ones are kept."""

    path: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    stamp: tuple[int, int]

    def read(self, region: Region) -> Array:
        out = np.empty([s.stop - s.start for s in region], self.dtype)
        first = [s.start // c for s, c in zip(region, self.chunks, strict=True)]
        counts = [-(-s.stop // c) - f for s, c, f in zip(region, self.chunks, first, strict=True)]
        for at in np.ndindex(*counts):
            chunk = [i + f for i, f in zip(at, first, strict=True)]
            starts = [i * c for i, c in zip(chunk, self.chunks, strict=True)]
            pixels = self._chunk(tuple(chunk), starts)
            low = [max(s.start, b) for s, b in zip(region, starts, strict=True)]
            high = [min(s.stop, b + n) for s, b, n in zip(region, starts, pixels.shape, strict=True)]
            inside = tuple(slice(a - b, z - b) for a, z, b in zip(low, high, starts, strict=True))
            out[tuple(slice(a - s.start, z - s.start) for a, z, s in zip(low, high, region, strict=True))] = pixels[
                inside
            ]
        return out

    def _chunk(self, place: tuple[int, ...], starts: list[int]) -> Array:
        return _CHUNKS.get((self.path, self.stamp, place), lambda: self._decode(starts))

    def _decode(self, starts: list[int]) -> Array:
        region = tuple(slice(b, min(b + c, n)) for b, c, n in zip(starts, self.chunks, self.shape, strict=True))
        try:
            return native(np.asarray(_array(self.path, self.stamp)[region]))
        except FileNotFoundError as error:
            raise _changed(self.path) from error
        except Exception as error:  # each codec has errors of its own
            raise ImageError(
                f"The chunk of {self.path} at {tuple(starts)} cannot be decoded ({error}). The store is damaged: "
                "copy it again from where it was acquired."
            ) from error


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return path.is_dir() and any((path / name).is_file() for name in _HEADERS)


def images_within(store: Path) -> list[Path]:
    """The folders of a store's images: its own, its series', or its fields', in the order of the plate.

    Raises ImageError for a store that holds none.
    """
    found = list(_images_within(store))
    if not found:
        raise ImageError(
            f"{store.name} is a Zarr store without an image: neither multiscales nor a plate nor series. Give the "
            "folder in it that holds the image."
        )
    return found


def _images_within(store: Path) -> Iterator[Path]:
    words = words_of(store)
    if "multiscales" in words or _is_array(store):
        yield store
    elif "plate" in words:
        for well in _listed(store, words["plate"], "wells"):
            folder = store / str(well.get("path", ""))
            for image in _listed(folder, words_of(folder).get("well", {}), "images"):
                yield folder / str(image.get("path", ""))
    elif "well" in words:
        for image in _listed(store, words["well"], "images"):
            yield store / str(image.get("path", ""))
    else:
        series = words_of(store / "OME").get("series") if is_store(store / "OME") else None
        names = (
            [str(n) for n in series]
            if isinstance(series, list)
            else sorted((p.name for p in store.iterdir() if p.name.isdigit()), key=int)
        )
        yield from (store / name for name in names if "multiscales" in words_of(store / name))


def _listed(store: Path, holder: Any, key: str) -> list[dict[str, Any]]:
    found = holder.get(key, []) if isinstance(holder, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _damaged(store, f"its list of {key} is none")
    return found


def words_of(store: Path) -> dict[str, Any]:
    """What OME-Zarr says of a group: the same keys in each version. Raises ImageError where it cannot be read."""
    try:
        if (store / "zarr.json").is_file():
            attributes = json.loads((store / "zarr.json").read_text(encoding="utf-8")).get("attributes", {})
            found = attributes.get("ome", attributes)
        elif (store / ".zattrs").is_file():
            found = json.loads((store / ".zattrs").read_text(encoding="utf-8"))
        else:
            return {}
        if not isinstance(found, dict):
            raise ValueError("its attributes are no mapping")
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(store, str(error)) from error
    return found


def read_store(path: Path, axes: str | None) -> ZarrHeader:
    """The first level of an image. Raises ImageError for a store that cannot be read, AxesError for axes that do not
    fit.
    """
    words = words_of(path)
    try:
        scales = words["multiscales"][0] if "multiscales" in words else {}
        level = path / str(scales["datasets"][0]["path"]) if scales else path
        names = _axis_names(scales)
    except (KeyError, IndexError, TypeError) as error:
        raise _damaged(path, f"its multiscales lack {error}") from error
    array = _opened(level)
    shape = tuple(int(n) for n in array.shape)
    chunks = tuple(max(1, min(int(c), n)) for c, n in zip(array.chunks, shape, strict=True))
    dtype = np.dtype(array.dtype)
    pixels = Chunked(level, shape, chunks, dtype.newbyteorder("="), _stamp(level))
    if scales and not names:  # before 0.3 all were five-dimensional
        names = list(_AXES[-len(shape) :])
    if scales and len(names) != len(shape):
        raise _damaged(path, f"it names {len(names)} axes of an array of shape {shape}")
    own = "".join(n.upper() if n in _AXES else "S" for n in names)
    if axes or not scales:
        own = check_axes(path.name, shape, axes) if axes else ""
    elif len(set(own)) < len(own) or "X" not in own:
        raise _damaged(path, f"its axes are {', '.join(names)}, of which x is none or two have no meaning known")
    version = str(words.get("version") or scales.get("version") or "0.4") if scales else ""
    metadata = _metadata(words, scales, own) if scales and not axes else nothing_known()
    return ZarrHeader(own, shape, chunks, dtype, version, pixels, metadata)


def _axis_names(scales: dict[str, Any]) -> list[str]:
    return [str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in scales.get("axes", [])]


def _metadata(words: dict[str, Any], scales: dict[str, Any], axes: str) -> Metadata:
    """Lenient: what is not said as it should be counts as not said."""
    sizes: dict[str, float] = {}
    try:
        transformations = [
            *scales["datasets"][0].get("coordinateTransformations", []),
            *scales.get("coordinateTransformations", []),
        ]
        steps = [1.0] * len(axes)
        said = False
        for one in transformations:
            if one.get("type") == "scale" and len(one.get("scale", [])) == len(axes):
                steps = [a * float(b) for a, b in zip(steps, one["scale"], strict=True)]
                said = True
        sizes = {a: n for a, n in zip(axes, steps, strict=True) if said and a in "TZYX" and math.isfinite(n) and n > 0}
        named = [axis if isinstance(axis, dict) else {} for axis in scales.get("axes", [])]
        units = {a: str(axis.get("unit") or "") for a, axis in zip(axes, named, strict=False) if a in sizes}
        # a scale must be there; one of 1 without a unit says nothing
        sizes = {a: n for a, n in sizes.items() if n != 1.0 or units.get(a)}
        units = {a: unit for a, unit in units.items() if a in sizes}
    except (TypeError, ValueError, KeyError, AttributeError):
        return nothing_known()
    return Metadata(sizes, units, _channels(words), str(scales.get("name", "")))


def _channels(words: dict[str, Any]) -> tuple[Channel, ...]:
    try:
        found = []
        for one in words.get("omero", {}).get("channels", []):
            window = one.get("window", {})
            ends = (float(window["start"]), float(window["end"])) if {"start", "end"} <= set(window) else None
            found.append(Channel(str(one.get("label", "")), str(one.get("color", "")).lstrip("#"), ends))
        return tuple(found)
    except (TypeError, ValueError, AttributeError):
        return ()


def _opened(path: Path) -> Any:
    try:
        array = _array(path, _stamp(path))
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist: the store lacks its first level. Copy it again.") from error
    except Exception as error:  # what a damaged header does depends on where it is damaged
        raise _damaged(path, str(error)) from error
    return array


@functools.lru_cache(maxsize=32)
def _array(path: Path, mark: tuple[int, int]) -> Any:
    """`mark` makes a changed array another array."""
    import zarr

    return zarr.open_array(str(path), mode="r")


def source_stamp(path: Path) -> tuple[int, int]:
    """What changes when a file, or an image of a store, is written anew."""
    return stamp(path) if path.is_file() else _stamp(path)


def _stamp(array: Path) -> tuple[int, int]:
    for name in ("zarr.json", ".zarray", ".zattrs"):
        try:
            found = (array / name).stat()
            return found.st_mtime_ns, found.st_size
        except OSError:
            continue
    return 0, 0


def _is_array(store: Path) -> bool:
    if (store / ".zarray").is_file():
        return True
    try:
        return bool(json.loads((store / "zarr.json").read_text(encoding="utf-8"))["node_type"] == "array")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _damaged(store: Path, how: str) -> ImageError:
    return ImageError(f"{store} cannot be read as OME-Zarr: {how}. The store is damaged: copy it again.")


def _changed(path: Path) -> ImageError:
    return ImageError(f"{path} has vanished or changed since it was opened. Put it back, or start again without it.")
