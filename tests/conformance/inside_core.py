"""What one version of bioimageio.core makes of packages. Run by that version's Python, without cosdd_zoo:

    python inside_core.py PACKAGE.zip...

Prints a JSON line a package: {"package", "versions", "cells": {name: {"ok", "detail"}}}. Nothing goes to the network:
the looking up of GitHub accounts and addresses is answered here, by 200.
"""

import json
import sys
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")


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
    from bioimageio.core import test_model

    summary = test_model(path, devices=["cpu"])
    assert summary.status == "passed", (summary.status, [e.msg for d in summary.details for e in d.errors])
    return str(summary.status)


def odd_uint16(path: Path) -> str:
    from bioimageio.core import predict

    x = image(MODEL, {"z": 3, "y": 37, "x": 67}, "uint16")
    y = predict(model=MODEL, inputs={str(MODEL.inputs[0].id): x}).members["output"].data
    assert y.shape[2:] == x.shape[2:] and y.dtype == "float32" and bool((y == y).all()), (y.shape, y.dtype)
    return " x ".join(map(str, y.shape))


def blocks(path: Path) -> str:
    """In blocks against whole. Random weights see further than any halo, and samples belong to places, of which blocks
    have others: how far they are apart is said, not judged.
    """
    from bioimageio.core import predict

    if any(isinstance(size, int) for name, size in axes_of(MODEL) if name not in ("batch", "channel")):
        return "one size alone"
    is_volume = any(name == "z" for name, _ in axes_of(MODEL))
    more, n = ({"z": 30, "y": 40, "x": 40}, 20) if is_volume else ({"y": 101, "x": 101}, 41)
    x = image(MODEL, more, "float32")
    name = str(MODEL.inputs[0].id)
    whole = predict(model=MODEL, inputs={name: x}).members["output"].data.values
    parts = predict(model=MODEL, inputs={name: x}, blocksize_parameter=n).members["output"].data.values
    assert parts.shape == whole.shape and bool((parts == parts).all()), (parts.shape, whole.shape)
    return f"{float(abs(parts - whole)[:, :1].max() / whole[:, :1].std()):.2g} std apart"


def cell(act: Any, path: Path) -> dict[str, Any]:
    try:
        return {"ok": True, "detail": act(path)}
    except Exception as error:
        return {"ok": False, "detail": f"{type(error).__name__}: {error}"[:500]}


if __name__ == "__main__":
    answer_everything()
    versions = {name: version(name) for name in ("bioimageio.core", "bioimageio.spec", "torch", "numpy", "pydantic")}
    for given in sys.argv[1:]:
        cells = {act.__name__: cell(act, Path(given)) for act in (load, test, odd_uint16, blocks)}
        print(json.dumps({"package": given, "versions": versions, "cells": cells}), flush=True)
