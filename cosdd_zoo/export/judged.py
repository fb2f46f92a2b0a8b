"""A package as rules see it, and what a rule is.

A rule yields the sentences that speak against a package; one that yields none is kept. Rules read foreign descriptions
too, so they expect nothing of their form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cosdd_zoo.export.archive import Archive
from cosdd_zoo.export.targets import State

Problems = Iterator[str]


class Unknown(str):
    """A sentence that says why a rule cannot be judged here."""


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

    @property
    def is_0_4(self) -> bool:
        """Whether the description is of format 0.4, which names things otherwise."""
        return str(self.get("format_version")).startswith("0.4.")

    @property
    def formats(self) -> list[str]:
        """The formats of the weights, by their keys in the description."""
        weights = self.get("weights")
        return [str(key) for key in weights] if isinstance(weights, dict) else []

    def axes(self, side: str) -> list[dict[str, Any]]:
        """The axes of the first tensor of "inputs" or "outputs", those that are mappings."""
        return [a for a in as_list(self.get(side, 0, "axes")) if isinstance(a, dict)]

    def space(self, side: str) -> list[dict[str, Any]]:
        return [a for a in self.axes(side) if a.get("type") == "space"]


class Outcome(NamedTuple):
    """What a rule on the graph finds."""

    state: State
    detail: str

    @classmethod
    def failed(cls, detail: str) -> Outcome:
        return cls("fails", detail)


class Rule(NamedTuple):
    problems: Callable[[Package], Problems]
    targets: tuple[str, ...]
    of_the_kind: bool = False
    """Whether it speaks of the kind of model or a variant that was asked for: `export` writes such packages too."""
    reads_0_5: bool = True
    """Whether it reads what format 0.4 writes in another form."""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
