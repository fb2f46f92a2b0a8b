"""Writes a package, and reads one back. A package appears under its name only after it has passed its own check.

Letters: B batch, C channels, * spatial axes (z,) y, x.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tifffile
import torch

from cosdd_zoo.config import validated
from cosdd_zoo.data.beside import beside
from cosdd_zoo.data.pictures import cover
from cosdd_zoo.errors import PackageError
from cosdd_zoo.export.archive import MAX_TEXT_BYTES, open_archive, parse_description
from cosdd_zoo.export.card import Card, Figures, fill
from cosdd_zoo.export.check import CheckReport, check
from cosdd_zoo.export.edges import measured_halo, middle
from cosdd_zoo.export.evaluation import noise_figures, noise_picture
from cosdd_zoo.export.judged import Package
from cosdd_zoo.export.onnx_weights import OPSET, check_onnx
from cosdd_zoo.export.rdf import (
    HALO_STEP_PX,
    ONNX,
    WEIGHTS,
    Interface,
    Tolerance,
    ZScore,
    description,
    interface,
    processing_of,
    to_yaml,
)
from cosdd_zoo.export.rules import RULES, axes_are_batch_channel_space, one_input_and_one_output
from cosdd_zoo.export.running import Array, loaded, run_graph
from cosdd_zoo.export.torchscript import load_script, state_halo
from cosdd_zoo.inference.denoise import Denoiser

if TYPE_CHECKING:
    from cosdd_zoo.export.torchscript import ScriptModule

CONFIG, PROFILE = "config.yaml", "profile.json"
NOISE_PICTURE = "noise.png"
_TEST_PX = {"z": 16, "y": 128, "x": 128}
_DATE = (1980, 1, 1, 0, 0, 0)  # the same content makes the same zip


class PackageReport(NamedTuple):
    path: Path
    n_bytes: int
    check: CheckReport

    @property
    def status(self) -> str:
        """What bioimageio.core said of it; no package is written with less than `passed`."""
        return "passed"


class PackageContents(NamedTuple):
    """A package of ours, read without running anything but the TorchScript loader."""

    path: Path
    rdf: dict[str, Any]
    module: ScriptModule  # on the CPU
    input_channels: tuple[str, ...]
    output_channels: tuple[str, ...]
    n_dims: int
    processing: ZScore | None
    config_text: str  # the run's config.yaml, empty where there is none
    profile_text: str = ""  # noise.profile of the training images, JSON

    @property
    def uncertainty(self) -> bool:
        """Whether standard deviations follow the denoised channels."""
        return len(self.output_channels) == 2 * len(self.input_channels)

    def __call__(self, x: Array) -> Array:
        """x [B, C, *], raw grey values -> [B, C', *], by the graph and the processing that the description asks for."""
        return run_graph(self.module, x, self.processing)


def write_package(
    module: ScriptModule,
    path: str | Path,
    card: Card,
    sample: np.ndarray[Any, np.dtype[Any]],
    reach_px: Sequence[int],
    *,
    channel_names: Sequence[str] = (),
    uncertainty: bool = False,
    processing: ZScore | None = None,
    side_px: int | None = None,
    figures: Figures | None = None,
    config_text: str = "",
    profile_text: str = "",
    onnx: bytes | None = None,
    overwrite: bool = False,
) -> PackageReport:
    """A scripted module as a package of the BioImage Model Zoo.

    sample: an image of the kind that the model is for, [C, *], raw grey values; its middle becomes the test input.
    reach_px: how far the model can see along *; the halo is measured, and no longer. channel_names: by default
    `intensity`, or channel1, channel2 ... processing: z-scores outside of the graph, whose module then takes and
    returns z-scored values. side_px: the one size along y and x that the description allows; by default any.
    config_text and profile_text travel along as config.yaml and profile.json. onnx: the same model as weights.onnx,
    beside the TorchScript.

    Raises OutputError if the file is there already or cannot be written, and PackageError if the package would not
    pass `check`; no file is left then.
    """
    names = channel_names or default_channel_names(len(sample))
    with beside(Path(path), overwrite) as part:
        halo, edges = _halo(interface(names, reach_px, uncertainty), module, sample, processing)
        io = interface(names, halo, uncertainty, side_px)
        state_halo(module, halo)
        x, measured = cropped(sample, io), {**(figures or {}), **edges}
        _write_zip(part, _contents(module, card, io, x, processing, measured, (config_text, profile_text), onnx))
        report = _passed(check(part), Path(path))
        n_bytes = part.stat().st_size
    return PackageReport(Path(path), n_bytes, report)


def read_package(path: str | Path) -> PackageContents:
    """A package's model. Raises PackageError when it is damaged, unsafe, or not made for one image in and one out."""
    path = Path(path)
    with open_archive(path) as archive:
        package = Package(archive, archive.description())
        problems = [*one_input_and_one_output(package), *axes_are_batch_channel_space(package)]
        if problems:
            raise PackageError(f"{path.name} is not a denoiser that can be run here: {'; '.join(problems)}.")
        try:
            return _read(package)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise PackageError(f"{path.name} has an incomplete description ({error!r}): export it again.") from None


def load_package(path: str | Path, device: str = "auto") -> Denoiser:
    """The denoiser in a package; bioimageio.core runs one that is not ours, or was made with --processing rdf.

    Raises PackageError for one that cannot be read, or is not safe to run.
    """
    if not _says_how_it_was_trained(path):
        from cosdd_zoo.export.foreign import Foreign

        return Foreign(Path(path), device)
    contents = read_package(path)
    config = validated(parse_description(contents.config_text.encode(), f"{CONFIG} in {contents.path.name}"))
    facts = {"profile": _parsed(contents.profile_text)} if contents.profile_text else {}
    return Denoiser(contents.module, config, device, facts)


def _parsed(text: str) -> Any:
    """A profile that cannot be read is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _says_how_it_was_trained(path: str | Path) -> bool:
    """Whether it is one of ours, whose graph can do more than run once: it holds our settings."""
    with open_archive(path) as archive:
        try:
            return CONFIG in archive.names and not processing_of(archive.description())
        except (KeyError, TypeError, IndexError, AttributeError):  # a file of that name, and a description of others
            return False


def default_channel_names(n_channels: int) -> list[str]:
    return ["intensity"] if n_channels == 1 else [f"channel{i}" for i in range(1, n_channels + 1)]


def cropped(sample: np.ndarray[Any, np.dtype[Any]], io: Interface) -> Array:
    """The middle of a sample [C, *] as test input [1, C, *], mirrored where it is below the least size."""
    check_sample(sample, io)
    x = sample.astype(np.float32)
    sizes = zip(io.axes, io.min_px, io.fixed_px, x.shape[1:], strict=True)
    lengths = [fixed or max(least, min(_TEST_PX[name], n)) for name, least, fixed, n in sizes]
    return np.ascontiguousarray(middle(x, lengths)[np.newaxis])


def check_sample(sample: np.ndarray[Any, np.dtype[Any]], io: Interface) -> None:
    """Raises PackageError for an image that the model does not take."""
    if len(sample) != len(io.input_channels) or sample.ndim != 1 + len(io.axes):
        raise PackageError(
            f"The sample image has the shape {sample.shape}; expected {len(io.input_channels)} channels and the axes "
            f"{', '.join(io.axes)}. Give an image of the kind that the model was trained on."
        )


def _contents(
    module: ScriptModule,
    card: Card,
    io: Interface,
    x: Array,
    processing: ZScore | None,
    figures: Figures,
    texts: tuple[str, str],
    onnx: bytes | None,
) -> dict[str, bytes]:
    """All files of the package by name. The test output comes from the weights as they were saved and loaded again."""
    weights = bytes(module.save_to_buffer())
    y = run_graph(load_script(weights), x, processing)
    _check_output(y, x, io)
    if onnx:
        given = x if processing is None else (x - x.mean()) / x.std()  # what the graph itself takes
        check_onnx(onnx, given, run_graph(load_script(weights), given))
    denoised = y[0][: len(x[0])]
    figures = {**noise_figures([x[0]], [denoised]), **card.figures, **figures}
    picture = noise_picture(x[0], denoised)
    files = {
        WEIGHTS: weights,
        "test_input.npy": _npy(x),
        "test_output.npy": _npy(y),
        "sample_input.tif": _tiff(x[0]),
        "sample_output.tif": _tiff(y[0]),
        "README.md": fill(card, figures, NOISE_PICTURE if picture else "").encode(),
        "cover.png": _cover(x[0], y[0]),
        **({NOISE_PICTURE: picture} if picture else {}),
        **{name: text.encode() for name, text in zip((CONFIG, PROFILE), texts, strict=True) if text},
        **({ONNX: onnx} if onnx else {}),
    }
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    torch_version = ".".join(re.findall(r"\d+", torch.__version__)[:3])  # 2.15.0a0+git is no version to JDLL
    attached = [name for name in (CONFIG, PROFILE, NOISE_PICTURE) if name in files]
    rdf = description(card, io, sha256, _tolerance(y), torch_version, processing, OPSET if onnx else None, attached)
    return {"rdf.yaml": to_yaml(rdf).encode(), **files}


def _halo(
    longest: Interface, module: ScriptModule, sample: np.ndarray[Any, np.dtype[Any]], processing: ZScore | None
) -> tuple[tuple[int, ...], Figures]:
    """The halo that the model needs on this sample, and what the README says of it."""
    check_sample(sample, longest)

    def run(x: Array) -> Array:
        return run_graph(module, x, processing)

    axes = longest.axes
    halo = measured_halo(run, sample, axes, longest.halo_px, [HALO_STEP_PX[axis] for axis in axes])
    stated = ", ".join(f"{axis} {n}" for axis, n in zip(axes, halo.px, strict=True))
    return halo.px, {"halo_px": stated, "largest_error_beyond_the_halo_std": round(halo.error, 4)}


def _check_output(y: Array, x: Array, io: Interface) -> None:
    expected = (1, len(io.output_channels), *x.shape[2:])
    if y.shape != expected:
        raise PackageError(
            f"The model makes the shape {y.shape} from {x.shape}; expected {expected}: it was not packed."
        )
    if not np.isfinite(y).all():
        raise PackageError("The model makes values that are not finite from the sample image, so it was not packed.")


def _tolerance(y: Array) -> Tolerance:
    """1e-4 of the image's standard deviation: beyond rounding, below anything that is seen.

    bioimageio.spec refuses more than 1 % of the largest value.
    """
    absolute = min(1e-4 * float(y[:, 0].std()), 5e-3 * float(y.max()))
    return Tolerance(1e-3, float(f"{max(absolute, 0.0):.2g}"))


def _npy(array: Array) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _tiff(image: Array) -> bytes:
    """[C, *] as ImageJ opens it."""
    axes = "CYX" if image.ndim == 3 else "ZCYX"
    buffer = BytesIO()
    tifffile.imwrite(buffer, image if image.ndim == 3 else image.swapaxes(0, 1), imagej=True, metadata={"axes": axes})
    return buffer.getvalue()


def _cover(x: Array, y: Array) -> bytes:
    """The first channel, of a volume the middle plane: noisy and denoised."""
    noisy, denoised = (image[0] if image.ndim == 3 else image[0, image.shape[1] // 2] for image in (x, y))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cover.png"
        cover(noisy, denoised, path)
        return path.read_bytes()


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in contents.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o644 << 16
            file.writestr(info, data, zipfile.ZIP_DEFLATED)


def _passed(report: CheckReport, path: Path) -> CheckReport:
    """Nothing may fail but what lies in the kind of model: a volume is not packed for QuPath, and no less right."""
    reasons = [f"{f.rule}: {f.detail}" for f in report.failures if not (f.rule in RULES and RULES[f.rule].of_the_kind)]
    if reasons:
        raise PackageError(
            f"{path.name} was not written, since it would fail its check ({'; '.join(dict.fromkeys(reasons))})."
        )
    return report._replace(path=path)


def _read(package: Package) -> PackageContents:
    names = package.archive.names
    channels = [tuple(package.axes(side)[1]["channel_names"]) for side in ("inputs", "outputs")]
    config, profile = (
        package.archive.read(name, MAX_TEXT_BYTES).decode() if name in names else "" for name in (CONFIG, PROFILE)
    )
    try:
        module = loaded(package)
    except PackageError as error:
        raise PackageError(f"{package.archive.path.name}: {error}.") from None
    n_dims = len(package.space("inputs"))
    return PackageContents(
        package.archive.path, package.rdf, module, channels[0], channels[1], n_dims, processing_of(package.rdf), config,
        profile,
    )  # fmt: skip
