"""As many samples as it takes, and windows that are divided where memory does not suffice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import xarray
from models import denoised_to, few_features, model, quick, scaling, scene
from stores import pixels, store

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.data.images import open_image
from cosdd_zoo.errors import ImageError
from cosdd_zoo.inference import memory
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.inference.estimate import MOST_SAMPLES


@pytest.fixture
def denoiser() -> Denoiser:
    config = quick().model_copy(update={"network": few_features()})
    return Denoiser(model(config.network), config, "cpu")


@pytest.mark.parametrize("tolerance", [0.2, 0.1, 0.05])
def test_the_mean_is_as_near_as_it_was_asked_to_be(denoiser: Denoiser, tolerance: float) -> None:
    """Against the mean of many samples, in the noise's standard deviation; a lucky stop may be off by half as much."""
    image = scene(48, 48)
    given = xarray.DataArray(image, dims=("y", "x"))
    truth = denoiser.denoise(image, 1000, axes="YX").mean
    shares: list[float] = []
    found = denoiser.denoise(given, tolerance=tolerance, advance=shares.append).mean
    noise = np.sqrt(np.mean((image - truth) ** 2))
    assert np.sqrt(np.mean((found.values - truth) ** 2)) < 1.5 * tolerance * noise
    assert 8 <= found.attrs["n_samples"] < MOST_SAMPLES
    assert sum(shares) == pytest.approx(1)


def test_a_finer_tolerance_takes_more_samples_and_is_the_mean_of_them(denoiser: Denoiser) -> None:
    image = xarray.DataArray(scene(48, 48), dims=("y", "x"))
    counts = [int(denoiser.denoise(image, tolerance=t).mean.attrs["n_samples"]) for t in (0.2, 0.1, 0.05)]
    assert counts == sorted(counts) and counts[0] < counts[-1]
    found = denoiser.denoise(image, tolerance=0.1, uncertainty=True)
    same = denoiser.denoise(image, counts[1], uncertainty=True)
    np.testing.assert_allclose(found.mean.values, same.mean.values, rtol=1e-5)
    np.testing.assert_allclose(found.std.values, same.std.values, rtol=1e-4, atol=1e-4)


def test_what_it_took_is_kept_with_a_store(denoiser: Denoiser, tmp_path: Path) -> None:
    image = open_image(store(tmp_path / "a.zarr", scene(96, 48), "yx"))
    saved = denoised_to(denoiser, image, tmp_path / "out", 16, tolerance=0.1, tile_px=48, halo_px=16)
    kept = json.loads((saved.path / "zarr.json").read_text())["attributes"]["cosdd_zoo"]
    assert kept["samples"] == saved.n_samples > 8


class Narrow:
    """An engine that lacks memory for more than so many pixels, as a device would."""

    def __init__(self, engine: Any, most_px: int) -> None:
        self.engine, self.most_px, self.sizes = engine, most_px, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def bottom_up(self, x: torch.Tensor) -> Any:
        self.sizes.append(x[0, 0].numel())
        if x[0, 0].numel() > self.most_px:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
        return self.engine.bottom_up(x)


def test_where_memory_does_not_suffice_windows_are_divided_and_the_result_is_the_same(
    denoiser: Denoiser, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", scene(64, 1000), photometric="minisblack")
    image = open_image(tmp_path / "a.tif", "YX")
    whole = denoised_to(denoiser, image, tmp_path / "whole", 2, float32=True, tile_px=512)
    assert not whole.divided
    narrow = Narrow(denoiser.engine, 64 * 500)
    denoiser.engine = narrow
    shares: list[float] = []
    found = denoised_to(denoiser, image, tmp_path / "out", 2, float32=True, tile_px=512, advance=shares.append)
    assert found.divided and sum(shares) == pytest.approx(1)
    assert sum(n > narrow.most_px for n in narrow.sizes) <= 3  # each size is tried once
    a, b = tifffile.imread(whole.path), tifffile.imread(found.path)
    assert np.abs(a - b).max() < 1e-3 * np.std(scene(64, 1000) - a)
    denoiser.engine = Narrow(narrow.engine, 50)
    with pytest.raises(ImageError, match="memory does not suffice even for pieces of"):
        denoised_to(denoiser, image, tmp_path / "no", 2, tile_px=512)


@pytest.mark.parametrize("how", [{}, {"n_samples": 0}, {"direct": True}])
def test_several_items_at_once_give_what_each_gives_alone(tmp_path: Path, how: dict[str, Any]) -> None:
    config = quick().model_copy(update={"network": few_features(direct=True)})
    denoiser = Denoiser(model(config.network), config, "cpu")
    image = open_image(store(tmp_path / "a.zarr", scene(10, 48, 40).reshape(5, 2, 48, 40), "tcyx"))
    given: dict[str, Any] = {"n_samples": 4, "channels": "1", "float32": True, **how}
    alone = denoised_to(denoiser, image, tmp_path / "alone", **given)
    denoiser.items_at_once = 3
    sizes: list[int] = []
    direct, bottom_up = denoiser.engine.direct, denoiser.engine.bottom_up
    denoiser.engine.direct = lambda x: sizes.append(len(x)) or direct(x)
    denoiser.engine.bottom_up = lambda x: sizes.append(len(x)) or bottom_up(x)
    shares: list[float] = []
    many = denoised_to(denoiser, image, tmp_path / "many", **given, advance=shares.append)
    assert sizes == [3, 2] and sum(shares) == pytest.approx(1)
    assert np.abs(pixels(many.path) - pixels(alone.path)).max() < 1e-3  # grey values; the noise has 20


def test_where_memory_lacks_for_several_items_each_is_done_alone(denoiser: Denoiser, tmp_path: Path) -> None:
    image = open_image(store(tmp_path / "a.zarr", scene(4, 48, 40), "tyx"))
    alone = denoised_to(denoiser, image, tmp_path / "alone", 2)
    bottom_up = denoiser.engine.bottom_up

    def narrow(x: torch.Tensor) -> Any:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return bottom_up(x)

    denoiser.engine.bottom_up, denoiser.items_at_once = narrow, 4
    many = denoised_to(denoiser, image, tmp_path / "many", 2)
    assert denoiser.items_at_once == 1
    np.testing.assert_array_equal(pixels(many.path), pixels(alone.path))


def test_what_each_device_says_when_memory_does_not_suffice_is_understood() -> None:
    said = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    assert memory.is_out_of_memory(RuntimeError(said))
    assert memory.is_out_of_memory(RuntimeError("could not create a primitive"))
    assert memory.is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"))
    assert memory.is_out_of_memory(MemoryError()) and memory.is_out_of_memory(torch.OutOfMemoryError("CUDA"))
    assert not memory.is_out_of_memory(RuntimeError("shape mismatch")) and not memory.is_out_of_memory(ValueError())


LITTLE = """
import resource, sys
from models import denoised_to
from pathlib import Path
from cosdd_zoo import load
from cosdd_zoo.data.images import open_image
import torch
torch.set_num_threads(1)
one = load(sys.argv[1], "cpu")
denoised_to(one, open_image(Path(sys.argv[3]) / "small.tif", "YX"), Path(sys.argv[3]) / "warm", 2)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[4]) * 2**20,) * 2)
saved = denoised_to(one, open_image(sys.argv[2], "YX"), Path(sys.argv[3]) / "out", 2, tile_px=2048)
print(saved.divided)
"""


@pytest.mark.slow
def test_a_process_that_really_lacks_memory_goes_on_with_smaller_windows(tmp_path: Path) -> None:
    config = quick().model_copy(update={"network": few_features()})
    Checkpoint(config, scaling(), model(config.network).state_dict(), {}).save(tmp_path / "m.safetensors")
    tifffile.imwrite(tmp_path / "a.tif", scene(1024, 2048), photometric="minisblack")
    tifffile.imwrite(tmp_path / "small.tif", scene(64, 64), photometric="minisblack")
    line = [sys.executable, "-c", LITTLE, *map(str, (tmp_path / "m.safetensors", tmp_path / "a.tif", tmp_path)), "340"]
    one_heap = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # a further heap reserves address space, or not, by chance
    done = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).parent, env=one_heap, check=False)
    assert done.stdout.strip() == "True", done.stderr[-2000:]
    assert (tmp_path / "out" / "a_denoised.tif").exists()


def test_a_smaller_free_memory_makes_smaller_windows(denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = []
    for free in (2**34, 2**30, 2**28):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        sides.append(denoiser.tile_px(64))
    assert sides == sorted(sides, reverse=True) and sides[-1] < sides[0]
