"""Packages that others made: any model of one image in and one image out, run blockwise by bioimageio.core.

They are run, never trusted: TorchScript and ONNX alone, so that no code of theirs is executed. What a package says of
normalisation may need a whole image's statistics, so core is given a whole item, and cuts it into blocks with the
package's own halo.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosdd_zoo.config import preset
from cosdd_zoo.data.axes import Array
from cosdd_zoo.errors import ConfigError, PackageError
from cosdd_zoo.export.archive import kind_of_weights, open_archive
from cosdd_zoo.export.check import quiet_bioimageio
from cosdd_zoo.export.judged import Package
from cosdd_zoo.export.rules import axes_are_batch_channel_space, one_input_and_one_output
from cosdd_zoo.export.running import first_line
from cosdd_zoo.inference.denoise import Denoiser, Piece
from cosdd_zoo.inference.estimate import Advance, Estimator
from cosdd_zoo.inference.windows import Bounds, cut

BLOCK_PX = {2: {"y": 512, "x": 512}, 3: {"z": 32, "y": 192, "x": 192}}
"""Blocks are of about this size, as far as the package lets one choose."""
HALO_PX = 128
"""More than any package of the zoo asks for on both sides of a block."""


class Foreign(Denoiser):
    """A model of a package that is not ours. Its results are float32: nobody says that they are grey values."""

    is_foreign = True

    def __init__(self, path: Path, device: str) -> None:
        """Raises PackageError for a package that is unsafe, damaged, or of another kind."""
        from bioimageio.core.digest_spec import get_test_input_sample, get_test_output_sample
        from bioimageio.spec import load_description
        from bioimageio.spec.model import v0_4, v0_5

        weights, self._digest = _checked(path)
        try:
            with quiet_bioimageio():
                # from memory: core reads of it as long as the model lives
                archive = zipfile.ZipFile(BytesIO(path.read_bytes()))
                described = load_description(archive, perform_io_checks=False)
                if not isinstance(described, (v0_4.ModelDescr, v0_5.ModelDescr)):
                    raise ValueError(first_line(described.validation_summary.format()))
                tests = (get_test_input_sample(described), get_test_output_sample(described))
            shapes = [dict(next(iter(sample.members.values())).tagged_shape) for sample in tests]
        except Exception as error:  # whatever core finds wrong
            raise PackageError(f"{path.name} cannot be read by bioimageio.core: {error}") from error
        self.described: Any = described
        spatial = [a for a in shapes[0] if str(a) in "zyx"]
        channels = [int(shape.get("channel", 1)) for shape in shapes]
        if any(shapes[0][a] != shapes[1].get(a) for a in spatial):
            raise PackageError(
                f"{path.name} makes an image of another size ({shapes[1]}) than it takes ({shapes[0]}): models that "
                "scale or crop are not run here."
            )
        super().__init__(torch.nn.Identity(), preset("tiny", n_dims=len(spatial), n_channels=channels[0]), device)
        self.n_out_channels = channels[1]
        self._weights = weights
        self._pipeline: Any = None
        self.sizes_are_named = not isinstance(self.described.inputs[0].axes, str)
        self.sizes, self.fixed = _sizes(self.described, [str(a) for a in spatial])

    @property
    def digest(self) -> str:
        return self._digest

    @property
    def default_samples(self) -> int:
        return 0

    def estimator(self, n_samples: int, direct: bool = False, seed: int = 0, tolerance: float = 0.0) -> Estimator:
        if direct or tolerance or n_samples:
            raise ConfigError("This package is not ours: it draws no samples. Leave out --samples and --direct.")
        return Estimator(self.engine, 0)

    def windows(self, size: list[int], *_: Any) -> tuple[list[int], list[int]]:
        """The whole item: core makes the blocks."""
        return list(size), [0] * len(size)

    def piece(self, x: Array, bounds: Bounds, compute: Any, advance: Advance = lambda share: None, *_: Any) -> Piece:
        """x [C, *], a whole item -> what the package makes of it. Raises PackageError where core fails."""
        import xarray
        from bioimageio.core import create_prediction_pipeline
        from bioimageio.core.digest_spec import create_sample_for_model

        dims = ("batch", "channel", *"zyx"[3 - (x.ndim - 1) :])
        axes, sides = dims[2:], x.shape[1:]
        block = BLOCK_PX[len(axes)]
        n = {a: max(0, (block[a] - m) // s) for a, (m, s) in zip(axes, self.sizes, strict=False)}
        is_small = bool(self.sizes) and all(size <= block[a] for a, size in zip(axes, sides, strict=True))
        if is_small:  # at once, at a size that the package takes
            least = [m + -(-max(0, size - m) // s) * s for (m, s), size in zip(self.sizes, sides, strict=True)]
        elif self.sizes:  # core wants an image to be larger than a block and its halo
            least = [m + n[a] * s + HALO_PX for a, (m, s) in zip(axes, self.sizes, strict=True)]
        else:
            least = list(self.fixed.values())
        given = xarray.DataArray(_at_least(np.asarray(x, np.float32), least)[None], dims=dims)
        try:
            with quiet_bioimageio():
                if self._pipeline is None:
                    self._pipeline = create_prediction_pipeline(
                        self.described, weight_format=self._weights, devices=[str(self.device)]
                    )
                    self._pipeline.load()
                sample = create_sample_for_model(self.described, inputs=given)
                if is_small:
                    found = self._pipeline.predict_sample_without_blocking(sample)
                elif self.sizes:
                    each = {(self.described.inputs[0].id, a): k for a, k in n.items() if self.sizes_are_named}
                    found = self._pipeline.predict_sample_with_blocking(sample, ns=each or min(n.values()))
                else:
                    shape = {self.described.inputs[0].id: self.fixed}
                    found = self._pipeline.predict_sample_with_fixed_blocking(sample, input_block_shape=shape)
        except Exception as error:  # of the model, of core, or of the memory
            raise PackageError(
                f"The package could not be run on an image of {' x '.join(map(str, x.shape))}: "
                f"{type(error).__name__}: {error}"
            ) from error
        data = next(iter(found.members.values())).data
        named = {
            ("b" if str(d) == "batch" else "c" if str(d) == "channel" else str(d)): i for i, d in enumerate(data.dims)
        }
        y = np.asarray(data.values, np.float32).transpose([named[a] for a in ("b", "c", *dims[2:])])[0]
        y = y[(slice(None), *(slice(n) for n in x.shape[1:]))]
        advance(1.0)
        return Piece(cut(y, bounds), np.zeros_like(y), 0)


def _checked(path: Path) -> tuple[Any, str]:
    """The format of weights that is safe to run, and their checksum."""
    with open_archive(path) as archive:
        package = Package(archive, archive.description())
        problems = [*one_input_and_one_output(package), *axes_are_batch_channel_space(package)]
        if problems:
            raise PackageError(f"{path.name} is not a model that can be run here: {'; '.join(problems)}.")
        for name in ("torchscript", "onnx"):
            source = package.get("weights", name, "source")
            if not isinstance(source, str) or source not in archive.names:
                continue
            if name == "torchscript" and kind_of_weights(archive.read(source)) != "torchscript":
                continue
            if name == "onnx" and not importlib.util.find_spec("onnxruntime"):
                raise PackageError(f"{path.name} holds ONNX weights alone: pip install 'cosdd-zoo[onnx]' to run them.")
            return name, archive.sha256(source)
        said = ", ".join(sorted(map(str, package.get("weights") or {}))) or "none"
        raise PackageError(
            f"{path.name} holds weights that are not run here ({said}): TorchScript or ONNX are, since no code of a "
            "package is."
        )


def _sizes(described: Any, spatial: Sequence[str]) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """Along the spatial axes: (min, step) px, or for a model of one size alone that one."""
    one = described.inputs[0]
    if isinstance(one.axes, str):  # of format 0.4
        shape, at = one.shape, [one.axes.index(a) for a in spatial]
        if hasattr(shape, "step"):
            return [(int(shape.min[i]), max(1, int(shape.step[i]))) for i in at], {}
        return [], {a: int(shape[i]) for a, i in zip(spatial, at, strict=True)}
    sizes = {str(axis.id): axis.size for axis in one.axes if hasattr(axis, "size")}
    if all(isinstance(sizes[a], int) for a in spatial):
        return [], {a: int(sizes[a]) for a in spatial}
    pairs = [(s, 1) if isinstance(s, int) else (int(s.min), max(1, int(s.step))) for s in (sizes[a] for a in spatial)]
    return pairs, {}


def _at_least(x: Array, least: Sequence[int]) -> Array:
    """Mirrored at its end until no axis is shorter than the model takes: [C, *] -> larger [C, *]."""
    missing = [(0, 0), *((0, max(0, m - n)) for m, n in zip(least, x.shape[1:], strict=True))]
    return np.ascontiguousarray(np.pad(x, missing, mode="symmetric") if any(m for _, m in missing) else x)
