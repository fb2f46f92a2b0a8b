"""A model as an ONNX graph, for programs without libtorch and for browsers: `export --with onnx`.

    x [B, C, *] float32, raw grey values -> [B, C', *]; B and * are free

The graph has no windows, so that it needs memory in proportion to the image; its results are those of the TorchScript
graph. Whoever cuts tiles gives `origin`, int64, the absolute coordinates of the tile's first pixel along *: the same
pixel then gets the same latent noise in a tile as in the whole image. It is 0 unless it is given (in ONNX's terms an
input with an initial value), so that programs that know of one input alone run the graph too.

The packages onnx and onnxscript write it, onnxruntime runs it: `pip install cosdd-zoo[onnx]`.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cosdd_zoo.errors import ConfigError, PackageError
from cosdd_zoo.export.running import ZOO_ABSOLUTE, ZOO_RELATIVE, Difference, difference
from cosdd_zoo.export.torchscript import Portable

Array = NDArray[np.float32]

ORIGIN = "origin"
OPSET = 20
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_EXAMPLE_PX = {2: (96, 80), 3: (16, 96, 80)}
"""Sizes that differ, so that the exporter does not take one for another; divisible by every preset's stride."""


class OnePass(nn.Module):
    """A portable graph without its loop over windows."""

    def __init__(self, model: Portable) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        return self.model.denoise(x.float(), list(origin.unbind()))  # type: ignore[arg-type]  # integers of the graph


def check_onnx_is_here() -> None:
    """Raises ConfigError where the packages that write and run ONNX are not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"--with onnx needs {', '.join(missing)}: run `pip install cosdd-zoo[onnx]`.")


def to_onnx(model: Portable) -> bytes:
    """The file weights.onnx. Raises PackageError when the graph cannot be written."""
    import onnx

    n_dims = len(model.inner_px)
    n_channels = int(model.normalise.mean.size(1))
    x = 100.0 + torch.rand([2, n_channels, *_EXAMPLE_PX[n_dims]])
    free = {0: torch.export.Dim.DYNAMIC} | {2 + axis: torch.export.Dim.DYNAMIC for axis in range(n_dims)}
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            OnePass(model).cpu().eval(),
            (x, torch.zeros([n_dims], dtype=torch.int64)),
            dynamo=True,
            input_names=["input", ORIGIN],
            output_names=["output"],
            dynamic_shapes=(free, None),
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise PackageError("The model cannot be written as ONNX: export it without --with onnx.")
    made = program.model_proto
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(n_dims, dtype=np.int64), ORIGIN))
    made.producer_name = "cosdd_zoo"
    buffer = io.BytesIO()
    onnx.save(made, buffer)
    return buffer.getvalue()


def run_onnx(weights: bytes, x: Array, origin: list[int] | None = None) -> Array:
    """The graph on x [B, C, *], raw grey values, by onnxruntime on the CPU: [B, C', *]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of an input that has an initial value
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    given: dict[str, Any] = {"input": np.ascontiguousarray(x, dtype=np.float32)}
    if origin is not None:
        given[ORIGIN] = np.array(origin, dtype=np.int64)
    found: Array = session.run(None, given)[0]
    return found


def check_onnx(weights: bytes, x: Array, y: Array) -> None:
    """Raises PackageError unless onnxruntime makes y of x, up to rounding."""
    apart = apart_from(run_onnx(weights, x), y)
    if apart.n_beyond:
        raise PackageError(
            f"The ONNX graph differs from the TorchScript graph ({apart}), so that nothing was written: export it "
            f"without --with onnx."
        )


def apart_from(found: Array, y: Array) -> Difference:
    """How far a result differs, and where by more than 1e-4 of the value and 1e-4 of the image's standard deviation:
    rounding is in proportion to the grey values' scale, also where one of them, or a standard deviation, is near zero.
    """
    return difference(found, y, max(ZOO_ABSOLUTE, 1e-4 * float(y[:, 0].std())), ZOO_RELATIVE)


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter tells of its own inner works by warnings and log lines."""
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("torch").setLevel(level)
