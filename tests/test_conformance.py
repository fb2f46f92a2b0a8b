"""Packages run in the versions of bioimageio.core and bioimageio.spec that other programs have: a part of
`make conformance`, each version in a process of its own, over the installed libraries.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conformance.runtimes import APART_STD, CORES, SPECS, Runtime, judged, overlay
from exported import CARD
from models import model, scaling, scene

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import preset
from cosdd_zoo.export.export import export

TRAINED = Path(__file__).parent / "kept" / "direct-two-channels.zip"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def overlays() -> Path:
    folder = Path(__file__).parents[1] / ".conformance" / "runtimes"
    if not (folder / "ready").exists():
        pytest.skip("Other versions of bioimageio are not installed here: `make .conformance/runtimes/ready` does it.")
    return folder


@pytest.fixture(scope="module")
def package_of_today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = preset("tiny", n_features=6, n_code=5, n_latents=3, ar_features=5, direct=True)
    weights = {name: value.detach().clone() for name, value in model(config.network).state_dict().items()}
    path = tmp_path_factory.mktemp("conformance") / "direct.zip"
    export(Checkpoint(config, scaling(), weights, {}), path, CARD, direct=True, sample=scene(1, 96, 80))
    return path


@pytest.fixture(scope="module")
def found(overlays: Path, package_of_today: Path) -> dict[Runtime, list[dict[str, Any]]]:
    """What each runtime says of a package of today and of the kept one, two at a time with a thread each."""

    def run(runtime: Runtime) -> list[dict[str, Any]]:
        python = overlay(runtime, overlays)
        if runtime in CORES:
            return judged(runtime, python, [package_of_today], [TRAINED])
        return judged(runtime, python, [package_of_today, TRAINED])

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setenv("OMP_NUM_THREADS", "1")
        runtimes = (*CORES, *SPECS)
        return dict(zip(runtimes, pool.map(run, runtimes), strict=True))


def versions_of(runtime: Runtime) -> dict[str, str]:
    return dict(need.split("==") for need in runtime.needs if "==" in need)


def named(runtime: Runtime) -> str:
    return ", ".join(runtime.needs) or "installed"


@pytest.mark.parametrize("runtime", CORES, ids=named)
def test_packages_load_pass_their_test_and_denoise_in(runtime: Runtime, found: dict[Runtime, Any]) -> None:
    for judgement in found[runtime]:
        assert versions_of(runtime).items() <= judgement["versions"].items()
        assert {name: cell for name, cell in judgement["cells"].items() if not cell["ok"]} == {}
        assert set(judgement["cells"]) == {"load", "test", "odd_uint16", "onnx", "blocks"}


@pytest.mark.parametrize("runtime", CORES, ids=named)
def test_blocks_of_a_trained_package_fit_together_in(runtime: Runtime, found: dict[Runtime, Any]) -> None:
    _, trained = found[runtime]
    apart = trained["cells"]["blocks"]["apart"]
    assert apart["away from the edges"] <= APART_STD
    if "bioimageio.core==0.10.2" not in runtime.needs:  # which pads blocks, but not whole images
        assert apart["on the grid"] <= APART_STD


@pytest.mark.parametrize("runtime", SPECS, ids=named)
def test_descriptions_load_without_an_error_or_a_warning_in(runtime: Runtime, found: dict[Runtime, Any]) -> None:
    for judgement in found[runtime]:
        assert versions_of(runtime).items() <= judgement["versions"].items()
        assert judgement["cells"]["load"] == {"ok": True, "detail": ""}
