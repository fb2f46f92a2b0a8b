"""What a description must say so that programs run the package: one rule a program's limit, and whose limit it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cosdd_zoo.export.archive import DESCRIPTION, referenced_files
from cosdd_zoo.export.judged import Package, Problems, Rule, Unknown, as_list
from cosdd_zoo.export.rdf import FORMAT_VERSION
from cosdd_zoo.export.size_rules import SIZE_RULES
from cosdd_zoo.export.targets import ALL, JDLL
from cosdd_zoo.export.zoo_rules import ZOO_RULES

NEWEST_PATCH = int(FORMAT_VERSION.rpartition(".")[2])
JDLL_PYTORCH = (1, 7)
"""The oldest libtorch that JDLL installs."""
QUPATH_NEEDS = ("format_version", "name", "description", "documentation", "authors", "license")
_PROCESSING = (("inputs", "preprocessing"), ("outputs", "postprocessing"))
_JDLL_STEPS = {"ensure_dtype", "fixed_zero_mean_unit_variance", "scale_linear"}
"""Of those that were run in JDLL, with one value for all channels; it knows more, which were not."""


def files_are_flat(p: Package) -> Problems:
    nested = [n for n in p.archive.names if "/" in n or "\\" in n]
    if nested:
        yield f"{nested[0]} lies in a folder; deepImageJ looks in the root only: zip the files, not their folder"


def description_is_named_rdf_yaml(p: Package) -> Problems:
    if p.archive.description_name != DESCRIPTION:
        yield f"it is named {p.archive.description_name}, and deepImageJ looks for rdf.yaml: rename it"


def format_version_is_0_5(p: Package) -> Problems:
    version = str(p.get("format_version") or "not stated")
    if version.startswith("0.4."):
        yield Unknown(f"it is {version}, which programs still read, but most of these rules do not: update it to 0.5")
    elif not re.fullmatch(r"0\.5\.\d+", version):
        yield f"it is {version}; expected 0.5.x: export the model again"
    elif int(version.rpartition(".")[2]) > NEWEST_PATCH:
        yield Unknown(f"it is {version}, newer than 0.5.{NEWEST_PATCH}, which the programs were tried with")
    if p.get("type") != "model":
        yield f"type is {p.get('type') or 'not stated'}; expected model: nothing else can be run"


def documentation_and_covers_are_plain_strings(p: Package) -> Problems:
    if not isinstance(p.get("documentation"), str):
        yield "documentation is no plain file name; deepImageJ, QuPath and ilastik 1.4.2 fail on all else: name it"
    covers = as_list(p.get("covers"))
    if not covers or not all(isinstance(c, str) for c in covers):
        yield "covers is no list of plain file names; deepImageJ, QuPath and ilastik 1.4.2 fail on all else: list names"


def nothing_is_null(p: Package) -> Problems:
    for place in _nulls(p.rdf):
        yield f"{place} is null; leave it out, since deepImageJ fails on it"


def files_are_inside(p: Package) -> Problems:
    for name, _ in referenced_files(p.rdf):
        if name not in p.archive.names:
            yield f"{name} is not in the zip: put it there"


def checksums_agree(p: Package) -> Problems:
    for name, node in referenced_files(p.rdf):
        if node and name in p.archive.names:
            if "sha256" not in node:
                yield f"{name} has no sha256: write it beside its name"
            elif node["sha256"] != p.archive.sha256(name):
                yield f"{name} is not the file whose sha256 was written down: it was changed; get the package anew"


def one_input_and_one_output(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        n = len(as_list(p.get(side)))
        if n != 1:
            yield f"there are {n} {side}; ilastik and QuPath take exactly one: put further images into channels"


def test_tensors_are_named(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        if not isinstance(p.get(side, 0, "test_tensor", "source"), str):
            yield f"{side} have no test_tensor, so that nobody can see whether the model still works: add an .npy file"


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
    if orders[0] != orders[1]:
        yield "the axes of input and output differ in number or order: give the output those of the input"


def there_is_no_time_axis(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        if "time" in [a.get("type") for a in p.axes(side)]:
            yield f"{side} have a time axis, on which deepImageJ crashes: give time points as the batch"


def batch_is_free(p: Package) -> Problems:
    sizes = [a.get("size") for side in ("inputs", "outputs") for a in p.axes(side) if a.get("type") == "batch"]
    if any(isinstance(size, int) for size in sizes):
        yield Unknown("the batch has a fixed size: stacks can be given plane by plane only")


def it_is_two_dimensional(p: Package) -> Problems:
    ids = [str(a.get("id")) for a in p.space("inputs")]
    if len(ids) != 2:
        yield f"the model has the space axes {', '.join(ids) or 'none'}, and QuPath takes 2-D models only"


def channel_names_are_lists(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        names = [a.get("channel_names") for a in p.axes(side) if a.get("type") == "channel"]
        if not names or not isinstance(names[0], list):
            yield f"{side} have no list of channel_names: name each channel"


def tensors_are_float32(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        dtype = p.get(side, 0, "data", "type") or "not stated"
        if dtype != "float32":
            yield f"the type of {side} is {dtype}; expected float32: convert inside of the graph"


def processing_suits_jdll(p: Package) -> Problems:
    for key, name, kwargs in _steps(p):
        if name == "fixed_zero_mean_unit_variance" and any(isinstance(v, list) for v in kwargs.values()):
            yield f"{key} has {name} with a list of values, on which JDLL fails: do it inside of the graph"
        elif name == "scale_linear" and any(isinstance(v, list) and len(v) > 1 for v in kwargs.values()):
            yield f"{key} has {name} with a list of values, of which JDLL takes the first for all channels"
        elif name not in _JDLL_STEPS:
            yield Unknown(f"{key} asks for {name}, which was not tried in JDLL")
        elif name == "fixed_zero_mean_unit_variance":
            yield Unknown(f"{key} has {name}: right up to JDLL 0.6.3, and later for images of floating point alone")


def processing_suits_qupath(p: Package) -> Problems:
    for key, name, kwargs in _steps(p):
        if name == "fixed_zero_mean_unit_variance":
            yield f"{key} has {name}, which QuPath skips with a line in its log: do it inside of the graph"
        elif name == "scale_linear" and not all(isinstance(v, list) for k, v in kwargs.items() if k != "axis"):
            yield f"{key} has {name} with one value, which QuPath cannot read: do it inside of the graph"
        elif name != "ensure_dtype":
            yield Unknown(f"{key} asks for {name}, which was not tried in QuPath")


def there_is_torchscript(p: Package) -> Problems:
    if "torchscript" not in p.formats:
        found = ", ".join(p.formats) or "missing"
        if {"onnx", "tensorflow_saved_model_bundle", "keras_hdf5"} & set(p.formats):
            yield Unknown(f"the weights are {found}: nothing but TorchScript is run here")
        else:
            yield f"the weights are {found}; Fiji, Icy and QuPath need TorchScript: export it"


def torchscript_is_alone(p: Package) -> Problems:
    if "torchscript" in p.formats and len(p.formats) > 1:
        yield Unknown(f"the weights are {', '.join(p.formats)}, and which of them JDLL takes is its own choice")


def jdll_finds_the_weights(p: Package) -> Problems:
    source = str(p.get("weights", "torchscript", "source") or "none")
    if "torchscript" in p.formats and source.find(".pt") != len(source) - 3:
        yield f"the weights' file is {source}, whose name JDLL cuts at the first .pt: expected weights.pt"


def pytorch_version_is_plain(p: Package) -> Problems:
    version = p.get("weights", "torchscript", "pytorch_version") or "not stated"
    if "torchscript" in p.formats and not re.fullmatch(r"\d+\.\d+(\.\d+)?", str(version)):
        yield f"it is {version}; expected plain numbers, x.y.z, without what follows them"


def jdll_has_the_pytorch_version(p: Package) -> Problems:
    version = re.match(r"(\d+)\.(\d+)", str(p.get("weights", "torchscript", "pytorch_version")))
    numbers = (int(version[1]), int(version[2])) if version else JDLL_PYTORCH
    if numbers < JDLL_PYTORCH:
        yield f"it is {version and version[0]}, and JDLL has 1.7 and later: state a version that the model runs in"
    elif numbers[0] > 2:
        yield Unknown(f"it is {version and version[0]}, and which libtorch JDLL takes for it was not tried")


def qupath_finds_its_fields(p: Package) -> Problems:
    for name in QUPATH_NEEDS:
        if not p.get(name):
            yield f"{name} is missing, without which QuPath cannot read the description: add it"


def config_suits_deepimagej(p: Package) -> Problems:
    if "config" in p.rdf and not isinstance(p.get("config", "bioimageio", "nickname"), str):
        yield "config has no bioimageio.nickname, without which deepImageJ fails: add one"
    if "deepimagej" in p.get("config"):
        yield "config has a section deepimagej, which is of older formats: take it out"


RULES: dict[str, Rule] = {
    "all files lie in the root": Rule(files_are_flat, JDLL, reads_0_5=False),
    "the description is rdf.yaml": Rule(description_is_named_rdf_yaml, JDLL, reads_0_5=False),
    "format version": Rule(format_version_is_0_5, ALL, reads_0_5=False),
    "documentation and covers are plain strings": Rule(
        documentation_and_covers_are_plain_strings, (*JDLL, "qupath", "ilastik"), reads_0_5=False
    ),
    "no null values": Rule(nothing_is_null, JDLL, reads_0_5=False),
    "all files are inside": Rule(files_are_inside, ALL, reads_0_5=False),
    "checksums": Rule(checksums_agree, ALL),
    "one input, one output": Rule(one_input_and_one_output, ("qupath", "ilastik"), reads_0_5=False),
    "test tensors": Rule(test_tensors_are_named, ALL),
    "axes": Rule(axes_are_batch_channel_space, ALL),
    "no time axis": Rule(there_is_no_time_axis, JDLL),
    "two dimensions": Rule(it_is_two_dimensional, ("qupath",), of_the_kind=True),
    "batch": Rule(batch_is_free, ("core",)),
    "channel names": Rule(channel_names_are_lists, ALL),
    "float32 on both sides": Rule(tensors_are_float32, ALL),
    **SIZE_RULES,
    "processing in JDLL": Rule(processing_suits_jdll, JDLL, of_the_kind=True),
    "processing in QuPath": Rule(processing_suits_qupath, ("qupath",), of_the_kind=True),
    "TorchScript is there": Rule(there_is_torchscript, (*JDLL, "qupath"), reads_0_5=False),
    "TorchScript alone": Rule(torchscript_is_alone, JDLL, of_the_kind=True, reads_0_5=False),
    "name of the weights' file": Rule(jdll_finds_the_weights, JDLL, reads_0_5=False),
    "pytorch_version": Rule(pytorch_version_is_plain, (*JDLL, "qupath")),
    "pytorch_version in JDLL": Rule(jdll_has_the_pytorch_version, JDLL),
    "fields that QuPath needs": Rule(qupath_finds_its_fields, ("qupath",), reads_0_5=False),
    "config": Rule(config_suits_deepimagej, JDLL, reads_0_5=False),
    **ZOO_RULES,
}
"""The rules that can be judged without running the model, by the words that the report names them with."""


def _steps(p: Package) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The steps of processing: preprocessing or postprocessing, name, arguments."""
    for side, key in _PROCESSING:
        for step in as_list(p.get(side, 0, key)):
            named = step if isinstance(step, dict) else {"id": step}
            kwargs = named.get("kwargs")
            yield key, str(named.get("id", named.get("name"))), kwargs if isinstance(kwargs, dict) else {}


def _nulls(node: Any, place: str = "") -> Problems:
    if node is None:
        yield place
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _nulls(child, f"{place}.{key}".removeprefix("."))
