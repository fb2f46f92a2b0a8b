"""The rules that are judged by running the model: it loads, agrees with its own test output, and takes what users
will give it.

Letters: B batch, C channels, * spatial axes (z,) y, x.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosdd_zoo.errors import PackageError
from cosdd_zoo.export.archive import kind_of_weights
from cosdd_zoo.export.rdf import ZScore, processing_of
from cosdd_zoo.export.rules import Package, Rule
from cosdd_zoo.export.torchscript import load_script, op_names

if TYPE_CHECKING:
    from cosdd_zoo.export.torchscript import ScriptModule

Array = NDArray[np.float32]

ZOO_ABSOLUTE, ZOO_RELATIVE = 1.5e-4, 1e-4
"""What the zoo's test of deepImageJ allows: |difference| <= absolute + relative * |expected|."""

_KINDS = {"pickle": "a pickle, which can run any program when it is opened", "unknown": "no TorchScript archive"}


class Difference(NamedTuple):
    """Two arrays compared."""

    largest: float
    n_beyond: int  # elements beyond the allowed difference

    def __str__(self) -> str:
        return f"largest difference {self.largest:.2g}"


class Model(NamedTuple):
    """A package's graph, test tensors [B, C, *] and what it promises about them."""

    module: ScriptModule
    processing: ZScore | None
    test_input: Array
    test_output: Array
    absolute: float
    relative: float

    def __call__(self, x: Array) -> Array:
        return run_graph(self.module, x, self.processing)


class Verdict(NamedTuple):
    passed: bool
    detail: str


def loaded(package: Package) -> ScriptModule:
    """The package's graph on the CPU. Raises PackageError when there is none, or none that is safe to open."""
    source = package.get("weights", "torchscript", "source")
    if not isinstance(source, str) or source not in package.archive.names:
        raise PackageError("there are no TorchScript weights, so the model cannot be run")
    weights = package.archive.read(source)
    kind = kind_of_weights(weights)
    if kind != "torchscript":
        raise PackageError(f"{source} is {_KINDS[kind]}, so it was not opened: export TorchScript instead")
    try:
        return load_script(weights)
    except Exception as error:  # TorchScript raises kinds of its own
        raise PackageError(f"{source} cannot be loaded: {first_line(error)}") from None


def run_rules(module: ScriptModule, package: Package) -> Iterator[Rule]:
    """The rules on the graph itself, and those that are measured."""
    yield Rule("libtorch 1.13.1", *_runs_in_old_libtorch(module))
    yield Rule("not frozen", *_can_be_moved(module))
    try:
        model = _model(module, package)
    except (PackageError, TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        yield Rule("reproduces its test output", False, f"the test tensors cannot be read: {first_line(error)}")
        return
    for name, rule in _MEASURED.items():
        try:
            yield Rule(name, *rule(model))
        except Exception as error:  # TorchScript raises kinds of its own; whatever it is, the model fails
            yield Rule(name, False, f"the model fails: {last_line(error)}")


def run_graph(module: ScriptModule, x: Array, processing: ZScore | None = None) -> Array:
    """The module on x [B, C, *], raw grey values, on the CPU: [B, C', *]. Raises TypeError if it returns no tensor."""
    if processing is None:
        return _forward(module, x)
    columns = (-1,) + (1,) * (x.ndim - 2)
    mean, std = (np.array(v, dtype=np.float32).reshape(columns) for v in processing)
    y = _forward(module, (x - mean) / std)
    n_more = y.shape[1] // len(mean) - 1  # standard deviations, which are scaled but not moved
    gain, offset = np.concatenate([std, *[std] * n_more]), np.concatenate([mean, *[0 * mean] * n_more])
    grey: Array = (y * gain + offset).astype(np.float32)
    return grey


def difference(found: Array, expected: Array, absolute: float, relative: float) -> Difference:
    """How far two arrays of one shape differ; NaN counts as beyond."""
    d = np.abs(found.astype(np.float64) - expected)
    return Difference(float(d.max(initial=0)), int((~(d <= absolute + relative * np.abs(expected))).sum()))


@cache
def libtorch_ops() -> dict[str, frozenset[str]]:
    """The operators of libtorch 1.13.1, the oldest that packages run in, with their overloads."""
    text = files("cosdd_zoo.export").joinpath("libtorch_1.13.1_ops.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name: frozenset(overloads) for name, *overloads in lines}


def newer_ops(names: list[str]) -> list[str]:
    """Those operators, e.g. aten::add.Tensor, that libtorch 1.13.1 does not have."""
    split = [(n, *n.partition(".")[::2]) for n in names]
    return [name for name, op, overload in split if (overload or "-") not in libtorch_ops().get(op, ())]


def first_line(error: object) -> str:
    """The beginning of an error's text, or its kind where it has none."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def last_line(error: object) -> str:
    """The end of an error's text: TorchScript tells the reason after its traceback."""
    return (str(error).strip() or repr(error)).splitlines()[-1]


def _forward(module: ScriptModule, x: Array) -> Array:
    with torch.no_grad():
        y = module.eval()(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
    if not isinstance(y, Tensor):
        raise TypeError(f"it returns {type(y).__name__} instead of one tensor")
    found: Array = y.numpy()
    return found


def _model(module: ScriptModule, package: Package) -> Model:
    stated = package.get("config", "bioimageio", "reproducibility_tolerance", 0)
    return Model(
        module,
        processing_of(package.rdf),
        _test_tensor(package, "inputs"),
        _test_tensor(package, "outputs"),
        float(stated.get("absolute_tolerance", 1e-3)),
        float(stated.get("relative_tolerance", 1e-3)),
    )


def _test_tensor(package: Package, side: str) -> Array:
    data: Any = package.archive.read(package.rdf[side][0]["test_tensor"]["source"])
    array: Array = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float32)
    return array


def _runs_in_old_libtorch(module: ScriptModule) -> Verdict:
    newer = newer_ops(op_names(module))
    if newer:
        return Verdict(
            False, f"the graph refers to {', '.join(newer[:5])}, which QuPath 0.5 and deepImageJ do not have"
        )
    return Verdict(True, "it has all of the graph's operators")


def _can_be_moved(module: ScriptModule) -> Verdict:
    n = len(list(module.parameters()))
    return Verdict(n > 0, f"{n} parameters" if n else "the graph has no parameters, so ilastik cannot move it to a GPU")


def _reproduces(model: Model) -> Verdict:
    found, expected = model(model.test_input), model.test_output
    if found.shape != expected.shape:
        return Verdict(False, f"the output's shape is {found.shape}, and {expected.shape} was expected")
    own = difference(found, expected, model.absolute, model.relative)
    zoo = difference(found, expected, ZOO_ABSOLUTE, ZOO_RELATIVE)
    n_beyond = max(own.n_beyond, zoo.n_beyond)
    too_far = f"; {n_beyond:,} of {found.size:,} values are further off than allowed" if n_beyond else ""
    return Verdict(n_beyond == 0, f"{zoo}{too_far}")


def _takes_batches(model: Model) -> Verdict:
    x = model.test_input
    found = model(np.concatenate([x, x[..., ::-1]]))
    if found.shape[0] != 2 * len(x):
        return Verdict(False, f"from {2 * len(x)} images it makes {found.shape[0]}")
    d = difference(found[: len(x)], model(x), ZOO_ABSOLUTE, ZOO_RELATIVE)
    return Verdict(d.n_beyond == 0, f"an image in a batch against alone: {d}")


def _takes_any_size(model: Model) -> Verdict:
    for size in (1, 7, 37):
        x = model.test_input
        for axis in range(2, x.ndim):
            x = np.take(x, range(min(size + 2 * axis - 4, x.shape[axis])), axis=axis)
        found = model(x)
        if found.shape[2:] != x.shape[2:]:
            return Verdict(False, f"from {x.shape[2:]} px it makes {found.shape[2:]}")
        if not np.isfinite(found).all():
            return Verdict(False, f"at {x.shape[2:]} px it makes values that are not finite")
    return Verdict(True, "from 1 px up")


_MEASURED: dict[str, Callable[[Model], Verdict]] = {
    "reproduces its test output": _reproduces,
    "batches": _takes_batches,
    "any image size": _takes_any_size,
}
