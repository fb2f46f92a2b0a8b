"""What a description must say so that every consumer runs the package: one rule a consumer's limit.

A rule yields the sentences that speak against a package; one that yields none is kept. Rules read foreign descriptions
too, so they expect nothing of their form.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from cosdd_zoo.export.archive import DESCRIPTION, MAX_TEXT_BYTES, Archive, referenced_files
from cosdd_zoo.export.card import NAME_RULE, VALIDATION_HEADING, spdx_licenses
from cosdd_zoo.export.rdf import WEIGHTS

COVER_BYTES = 500_000
_OUR_STEPS = {"preprocessing": {"ensure_dtype", "fixed_zero_mean_unit_variance"}, "postprocessing": {"scale_linear"}}


class Rule(NamedTuple):
    """A rule judged."""

    name: str
    passed: bool
    detail: str  # why it failed, or what was measured


class Package(NamedTuple):
    """What is judged: the zip and its description."""

    archive: Archive
    rdf: dict[str, Any]

    def get(self, *path: str | int) -> Any:
        """The value at a place of the description; an empty mapping where there is none."""
        node: Any = self.rdf
        for key in path:
            try:
                node = node[key]
            except (KeyError, IndexError, TypeError):
                return {}
        return node

    def axes(self, side: str) -> list[dict[str, Any]]:
        """The axes of the first tensor of "inputs" or "outputs", those that are mappings."""
        return [a for a in _list(self.get(side, 0, "axes")) if isinstance(a, dict)]

    def space(self, side: str) -> list[dict[str, Any]]:
        return [a for a in self.axes(side) if a.get("type") == "space"]


Problems = Iterator[str]


def files_are_flat(p: Package) -> Problems:
    nested = [n for n in p.archive.names if "/" in n or "\\" in n]
    if nested:
        yield f"{nested[0]} lies in a folder; deepImageJ looks in the root only"


def description_is_named_rdf_yaml(p: Package) -> Problems:
    if p.archive.description_name != DESCRIPTION:
        yield f"it is named {p.archive.description_name}, and deepImageJ looks for rdf.yaml"


def format_version_is_0_5(p: Package) -> Problems:
    version = p.get("format_version")
    if not str(version).startswith("0.5."):
        yield f"it is {version or 'not stated'}; expected 0.5.x"
    if p.get("type") != "model":
        yield f"type is {p.get('type') or 'not stated'}; expected model"


def documentation_and_covers_are_plain_strings(p: Package) -> Problems:
    if not isinstance(p.get("documentation"), str):
        yield "documentation is no plain file name; deepImageJ, QuPath and ilastik 1.4.2 fail on anything else"
    covers = _list(p.get("covers"))
    if not covers or not all(isinstance(c, str) for c in covers):
        yield "covers is no list of plain file names; deepImageJ, QuPath and ilastik 1.4.2 fail on anything else"


def nothing_is_null(p: Package) -> Problems:
    for place in _nulls(p.rdf):
        yield f"{place} is null; leave it out, since deepImageJ fails on it"


def files_are_inside(p: Package) -> Problems:
    for name, _ in referenced_files(p.rdf):
        if name not in p.archive.names:
            yield f"{name} is not in the zip"


def checksums_agree(p: Package) -> Problems:
    for name, node in referenced_files(p.rdf):
        if node and name in p.archive.names:
            if "sha256" not in node:
                yield f"{name} has no sha256"
            elif node["sha256"] != p.archive.sha256(name):
                yield f"{name} is not the file whose sha256 was written down: it was changed"


def one_input_and_one_output(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        n = len(_list(p.get(side)))
        if n != 1:
            yield f"there are {n} {side}; ilastik and QuPath take exactly one"


def axes_are_batch_channel_space(p: Package) -> Problems:
    orders = []
    for side in ("inputs", "outputs"):
        types = [str(a.get("type")) for a in p.axes(side)]
        ids = [str(a.get("id")) for a in p.space(side)]
        orders.append((types, ids))
        if types[:2] != ["batch", "channel"] or set(types[2:]) != {"space"}:
            yield f"{side} have the axes {', '.join(types) or 'none'}; expected batch, channel, space, space"
        if ids not in (["y", "x"], ["z", "y", "x"]):
            yield f"{side} have the space axes {', '.join(ids) or 'none'}; expected y, x or z, y, x"
        if "time" in types:
            yield f"{side} have a time axis, on which deepImageJ crashes"
    if orders[0] != orders[1]:
        yield "the axes of input and output differ in number or order"


def channel_names_are_lists(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        names = [a.get("channel_names") for a in p.axes(side) if a.get("type") == "channel"]
        if not names or not isinstance(names[0], list):
            yield f"{side} have no list of channel_names"


def tensors_are_float32(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        dtype = p.get(side, 0, "data", "type") or "not stated"
        if dtype != "float32":
            yield f"the type of {side} is {dtype}; expected float32"


def sizes_are_free(p: Package) -> Problems:
    for axis in p.space("inputs"):
        size = axis.get("size")
        if not (isinstance(size, dict) and isinstance(size.get("min"), int) and isinstance(size.get("step"), int)):
            yield f"the size of {axis.get('id')} is fixed or missing; expected min and step"
        elif size["step"] < 1 or size["min"] % size["step"]:
            yield f"min of {axis.get('id')} ({size['min']}) is no multiple of step ({size['step']}): deepImageJ fails"


def output_has_the_size_of_the_input(p: Package) -> Problems:
    for axis in p.space("outputs"):
        size = axis.get("size")
        if not isinstance(size, dict) or size.get("axis_id") != axis.get("id"):
            yield f"the size of {axis.get('id')} does not refer to that of the input"
        elif size.get("offset", 0) != 0:
            yield f"offset of {axis.get('id')} is {size['offset']}; deepImageJ applies it twice, so it must be 0"


def output_has_a_halo(p: Package) -> Problems:
    for axis in p.space("outputs"):
        if not (isinstance(axis.get("halo"), int) and axis["halo"] >= 1):
            yield f"{axis.get('id')} has none, so tiles would show seams"


def processing_runs_everywhere(p: Package) -> Problems:
    """The explicit variant is let through: it is asked for by name."""
    for side, key in (("inputs", "preprocessing"), ("outputs", "postprocessing")):
        for step in _list(p.get(side, 0, key)):
            name = step.get("id", step.get("name")) if isinstance(step, dict) else step
            if name not in _OUR_STEPS[key]:
                yield f"{key} asks for {name}, which not every consumer knows; do it inside of the graph"


def only_torchscript_weights(p: Package) -> Problems:
    formats = list(p.get("weights"))
    if formats != ["torchscript"]:
        yield f"the weights are {', '.join(map(str, formats)) or 'missing'}; expected torchscript alone"
    elif p.get("weights", "torchscript", "source") != WEIGHTS:
        yield f"the weights' file is {p.get('weights', 'torchscript', 'source')}; expected {WEIGHTS}"


def pytorch_version_is_plain(p: Package) -> Problems:
    version = p.get("weights", "torchscript", "pytorch_version") or "not stated"
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", str(version)):
        yield f"it is {version}; expected x.y.z"


def config_suits_deepimagej(p: Package) -> Problems:
    if "config" in p.rdf and not isinstance(p.get("config", "bioimageio", "nickname"), str):
        yield "config has no bioimageio.nickname, on which deepImageJ fails"
    if "deepimagej" in p.get("config"):
        yield "config has a section deepimagej, which is of older formats"


def tolerance_is_stated(p: Package) -> Problems:
    if not _list(p.get("config", "bioimageio", "reproducibility_tolerance")):
        yield "config.bioimageio has no reproducibility_tolerance"


def name_is_allowed(p: Package) -> Problems:
    name = str(p.get("name") or "")
    if not re.fullmatch(NAME_RULE, name):
        yield f"{name!r} is not made of 5 to 128 letters, digits, spaces and _ + - ( )"


def people_can_be_reached(p: Package) -> Problems:
    people = [q for q in _list(p.get("authors")) + _list(p.get("maintainers")) if isinstance(q, dict)]
    if not _list(p.get("authors")):
        yield "there are no authors"
    if not any(q.get("github_user") for q in people):
        yield "neither an author nor a maintainer has a github_user"


def citations_can_be_found(p: Package) -> Problems:
    cite = [c for c in _list(p.get("cite")) if isinstance(c, dict)]
    if not cite or not all(c.get("doi") or c.get("url") for c in cite):
        yield "it must cite at least one text, each with doi or url"


def license_is_spdx(p: Package) -> Problems:
    if p.get("license") not in spdx_licenses():
        yield f"{p.get('license') or 'none'} is no SPDX identifier"


def tags_are_there(p: Package) -> Problems:
    if not _list(p.get("tags")):
        yield "there are none, so the zoo's search will not find the model"


def cover_fits(p: Package) -> Problems:
    for name in _list(p.get("covers")):
        if isinstance(name, str) and name in p.archive.names:
            yield from _cover_problems(name, p.archive.read(name))


def readme_has_validation(p: Package) -> Problems:
    name = p.get("documentation")
    if not isinstance(name, str) or name not in p.archive.names:
        yield "there is no README.md"
    elif not VALIDATION_HEADING.search(p.archive.read(name, MAX_TEXT_BYTES).decode(errors="replace")):
        yield f"{name} has no heading with Validation"


RULES: dict[str, Callable[[Package], Problems]] = {
    "all files lie in the root": files_are_flat,
    "the description is rdf.yaml": description_is_named_rdf_yaml,
    "format version": format_version_is_0_5,
    "documentation and covers are plain strings": documentation_and_covers_are_plain_strings,
    "no null values": nothing_is_null,
    "all files are inside": files_are_inside,
    "checksums": checksums_agree,
    "one input, one output": one_input_and_one_output,
    "axes": axes_are_batch_channel_space,
    "channel names": channel_names_are_lists,
    "float32 on both sides": tensors_are_float32,
    "free sizes": sizes_are_free,
    "output has the input's size": output_has_the_size_of_the_input,
    "halo": output_has_a_halo,
    "processing": processing_runs_everywhere,
    "weights": only_torchscript_weights,
    "pytorch_version": pytorch_version_is_plain,
    "config": config_suits_deepimagej,
    "tolerance": tolerance_is_stated,
    "name": name_is_allowed,
    "authors and maintainers": people_can_be_reached,
    "citations": citations_can_be_found,
    "license": license_is_spdx,
    "tags": tags_are_there,
    "cover": cover_fits,
    "README": readme_has_validation,
}
"""The rules that can be judged without running the model, by the words that the report names them with."""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _nulls(node: Any, place: str = "") -> Problems:
    if node is None:
        yield place
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _nulls(child, f"{place}.{key}".removeprefix("."))


def _cover_problems(name: str, data: bytes) -> Problems:
    if len(data) > COVER_BYTES:
        yield f"{name} has {len(data):,} bytes; the zoo takes up to {COVER_BYTES:,}"
    try:
        width, height = Image.open(io.BytesIO(data)).size  # reads the header alone
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        yield f"{name} is no picture"
        return
    if width not in (height, 2 * height):
        yield f"{name} is {width} x {height} px; expected a ratio of 2:1 or 1:1"
