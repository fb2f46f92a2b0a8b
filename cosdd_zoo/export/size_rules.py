"""What a description must say of sizes, halos and tiles: one rule a program's limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cosdd_zoo.export.judged import Package, Problems, Rule, Unknown
from cosdd_zoo.export.targets import ALL, JDLL

ILASTIK_TILE_PX = {"z": 64, "y": 512, "x": 512}
QUPATH_TILE_PX = 512


def sizes_are_stated(p: Package) -> Problems:
    for axis in p.space("inputs"):
        size = axis.get("size")
        ranged = isinstance(size, dict) and isinstance(size.get("min"), int) and isinstance(size.get("step"), int)
        if not (ranged or isinstance(size, int)):
            yield f"the size of {axis.get('id')} is missing: give a number, or min and step"
        elif isinstance(size, dict) and size["step"] < 1:
            yield f"the step of {axis.get('id')} is {size['step']}: give 1 or more"


def sizes_suit_any_image(p: Package) -> Problems:
    for name, size in _sizes(p):
        if isinstance(size, int):
            yield Unknown(f"{name} is {size} px and nothing else: core refuses smaller images")
        elif isinstance(size, dict) and isinstance(size.get("step"), int) and size["step"] > 1:
            first = [size.get("min", 0) + k * size["step"] for k in range(3)]
            listed = ", ".join(map(str, first))
            yield Unknown(f"{name} is {listed} ... px: core refuses all other sizes, so pad inside of the graph")


def fixed_sizes_suit_jdll(p: Package) -> Problems:
    for name, size in _sizes(p):
        if isinstance(size, int):
            yield Unknown(f"{name} is {size} px: tiles of it are cut, and images below {size // 3 + 1} px refused")


def sizes_suit_jdll(p: Package) -> Problems:
    for axis in p.space("inputs"):
        size = axis.get("size")
        if isinstance(size, dict) and size.get("step") and size.get("min", 0) % size["step"]:
            yield f"min of {axis.get('id')} ({size.get('min')}) is no multiple of step ({size['step']}): make it one"


def sizes_suit_ilastiks_tiles(p: Package) -> Problems:
    for name, size in _sizes(p):
        tile = ILASTIK_TILE_PX["z"] if len(p.space("inputs")) == 3 else ILASTIK_TILE_PX.get(name)
        least = _least(size)
        if least is not None and tile is not None and least > tile:
            yield f"{name} needs {least} px at least, and ilastik gives tiles of {tile} px: allow smaller ones"


def sizes_suit_qupaths_tiles(p: Package) -> Problems:
    for name, size in _sizes(p):
        least = _least(size)
        if least is not None and least > QUPATH_TILE_PX:
            yield f"{name} needs {least} px at least, and QuPath gives tiles of about {QUPATH_TILE_PX} px: allow those"


def output_has_the_size_of_the_input(p: Package) -> Problems:
    for axis in p.space("outputs"):
        size = axis.get("size")
        known = {"axis_id": axis.get("id"), "tensor_id": p.get("inputs", 0, "id")}
        if not isinstance(size, dict) or any(size.get(key) != value for key, value in known.items()):
            yield f"the size of {axis.get('id')} does not refer to that of the input: give its tensor_id and axis_id"


def offsets_are_zero(p: Package) -> Problems:
    for axis in p.space("outputs"):
        size = axis.get("size")
        if isinstance(size, dict) and size.get("offset", 0) != 0:
            yield f"offset of {axis.get('id')} is {size['offset']}; deepImageJ applies it twice, so it must be 0"


def output_has_a_halo(p: Package) -> Problems:
    for axis in p.space("outputs"):
        if not (isinstance(axis.get("halo"), int) and axis["halo"] >= 1):
            yield f"{axis.get('id')} has none, so tiles would show seams: state the pixels that an edge spoils"


def something_is_left_within_the_halo(p: Package) -> Problems:
    halos = {str(axis.get("id")): axis.get("halo") for axis in p.space("outputs")}
    for name, size in _sizes(p):
        halo, least = halos.get(name), _least(size)
        if isinstance(halo, int) and least is not None and 2 * halo >= least:
            yield f"the halo of {name}, {halo} px on both sides, takes up all of the least size, {least} px: raise min"


def _sizes(p: Package) -> Iterator[tuple[str, Any]]:
    """Name and size of each spatial axis of the input."""
    for axis in p.space("inputs"):
        yield str(axis.get("id")), axis.get("size")


def _least(size: Any) -> int | None:
    least = size.get("min") if isinstance(size, dict) else size
    return least if isinstance(least, int) else None


SIZE_RULES: dict[str, Rule] = {
    "sizes are stated": Rule(sizes_are_stated, ALL),
    "sizes of any image": Rule(sizes_suit_any_image, ("core",)),
    "min is a multiple of step": Rule(sizes_suit_jdll, JDLL),
    "fixed sizes in JDLL": Rule(fixed_sizes_suit_jdll, JDLL),
    "fits ilastik's tiles": Rule(sizes_suit_ilastiks_tiles, ("ilastik",), of_the_kind=True),
    "fits QuPath's tiles": Rule(sizes_suit_qupaths_tiles, ("qupath",), of_the_kind=True),
    "output has the input's size": Rule(output_has_the_size_of_the_input, ALL),
    "offset is 0": Rule(offsets_are_zero, JDLL),
    "halo": Rule(output_has_a_halo, (*JDLL, "ilastik", "core", "zoo")),
    "something is left within the halo": Rule(something_is_left_within_the_halo, ALL),
}
