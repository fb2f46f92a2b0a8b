"""A denoising that is killed goes on where it was, and its result is that of an unbroken one, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from models import denoised_to, few_features, model, quick, scaling, scene

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.data.images import open_image
from cosdd_zoo.errors import ImageError
from cosdd_zoo.inference.denoise import Denoiser

HOW: dict[str, Any] = {"n_samples": 4, "uncertainty": True, "tile_px": 32, "halo_px": 16}
N_WINDOWS = 2 * 2 * 3  # of two planes of 50 x 70 px


@pytest.fixture
def denoiser() -> Denoiser:
    config = quick().model_copy(update={"network": few_features()})
    return Denoiser(model(config.network), config, "cpu")


@pytest.fixture(params=["imagej", "ome", "plain"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    form = {"imagej": {"imagej": True}, "ome": {"ome": True}, "plain": {"photometric": "minisblack"}}[request.param]
    path = tmp_path / f"{request.param}.tif"
    tifffile.imwrite(path, scene(2, 50, 70), metadata={"axes": "TYX"}, **form)
    return path


def stop_after(n: int, error: type[BaseException] = KeyboardInterrupt) -> Callable[[float], None]:
    """Progress that breaks off in window n."""
    shares = 0.0

    def advance(share: float) -> None:
        nonlocal shares
        shares += share
        if shares > (n + 0.2) / N_WINDOWS:
            raise error

    return advance


def unbroken(denoiser: Denoiser, source: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    denoised_to(denoiser, open_image(source, "TYX"), folder, **HOW)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("after", [0, 1, 5, 11])
def test_an_interrupted_file_goes_on_and_is_the_same(
    denoiser: Denoiser, source: Path, tmp_path: Path, after: int
) -> None:
    expected = unbroken(denoiser, source, tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, advance=stop_after(after))
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]  # no file carries its final name
    done: list[float] = []
    denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, resume=True, advance=done.append)
    assert files(out) == expected
    n_skipped = done.count(1 / N_WINDOWS)
    assert n_skipped == after  # what was done is not done again
    assert sum(done) == pytest.approx(1)


def test_a_torn_block_is_done_again(denoiser: Denoiser, source: Path, tmp_path: Path) -> None:
    expected = unbroken(denoiser, source, tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, advance=stop_after(6))
    part = out / f".{source.stem}_denoised.tif.part"
    data = bytearray(part.read_bytes())
    with tifffile.TiffFile(part) as tif:
        first = tif.series[0].dataoffset
    data[first + 10 : first + 20] = bytes(10)
    part.write_bytes(data)
    journal = out / f".{source.stem}_denoised.tif.part.journal"
    journal.write_text(journal.read_text()[:-5])  # the last line was not written whole
    done: list[float] = []
    denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, resume=True, advance=done.append)
    assert files(out) == expected
    assert done.count(1 / N_WINDOWS) == 4  # of six, one was torn, and of one nothing was written down


def test_a_run_killed_between_the_names_of_its_two_files_goes_on(
    denoiser: Denoiser, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = unbroken(denoiser, source, tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    rename = os.replace

    def once(part: Path, path: Path) -> None:
        if list(out.glob("*_std.tif")):
            raise KeyboardInterrupt
        rename(part, path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "replace", once)
        denoised_to(denoiser, open_image(source, "TYX"), out, **HOW)
    denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, resume=True)
    assert files(out) == expected


@pytest.mark.parametrize("change", [{"n_samples": 3}, {"seed": 1}, {"tile_px": 64}, {"float32": True}])
def test_other_work_is_not_gone_on_with(
    denoiser: Denoiser, source: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, advance=stop_after(6))
    done: list[float] = []
    denoised_to(denoiser, open_image(source, "TYX"), out, **{**HOW, **change}, resume=True, advance=done.append)
    (tmp_path / "whole").mkdir()
    denoised_to(denoiser, open_image(source, "TYX"), tmp_path / "whole", **{**HOW, **change})
    assert files(out) == files(tmp_path / "whole")
    assert 1 / N_WINDOWS not in done


def test_a_changed_input_is_not_gone_on_with(denoiser: Denoiser, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, advance=stop_after(6))
    time.sleep(0.01)
    tifffile.imwrite(source, scene(2, 50, 70, seed=5), photometric="minisblack")
    denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, resume=True)
    assert files(out) == unbroken(denoiser, source, tmp_path / "whole")


def test_without_resume_an_interrupted_file_is_begun_anew(denoiser: Denoiser, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, advance=stop_after(6))
    done: list[float] = []
    denoised_to(denoiser, open_image(source, "TYX"), out, **HOW, advance=done.append)
    assert 1 / N_WINDOWS not in done
    assert files(out) == unbroken(denoiser, source, tmp_path / "whole")


def test_a_bad_image_leaves_nothing(denoiser: Denoiser, tmp_path: Path) -> None:
    image = scene(2, 50, 70).astype(np.float32)
    image[1, 49, 69] = np.nan  # in its last window
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    (tmp_path / "out").mkdir()
    with pytest.raises(ImageError, match="has 1 NaN"):
        denoised_to(denoiser, open_image(tmp_path / "a.tif", "TYX"), tmp_path / "out", **HOW)
    assert not files(tmp_path / "out")


KILLED = """
import sys, time
from pathlib import Path
from cosdd_zoo import load
from cosdd_zoo.data.images import open_image
from models import denoised_to
slow = len(sys.argv) > 4
advance = (lambda share: (print("window", flush=True), time.sleep(0.05))) if slow else (lambda share: None)
denoised_to(
    load(sys.argv[1], "cpu"), open_image(sys.argv[2], "TYX"), Path(sys.argv[3]), 4, uncertainty=True, tile_px=32,
    halo_px=16, resume=True, advance=advance,
)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_in_another_process(denoiser: Denoiser, tmp_path: Path) -> None:
    config = quick().model_copy(update={"network": few_features()})
    saved = tmp_path / "model.safetensors"
    Checkpoint(config, scaling(), model(config.network).state_dict(), {}).save(saved)
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, scene(2, 50, 70), photometric="minisblack")
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", KILLED, str(saved), str(source), str(out)]
    run = subprocess.Popen([*command, "slowly"], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    assert run.stdout
    for _ in range(4):
        run.stdout.readline()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    parts = [f".a_denoised{word}.tif.part{end}" for word in ("", "_std") for end in ("", ".journal")]
    assert sorted(files(out)) == sorted(parts)
    subprocess.run(command, check=True, cwd=Path(__file__).parent)
    assert files(out) == unbroken(denoiser, source, tmp_path / "whole")
