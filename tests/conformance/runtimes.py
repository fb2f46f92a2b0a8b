"""The programs' versions of bioimageio.core and bioimageio.spec, each a folder that goes before the environment's own.

A folder holds the one or two packages of that version alone; all that they depend on is the environment's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Runtime(NamedTuple):
    name: str
    script: str  # beside this file
    needs: tuple[str, ...] = ()  # requirements; none: what is installed


CORES = (
    Runtime("core 0.11.0, spec 0.5.12.0 (the newest)", "inside_core.py"),
    Runtime(
        "core 0.10.4, spec 0.5.10.2 (the zoo's)",
        "inside_core.py",
        ("bioimageio.core==0.10.4", "bioimageio.spec==0.5.10.2"),
    ),
    Runtime(
        "core 0.10.2, spec 0.5.9.1 (ilastik 1.4.2's)",
        "inside_core.py",
        ("bioimageio.core==0.10.2", "bioimageio.spec==0.5.9.1"),
    ),
)
SPEC_VERSIONS = (
    "0.5.7.0", "0.5.7.1", "0.5.7.2", "0.5.7.3", "0.5.7.4", "0.5.8.0", "0.5.9.0", "0.5.9.1", "0.5.10.0", "0.5.10.1",
    "0.5.10.2", "0.5.11.0", "0.5.12.0", "0.5.13.0", "0.5.14.0", "0.5.14.1", "0.5.14.2", "0.5.14.3",
)  # fmt: skip
SPECS = tuple(
    Runtime(
        f"spec {v}",
        "inside_spec.py",
        (f"bioimageio.spec=={v}", *(["pydantic-extra-types"] if v == "0.5.13.0" else [])),
    )
    for v in SPEC_VERSIONS
)


def installed(runtime: Runtime, folder: Path) -> Path | None:
    """The runtime's folder, made where it is not there yet; None for what is installed anyway."""
    if not runtime.needs:
        return None
    target = folder / "-".join(runtime.needs).replace("==", "-")
    if not (target / "ready").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--upgrade", "--target", str(target), *runtime.needs], check=True)
        (target / "ready").touch()
    return target


def judged(runtime: Runtime, folder: Path, packages: list[Path]) -> list[dict[str, Any]]:
    """What the runtime prints of each package, in their order."""
    target = installed(runtime, folder)
    command = [sys.executable, "-W", "ignore", str(HERE / runtime.script), *map(str, packages)]
    environment = {**os.environ, **({"PYTHONPATH": str(target)} if target else {})}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    if len(lines) != len(packages):
        raise RuntimeError(f"{runtime.name} broke off: {found.stderr[-2000:]}")
    return lines
