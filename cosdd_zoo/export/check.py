"""Does a package run in every consumer? Its description against the rules, its graph by running it, and
bioimageio.core's own test. Nothing is downloaded, nothing is unpickled, and nothing is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cosdd_zoo.errors import PackageError
from cosdd_zoo.export.archive import open_archive
from cosdd_zoo.export.rules import RULES, Package, Rule, checksums_agree, files_are_inside
from cosdd_zoo.export.running import first_line, loaded, run_rules

if TYPE_CHECKING:
    from bioimageio.spec.summary import ValidationSummary

# what core runs. People and citations are left out: core looks them up in the network, and fails without one
_RUN_BY_CORE = ("format_version", "type", "name", "license", "documentation", "covers", "inputs", "outputs", "config")


class CheckReport(NamedTuple):
    path: Path
    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if not rule.passed)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: {"path", "passed", "rules": [{"name", "passed", "detail"}]}."""
        return {"path": str(self.path), "passed": self.passed, "rules": [rule._asdict() for rule in self.rules]}


def check(path: str | Path) -> CheckReport:
    """Judge a package by all rules. A model that others made is judged too, and fails where it differs.

    Raises PackageError for a file that is no package at all, or not a safe one.
    """
    with open_archive(path) as archive:
        package = Package(archive, archive.description())
        written = [_judged(name, rule, package) for name, rule in RULES.items()]
        return CheckReport(Path(path), (*written, _valid_format(package), *_running(package)))


def _judged(name: str, rule: Callable[[Package], Iterator[str]], package: Package) -> Rule:
    """Foreign descriptions can have any form: what a rule cannot read, it cannot pass."""
    try:
        problems = list(rule(package))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        problems = [f"the description has an unknown form here ({error!r})"]
    return Rule(name, not problems, "; ".join(problems))


def _valid_format(package: Package) -> Rule:
    """The description as it stands in the zip, whole, by bioimageio.spec."""
    from bioimageio.spec import InvalidDescr, load_description

    try:
        with quiet_bioimageio():
            found = load_description(package.archive.zip, perform_io_checks=False)
    except Exception as error:  # whatever a foreign description makes spec raise, it is not valid
        return Rule("bioimageio.spec", False, f"it cannot be read: {first_line(error)}")
    if isinstance(found, InvalidDescr):
        return Rule("bioimageio.spec", False, _sentence_of(found.validation_summary))
    return Rule("bioimageio.spec", True, "the format is valid")


def _running(package: Package) -> Iterator[Rule]:
    """The rules that run the model; none of them when it cannot be opened safely."""
    try:
        module = loaded(package)
    except PackageError as error:
        yield Rule("TorchScript", False, str(error))
        return
    yield Rule("TorchScript", True, "the weights are scripted")
    yield from run_rules(module, package)
    yield _core_rule(package)


def _core_rule(package: Package) -> Rule:
    """bioimageio.core's test: `passed` is wanted, as a failed reproduction only degrades it to `valid-format`."""
    if any(files_are_inside(package)) or any(checksums_agree(package)):
        return Rule("bioimageio.core", False, "not run, since files are missing or changed")
    try:
        summary = _core_summary(package)
    except Exception as error:  # as above
        return Rule("bioimageio.core", False, f"its test fails: {first_line(error)}")
    passed = summary.status == "passed"
    return Rule("bioimageio.core", passed, f"status {summary.status}" if passed else _sentence_of(summary))


def _core_summary(package: Package) -> ValidationSummary:
    from bioimageio.core import test_description
    from bioimageio.spec import ValidationContext

    rdf = {key: package.rdf[key] for key in _RUN_BY_CORE if key in package.rdf}
    rdf["weights"] = {"torchscript": package.rdf["weights"]["torchscript"]}
    context = ValidationContext(root=package.archive.zip, file_name=package.archive.description_name)
    with quiet_bioimageio(), context:
        return test_description(rdf, weight_format="torchscript", devices=["cpu"])


def _sentence_of(summary: ValidationSummary) -> str:
    errors = [f"{'.'.join(map(str, e.loc))}: {first_line(e.msg)}" for d in summary.details for e in d.errors]
    return f"status {summary.status}: " + ("; ".join(dict.fromkeys(errors)) or "no reason given")


@contextmanager
def quiet_bioimageio() -> Iterator[None]:
    """Its log and its libraries' warnings are for its developers; what it finds is in its summary."""
    from loguru import logger

    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.enable("bioimageio")
