"""What one version of bioimageio.core makes of packages. Run by that version's Python, without cosdd_zoo:

    python inside_core.py PACKAGE.zip... [--trained PACKAGE.zip...]

Prints a JSON line a package: {"package", "versions", "cells": {name: {"ok", "detail", ...}}}. The cell "blocks" of a
trained package holds {"apart": {"on the grid", "away from the edges", "off the grid"}} as well. Nothing goes to the
network: the looking up of GitHub accounts and addresses is answered here, by 200.
"""

import argparse
import io
import json
import warnings
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

INNER_PX = {"z": 16, "y": 64, "x": 64}
"""What blocks return along an axis, without their halo: multiples of the coarsest map's step in `small`, and so on the
model's grid.
"""
N_BLOCKS = {"z": 2, "y": 2, "x": 3}
OFF_THE_GRID_PX = {"z": 0, "y": 0, "x": -27}
"""The last block is moved back, to end where the image does: by an odd number of px."""


def answer_everything() -> None:
    """bioimageio.spec asks GitHub for the card's github_user, by httpx or, in older versions, by requests."""
    import httpx

    def by_httpx(self: Any, request: Any, **kwargs: Any) -> Any:
        return httpx.Response(200, request=request, json={"login": "found"})

    httpx.Client.send = by_httpx
    with suppress(ImportError):
        answer_requests()


def answer_requests() -> None:
    import requests

    def by_requests(self: Any, request: Any, **kwargs: Any) -> Any:
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response._content = b'{"login": "found"}'
        return response

    requests.Session.send = by_requests


def axes_of(model: Any) -> list[tuple[str, Any]]:
    return [(str(a.id), getattr(a, "size", None)) for a in model.inputs[0].axes]


def image(model: Any, longer: dict[str, int], dtype: str) -> Any:
    """An image of an odd size, longer than the least along each axis; of a fixed axis just its size."""
    import numpy as np
    import xarray

    shape = []
    for name, size in axes_of(model):
        if name in ("batch", "channel"):
            shape.append(1 if name == "batch" else model.inputs[0].axes[1].size)
        else:
            shape.append(size if isinstance(size, int) else size.min + longer[name])
    rng = np.random.default_rng(0)
    return xarray.DataArray(rng.poisson(100, shape).astype(dtype), dims=[name for name, _ in axes_of(model)])


def load(path: Path) -> str:
    from bioimageio.core import load_model_description

    global MODEL
    MODEL = load_model_description(path, perform_io_checks=False)
    return type(MODEL).__name__


def test(path: Path) -> str:
    """core's own test, of every format of the weights."""
    return tested(path, None)


def tested(path: Path, weight_format: Any) -> str:
    from bioimageio.core import test_model

    summary = test_model(path, weight_format=weight_format, devices=["cpu"])
    assert summary.status == "passed", (summary.status, [e.msg for d in summary.details for e in d.errors])
    return str(summary.status)


def odd_uint16(path: Path) -> str:
    return denoised_odd(MODEL)


def onnx(path: Path) -> str:
    """The test and an image of an odd size with the ONNX weights alone, where there are any."""
    from bioimageio.core import create_prediction_pipeline

    if MODEL.weights.onnx is None:
        return "no such weights"
    return f"{tested(path, 'onnx')}, {denoised_odd(create_prediction_pipeline(MODEL, weight_format='onnx'))}"


def denoised_odd(model: Any) -> str:
    from bioimageio.core import predict

    x = image(MODEL, {"z": 3, "y": 37, "x": 67}, "uint16")
    y = predict(model=model, inputs={str(MODEL.inputs[0].id): x}).members["output"].data
    assert y.shape[2:] == x.shape[2:] and y.dtype == "float32" and bool((y == y).all()), (y.shape, y.dtype)
    return " x ".join(map(str, y.shape))


def blocks(path: Path) -> str:
    """In blocks against whole. Random weights see further than any halo, and samples belong to places, of which blocks
    have others: how far they are apart is said, not judged.
    """
    if has_one_size():
        return "one size alone"
    everywhere, _ = blocks_against_whole(path)
    return f"{everywhere:.2g} std apart"


def blocks_of_trained(path: Path) -> dict[str, Any]:
    """The same, as numbers that can be judged; and in blocks off the grid of the model's coarser maps."""
    everywhere, inside = blocks_against_whole(path)
    off, _ = blocks_against_whole(path, OFF_THE_GRID_PX)
    found = {"on the grid": everywhere, "away from the edges": inside, "off the grid": off}
    return {"detail": ", ".join(f"{value:.2g} std apart {where}" for where, value in found.items()), "apart": found}


def has_one_size() -> bool:
    return any(isinstance(size, int) for name, size in axes_of(MODEL) if name not in ("batch", "channel"))


def blocks_against_whole(path: Path, longer: Any = None) -> tuple[float, float]:
    """The largest difference of the first channel in the image's standard deviations: everywhere, and without a halo's
    width at the image's edges, where 0.10.2 pads blocks but not whole images.
    """
    from bioimageio.core import predict

    halo = {str(a.id): int(a.halo) for a in MODEL.outputs[0].axes if getattr(a, "halo", 0)}
    size = {axis: N_BLOCKS[axis] * INNER_PX[axis] + (longer or {}).get(axis, 0) for axis in halo}
    x = mirrored(path, size)
    block = {**x.sizes, **{axis: INNER_PX[axis] + 2 * halo[axis] for axis in halo}}
    name = str(MODEL.inputs[0].id)
    whole = predict(model=MODEL, inputs={name: x}).members["output"].data
    parts = predict(model=MODEL, inputs={name: x}, input_block_shape={name: block}).members["output"].data
    assert parts.shape == whole.shape and bool((parts == parts).all()), (parts.shape, whole.shape)
    apart = abs(parts.values - whole.values)[:, 0] / float(x[:, 0].std())
    inside = apart[(..., *(slice(h, -h) for h in halo.values()))]
    return float(apart.max()), float(inside.max())


def mirrored(path: Path, size: dict[str, int]) -> Any:
    """The package's own test input, mirrored at its edges until it has that size: an image as the model knows them."""
    import numpy as np
    import xarray

    with zipfile.ZipFile(path) as file:
        x = np.load(io.BytesIO(file.read("test_input.npy"))).astype(np.float32)
    wanted = [size.get(name, n) for (name, _), n in zip(axes_of(MODEL), x.shape, strict=True)]
    x = np.pad(x, [(0, max(w - n, 0)) for w, n in zip(wanted, x.shape, strict=True)], "symmetric")
    return xarray.DataArray(x[tuple(slice(w) for w in wanted)], dims=[name for name, _ in axes_of(MODEL)])


def cell(act: Any, path: Path) -> dict[str, Any]:
    try:
        found = act(path)
        return {"ok": True, **(found if isinstance(found, dict) else {"detail": found})}
    except Exception as error:
        return {"ok": False, "detail": f"{type(error).__name__}: {error}"[:500]}


def versions() -> dict[str, str]:
    found = {}
    for name in ("bioimageio.core", "bioimageio.spec", "torch", "numpy", "pydantic", "onnxruntime"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path, nargs="*")
    parser.add_argument("--trained", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    answer_everything()
    for path in [*given.packages, *given.trained]:
        acts = {"load": load, "test": test, "odd_uint16": odd_uint16, "onnx": onnx}
        acts["blocks"] = blocks_of_trained if path in given.trained else blocks
        cells = {name: cell(act, path) for name, act in acts.items()}
        print(json.dumps({"package": str(path), "versions": versions(), "cells": cells}), flush=True)


if __name__ == "__main__":
    main()
