"""The rules that are judged by the graph's own text: its operators, and what it is made of."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from cosdd_zoo.export.judged import Outcome
from cosdd_zoo.export.targets import ALL, JDLL
from cosdd_zoo.export.torchscript import op_names

if TYPE_CHECKING:
    from cosdd_zoo.export.torchscript import ScriptModule

MAX_ARCHIVE_VERSION = 10
"""Of a TorchScript archive that libtorch 1.13.1 opens."""
_RANDOM = {
    f"aten::{name}{end}"
    for name in (
        "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli",
        "multinomial", "binomial", "poisson", "uniform", "exponential", "cauchy", "geometric", "log_normal", "random",
    )
    for end in ("", "_")
}  # fmt: skip


class Graph(NamedTuple):
    module: ScriptModule
    weights: bytes  # the archive it was loaded from


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


def _runs_in_old_libtorch(graph: Graph) -> Outcome:
    newer = newer_ops(op_names(graph.module))
    if newer:
        return Outcome.failed(
            f"the graph refers to {', '.join(newer[:5])}, which QuPath 0.5 does not have, and deepImageJ may not: "
            f"build it of older operators",
        )
    return Outcome("holds", "it has all of the graph's operators")


def _draws_nothing(graph: Graph) -> Outcome:
    """Operators that draw from a generator, whose state differs from program to program."""
    drawing = sorted({name for name in op_names(graph.module) if name.partition(".")[0] in _RANDOM})
    if drawing:
        return Outcome.failed(
            f"the graph draws random numbers ({', '.join(drawing[:3])}), so no result is repeated: take "
            f"them from the places of the pixels"
        )
    return Outcome("holds", "no operator that draws any")


def _can_be_moved(graph: Graph) -> Outcome:
    n = len(list(graph.module.parameters()))
    if n == 0:
        return Outcome.failed("the graph has no parameters, so ilastik cannot move it to a GPU: do not freeze it")
    return Outcome("holds", f"{n} parameters")


def _is_in_eval_mode(graph: Graph) -> Outcome:
    training = [name or "the whole" for name, part in graph.module.named_modules() if _trains(part)]
    if training:
        said = f"saved in training mode ({training[0]}): call .eval() before saving"
        return Outcome("unknown", f"{said}; programs that do not call it get other results")
    return Outcome("holds", "")


def _trains(part: nn.Module) -> bool:
    return bool(getattr(part, "training", False))  # frozen ones do not say


def _is_an_archive_of_old_libtorch(graph: Graph) -> Outcome:
    with zipfile.ZipFile(io.BytesIO(graph.weights)) as file:
        versions = [int(file.read(n)) for n in file.namelist() if n.count("/") == 1 and n.endswith("/version")]
    if versions and versions[0] <= MAX_ARCHIVE_VERSION:
        return Outcome("holds", f"version {versions[0]}")
    found = f"version {versions[0]}" if versions else "of no version"
    return Outcome.failed(f"the archive is {found}, and libtorch 1.13.1 opens up to {MAX_ARCHIVE_VERSION}")


GRAPH_RULES: dict[str, tuple[Callable[[Graph], Outcome], tuple[str, ...]]] = {
    "operators of libtorch 1.13.1": (_runs_in_old_libtorch, (*JDLL, "qupath")),
    "archive of libtorch 1.13.1": (_is_an_archive_of_old_libtorch, (*JDLL, "qupath")),
    "not frozen": (_can_be_moved, ("ilastik", "core")),
    "in eval mode": (_is_in_eval_mode, ALL),
    "no random numbers": (_draws_nothing, ALL),
}
