"""Dask: a real scheduler and two workers on this machine, of which one is killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from models import few_features, model, quick, scaling, scene
from stores import plate, store
from typer.testing import CliRunner

from cosdd_zoo import load
from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.cli import app
from cosdd_zoo.data.finding import find_sources
from cosdd_zoo.errors import ConfigError, OutputError
from cosdd_zoo.inference.batch import LOG, denoise_files, one_after_another
from cosdd_zoo.inference.cluster import Cluster, connected
from cosdd_zoo.inference.files import Settings

SETTINGS = Settings(2, tile_px=32, halo_px=16, uncertainty=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = quick().model_copy(update={"network": few_features()})
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    Checkpoint(config, scaling(), model(config.network).state_dict(), {}).save(path)
    return path


class Machines:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.folder = folder
        quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.environment = quiet
        self.scheduler = self.start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        for _ in range(300):
            if self.file.exists():
                break
            time.sleep(0.1)
        self.workers = [self.worker(i) for i in range(2)]

    def start(self, module: str, *arguments: str) -> Any:
        line = [sys.executable, "-m", module, "--scheduler-file", str(self.file), *arguments]
        with (self.folder / f"{module}-{time.time_ns()}.log").open("w") as log:
            return subprocess.Popen(line, stdout=log, stderr=log, env=self.environment, cwd=self.folder)

    def worker(self, number: int) -> Any:
        own = self.folder / f"worker{number}"
        return self.start(
            "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
            "--local-directory", str(own), "--name", str(number),
        )  # fmt: skip

    @property
    def address(self) -> str:
        import json

        return str(json.loads(self.file.read_text())["address"])

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    folder = tmp_path / "machines"
    folder.mkdir()
    running = Machines(folder)
    yield running
    running.stop()


def files(folder: Path) -> dict[str, bytes]:
    found = [p for p in folder.rglob("*") if p.is_file() and p.name != LOG]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def inputs(folder: Path) -> Path:
    """A store of many blocks, a plate of few, and TIFFs."""
    folder.mkdir()
    store(folder / "large.ome.zarr", scene(2, 130, 100), "tyx", chunks=(1, 32, 32))
    plate(folder / "plate.zarr", {"A/1/0": scene(1, 40, 50), "A/2/0": scene(1, 40, 50, seed=3)}, "cyx")
    for i in range(3):
        tifffile.imwrite(folder / f"{i}.tif", scene(40, 50, seed=i), photometric="minisblack")
    return folder


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(weights: Path, tmp_path: Path, machines: Machines) -> None:
    sources = find_sources([inputs(tmp_path / "images")])
    denoiser = load(weights, "cpu")
    for folder in ("one", "many"):
        (tmp_path / folder).mkdir()
    alone = list(denoise_files(denoiser, weights, sources, tmp_path / "one", SETTINGS, doing=one_after_another))
    shares: list[float] = []

    def kill_one(share: float) -> None:
        shares.append(share)
        if len(shares) == 12:  # in the middle of the large store
            os.kill(machines.workers[0].pid, signal.SIGKILL)

    with connected(machines.address, None) as client:
        client.wait_for_workers(2)
        doing = Cluster(client, load, weights, "cpu")
        found = list(
            denoise_files(denoiser, weights, sources, tmp_path / "many", SETTINGS, advance=kill_one, doing=doing)
        )
        assert len(client.scheduler_info()["workers"]) == 1
    assert machines.workers[0].poll() == -signal.SIGKILL
    assert {o.status for o in found} == {"done"}
    assert sum(shares) == pytest.approx(len(sources))
    assert sorted(o.input for o in found) == sorted(o.input for o in alone)
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert {o.input: o.n_saturated for o in found} == {o.input: o.n_saturated for o in alone}


def one_store(weights: Path, tmp_path: Path) -> tuple[Any, Any]:
    """A store of 20 blocks, the model, and what one process makes of it, in `one`; `many` is still empty."""
    (source,) = find_sources([store(tmp_path / "large.ome.zarr", scene(1, 130, 100), "tyx", chunks=(1, 32, 32))])
    denoiser = load(weights, "cpu")
    for folder in ("one", "many"):
        (tmp_path / folder).mkdir()
    list(denoise_files(denoiser, weights, [source], tmp_path / "one", SETTINGS, doing=one_after_another))
    return source, denoiser


@pytest.mark.slow
def test_a_cluster_that_loses_every_worker_goes_on_with_a_new_one(
    weights: Path, tmp_path: Path, machines: Machines
) -> None:
    """Jobs of a queue are taken away together: nothing that a task needs may lie on workers alone."""
    source, denoiser = one_store(weights, tmp_path)
    n_blocks = 0

    def replace_all(share: float) -> None:
        nonlocal n_blocks
        n_blocks += 1
        if n_blocks == 3:
            for worker in machines.workers:
                os.kill(worker.pid, signal.SIGKILL)
            machines.workers.append(machines.worker(2))

    with connected(machines.address, None) as client:
        client.wait_for_workers(2)
        doing = Cluster(client, load, weights, "cpu")
        (found,) = denoise_files(
            denoiser, weights, [source], tmp_path / "many", SETTINGS, advance=replace_all, doing=doing
        )
    assert found.status == "done"
    assert n_blocks == 20
    assert files(tmp_path / "many") == files(tmp_path / "one")


@pytest.mark.slow
def test_a_scheduler_that_dies_is_a_sentence_and_resumed_from(
    weights: Path, tmp_path: Path, machines: Machines
) -> None:
    source, denoiser = one_store(weights, tmp_path)
    n_blocks = 0

    def stop_it(share: float) -> None:
        nonlocal n_blocks
        n_blocks += 1
        if n_blocks == 3:
            machines.scheduler.kill()

    with connected(machines.address, None) as client:
        client.wait_for_workers(2)
        doing = Cluster(client, load, weights, "cpu")
        with pytest.raises(OutputError, match="go on with --resume"):
            list(denoise_files(denoiser, weights, [source], tmp_path / "many", SETTINGS, advance=stop_it, doing=doing))
    (found,) = denoise_files(denoiser, weights, [source], tmp_path / "many", SETTINGS, resume=True)
    assert found.status == "done"
    assert files(tmp_path / "many") == files(tmp_path / "one")


@pytest.mark.slow
def test_the_command_spreads_over_processes_and_names_what_failed(weights: Path, tmp_path: Path) -> None:
    folder = inputs(tmp_path / "images")
    (folder / "bad.tif").write_bytes(b"II*\0 cut off")
    bad = scene(130, 100).astype(np.float32)
    bad[120, 90] = np.nan
    store(folder / "nan.zarr", bad, "yx", chunks=(32, 32))
    line = [
        weights,
        folder,
        "-o",
        tmp_path / "out",
        "--samples",
        2,
        "--tile-px",
        32,
        "--halo-px",
        16,
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, ["denoise", *map(str, line), "--cluster", "local", "--workers", "2", "--quiet"])
    assert done.exit_code == 2, done.output
    assert "2 of 8 images could not be denoised" in done.stderr and "nan.zarr has 1 NaN" in done.stderr
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"large_denoised.ome.zarr", "plate_denoised.ome.zarr", "0_denoised.tif"} <= names
    assert not [name for name in names if name.startswith(".")]


def test_a_cluster_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="No Dask scheduler answers at"), connected("no address", None):
        pass
    with pytest.raises(ConfigError, match="Describe a job in Dask's configuration"), connected("slurm", 2):
        pass
