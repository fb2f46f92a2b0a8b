"""Runs packages in tiktorch's own server by its own messages, as ilastik does; started by its environment's Python.

    python inside_tiktorch.py PACKAGE... -o docs/conformance-ilastik.md

Prints one line of JSON a package, {"package", "test", "tiles"} or {"package", "error"}, and writes them as a table.
test: the largest difference to the package's own test output, and whether the zoo's bound holds. tiles: an image of an
odd size, uint16 as it is on the disk, in blocks of 512 px (64 px of volumes) and the halo that the description states,
against the whole image; the largest difference, in standard deviations of the whole's result.

Exits with 1 when a package cannot be run, or its own test is beyond the bound.
"""

import argparse
import datetime
import io
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tiktorch
import xarray as xr
import yaml
from tiktorch.converters import pb_tensor_to_xarray, xarray_to_pb_tensor
from tiktorch.proto import data_store_pb2, data_store_pb2_grpc, inference_pb2, inference_pb2_grpc, utils_pb2

PORT = 5567
LARGEST_MESSAGE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
BLOCK_PX = {2: 512, 3: 64}
SIZE = {2: (601, 733), 3: (13, 75, 83)}
HEAD = """# Conformance in ilastik's server

tiktorch{tiktorch}, from its source, with the libraries of ilastik 1.4.2 (bioimageio.core {core}, bioimageio.spec
{spec}) and torch {torch}: its server was started, each package uploaded, opened and run by its own messages. Written by
`make conformance-ilastik TIKTORCH=clone PYTORCH3DUNET=clone` on {date}: {machine}. Each cell is a run; ilastik's own
window was not started.

Difference to the test output: in grey values, with NO where it is beyond the zoo's bound, 1.5e-4 + 1e-4 of the expected
value. Blocks: {plane} px in blocks of 512 px ({volume} px in blocks of 64 for volumes) with the halo that the
description states, largest difference to the whole in standard deviations of the result.
"""
FOOT = """
The kept packages (tests/kept) were trained for 300 steps, the others are of random weights, which see further than any
halo. Samples belong to places, of which blocks have others (README, "The zip in other programs").

tiktorch asks for pytorch3dunet 1.9.2, which the registry no longer has; that version was taken from its repository.
Without a network the server refuses every package, since bioimageio.spec looks the authors up, unless
`BIOIMAGEIO_PERFORM_IO_CHECKS=0`.
"""


class Session:
    """A package in a session of the server."""

    def __init__(self, channel: grpc.Channel, package: Path) -> None:
        data = package.read_bytes()
        store = data_store_pb2_grpc.DataStoreStub(channel)
        parts = [data_store_pb2.UploadRequest(info=data_store_pb2.UploadInfo(size=len(data)))]
        parts.append(data_store_pb2.UploadRequest(content=data))
        upload = store.Upload(iter(parts))
        self.stub = inference_pb2_grpc.InferenceStub(channel)
        wanted = inference_pb2.CreateModelSessionRequest(model_uri=f"upload://{upload.id}", deviceIds=["cpu"])
        self.session = self.stub.CreateModelSession(wanted)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """x [B, C, *] -> [B, C', *]."""
        axes = ["batch", "channel", *"zyx"[-(x.ndim - 2) :]]
        tensor = xarray_to_pb_tensor("input", xr.DataArray(np.ascontiguousarray(x), dims=axes))
        request = utils_pb2.PredictRequest(modelSessionId=self.session, tensors=[tensor])
        return np.asarray(pb_tensor_to_xarray(self.stub.Predict(request).tensors[0]).transpose(*axes))

    def close(self) -> None:
        self.stub.CloseModelSession(self.session)


def judged(channel: grpc.Channel, package: Path) -> dict[str, Any]:
    name = f"{'kept: ' if package.parent.name == 'kept' else ''}{package.stem}"
    try:
        session = Session(channel, package)
        try:
            return {"package": name, "test": own_test(session, package), "tiles": by_tiles(session, package)}
        finally:
            session.close()
    except grpc.RpcError as error:
        return {"package": name, "error": error.details().strip().splitlines()[-1]}


def own_test(session: Session, package: Path) -> tuple[float, bool]:
    expected = member(package, "test_output.npy")
    apart = np.abs(session.predict(member(package, "test_input.npy")) - expected)
    return float(apart.max()), bool((apart <= 1.5e-4 + 1e-4 * np.abs(expected)).all())


def by_tiles(session: Session, package: Path) -> float | str:
    with zipfile.ZipFile(package) as file:
        rdf = yaml.safe_load(file.read("rdf.yaml"))
    axes, halo = rdf["inputs"][0]["axes"], [a["halo"] for a in rdf["outputs"][0]["axes"][2:]]
    if isinstance(axes[2]["size"], int) or isinstance(axes[-1]["size"], int):
        return "one size only"
    if 2 * max(halo) >= BLOCK_PX[len(halo)]:
        return "the halo fills the block"
    size = SIZE[len(halo)]
    random = np.random.default_rng(0)
    x = random.poisson(100, (1, len(axes[1]["channel_names"]), *size)).astype(np.uint16)
    whole = session.predict(x)
    found = np.zeros_like(whole)
    for inner, outer in blocks(size, halo, BLOCK_PX[len(halo)]):
        part = session.predict(x[(..., *(slice(*o) for o in outer))])
        kept = tuple(slice(i[0] - o[0], i[1] - o[0]) for i, o in zip(inner, outer, strict=True))
        found[(..., *(slice(*i) for i in inner))] = part[(..., *kept)]
    return float(np.abs(found - whole)[:, 0].max() / whole[:, 0].std())


def blocks(size: tuple[int, ...], halo: list[int], side: int) -> Iterator[tuple[Any, Any]]:
    """Bounds along each axis of the inner block, and of the outer one: `side` px, less at the image's edges."""
    bounds = []
    for n, h in zip(size, halo, strict=True):
        inner = [(i, min(i + side - 2 * h, n)) for i in range(0, n, side - 2 * h)]
        bounds.append([(i, (max(i[0] - h, 0), min(i[1] + h, n))) for i in inner])
    for one in itertools.product(*bounds):
        yield [b[0] for b in one], [b[1] for b in one]


def member(package: Path, name: str) -> np.ndarray:
    with zipfile.ZipFile(package) as file:
        return np.load(io.BytesIO(file.read(name)))


def page(found: list[dict[str, Any]]) -> str:
    sizes = {"plane": " x ".join(map(str, SIZE[2])), "volume": " x ".join(map(str, SIZE[3]))}
    ours = {"tiktorch": tiktorch_version(), "date": datetime.date.today(), "machine": platform.machine()}
    libraries = {name: version(f"bioimageio.{name}") for name in ("core", "spec")}
    lines = ["| package | largest difference to its test output | in blocks against whole |", "|---|---|---|"]
    lines += [f"| {one['package']} | {' | '.join(cells(one))} |" for one in found]
    head = HEAD.format(**sizes, **ours, **libraries, torch=version("torch"))
    return "\n".join([head, *lines, FOOT])


def cells(found: dict[str, Any]) -> tuple[str, str]:
    if "error" in found:
        return f"NO: {found['error']}", "not run"
    (largest, holds), tiles = found["test"], found["tiles"]
    said = f"not run: {tiles}" if isinstance(tiles, str) else f"{tiles:.1g}"
    return f"{largest:.2g}" if holds else f"NO: {largest:.2g}", said


def tiktorch_version() -> str:
    """Of the clone, which is not installed: its setup.py alone says it."""
    setup = Path(tiktorch.__file__).parents[1] / "setup.py"
    found = re.search(r'version="([^"]+)"', setup.read_text(encoding="utf-8")) if setup.exists() else None
    return f" {found[1]}" if found else ""


def is_wrong(found: dict[str, Any]) -> bool:
    return "error" in found or not found["test"][1]


def run_all(packages: list[Path]) -> Iterator[dict[str, Any]]:
    offline = {**os.environ, "BIOIMAGEIO_PERFORM_IO_CHECKS": "0"}  # or each description is looked up in the network
    command = [sys.executable, "-m", "tiktorch.server", "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=offline)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{PORT}", LARGEST_MESSAGE) as channel:
            begin = time.monotonic()
            grpc.channel_ready_future(channel).result(timeout=120)
            print(f"the server answered after {time.monotonic() - begin:.0f} s", file=sys.stderr)
            for package in packages:
                yield judged(channel, package)
    finally:
        server.terminate()
        server.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = []
    for one in run_all(given.packages):
        print(json.dumps(one), flush=True)
        found.append(one)
    if given.output:
        given.output.write_text(page(found), encoding="utf-8")
    wrong = [one["package"] for one in found if is_wrong(one)]
    print(f"{len(wrong)} of {len(found)} packages fail" + "".join(f", {name}" for name in wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
