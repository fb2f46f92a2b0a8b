"""Does a package run in every program? Its description against the rules, its graph by running it, and
bioimageio.core's own test. Nothing is downloaded, nothing is unpickled, and nothing is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cosdd_zoo.errors import PackageError
from cosdd_zoo.export.archive import open_archive
from cosdd_zoo.export.judged import Package, Rule, Unknown, as_list
from cosdd_zoo.export.rules import RULES, checksums_agree, files_are_inside
from cosdd_zoo.export.running import first_line, loaded, run_rules
from cosdd_zoo.export.targets import ALL, PROGRAMS, Finding, State, Verdict, targets_of

if TYPE_CHECKING:
    from bioimageio.spec.summary import ValidationSummary

# what core runs. People and citations are left out: core looks them up in the network, and fails without one.
# Format 0.4 wants them, so there they stay, without their accounts
_RUN_BY_CORE = (
    "format_version", "type", "name", "license", "documentation", "covers", "inputs", "outputs", "config",
    "test_inputs", "test_outputs", "timestamp",
)  # fmt: skip
_JDLL = (
    "these are the rules of its JDLL 0.6, as found by running that library. Where sizes are free it takes an image as "
    "one tile, and never returns above 50.3 million values, channels and planes counted"
)
TORCHSCRIPT = "TorchScript"
_NOT_STARTED = {
    "fiji": f"Fiji is not started: {_JDLL}",
    "icy": f"Icy is not started: {_JDLL}",
    "qupath": "QuPath is not started: these are the rules of its reader of descriptions, and of libtorch 1.13.1. It "
    "ignores the halo",
    "ilastik": "ilastik is not started: these are the rules of its libraries, bioimageio.core 0.10.2 and spec 0.5.9",
    "zoo": "its own tests and its reviewers have the last word",
}


class CheckReport(NamedTuple):
    path: Path
    targets: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing fails in any target of the report, of a model that was run."""
        return not self.failures and not self.undecided

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.state == "fails")

    @property
    def runs_in(self) -> tuple[str, ...]:
        """The targets in which nothing fails, of a model that was run."""
        return tuple(t for t in self.targets if t not in {f.target for f in self.failures} and t not in self.undecided)

    @property
    def undecided(self) -> tuple[str, ...]:
        """The targets in which nothing fails, but the model was not run, so that little is known."""
        not_run = {f.target for f in self.of_rule(TORCHSCRIPT) if f.state == "unknown"}
        return tuple(t for t in self.targets if t in not_run and t not in {f.target for f in self.failures})

    def of_rule(self, name: str) -> tuple[Finding, ...]:
        """What one rule says, a finding for each target that it concerns."""
        return tuple(f for f in self.findings if f.rule == name)

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of all rules that were judged, in their order."""
        return tuple(dict.fromkeys(f.rule for f in self.findings))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: {"path", "passed", "targets": {name: passes}, "findings": [{"rule", "target",
        "state", "detail"}]}.
        """
        return {
            "path": str(self.path),
            "passed": self.passed,
            "targets": {t: t in self.runs_in for t in self.targets},
            "findings": [f._asdict() for f in self.findings],
        }


def check(path: str | Path, targets: Iterable[str] = ("all",)) -> CheckReport:
    """Judge a package by all rules of some targets. What others made is judged too, and fails where it differs.

    targets: of fiji, icy, qupath, ilastik, core, zoo, or all. Raises ConfigError for another, and PackageError for a
    file that is no package at all, or not a safe one.
    """
    wanted = targets_of(targets)
    with open_archive(path) as archive:
        package = Package(archive, archive.description())
        findings = [f for verdict in _verdicts(package, wanted) for f in verdict.findings(wanted)]
    return CheckReport(Path(path), wanted, tuple(findings))


def _verdicts(package: Package, wanted: tuple[str, ...]) -> Iterator[Verdict]:
    for name, rule in RULES.items():
        yield _judged(name, rule, package)
    yield _valid_format(package)
    yield from _running(package, core={"core", "ilastik", "zoo"} & set(wanted) != set())
    for target, why in _NOT_STARTED.items():
        yield Verdict(f"{PROGRAMS[target]} itself", (target,), "unknown", why)


def _judged(name: str, rule: Rule, package: Package) -> Verdict:
    """Foreign descriptions can have any form: what a rule cannot read, it cannot pass."""
    if rule.reads_0_5 and package.is_0_4:
        version = package.get("format_version")
        return Verdict(name, rule.targets, "unknown", f"this rule does not read descriptions of format {version}")
    try:
        problems = list(rule.problems(package))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        problems = [f"the description has an unknown form here ({error!r})"]
    detail = "; ".join(problems)
    if problems and all(isinstance(p, Unknown) for p in problems):
        return Verdict(name, rule.targets, "unknown", detail)
    return Verdict(name, rule.targets, "fails" if problems else "holds", detail)


def _valid_format(package: Package) -> Verdict:
    """The description as it stands in the zip, whole, by bioimageio.spec."""
    from bioimageio.spec import InvalidDescr, load_description

    def verdict(state: State, said: str = "") -> Verdict:
        return Verdict("bioimageio.spec", ("ilastik", "core", "zoo"), state, said)

    try:
        with quiet_bioimageio():
            found = load_description(package.archive.zip, perform_io_checks=False)
    except Exception as error:  # whatever a foreign description makes spec raise, it is not valid
        return verdict("fails", f"it cannot be read: {first_line(error)}")
    if isinstance(found, InvalidDescr):
        return verdict("fails", _sentence_of(found.validation_summary))
    warned = list(dict.fromkeys(first_line(w.msg) for d in found.validation_summary.details for w in d.warnings))
    return verdict("unknown", f"it warns: {'; '.join(warned)}") if warned else verdict("holds")


def _running(package: Package, core: bool) -> Iterator[Verdict]:
    """The rules that run the model; none of them when it cannot be opened safely."""
    if "torchscript" not in package.formats:
        yield Verdict(TORCHSCRIPT, ALL, "unknown", "there are no TorchScript weights, and no others are run here")
        return
    try:
        module = loaded(package)
    except PackageError as error:
        yield Verdict(TORCHSCRIPT, ALL, "fails", str(error))
        return
    yield Verdict(TORCHSCRIPT, ALL, "holds", "the weights were loaded")
    yield from run_rules(module, package)
    if core:
        yield _core_verdict(package)


def _core_verdict(package: Package) -> Verdict:
    """bioimageio.core's test: `passed` is wanted, as a failed reproduction only degrades it to `valid-format`."""

    def verdict(problem: str, said: str = "") -> Verdict:
        return Verdict("bioimageio.core's test", ("core", "zoo"), "fails" if problem else "holds", problem or said)

    if any(files_are_inside(package)) or any(p for p in checksums_agree(package) if "was changed" in p):
        return verdict("not run, since files are missing or changed")
    try:
        summary = _core_summary(package)
    except Exception as error:  # as above
        return verdict(f"its test fails: {first_line(error)}")
    return verdict("" if summary.status == "passed" else _sentence_of(summary), f"status {summary.status}")


def _core_summary(package: Package) -> ValidationSummary:
    from bioimageio.core import test_description
    from bioimageio.spec import ValidationContext

    rdf = {key: package.rdf[key] for key in _RUN_BY_CORE if key in package.rdf}
    rdf["weights"] = {"torchscript": package.rdf["weights"]["torchscript"]}
    if package.is_0_4:
        rdf |= {key: package.rdf[key] for key in ("description", "cite") if key in package.rdf}
        rdf["authors"] = [{"name": str(a.get("name"))} for a in as_list(package.get("authors")) if isinstance(a, dict)]
    context = ValidationContext(root=package.archive.zip, file_name=package.archive.description_name)
    with quiet_bioimageio(), context:
        return test_description(rdf, weight_format="torchscript", devices=["cpu"])


def _sentence_of(summary: ValidationSummary) -> str:
    """In the library's own words, each with the place in the description that it speaks of, if any."""
    errors = [(".".join(map(str, e.loc)), first_line(e.msg)) for d in summary.details for e in d.errors]
    said = [f"{place}: {words}" if place else words for place, words in errors]
    return f"status {summary.status}: " + ("; ".join(dict.fromkeys(said)) or "no reason given")


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
