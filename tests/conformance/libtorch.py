"""Every variant of a package in libtorch itself, without Python: packaging/libtorch's program, built for each version.

    python tests/conformance/libtorch.py -o docs/conformance-libtorch.md [--work FOLDER]

Debian's libtorch 1.13.1 where it is installed (libtorch-dev), and the CPU half of the registry's wheels, with the two
small libraries of CUDA that it is linked to. Wheels of 0.5 to 0.9 GB are downloaded, unpacked and deleted.
"""

from __future__ import annotations

import argparse
import datetime
import io
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from variants import VARIANTS, made

from cosdd_zoo.export.package import read_package

PROGRAM = Path(__file__).parents[2] / "packaging" / "libtorch" / "main.cpp"
DEBIAN = Path("/usr/include/torch/script.h")
HEAD = """# Conformance of the weights in libtorch

`weights.pt` of each kind of package in a C++ program, with no Python, against the package's own test output. Written by
`make conformance-libtorch` on {date}: {machine}. Each cell is a run: the largest absolute difference in grey values (of
about {grey}); NO where a value is beyond the zoo's bound, 1.5e-4 + 1e-4 of the expected value.
"""


class Libtorch(NamedTuple):
    version: str
    who: str = ""  # runs in it
    new_abi: bool = True
    standard: str = "c++17"

    @property
    def label(self) -> str:
        return f"{self.version} ({self.who})" if self.who else self.version


WHEELS = (
    Libtorch("2.0.1", "deepImageJ has 2.0.0", new_abi=False),
    Libtorch("2.5.1", "the zoo, QuPath 0.6", new_abi=False),
    Libtorch("2.7.1", "ilastik 1.4.2, QuPath 0.7"),
    Libtorch("2.14.1", standard="c++20"),
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".conformance"))
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    packages = {name: made(name, given.work) for name in VARIANTS}
    programs = {"1.13.1 (Debian's; QuPath 0.5)": debians(given.work)} if DEBIAN.exists() else {}
    not_had = []
    for wheel in WHEELS:
        try:
            programs[wheel.label] = built(wheel, given.work / f"libtorch-{wheel.version}")
        except subprocess.CalledProcessError as error:
            not_had += ["", f"{wheel.version} was not run: `{Path(error.cmd[0]).name}` could not get or build it."]
    cells = {(p, name): ran(program, packages[name]) for p, program in programs.items() for name in VARIANTS}
    lines = ["| libtorch | " + " | ".join(VARIANTS) + " |", "|---" * (len(VARIANTS) + 1) + "|"]
    lines += [f"| {p} | " + " | ".join(cells[p, name] for name in VARIANTS) + " |" for p in programs]
    if not DEBIAN.exists():
        lines += ["", "1.13.1 was not run: Debian's libtorch-dev is not installed here."]
    grey = f"{np.load(member(packages['direct'], 'test_output.npy')).mean():.0f}"
    lines += not_had
    head = HEAD.format(date=datetime.date.today(), machine=platform.machine(), grey=grey)
    given.output.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 1 if any("NO" in cell for cell in cells.values()) else 0


def debians(work: Path) -> Path:
    program = work / "run_package-debian"
    include = "/usr/include/torch/csrc/api/include"
    compiled(["-std=c++17", "-isystem", include, str(PROGRAM), "-ltorch", "-ltorch_cpu", "-lc10"], program)
    return program


def built(torch: Libtorch, folder: Path) -> Path:
    """The program of one version; what it is built of is deleted, what it runs with is kept."""
    program = folder / "run_package"
    if program.exists():
        return program
    print(f"libtorch {torch.version}", file=sys.stderr)
    lib, include = folder / "torch" / "lib", folder / "torch" / "include"
    needed = unpacked(f"torch=={torch.version}", folder, r"torch/lib/lib(torch_cpu|c10|gomp.*)\.so.*|torch/include/.*")
    for requirement in needed:
        unpacked(requirement, folder, r"nvidia/.*/lib/lib(cudart|cupti)\.so.*", into=lib)
    compiled(
        [
            f"-std={torch.standard}", f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.new_abi)}",
            "-isystem", str(include), "-isystem", str(include / "torch/csrc/api/include"), str(PROGRAM),
            f"-L{lib}", "-Wl,--no-as-needed", "-ltorch_cpu", "-lc10", "-Wl,--allow-shlib-undefined",
            f"-Wl,-rpath,{lib.resolve()}", "-Wl,--disable-new-dtags",
        ],
        program,
    )  # fmt: skip
    return program


def compiled(arguments: list[str], program: Path) -> None:
    subprocess.run(["g++", "-O1", *arguments, "-o", str(program)], check=True)


def unpacked(requirement: str, folder: Path, wanted: str, into: Path | None = None) -> list[str]:
    """Those files of a wheel, in a folder; the requirements of its CUDA runtime and profiler are returned."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as download:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        python = ["--only-binary=:all:", "--python-version", "3.11"]
        subprocess.run([*pip, *python, "--dest", download, requirement], check=True)
        [path] = Path(download).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if re.fullmatch(wanted, name) and not name.endswith("/"):
                    target = (into or folder) / (Path(name).name if into else name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(wheel.read(name))
            metadata = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
            text = wheel.read(metadata).decode()
    found = re.findall(r"^Requires-Dist: (nvidia-cuda-(?:runtime|cupti)[\w-]*) ?\(?(==[\w.]+)?", text, re.MULTILINE)
    return [name + version for name, version in found]


def ran(program: Path, package: Path) -> str:
    """What the program says of a package: the largest difference, or NO and why."""
    contents = read_package(package)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("weights.pt", "test_input.npy", "test_output.npy")]
        files[0].write_bytes(member(package, "weights.pt").getvalue())
        for path in files[1:]:
            values = np.load(member(package, path.name))
            if contents.processing is not None:  # it lies outside of the graph
                values = (values - contents.processing.mean[0]) / contents.processing.std[0]
            np.save(path, np.ascontiguousarray(values, np.float32))
        command = [str(program), *map(str, files)]
        found = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    largest = re.search(r"absolute difference (\S+)", found.stdout)
    if found.returncode == 0 and largest:
        return largest[1]
    return f"NO: {(found.stderr or found.stdout).strip().splitlines()[-1]}"


def member(package: Path, name: str) -> io.BytesIO:
    with zipfile.ZipFile(package) as file:
        return io.BytesIO(file.read(name))


if __name__ == "__main__":
    sys.exit(main())
