"""Many files at once: a bad one stops no other, and the log beside the results tells all, resumes and repeats."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from models import few_features, model, quick, scaling, scene
from stores import plate
from typer.testing import CliRunner, Result

from cosdd_zoo import load
from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.cli import app
from cosdd_zoo.data.finding import find_sources
from cosdd_zoo.errors import ConfigError, ImageError
from cosdd_zoo.inference import batch, files
from cosdd_zoo.inference.batch import denoise_files, read_log
from cosdd_zoo.inference.files import Settings
from cosdd_zoo.version import __version__


def saved_model(path: Path, seed: int = 0) -> Path:
    config = quick().model_copy(update={"network": few_features()})
    Checkpoint(config, scaling(), model(config.network, seed).state_dict(), {}).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, of which the second has pixels that are no numbers, and a file that is no image."""
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        image = scene(40, 50, seed=i).astype(np.float32)
        image[3, 4] = np.nan if i == 1 else image[3, 4]
        tifffile.imwrite(images / f"{i}.tif", image, photometric="minisblack")
    (images / "3.tif").write_bytes(b"II*\0 cut off")
    return images


def run(*arguments: object) -> Result:
    quiet = ["--quiet", "--device", "cpu"]
    return CliRunner().invoke(app, ["denoise", *map(str, arguments), *quiet])


def log_of(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "cosdd-denoise.json").read_text())
    assert isinstance(found, dict)
    return found


def test_bad_files_are_named_at_the_end_and_stop_no_other(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(saved_model(tmp_path / "m.safetensors"), folder, "-o", out, "--samples", 2)
    assert done.exit_code == 2
    assert sorted(path.name for path in out.iterdir()) == ["0_denoised.tif", "2_denoised.tif", "cosdd-denoise.json"]
    assert "2 of 4 images could not be denoised:" in done.stderr
    assert "1.tif: 1.tif has 1 NaN" in done.stderr and "3.tif: 3.tif" in done.stderr
    assert "Traceback" not in done.output
    found = log_of(out)
    assert [file["status"] for file in found["files"]] == ["done", "failed", "done", "failed"]  # type: ignore[attr-defined]
    assert found["version"] == __version__
    assert found["settings"]["samples"] == 2  # type: ignore[index]


def test_the_first_bad_file_stops_all_when_that_is_wished(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(saved_model(tmp_path / "m.safetensors"), folder, "-o", out, "--samples", 2, "--fail-fast")
    assert isinstance(done.exception, ImageError)
    assert sorted(path.name for path in out.iterdir()) == ["0_denoised.tif", "cosdd-denoise.json"]


def test_a_resumed_run_does_only_what_is_missing(folder: Path, tmp_path: Path) -> None:
    out, weights = tmp_path / "out", saved_model(tmp_path / "m.safetensors")
    run(weights, folder, "-o", out, "--samples", 2)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tif")}
    tifffile.imwrite(folder / "3.tif", scene(40, 50, seed=3), photometric="minisblack")
    done = run(weights, folder, "-o", out, "--samples", 2, "--resume")
    assert done.exit_code == 2  # one is still bad
    assert done.stdout.count("(was done before)") == 2
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tif")}
    assert after == {**before, "3_denoised.tif": after["3_denoised.tif"]}
    became = {Path(f["input"]).name: f["status"] for f in log_of(out)["files"]}  # type: ignore[attr-defined]
    assert became == {"0.tif": "done", "1.tif": "failed", "2.tif": "done", "3.tif": "done"}
    again = run(weights, folder, "-o", out, "--samples", 3, "--resume")
    assert "0_denoised.tif is there already" in again.stderr  # other settings: nothing is taken for done, nor replaced


def test_a_resumed_run_that_is_killed_as_well_forgets_nothing(folder: Path, tmp_path: Path) -> None:
    """Its log tells, from the first file on, of what an earlier run did behind that one."""
    out, weights = tmp_path / "out", saved_model(tmp_path / "m.safetensors")
    run(weights, folder, "-o", out, "--samples", 2)
    denoiser = load(weights, "cpu")
    sources = find_sources([folder])
    next(denoise_files(denoiser, weights, sources, out, Settings(2), resume=True))  # and then it ends
    assert {Path(f.input).name for f in read_log(out / "cosdd-denoise.json").files} >= {"0.tif", "2.tif"}


@pytest.mark.parametrize("format", ["tiff", "ome-zarr"])
def test_a_run_killed_before_its_log_told_of_a_result_does_not_do_it_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Any
) -> None:
    """Between the renaming of a result and the line in the log there is a moment."""
    out, weights = tmp_path / "out", saved_model(tmp_path / "m.safetensors")
    out.mkdir()
    denoiser, settings = load(weights, "cpu"), Settings(2, uncertainty=True, format=format)
    sources = find_sources([folder / "0.tif", folder / "2.tif"])

    def killed(book: Any) -> None:
        if any(out.glob("0_denoised.*")):
            raise KeyboardInterrupt
        write(book)

    write = batch._Book.write
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(batch._Book, "write", killed)
        list(denoise_files(denoiser, weights, sources, out, settings))
    before = {p: p.stat().st_mtime_ns for p in out.glob("0_denoised*")}
    assert len(before) == 2
    computed: list[int] = []
    estimate = denoiser.engine.bottom_up
    denoiser.engine.bottom_up = lambda x: computed.append(1) or estimate(x)
    found = list(denoise_files(denoiser, weights, sources, out, settings, resume=True))
    assert [o.status for o in found] == ["done", "done"] and len(computed) == 1
    assert {p: p.stat().st_mtime_ns for p in out.glob("0_denoised*")} == before
    assert not [p.name for p in out.iterdir() if p.name.startswith(".")]


def test_the_log_of_other_work_in_the_same_folder_is_kept(folder: Path, tmp_path: Path) -> None:
    out, weights = tmp_path / "out", saved_model(tmp_path / "m.safetensors")
    for name in ("0.tif", "2.tif"):
        assert run(weights, folder / name, "-o", out, "--samples", 2).exit_code == 0
    logs = {name: read_log(out / name) for name in ("cosdd-denoise-1.json", "cosdd-denoise.json")}
    assert [[Path(f.input).name for f in log.files] for log in logs.values()] == [["0.tif"], ["2.tif"]]
    again = run("--repeat", out / "cosdd-denoise-1.json", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.output


def test_a_log_repeats_its_run(folder: Path, tmp_path: Path) -> None:
    out, weights = tmp_path / "out", saved_model(tmp_path / "m.safetensors")
    run(weights, folder / "0.tif", folder / "2.tif", "-o", out, "--samples", 3, "--seed", 5, "--uncertainty")
    done = run("--repeat", out / "cosdd-denoise.json", "-o", tmp_path / "again")
    assert done.exit_code == 0, done.output
    for name in ("0_denoised.tif", "0_denoised_std.tif", "2_denoised.tif", "2_denoised_std.tif"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    saved_model(weights, seed=1)
    other = run("--repeat", out / "cosdd-denoise.json", "-o", tmp_path / "other")
    assert isinstance(other.exception, ConfigError) and "it has other weights" in str(other.exception)


def test_folders_and_plates_are_mirrored_and_repeated_as_they_were(folder: Path, tmp_path: Path) -> None:
    weights, images = saved_model(tmp_path / "m.safetensors"), tmp_path / "images"
    for day in ("day1", "day2"):
        (images / day).mkdir()
        tifffile.imwrite(images / day / "a.tif", scene(40, 50), photometric="minisblack")
    plate(images / "day2" / "plate.zarr", {"A/1/0": scene(1, 40, 50), "B/2/0": scene(1, 40, 50)}, "cyx")
    for name in ("1.tif", "3.tif"):
        (images / name).unlink()
    line = (weights, images, "-o", images / "results", "--samples", 2, "--recursive")
    done = run(*line)
    assert done.exit_code == 0, done.output
    expected = {
        "0_denoised.tif", "2_denoised.tif", "day1/a_denoised.tif", "day2/a_denoised.tif",
        "day2/plate_denoised.ome.zarr/A/1/0/zarr.json", "day2/plate_denoised.ome.zarr/B/2/0/zarr.json",
    }  # fmt: skip
    again = run(*line, "--resume")  # the results lie in what is looked through, and are no images to denoise
    assert again.exit_code == 0 and again.stdout.count("(was done before)") == 6
    repeated = run("--repeat", images / "results" / "cosdd-denoise.json", "-o", tmp_path / "again")
    assert repeated.exit_code == 0, repeated.output
    for place in expected:
        assert (images / "results" / place).read_bytes() == (tmp_path / "again" / place).read_bytes()
    assert (tmp_path / "again" / "day2" / "plate_denoised.ome.zarr" / "zarr.json").exists()
    flat = run(weights, images, "-o", tmp_path / "flat", "--samples", 2)
    assert flat.exit_code == 0 and flat.stdout.count("denoised") == 2


def test_two_images_never_get_the_same_result(folder: Path, tmp_path: Path) -> None:
    weights, other = saved_model(tmp_path / "m.safetensors"), tmp_path / "other"
    other.mkdir()
    tifffile.imwrite(other / "0.tif", scene(40, 50, seed=7), photometric="minisblack")
    done = run(weights, folder / "0.tif", other / "0.tif", "-o", tmp_path / "out", "--samples", 2, "--overwrite")
    assert done.exit_code == 2 and "its result would be" in done.stderr and "--recursive" in done.stderr
    alone = run(weights, folder / "0.tif", "-o", tmp_path / "alone", "--samples", 2)
    assert alone.exit_code == 0
    result = "0_denoised.tif"
    assert (tmp_path / "out" / result).read_bytes() == (tmp_path / "alone" / result).read_bytes()


@pytest.mark.parametrize("format", ["tiff", "ome-zarr"])
def test_an_overwriting_run_that_was_killed_goes_on_with_the_new_result(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """The old result has the final name all the while."""
    weights, out = saved_model(tmp_path / "m.safetensors"), tmp_path / "out"
    how = (weights, folder / "0.tif", "-o", out, "--tile-px", 16, "--halo-px", 16, "--format", format)
    assert run(*how, "--samples", 2).exit_code == 0
    whole = (*how[:3], tmp_path / "new", *how[4:], "--samples", 3)
    assert run(*whole).exit_code == 0
    calls: list[int] = []

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(*arguments)

    compute = files.compute
    with monkeypatch.context() as patched:
        patched.setattr(files, "compute", killed)
        assert run(*how, "--samples", 3, "--overwrite").exit_code != 0
    assert run(*how, "--samples", 3, "--resume", "--overwrite").exit_code == 0
    for path in (tmp_path / "new").rglob("*"):
        if path.is_file() and path.name != "cosdd-denoise.json":
            assert (out / path.relative_to(tmp_path / "new")).read_bytes() == path.read_bytes()


def test_forgetting_to_resume_once_loses_nothing(folder: Path, tmp_path: Path) -> None:
    weights, out = saved_model(tmp_path / "m.safetensors"), tmp_path / "out"
    line = (weights, folder / "0.tif", folder / "2.tif", "-o", out, "--samples", 2)
    assert run(*line).exit_code == 0
    assert run(*line).exit_code == 2  # is there already
    assert run(*line, "--samples", 3).exit_code == 2
    again = run(*line, "--resume")
    assert again.exit_code == 0 and again.stdout.count("(was done before)") == 2


def test_results_are_no_images_to_denoise(folder: Path, tmp_path: Path) -> None:
    (folder / "sub").mkdir()
    tifffile.imwrite(folder / "sub" / "b.tif", scene(40, 50), photometric="minisblack")
    run(saved_model(tmp_path / "m.safetensors"), folder, "-o", folder, "--samples", 2, "--recursive")
    assert (folder / "sub" / "b_denoised.tif").exists()
    for sources in ([folder], [folder / "*.tif"], [folder / "**" / "*.tif"]):
        found = find_sources(sources, recursive=True, but=folder)
        assert found and not [s for s in found if "_denoised" in s.path.name]
    named = find_sources([folder / "0_denoised.tif"], but=folder)
    assert [s.path.name for s in named] == ["0_denoised.tif"]  # whoever names it means it


def test_what_is_no_log_or_too_much_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text("[]")
    broken = run("--repeat", tmp_path / "log.json", "-o", tmp_path / "out")
    assert "cannot be read as the log of a run" in str(broken.exception)
    both = run(saved_model(tmp_path / "m.safetensors"), folder, "--repeat", tmp_path / "log.json", "-o", tmp_path / "o")
    assert isinstance(both.exception, ConfigError)
    nothing = run("-o", tmp_path / "out")
    assert "MODEL or IMAGES are missing" in str(nothing.exception)
