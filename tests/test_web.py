"""The page in packaging/web, in headless Chromium, against the same package in Python. `make web` builds it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from exported import CARD
from models import model, scaling, scene
from PIL import Image

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import preset
from cosdd_zoo.export.export import export
from cosdd_zoo.export.onnx_weights import apart_from
from cosdd_zoo.export.package import read_package

WEB = Path(__file__).parents[1] / "packaging" / "web"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and (WEB / "dist" / "page.js").exists() and (WEB / "node_modules" / "puppeteer-core").exists()),
        reason="the page is not built here (`make web`), or there is no Chromium",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose samples belong to places, and images of several kinds: one is cut into tiles by the page."""
    made = tmp_path_factory.mktemp("web")
    config = preset("tiny", n_features=6, n_code=5, n_latents=3, ar_features=5)
    weights = {k: v.detach().clone() for k, v in model(config.network).state_dict().items()}
    package, kinds = Checkpoint(config, scaling(), weights, {}), {"n_samples": 2, "uncertainty": True}
    for name, with_onnx in (("m.zip", True), ("without.zip", False)):
        export(package, made / name, CARD, sample=scene(1, 160, 144), with_onnx=with_onnx, **kinds)
    noisy = scene(1, 600, 720, seed=4)[0]
    tifffile.imwrite(made / "large.tif", noisy)
    tifffile.imwrite(made / "stack.tif", np.stack([noisy[:97, :133], noisy[100:197, :133]]), imagej=True)
    tifffile.imwrite(made / "float.tif", noisy[:64, :70].astype(np.float32), compression="zlib")
    Image.fromarray(noisy[:90, :80].astype(np.uint16)).save(made / "sixteen.png")
    Image.fromarray(noisy[:66, :80].astype(np.uint8)).save(made / "eight.png")
    tifffile.imwrite(made / "nan.tif", np.full((70, 70), np.nan, np.float32))
    (made / "text.tif").write_text("no image")
    return made


IMAGES = ("large.tif", "stack.tif", "float.tif", "sixteen.png", "eight.png")


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Any]:
    return in_the_browser(folder, "m.zip", *IMAGES, "nan.tif", "text.tif")


def in_the_browser(folder: Path, *files: str) -> dict[str, Any]:
    command = ["node", str(WEB / "test" / "end_to_end.mjs"), str(folder), *files]
    environment = {**os.environ, "CHROMIUM": str(CHROMIUM)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def read(path: Path) -> np.ndarray:
    return tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))


@pytest.mark.parametrize("name", IMAGES)
def test_the_page_gives_what_python_gives(folder: Path, seen: dict[str, Any], name: str) -> None:
    planes = read(folder / name).astype(np.float32)
    planes = planes if planes.ndim == 3 else planes[np.newaxis]
    expected = np.concatenate([read_package(folder / "m.zip")(plane[None, None])[0] for plane in planes])
    with tifffile.TiffFile(folder / f"{name}.denoised.tif") as file:
        assert file.is_imagej
        found = file.asarray()
    assert found.dtype == np.float32
    assert found.shape == expected.shape  # of each plane the mean and the standard deviation
    pairs = (array.reshape(-1, 2, *array.shape[1:]) for array in (found, expected))
    assert apart_from(*pairs).n_beyond == 0


def test_nothing_leaves_the_computer(seen: dict[str, Any]) -> None:
    own = {"/", "/page.css", "/page.js", "/worker.js", "/ort-wasm-simd-threaded.mjs", "/ort-wasm-simd-threaded.wasm"}
    sent = [(method, url) for method, url in seen["requests"] if not url.startswith(("blob:", "data:"))]
    assert {method for method, _ in sent} == {"GET"}
    assert {url for _, url in sent} <= own
    assert seen["errors"] == []


def test_what_cannot_be_denoised_is_said(folder: Path, seen: dict[str, Any]) -> None:
    assert "values that are no numbers" in seen["said"]["nan.tif"]
    assert seen["said"]["text.tif"] == "text.tif is no TIFF or PNG: save it as one of them."
    assert "--with onnx" in in_the_browser(folder, "without.zip")["said"]["without.zip"]


def test_it_fits_a_narrow_window(seen: dict[str, Any]) -> None:
    assert not seen["tooWide"]
