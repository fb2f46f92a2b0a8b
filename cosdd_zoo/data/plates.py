"""What a store of several images says of them: plate and wells, or series, as far as they are there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cosdd_zoo.data.ome_zarr import is_store, words_of


def describe(store: Path, like: Path, images: Sequence[Path]) -> None:
    """Writes the groups above the images of a store. like: the store that they come from; images: their places in it.

    Images that are in the store already, from an earlier run, are counted too.
    """
    words = words_of(like)
    there = {image for image in images if is_store(store / image)}
    if "plate" in words:
        wells = []
        for well in words["plate"]["wells"]:
            place = Path(str(well["path"]))
            own = words_of(like / place).get("well", {})
            fields = [
                f
                for f in own.get("images", [])
                if place / str(f["path"]) in there or is_store(store / place / str(f["path"]))
            ]
            if fields:
                wells.append(well)
                _group(store / place, like / place, {"well": {**own, "images": fields}})
                _group((store / place).parent, (like / place).parent, {})
        _group(store, like, {**words, "plate": {**words["plate"], "wells": wells}})
    elif "well" in words:
        fields = [f for f in words["well"]["images"] if is_store(store / str(f["path"]))]
        _group(store, like, {"well": {**words["well"], "images": fields}})
    else:
        _group(store, like, words)
        if (like / "OME").is_dir():
            shutil.copytree(like / "OME", store / "OME", dirs_exist_ok=True)


def _group(folder: Path, like: Path, words: dict[str, Any]) -> None:
    import zarr

    is_old = not (like / "zarr.json").is_file()
    group = zarr.open_group(str(folder), mode="a", zarr_format=2 if is_old else 3)
    if words:
        group.attrs.put(words if is_old else {"ome": {"version": "0.5", **words}})
