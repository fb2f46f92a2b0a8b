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
from cosdd_zoo.export.judged import Package
from cosdd_zoo.export.rdf import ZScore, processing_of
from cosdd_zoo.export.targets import ALL, JDLL, State, Verdict
from cosdd_zoo.export.torchscript import load_script, op_names

if TYPE_CHECKING:
    from cosdd_zoo.export.torchscript import ScriptModule

Array = NDArray[np.float32]

ZOO_ABSOLUTE, ZOO_RELATIVE = 1.5e-4, 1e-4
"""What the zoo's test of deepImageJ allows: |difference| <= absolute + relative * |expected|."""

_RANDOM = {
    f"aten::{name}{end}"
    for name in (
        "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli",
        "multinomial", "poisson", "uniform", "exponential", "cauchy", "geometric", "log_normal", "random",
    )
    for end in ("", "_")
}  # fmt: skip
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
    fixed: tuple[bool, ...] = ()  # along *: whether the description allows one size alone

    def __call__(self, x: Array) -> Array:
        return run_graph(self.module, x, self.processing)


class Outcome(NamedTuple):
    passed: bool
    detail: str


class Measured(NamedTuple):
    rule: Callable[[Model], Outcome]
    targets: tuple[str, ...]


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


def run_rules(module: ScriptModule, package: Package) -> Iterator[Verdict]:
    """The rules on the graph itself, and those that are measured."""
    for name, (graph_rule, targets) in _OF_THE_GRAPH.items():
        yield _verdict(name, targets, graph_rule(module))
    try:
        model = _model(module, package)
    except (PackageError, TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        state: State = "unknown" if str(package.get("format_version")).startswith("0.4.") else "fails"
        yield Verdict(REPRODUCES, ALL, state, f"the test tensors cannot be read: {first_line(error)}")
        return
    for name, (rule, targets) in _MEASURED.items():
        try:
            yield _verdict(name, targets, rule(model))
        except Exception as error:  # TorchScript raises kinds of its own; whatever it is, the model fails
            yield Verdict(name, targets, "fails", f"the model fails: {last_line(error)}")


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
        tuple(isinstance(axis.get("size"), int) for axis in package.space("inputs")),
    )


def _test_tensor(package: Package, side: str) -> Array:
    data: Any = package.archive.read(package.rdf[side][0]["test_tensor"]["source"])
    array: Array = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float32)
    return array


def _runs_in_old_libtorch(module: ScriptModule) -> Outcome:
    newer = newer_ops(op_names(module))
    if newer:
        return Outcome(
            False,
            f"the graph refers to {', '.join(newer[:5])}, which QuPath 0.5 does not have, and deepImageJ may not: "
            f"build it of older operators",
        )
    return Outcome(True, "it has all of the graph's operators")


def _draws_nothing(module: ScriptModule) -> Outcome:
    """Operators that draw from a generator, whose state differs from program to program."""
    drawing = sorted({name for name in op_names(module) if name.partition(".")[0] in _RANDOM})
    if drawing:
        return Outcome(False, f"the graph draws random numbers ({', '.join(drawing[:3])}), so no result is repeated")
    return Outcome(True, "the result is a function of the image")


def _can_be_moved(module: ScriptModule) -> Outcome:
    n = len(list(module.parameters()))
    return Outcome(n > 0, f"{n} parameters" if n else "the graph has no parameters, so ilastik cannot move it to a GPU")


def _reproduces(model: Model) -> Outcome:
    found, expected = model(model.test_input), model.test_output
    if found.shape != expected.shape:
        return Outcome(False, f"the output's shape is {found.shape}, and {expected.shape} was expected")
    own = difference(found, expected, model.absolute, model.relative)
    zoo = difference(found, expected, ZOO_ABSOLUTE, ZOO_RELATIVE)
    n_beyond = max(own.n_beyond, zoo.n_beyond)
    too_far = f"; {n_beyond:,} of {found.size:,} values are further off than allowed" if n_beyond else ""
    return Outcome(n_beyond == 0, f"{zoo}{too_far}")


def _takes_batches(model: Model) -> Outcome:
    x = model.test_input
    found = model(np.concatenate([x, x[..., ::-1]]))
    if found.shape[0] != 2 * len(x):
        return Outcome(False, f"from {2 * len(x)} images it makes {found.shape[0]}")
    d = difference(found[: len(x)], model(x), ZOO_ABSOLUTE, ZOO_RELATIVE)
    return Outcome(d.n_beyond == 0, f"an image in a batch against alone: {d}")


def _takes_any_size(model: Model) -> Outcome:
    """Of 1, 7 and 37 px, along each axis a little more than along the one before; fixed sizes are left alone."""
    for size in (1, 7, 37):
        x = model.test_input
        for axis in range(2, x.ndim):
            n_px = x.shape[axis] if model.fixed[axis - 2] else min(size + 2 * axis - 4, x.shape[axis])
            x = np.take(x, range(n_px), axis=axis)
        found = model(x)
        if found.shape[2:] != x.shape[2:]:
            return Outcome(False, f"from {x.shape[2:]} px it makes {found.shape[2:]}")
        if not np.isfinite(found).all():
            return Outcome(False, f"at {x.shape[2:]} px it makes values that are not finite")
    return Outcome(True, "of the fixed size alone" if all(model.fixed) else "from 1 px up")


def _runs_elsewhere(model: Model) -> Outcome:
    """On a device without values, which stands for a GPU: what was made for the CPU alone fails there as well."""
    moved = load_script(bytes(model.module.save_to_buffer()), "meta")
    with torch.no_grad():
        y = moved(torch.empty(model.test_input.shape, device="meta"))
    if tuple(y.shape) != model.test_output.shape:
        return Outcome(False, f"on another device it makes {tuple(y.shape)}")
    return Outcome(True, "loaded on a device without values, in place of a GPU")


def _verdict(name: str, targets: tuple[str, ...], outcome: Outcome) -> Verdict:
    return Verdict(name, targets, "holds" if outcome.passed else "fails", outcome.detail)


REPRODUCES = "reproduces its test output"
_OF_THE_GRAPH: dict[str, tuple[Callable[[ScriptModule], Outcome], tuple[str, ...]]] = {
    "operators of libtorch 1.13.1": (_runs_in_old_libtorch, (*JDLL, "qupath")),
    "not frozen": (_can_be_moved, ("ilastik", "core")),
    "no random numbers": (_draws_nothing, ALL),
}
_MEASURED: dict[str, Measured] = {
    REPRODUCES: Measured(_reproduces, ALL),
    "batches": Measured(_takes_batches, ("ilastik", "core", "zoo")),
    "any image size": Measured(_takes_any_size, ALL),
    "other devices": Measured(_runs_elsewhere, (*JDLL, "ilastik", "core", "qupath")),
}
