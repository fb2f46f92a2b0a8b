"""Trainings that differ in one thing: a setting, or an edit of a copy of the package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cosdd_zoo

PACKAGE = Path(cosdd_zoo.__file__).parent


class Edit(NamedTuple):
    """All places of `old` in a file of the package become `new`."""

    file: str
    old: str
    new: str


class Trial(NamedTuple):
    name: str
    settings: Mapping[str, Any] = {}
    edits: tuple[Edit, ...] = ()


def outcome(script: str, trial: Trial, *arguments: str) -> str:
    """What `script --one SETTINGS ARGUMENTS` prints, in a process of its own that imports the edited package.

    Raises CalledProcessError when it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        broken = edited_copy(Path(folder), trial.edits)
        command = [sys.executable, script, "--one", json.dumps(trial.settings), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(broken)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout


def edited_copy(folder: Path, edits: tuple[Edit, ...]) -> Path:
    """A folder that holds the package with the edits in it."""
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in edits:
        path = folder / PACKAGE.name / edit.file
        text = path.read_text(encoding="utf-8")
        assert edit.old in text, f"{edit.file} no longer says {edit.old!r}: edit what it says now"
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return folder
