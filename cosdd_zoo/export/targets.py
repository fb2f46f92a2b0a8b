"""The programs that run packages, and what a rule can find about one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from cosdd_zoo.errors import ConfigError

State = Literal["holds", "fails", "unknown"]

PROGRAMS = {
    "fiji": "Fiji with deepImageJ 3",
    "icy": "Icy",
    "qupath": "QuPath 0.5 to 0.7",
    "ilastik": "ilastik 1.4.2",
    "core": "bioimageio.core",
    "zoo": "the BioImage Model Zoo",
}
ALL = tuple(PROGRAMS)
JDLL = ("fiji", "icy")
"""Fiji and Icy read and tile by the same library, JDLL 0.6."""


class Finding(NamedTuple):
    """What one rule says of a package in one target."""

    rule: str
    target: str
    state: State  # unknown: it cannot be known here
    detail: str  # why it fails and what to do, why it cannot be known, or what was measured


class Verdict(NamedTuple):
    """A rule judged, for all of the targets that it concerns."""

    rule: str
    targets: tuple[str, ...]
    state: State
    detail: str = ""

    def findings(self, wanted: tuple[str, ...]) -> list[Finding]:
        return [Finding(self.rule, t, self.state, self.detail) for t in wanted if t in self.targets]


def targets_of(names: Iterable[str]) -> tuple[str, ...]:
    """Those of PROGRAMS that are named, in its order; all of them for "all". "fiji,icy" names two. Raises ConfigError
    for an unknown one.
    """
    given = {name.strip().lower() for text in names for name in text.split(",")}
    unknown = sorted(given - {*ALL, "all"})
    if unknown:
        raise ConfigError(f"--target {unknown[0]} is unknown: use {', '.join(ALL)} or all.")
    return ALL if "all" in given or not given else tuple(t for t in ALL if t in given)
