"""The rules that are judged by running the model: it loads, agrees with its own test output, and takes what users
will give it.

Letters: B batch, C channels, * spatial axes (z,) y, x.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosdd_zoo.errors import PackageError
from cosdd_zoo.export.archive import kind_of_weights
from cosdd_zoo.export.graph_rules import GRAPH_RULES, Graph
from cosdd_zoo.export.judged import Outcome, Package, as_list
from cosdd_zoo.export.rdf import ZScore, processing_of
from cosdd_zoo.export.targets import ALL, JDLL, State, Verdict
from cosdd_zoo.export.torchscript import load_script, moved_to

if TYPE_CHECKING:
    from cosdd_zoo.export.torchscript import ScriptModule

Array = NDArray[np.float32]

ZOO_ABSOLUTE, ZOO_RELATIVE = 1.5e-4, 1e-4
"""What the zoo's test of deepImageJ allows: |difference| <= absolute + relative * |expected|."""

_STRIP_PX = {2: (530, 530), 3: (40, 530, 530)}
"""Longer than the windows of our graphs and the tiles of ilastik and QuPath."""
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
    dtypes: tuple[str, str]  # of the test tensors as they lie in the package
    channels: tuple[int, int]  # as many as the description names: of the input, of the output
    absolute: float
    relative: float
    fixed: tuple[bool, ...] = ()  # along *: whether the description allows one size alone
    halo: tuple[int, ...] = ()  # along *: px that the description states

    def __call__(self, x: Array) -> Array:
        return run_graph(self.module, x, self.processing)


class Measured(NamedTuple):
    rule: Callable[[Model], Outcome]
    targets: tuple[str, ...]


def loaded(package: Package) -> ScriptModule:
    """The package's graph on the CPU. Raises PackageError when there is none, or none that is safe to open."""
    source = package.get("weights", "torchscript", "source")
    if not isinstance(source, str) or source not in package.archive.names:
        raise PackageError("there are no TorchScript weights, so the model cannot be run")
    stated = package.get("weights", "torchscript", "sha256")
    if stated and stated != package.archive.sha256(source):
        raise PackageError(f"{source} is not the file whose sha256 was written down, so it was not opened: get it anew")
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
    weights = package.archive.read(package.rdf["weights"]["torchscript"]["source"])
    for name, (graph_rule, targets) in GRAPH_RULES.items():
        yield _verdict(name, targets, graph_rule(Graph(module, weights)))
    try:
        model = _model(module, package)
    except (PackageError, TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        state: State = "unknown" if package.is_0_4 else "fails"
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
    x, y = (_test_tensor(package, side) for side in ("inputs", "outputs"))
    return Model(
        module,
        processing_of(package.rdf),
        x.astype(np.float32),
        y.astype(np.float32),
        (str(x.dtype), str(y.dtype)),
        (_n_channels(package, "inputs"), _n_channels(package, "outputs")),
        float(stated.get("absolute_tolerance", 1e-3)),
        float(stated.get("relative_tolerance", 1e-3)),
        tuple(isinstance(axis.get("size"), int) for axis in package.space("inputs")),
        tuple(int(axis.get("halo", 0)) for axis in package.space("outputs")),
    )


def _test_tensor(package: Package, side: str) -> NDArray[Any]:
    data: Any = package.archive.read(package.rdf[side][0]["test_tensor"]["source"])
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _n_channels(package: Package, side: str) -> int:
    """Of a description: as many as it names, 1 where there is no axis of channels."""
    named = [as_list(a.get("channel_names")) for a in package.axes(side) if a.get("type") == "channel"]
    return len(named[0]) if named else 1


def _reproduces(model: Model) -> Outcome:
    found, expected = model(model.test_input), model.test_output
    if found.shape != expected.shape:
        return Outcome.failed(f"the output's shape is {found.shape}, and {expected.shape} was expected")
    own = difference(found, expected, model.absolute, model.relative)
    zoo = difference(found, expected, ZOO_ABSOLUTE, ZOO_RELATIVE)
    n_beyond = max(own.n_beyond, zoo.n_beyond)
    too_far = f"; {n_beyond:,} of {found.size:,} values are further off than allowed" if n_beyond else ""
    return Outcome("fails" if n_beyond else "holds", f"{zoo}{too_far}")


def _takes_batches(model: Model) -> Outcome:
    x = model.test_input
    found = model(np.concatenate([x, x[..., ::-1]]))
    if found.shape[0] != 2 * len(x):
        return Outcome.failed(f"from {2 * len(x)} images it makes {found.shape[0]}")
    d = difference(found[: len(x)], model(x), ZOO_ABSOLUTE, ZOO_RELATIVE)
    return Outcome("fails" if d.n_beyond else "holds", f"an image in a batch against alone: {d}")


def _is_the_same_when_padded(model: Model) -> Outcome:
    """As JDLL and bioimageio.core pad: mirrored by the halo on each side, which is cut off afterwards."""
    if any(model.fixed) or not any(model.halo):
        return Outcome("holds", "of the fixed size alone" if any(model.fixed) else "there is no halo")
    y = model(np.pad(model.test_input, [(0, 0), (0, 0), *((h, h) for h in model.halo)], mode="symmetric"))
    for axis, h in enumerate(model.halo, 2):
        y = np.take(y, range(h, y.shape[axis] - h), axis=axis)
    d = difference(y, model.test_output, ZOO_ABSOLUTE, ZOO_RELATIVE)
    if d.n_beyond:
        return Outcome("unknown", f"JDLL and core give it mirrored borders, and then it is another image: {d}")
    return Outcome("holds", f"with mirrored borders: {d}")


def _takes_any_size(model: Model) -> Outcome:
    """Images of a few pixels, and strips that are longer than any window or tile; fixed sizes are left alone."""
    for wanted in _sizes(model):
        x = model.test_input
        for axis, n_px in enumerate(wanted, 2):
            x = np.take(x, range(n_px), axis=axis, mode="wrap")
        found = model(x)
        if found.shape[2:] != x.shape[2:]:
            return Outcome.failed(f"from {x.shape[2:]} px it makes {found.shape[2:]}")
        if not np.isfinite(found).all():
            return Outcome.failed(f"at {x.shape[2:]} px it makes values that are not finite")
    return Outcome("holds", "of the fixed size alone" if all(model.fixed) else "tried from 1 to 530 px")


def _sizes(model: Model) -> Iterator[list[int]]:
    """Along *: about 1, 7 and 37 px, along each axis a little more than along the one before; a strip along each."""
    shape = model.test_input.shape[2:]
    free = [not fixed for fixed in model.fixed]
    for size in (1, 7, 37):
        yield [min(size + 2 * i, n) if free[i] else n for i, n in enumerate(shape)]
    for long, n_free in enumerate(free):
        if n_free:
            narrow = [min(n, 40) if f else n for n, f in zip(shape, free, strict=True)]
            narrow[long] = _STRIP_PX[len(shape)][long]
            yield narrow


def _is_float32(model: Model) -> Outcome:
    """What the files hold and the graph returns, whatever the description says."""
    with torch.no_grad():
        found = model.module(torch.from_numpy(model.test_input)).dtype
    wrong = [f"the test {side} is {dtype}" for side, dtype in zip(("input", "output"), model.dtypes, strict=True)]
    said = [text for text in wrong if not text.endswith("float32")]
    if found != torch.float32:
        said.append(f"the graph returns {found}")
    return Outcome.failed(f"{'; '.join(said)}: make it float32") if said else Outcome("holds", "")


def _has_the_channels_that_are_named(model: Model) -> Outcome:
    for side, x, named in zip(("input", "output"), (model.test_input, model.test_output), model.channels, strict=True):
        if x.shape[1] != named:
            return Outcome.failed(
                f"the test {side} has {x.shape[1]} channels, and {named} are named: name all, since "
                f"deepImageJ and ilastik take just as many"
            )
    return Outcome("holds", "")


def _runs_elsewhere(model: Model) -> Outcome:
    """On a device without values, which stands for a GPU: what was made for the CPU alone, and tensors that are neither
    parameter nor buffer, stay behind on the CPU, and the graph fails there as well.
    """
    moved = moved_to(load_script(bytes(model.module.save_to_buffer())), "meta")
    with torch.no_grad():
        y = moved(torch.empty(model.test_input.shape, device="meta"))
    if tuple(y.shape) != model.test_output.shape:
        return Outcome.failed(f"on another device it makes {tuple(y.shape)}")
    return Outcome("holds", "loaded, then moved to a device without values, in place of a GPU")


def _verdict(name: str, targets: tuple[str, ...], outcome: Outcome) -> Verdict:
    return Verdict(name, targets, outcome.state, outcome.detail)


REPRODUCES = "reproduces its test output"
_MEASURED: dict[str, Measured] = {
    REPRODUCES: Measured(_reproduces, ALL),
    "float32 in fact": Measured(_is_float32, ALL),
    "channels that are named": Measured(_has_the_channels_that_are_named, ALL),
    "batches": Measured(_takes_batches, ("ilastik", "core", "zoo")),
    "padded by its halo": Measured(_is_the_same_when_padded, (*JDLL, "core", "zoo")),
    "any image size": Measured(_takes_any_size, ALL),
    "other devices": Measured(_runs_elsewhere, (*JDLL, "ilastik", "core", "qupath")),
}
