"""A check's report as lines of text: what holds in which program, and what to do where it does not."""

from __future__ import annotations

from collections.abc import Iterable

from cosdd_zoo.export.check import CheckReport
from cosdd_zoo.export.targets import Finding, State

MARKS: dict[State, str] = {"holds": "yes", "fails": "NO", "unknown": "?"}


def lines(report: CheckReport) -> list[str]:
    """For one target a line a rule; for several a table with a line a rule, then a line for each that does not hold."""
    if len(report.targets) == 1:
        return [*map(_line, report.findings), _summary(report)]
    rest = _grouped(f for f in report.findings if f.state != "holds")
    return [*_table(report), "", *rest, _summary(report)]


def _table(report: CheckReport) -> list[str]:
    width = max(map(len, report.rules))
    head = " " * width + "".join(f"  {t:>7}" for t in report.targets)
    body = []
    for rule in report.rules:
        marks = {f.target: MARKS[f.state] for f in report.of_rule(rule)}
        body.append(f"{rule:<{width}}" + "".join(f"  {marks.get(t, '.'):>7}" for t in report.targets))
    return [head, *body]


def _line(finding: Finding) -> str:
    return f"{finding.state:<8} {finding.rule}" + (f": {finding.detail}" if finding.detail else "")


def _grouped(findings: Iterable[Finding]) -> list[str]:
    """What is said alike of several targets is said once."""
    groups: dict[Finding, list[str]] = {}
    for f in findings:
        groups.setdefault(f._replace(target=""), []).append(f.target)
    return [f"{_line(f)}  [{', '.join(targets)}]" for f, targets in groups.items()]


def _summary(report: CheckReport) -> str:
    against = [t for t in report.targets if t not in (*report.runs_in, *report.undecided)]
    parts = {
        "nothing speaks against": report.runs_in,
        "fails in": against,
        "not run, so not known:": report.undecided,
    }
    return "; ".join(f"{words} {', '.join(targets)}" for words, targets in parts.items() if targets) + "."
