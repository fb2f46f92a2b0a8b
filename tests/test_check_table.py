"""What `check` prints: each rule in each program, and what to do where it does not hold."""

import json
from pathlib import Path

import pytest
from exported import MEAN, STD, demo_card, described, noisy, stand_in
from typer.testing import CliRunner

from cosdd_zoo.cli import app
from cosdd_zoo.errors import PackageError
from cosdd_zoo.export.check import check
from cosdd_zoo.export.package import write_package
from cosdd_zoo.export.rdf import ZScore
from cosdd_zoo.export.table import lines


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("volumes") / "volumes.zip"
    write_package(stand_in(n_dims=3), path, demo_card(), noisy(1, 16, 64, 64), [4, 16, 16])
    return path


@pytest.fixture(scope="module")
def explicit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explicit") / "explicit.zip"
    outside = stand_in(n_channels=2, inside=False)
    write_package(outside, path, demo_card(), noisy(2, 64, 64), [16, 16], processing=ZScore((MEAN,) * 2, (STD,) * 2))
    return path


def test_a_volume_is_packed_and_said_not_to_run_in_qupath(volumes: Path) -> None:
    report = check(volumes)
    assert report.runs_in == ("fiji", "icy", "ilastik", "core", "zoo")
    assert [(f.rule, f.target) for f in report.failures] == [("two dimensions", "qupath")]


def test_explicit_processing_is_packed_and_said_not_to_run_in_qupath_nor_of_channels_in_fiji(explicit: Path) -> None:
    report = check(explicit)
    assert report.runs_in == ("ilastik", "core", "zoo")
    assert "on which JDLL fails" in report.of_rule("processing in JDLL")[0].detail


def test_one_target_gets_a_line_a_rule(volumes: Path) -> None:
    found = lines(check(volumes, ["qupath"]))
    assert "fails    two dimensions: the model has the space axes z, y, x, and QuPath takes 2-D models only" in found
    assert "holds    no null values" not in found  # a rule of JDLL's
    assert any(line.startswith("unknown  QuPath 0.5 to 0.7 itself: ") for line in found)
    assert found[-1] == "fails in qupath."


def test_all_targets_get_a_table_and_a_line_for_what_does_not_hold(volumes: Path) -> None:
    found = lines(check(volumes))
    assert found[0].split() == ["fiji", "icy", "qupath", "ilastik", "core", "zoo"]
    row = next(line for line in found if line.startswith("two dimensions"))
    assert row.split()[2:] == [".", ".", "NO", ".", ".", "."]
    assert any(line.startswith("fails    two dimensions: ") and line.endswith("[qupath]") for line in found)
    assert found[-1] == "nothing speaks against fiji, icy, ilastik, core, zoo; fails in qupath."


def test_the_command_judges_the_targets_that_are_asked_for(volumes: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["check", str(volumes), "--target", "fiji", "--target", "ilastik"]).exit_code == 0
    assert run(app, ["check", str(volumes)]).exit_code == 1
    found = run(app, ["check", str(volumes), "--target", "qupath", "--json"])
    assert found.exit_code == 1
    report = json.loads(found.stdout)
    assert report["targets"] == {"qupath": False}
    assert {"rule", "target", "state", "detail"} == set(report["findings"][0])


def test_a_fixed_size_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "fixed.zip"
    write_package(stand_in(), path, demo_card(), noisy(1, 100, 200), [16, 16], side_px=128)
    assert [a["size"] for a in described(path)["inputs"][0]["axes"][2:]] == [128, 128]
    report = check(path)
    assert report.passed
    assert report.of_rule("any image size")[0].detail == "of the fixed size alone"
    with pytest.raises(PackageError, match="The fixed size is 60 px, and tiles of this model need 64 px at least"):
        write_package(stand_in(), tmp_path / "b.zip", demo_card(), noisy(1, 100, 200), [16, 16], side_px=60)
