"""The programs' versions of bioimageio.core and bioimageio.spec, to be run by a Python of their own.

    python tests/conformance/runtimes.py FOLDER      installs them as overlays, for the tests of every day

An overlay is a folder that goes before the environment's own packages, and holds the one or two packages of that
version alone: all that they depend on is the environment's. An environment is a real one, with the dependencies that
these packages ask for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
APART_STD = 0.05
"""Of the image: what blocks of a trained package may differ by from its whole, on the model's grid and away from the
image's edges. Measured of tests/kept/direct-two-channels.zip: 6e-7 in core 0.11.0 and 0.10.4, 0 in 0.10.2.
"""


class Runtime(NamedTuple):
    name: str
    script: str  # beside this file
    needs: tuple[str, ...] = ()  # requirements; none: what is installed
    with_dependencies: bool = False  # in its overlay too


INSTALLED = Runtime("installed", "inside_core.py")
CORES = (
    INSTALLED,
    Runtime("the zoo's", "inside_core.py", ("bioimageio.core==0.10.4", "bioimageio.spec==0.5.10.2")),
    Runtime("ilastik 1.4.2's", "inside_core.py", ("bioimageio.core==0.10.2", "bioimageio.spec==0.5.9.1")),
)
BESIDE_CORE = ("onnxruntime", "pydantic<2.14")
"""What an environment of one of them gets as well: both of these versions of bioimageio.spec allow pydantic 2.14, and
cannot load any description with it.
"""
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


class RuntimeFailed(Exception):
    """A sentence that says why a runtime could not be run."""


class Python(NamedTuple):
    """What a runtime is run by."""

    program: Path
    overlay: Path | None = None


def overlay(runtime: Runtime, folder: Path) -> Python:
    """The runtime over the environment that this runs in; its folder is made where it is not there yet."""
    if not runtime.needs:
        return Python(Path(sys.executable))
    target = folder / _name(runtime)
    if not (target / "ready").exists():
        options = ["--upgrade", "--target", str(target)]
        _pip(Path(sys.executable), [*options, *([] if runtime.with_dependencies else ["--no-deps"]), *runtime.needs])
        (target / "ready").touch()
    return Python(Path(sys.executable), target)


def environment(runtime: Runtime, folder: Path) -> Python:
    """The runtime in an environment of its own, made where it is not there yet, with the torch that is installed."""
    if not runtime.needs:
        return Python(Path(sys.executable))
    torch = f"torch=={version('torch').split('+')[0]}"
    target = folder / f"{_name(runtime)}-{torch.replace('==', '-')}"
    program = target / "bin" / "python"
    if not (target / "ready").exists():
        _run([sys.executable, "-m", "venv", "--clear", str(target)])
        _pip(program, [*runtime.needs, torch, *BESIDE_CORE])
        (target / "ready").touch()
    return Python(program)


def newest_spec() -> str | None:
    """The newest version of bioimageio.spec of which pip knows; None where it cannot tell, as without a network."""
    command = [sys.executable, "-m", "pip", "index", "--disable-pip-version-check", "versions", "bioimageio.spec"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    first, *_ = found.stdout.splitlines() or [""]
    _, _, rest = first.partition("(")
    return rest.rstrip(")") or None if found.returncode == 0 else None


def specs_with(newest: str | None) -> tuple[Runtime, ...]:
    """All listed versions, and the newest where it is not among them: with its dependencies, which are not known."""
    if newest is None or newest in SPEC_VERSIONS:
        return SPECS
    return (*SPECS, Runtime(f"spec {newest}", "inside_spec.py", (f"bioimageio.spec=={newest}",), True))


def judged(runtime: Runtime, python: Python, packages: Sequence[Path], trained: Iterable[Path] = ()) -> list[Any]:
    """What the runtime prints of each package, in their order, the trained ones last. Raises RuntimeFailed."""
    last = [str(path) for path in trained]
    command = [str(python.program), "-W", "ignore", str(HERE / runtime.script), *map(str, packages)]
    overlaid = {"PYTHONPATH": str(python.overlay)} if python.overlay else {}
    command += ["--trained", *last] if last else []
    found = subprocess.run(command, env={**os.environ, **overlaid}, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    if len(lines) != len(packages) + len(last):
        raise RuntimeFailed(f"It broke off after {len(lines)} packages: {_last_line(found.stderr)}")
    return lines


def _name(runtime: Runtime) -> str:
    return "-".join(runtime.needs).replace("==", "-")


def _pip(program: Path, arguments: list[str]) -> None:
    _run([str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def _run(command: list[str]) -> None:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeFailed(f"It could not be installed: {_last_line(found.stderr or found.stdout)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def main(folder: Path) -> int:
    for runtime in (*CORES, *SPECS):
        try:
            overlay(runtime, folder)
        except RuntimeFailed as error:
            print(f"{', '.join(runtime.needs)}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
