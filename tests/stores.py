"""OME-Zarr stores as other programs write them: by ome-zarr-models and zarr, not by this package."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


def store(
    path: Path,
    array: NDArray[Any],
    axes: str,
    version: str = "0.5",
    chunks: tuple[int, ...] | None = None,
    scale: tuple[float, ...] | None = None,
    channels: tuple[str, ...] = (),
    **how: Any,
) -> Path:
    """An image of one level."""
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    if version == "0.4":
        how["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    level = group.create_array("0", shape=array.shape, chunks=chunks or array.shape, dtype=array.dtype, **how)
    level[...] = array
    steps = list(scale or (1.0,) * len(axes))
    transformations = [{"type": "scale", "scale": steps}]
    scales: dict[str, Any] = {
        "name": "cells",
        "axes": [{"name": a, "type": KINDS[a], **({"unit": UNITS[a]} if a in UNITS else {})} for a in axes],
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
    }
    words: dict[str, Any] = {"multiscales": [scales]}
    if channels:
        window = {"min": 0, "max": 65535, "start": 3, "end": 300}
        words["omero"] = {
            "channels": [{"label": n, "color": c, "window": window} for n, c in zip(channels, COLORS, strict=False)]
        }
    if version == "0.4":
        scales["version"] = "0.4"
        group.attrs.update(words)
    else:
        group.attrs.update({"ome": {"version": version, **words}})
    return path


COLORS = ("00FF00", "FF0000", "0000FF")


def plate(path: Path, fields: dict[str, NDArray[Any]], axes: str, version: str = "0.5") -> Path:
    """A plate with a field at each place, such as `A/1/0`."""
    zarr_format: Any = 2 if version == "0.4" else 3

    def say(group: Any, words: dict[str, Any]) -> None:
        group.attrs.update(words if version == "0.4" else {"ome": {"version": version, **words}})

    wells = sorted({place.rsplit("/", 1)[0] for place in fields})
    rows, columns = (sorted({w.split("/")[i] for w in wells}) for i in (0, 1))
    said: dict[str, Any] = {
        "rows": [{"name": r} for r in rows],
        "columns": [{"name": c} for c in columns],
        "wells": [
            {"path": w, "rowIndex": rows.index(w.split("/")[0]), "columnIndex": columns.index(w.split("/")[1])}
            for w in wells
        ],
        "field_count": max(sum(place.startswith(f"{w}/") for place in fields) for w in wells),
        "name": "plate",
        "version": version,
    }
    say(zarr.create_group(str(path), zarr_format=zarr_format), {"plate": said})
    for row in rows:
        zarr.create_group(str(path / row), zarr_format=zarr_format)
    for well in wells:
        images = [{"path": place.rsplit("/", 1)[1]} for place in fields if place.startswith(f"{well}/")]
        words: dict[str, Any] = {"images": images, "version": version}
        say(zarr.create_group(str(path / well), zarr_format=zarr_format), {"well": words})
    for place, array in fields.items():
        store(path / place, array, axes, version)
    return path


def pixels(path: Path, level: int = 0) -> NDArray[Any]:
    """A level of an image, by zarr alone."""
    found: Any = zarr.open_array(str(path / str(level)), mode="r")
    return np.asarray(found[...])
