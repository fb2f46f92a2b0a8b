"""Packages that users have on their disks stay usable: three of version 0.1.0 lie in tests/kept, as they were made."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kept.make import KINDS, how, odd_image
from typer.testing import CliRunner

import cosdd_zoo
from cosdd_zoo.cli import app
from cosdd_zoo.data.images import open_image

KEPT = Path(__file__).parent / "kept"
FLOAT32 = 1e-4
"""Relative: grey values of another machine or another libtorch differ by their rounding, summed over the layers."""


def expected(name: str) -> np.ndarray:
    return np.load(KEPT / f"{name}.npy")


def image_of(name: str) -> np.ndarray:
    shape = KINDS[name][0]
    return odd_image(len(shape), shape[0])


@pytest.mark.parametrize("name", KINDS)
def test_a_kept_package_passes_every_rule_of_today(name: str) -> None:
    report = cosdd_zoo.check(KEPT / f"{name}.zip")
    # QuPath takes no volumes, and version 0.1.0 stated a halo of 32 px, which leaves nothing of ilastik's tiles of 64
    not_for_volumes = {"two dimensions", "fits ilastik's tiles"} if len(KINDS[name][0]) == 4 else set()
    assert {f.rule for f in report.failures} == not_for_volumes
    assert [f.state for f in report.of_rule("bioimageio.core's test")] == ["holds", "holds"]


@pytest.mark.parametrize("name", KINDS)
def test_a_kept_package_denoises_as_on_the_day_it_was_made(name: str) -> None:
    _, axes, _, options = KINDS[name]
    done = cosdd_zoo.load(KEPT / f"{name}.zip", "cpu").denoise(image_of(name), **how(options), axes=axes)
    found = [done.mean, done.std] if options.get("uncertainty") else [done.mean]
    np.testing.assert_allclose(np.concatenate(found), expected(name), rtol=FLOAT32, atol=0.01)


def test_a_kept_package_denoises_from_the_command_line(tmp_path: Path) -> None:
    name = "direct-two-channels"
    source = tmp_path / "odd.npy"
    np.save(source, image_of(name))
    command = ["denoise", KEPT / f"{name}.zip", source, "-o", tmp_path / "out", "--direct", "--axes", "CYX"]
    result = CliRunner().invoke(app, [*map(str, command), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    (written,) = (tmp_path / "out").glob("*.tif")
    found = open_image(written).read_item(0, 2)
    assert found.dtype == image_of(name).dtype
    np.testing.assert_allclose(found, expected(name), rtol=FLOAT32, atol=0.51, err_msg="rounded, and no more than that")


@pytest.mark.parametrize("name", ["mean-of-2-with-std", "direct-two-channels"])
def test_a_package_gives_the_same_in_other_processes_on_one_thread_and_on_two(name: str, tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np, torch; torch.set_num_threads(int(sys.argv[3]));"
        "from cosdd_zoo.export.package import read_package; from cosdd_zoo.export.running import run_graph;"
        "x = np.load(sys.argv[2])[np.newaxis].astype(np.float32);"
        "np.save(sys.argv[4], run_graph(read_package(sys.argv[1]).module, x))"
    )
    np.save(tmp_path / "x.npy", image_of(name))
    found = []
    for run, threads in enumerate([1, 2, 2]):
        out = tmp_path / f"{run}.npy"
        arguments = [KEPT / f"{name}.zip", tmp_path / "x.npy", threads, out]
        subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True)
        found.append(np.load(out))
    assert np.ptp(found[0]) > 0
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5)
