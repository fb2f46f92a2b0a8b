"""The description of a package, rdf.yaml, in the form that every consumer reads.

bioimageio.spec validates it, but does not write it: from 0.5.11 on it writes documentation and covers as maps, on
which deepImageJ, QuPath and ilastik 1.4.2 fail. Plain strings load everywhere.

Letters: B batch, C channels, * spatial axes (z,) y, x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from cosdd_zoo.config import SPATIAL_AXES
from cosdd_zoo.errors import PackageError
from cosdd_zoo.export.card import Card
from cosdd_zoo.inference.tiling import round_up

FORMAT_VERSION = "0.5.6"
WEIGHTS = "weights.pt"  # JDLL cuts file names at the first ".pt" and looks only in the root
ONNX = "weights.onnx"
MIN_PX = {"z": 8, "y": 64, "x": 64}
MAX_HALO_PX = {"z": 4, "y": 32, "x": 32}
"""The least size must exceed twice the halo, and images below it are refused by bioimageio.core: a halo of the whole
receptive field would shut out most stacks. Tiles of other programs trade a little at their seams for that; the windows
inside the graph do not.
"""
HALO_STEP_PX = {"z": 4, "y": 16, "x": 16}
"""Multiples of the coarsest map's step in `tiny`, so that tiles stay on its grid."""

Description = dict[str, Any]


class ZScore(NamedTuple):
    """Processing outside of the graph: (x - mean) / std before, y * std + mean after. One entry a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Interface(NamedTuple):
    """What a package takes and returns."""

    input_channels: tuple[str, ...]
    output_channels: tuple[str, ...]
    halo_px: tuple[int, ...]  # along *
    side_px: int | None = None  # along y and x, where no other size is taken

    @property
    def axes(self) -> str:
        """The spatial axes: yx or zyx."""
        return SPATIAL_AXES[len(self.halo_px)]

    @property
    def min_px(self) -> tuple[int, ...]:
        """The least size along *: something must be left when the halo is cut off on both sides."""
        return tuple(
            max(MIN_PX[axis], round_up(2 * halo + 1, 4)) for axis, halo in zip(self.axes, self.halo_px, strict=True)
        )

    @property
    def fixed_px(self) -> tuple[int | None, ...]:
        """The only size along *, or None where sizes are free."""
        return tuple(self.side_px if axis in "yx" else None for axis in self.axes)


class Tolerance(NamedTuple):
    relative: float
    absolute: float  # grey values


def interface(
    channel_names: Sequence[str], halo_px: Sequence[int], uncertainty: bool, side_px: int | None = None
) -> Interface:
    """The tensors of a model for images with these channels, its halo along *. Raises PackageError for 1-D models, and
    for a fixed side that leaves nothing inside of the halo.

    Uncertainty is a further channel of the one output: a second tensor excludes ilastik and QuPath.
    """
    if len(halo_px) not in (2, 3):
        raise PackageError(
            f"The model is for {len(halo_px)}-D images, but packages of the BioImage Model Zoo take 2-D and 3-D ones: "
            f"use `cosdd-zoo denoise` with the run, or train a model with n_dims 2."
        )
    one = len(channel_names) == 1
    denoised = ["denoised"] if one else list(channel_names)
    std = (["std"] if one else [f"{name} std" for name in channel_names]) if uncertainty else []
    inputs = ("intensity",) if one else tuple(channel_names)
    found = Interface(inputs, tuple(denoised + std), tuple(halo_limits(halo_px)), side_px)
    if side_px is not None and side_px < max(found.min_px):
        raise PackageError(
            f"The fixed size is {side_px} px, and tiles of this model need {max(found.min_px)} px at least: give that "
            f"or more."
        )
    return found


def halo_limits(reach_px: Sequence[int]) -> list[int]:
    """The longest halo along * that may be stated, of a model that sees so far."""
    limits = [MAX_HALO_PX[axis] for axis in SPATIAL_AXES[len(reach_px)]]
    return [min(max(int(reach), 1), limit) for reach, limit in zip(reach_px, limits, strict=True)]


def description(
    card: Card,
    io: Interface,
    sha256: Mapping[str, str],
    tolerance: Tolerance,
    pytorch_version: str,
    processing: ZScore | None = None,
    onnx_opset: int | None = None,
    attached: Sequence[str] = (),
) -> Description:
    """rdf.yaml as plain values. sha256: digests of the package's files by name. onnx_opset: of ONNX weights, if any.
    attached: further files, which programs that pack or download a package leave behind unless they are named.
    """

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": sha256[name]}

    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        **_words(card),
        "documentation": "README.md",
        "covers": ["cover.png"],
        **({"attachments": [file(name) for name in attached]} if attached else {}),
        "inputs": [
            {
                "id": "input",
                "axes": _input_axes(io),
                "data": {"type": "float32"},
                "preprocessing": _preprocessing(processing),
                "test_tensor": file("test_input.npy"),
                "sample_tensor": file("sample_input.tif"),
            }
        ],
        "outputs": [
            {
                "id": "output",
                "axes": _output_axes(io),
                "data": {"type": "float32"},
                **_postprocessing(processing, len(io.output_channels)),
                "test_tensor": file("test_output.npy"),
                "sample_tensor": file("sample_output.tif"),
            }
        ],
        "weights": {
            "torchscript": {**file(WEIGHTS), "pytorch_version": pytorch_version},
            **({"onnx": {**file(ONNX), "parent": "torchscript", "opset_version": onnx_opset}} if onnx_opset else {}),
        },
        "config": {"bioimageio": _zoo_config(card, tolerance)},
    }


def to_yaml(rdf: Description) -> str:
    """The text of rdf.yaml."""
    return yaml.dump(rdf, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


def processing_of(rdf: Mapping[str, Any]) -> ZScore | None:
    """The processing that a description of ours asks for outside of the graph, if any."""
    for step in rdf["inputs"][0].get("preprocessing", []):
        if step["id"] == "fixed_zero_mean_unit_variance":
            return ZScore(_tuple(step["kwargs"]["mean"]), _tuple(step["kwargs"]["std"]))
    return None


def _words(card: Card) -> Description:
    """The card's part; fields that were left empty are left out, since consumers fail on nulls."""
    people = {"authors": card.authors, "maintainers": card.maintainers}
    words: Description = {"name": card.name, "description": card.description, "license": card.license}
    words |= {key: [_filled(p.model_dump()) for p in value] for key, value in people.items() if value}
    words |= {"cite": [_filled(c.model_dump()) for c in card.cite], "tags": list(card.tags)}
    if card.training_data.id:
        words["training_data"] = {"id": card.training_data.id}
    return words


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def _input_axes(io: Interface) -> list[Description]:
    sizes = zip(io.axes, io.min_px, io.fixed_px, strict=True)
    space = [{"type": "space", "id": a, "size": fixed or {"min": least, "step": 1}} for a, least, fixed in sizes]
    return [{"type": "batch"}, {"type": "channel", "channel_names": list(io.input_channels)}, *space]


def _output_axes(io: Interface) -> list[Description]:
    space = [
        {"type": "space", "id": a, "size": {"tensor_id": "input", "axis_id": a, "offset": 0}, "halo": halo}
        for a, halo in zip(io.axes, io.halo_px, strict=True)
    ]
    return [{"type": "batch"}, {"type": "channel", "channel_names": list(io.output_channels)}, *space]


def _preprocessing(processing: ZScore | None) -> list[Description]:
    steps: list[Description] = [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
    if processing is not None:
        kwargs = _per_channel({"mean": processing.mean, "std": processing.std})
        steps.append({"id": "fixed_zero_mean_unit_variance", "kwargs": kwargs})
    return steps


def _postprocessing(processing: ZScore | None, n_outputs: int) -> Description:
    if processing is None:
        return {}
    n = len(processing.mean)
    # a standard deviation is scaled like the image, but not moved
    gain = processing.std * (n_outputs // n)
    offset = processing.mean + (0.0,) * (n_outputs - n)
    return {"postprocessing": [{"id": "scale_linear", "kwargs": _per_channel({"gain": gain, "offset": offset})}]}


def _per_channel(values: Mapping[str, tuple[float, ...]]) -> Description:
    """Scalars where there is one channel: JDLL reads no lists."""
    if all(len(v) == 1 for v in values.values()):
        return {key: float(v[0]) for key, v in values.items()}
    return {"axis": "channel", **{key: [float(x) for x in v] for key, v in values.items()}}


def _zoo_config(card: Card, tolerance: Tolerance) -> Description:
    # JDLL needs a nickname as soon as there is a config
    stated = {"relative_tolerance": tolerance.relative, "absolute_tolerance": tolerance.absolute}
    return {"nickname": card.short_name, "reproducibility_tolerance": [stated]}


def _tuple(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else (float(value),)


class _Plain(yaml.SafeDumper):
    """YAML without references between its parts."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
