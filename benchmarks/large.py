"""What large images cost: memory, tiles, the work around the network, and a second worker.

    python benchmarks/large.py memory [SIDE ...]      OME-Zarr of SIDE x SIDE uint16, denoised directly, by the command
    python benchmarks/large.py tiles [SIDE]           tiled against whole, every noise axis
    python benchmarks/large.py overhead [SIDE]        the command's work against the bare network on the same windows
    python benchmarks/large.py workers [SIDE]         two Dask workers against one
    python benchmarks/large.py blocks                 what a block costs, and what saturates first at N workers

All with the tiny preset and random weights, on as many cores as there are. Each prints a Markdown table.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from cosdd_zoo import load
from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import RunConfig, preset
from cosdd_zoo.data.finding import find_sources
from cosdd_zoo.data.images import open_image
from cosdd_zoo.inference.batch import denoise_files
from cosdd_zoo.inference.cluster import Blocks, Cluster, connected
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.inference.files import Settings, denoise_file, work_of
from cosdd_zoo.inference.windows import read_window
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.scaling import Scaling

CHUNK_PX = 1024
SCALING = Scaling([100.0], [10.0], [0.0], [100.0], [0.6], [0.5])


def main(what: str, *given: str) -> None:
    sides = [int(n) for n in given]
    match what:
        case "memory":
            memory(sides or [5000, 20000])
        case "tiles":
            tiles(*(sides or [2048]))
        case "overhead":
            overhead(*(sides or [4096]))
        case "workers":
            workers(*(sides or [4096]))
        case "blocks":
            blocks()
        case _:
            sys.exit(__doc__)


def memory(sides: list[int]) -> None:
    print("| side, px | seconds | largest resident memory, GB |\n|---|---|---|", flush=True)
    for side in sides:
        with workplace() as folder:
            image = noise_store(folder / "image.ome.zarr", side)
            begun = time.monotonic()
            line = [
                sys.executable,
                "-m",
                "cosdd_zoo",
                "denoise",
                folder / "model.safetensors",
                image,
                "-o",
                folder / "out",
            ]
            subprocess.run(
                [*map(str, line), "--direct", "--device", "cpu", "--quiet"], check=True, stdout=subprocess.DEVNULL
            )
            largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9  # of all so far: rising sides
            print(f"| {side} | {time.monotonic() - begun:.0f} | {largest:.2f} |", flush=True)


def tiles(side: int) -> None:
    """Largest difference, in the noise's standard deviation, between windows of 512 px and one of the whole image."""
    print("| noise axis | direct | latents' means | 2 samples |\n|---|---|---|---|", flush=True)
    image = noise(side)
    for axis in ("x", "y", "none"):
        config = preset("tiny", direct=True, noise_axis=axis)
        denoiser = random_denoiser(config)
        cells = []
        for how in ({"direct": True}, {"n_samples": 0}, {"n_samples": 2}):
            whole, tiled = (denoiser.denoise(image, axes="YX", tile_px=t, **how).mean for t in (side, 512))  # type: ignore[arg-type]
            cells.append(f"{np.abs(whole - tiled).max() / image.std():.1e}")
        print(f"| {axis} | {' | '.join(cells)} |", flush=True)
    config = preset("tiny", direct=True, n_dims=3, noise_axis="z")
    volume = noise(side)[: 512 * 512 * 8 // side].reshape(8, 512, 512)
    denoiser = random_denoiser(config)
    cells = []
    for how in ({"direct": True}, {"n_samples": 0}, {"n_samples": 2}):
        whole, tiled = (denoiser.denoise(volume, axes="ZYX", tile_px=t, **how).mean for t in (512, 192))  # type: ignore[arg-type]
        cells.append(f"{np.abs(whole - tiled).max() / volume.std():.1e}")
    print(f"| z, 8 x 512 x 512 px in windows of 192 | {' | '.join(cells)} |", flush=True)


def overhead(side: int) -> None:
    """Reading, tiling, stitching, writing and the pyramid, against the network alone on the same windows in memory."""
    print("| how | network alone, s | OME-Zarr to OME-Zarr, s | overhead |\n|---|---|---|---|", flush=True)
    with workplace() as folder:
        image = open_image(noise_store(folder / "image.ome.zarr", side))
        denoiser = load(folder / "model.safetensors", "cpu")
        for name, settings in (
            ("direct", Settings(0, direct=True)),
            ("latents' means", Settings(0)),
            ("2 samples", Settings(2)),
        ):
            seconds = {"bare": [], "whole": []}  # type: dict[str, list[float]]
            for turn in range(3):  # the two in turns, so that a slower moment meets both
                work = work_of(denoiser, image, settings)
                begun, busy = time.perf_counter(), 0.0
                for number in range(len(work.tasks)):
                    task = work.tasks.at(number)
                    x = torch.from_numpy(read_window(image, 0, 2, task.bounds, task.group).astype(np.float32))[None]
                    begun = time.perf_counter()
                    work.estimator(x, [b[2] for b in task.bounds], lambda share: None)
                    busy += time.perf_counter() - begun
                seconds["bare"].append(busy)
                begun = time.perf_counter()
                denoise_file(denoiser, image, folder / f"{turn}.ome.zarr", settings, overwrite=True)
                seconds["whole"].append(time.perf_counter() - begun)
            bare, whole = (float(np.median(seconds[k])) for k in ("bare", "whole"))
            print(f"| {name} | {bare:.1f} | {whole:.1f} | {100 * (whole / bare - 1):.1f} % |", flush=True)


def workers(side: int) -> None:
    print("| workers | seconds | ratio |\n|---|---|---|", flush=True)
    with workplace() as folder:
        model = folder / "model.safetensors"
        noise_store(folder / "image.ome.zarr", side)
        noise_store(folder / "warm.ome.zarr", 4 * CHUNK_PX)
        found: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(2):
            for n in (1, 2):
                with connected("local", n) as client:
                    client.wait_for_workers(n)
                    for name in ("warm", "image"):  # the first brings the model to the workers
                        begun = time.perf_counter()
                        out = folder / f"{name}-{n}-{turn}"
                        out.mkdir()
                        sources = find_sources([folder / f"{name}.ome.zarr"])
                        doing = Cluster(client, load, model, "cpu")
                        settings = Settings(0, direct=True, tile_px=512)
                        list(denoise_files(load(model, "cpu"), model, sources, out, settings, doing=doing))
                found[n].append(time.perf_counter() - begun)
        one, two = (float(np.median(found[n])) for n in (1, 2))
        print(f"| 1 | {one:.1f} | |\n| 2 | {two:.1f} | {one / two:.2f} |", flush=True)


def blocks() -> None:
    """Costs of one task, measured; then a queue with one scheduler, one client and one disk, simulated."""
    from distributed import Client, LocalCluster

    side = 4096
    with workplace() as folder:
        image = open_image(noise_store(folder / "image.ome.zarr", side))
        denoiser = load(folder / "model.safetensors", "cpu")
        torch.set_num_threads(1)
        work = work_of(denoiser, image, Settings(0, direct=True, tile_px=1024))
        compute_s, read_s = [], []
        for number in range(6):
            task = work.tasks.at(number)
            begun = time.perf_counter()
            x = torch.from_numpy(read_window(image, 0, 2, task.bounds, task.group).astype(np.float32))[None]
            read_s.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            work.estimator(x, [b[2] for b in task.bounds], lambda share: None)
            compute_s.append(time.perf_counter() - begun)
        journal = folder / "journal"
        begun = time.perf_counter()
        for _ in range(200):
            with journal.open("a") as file:
                file.write("[1, 0, [0], [0, 0], [1024, 1024], 1234567890, 0, 0]\n")
                file.flush()
        journal_s = (time.perf_counter() - begun) / 200
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        doing = Cluster(client, load, Path("model"), "cpu")
        about = Blocks(load, "model", "cpu", image, work.settings, ())  # as much as a task brings along
        for n in (200, 2000):
            begun = time.perf_counter()
            list(doing.results((_nothing, (about, number)) for number in range(n)))
            scheduler_s = (time.perf_counter() - begun) / n
    n_bytes = 2 * 1024 * 1024 * 2  # read and written, uint16, uncompressed
    costs = {
        "compute": float(np.median(compute_s)),
        "read": float(np.median(read_s)),
        "schedule": scheduler_s,
        "journal": journal_s,
    }
    print("| of one block of 1024 x 1024 px | ms |\n|---|---|")
    for name, seconds in costs.items():
        print(f"| {name} | {1e3 * seconds:.2f} |")
    print("\n| workers | a worker's block, s | blocks a second | share of n alone | disk, GB a second | limit |")
    print("|---|---|---|---|---|---|")
    for label, compute_one in (("CPU core", costs["compute"]), ("GPU, if 100 x a core", costs["compute"] / 100)):
        for n in (1, 10, 100, 1000):
            each = 1 / (compute_one + costs["read"])
            central = 1 / (costs["schedule"] + costs["journal"])
            disk = 5e9 / n_bytes  # a parallel file system of 5 GB/s
            rates = {"the workers": n * each, "scheduler and client": central, "a disk of 5 GB/s": disk}
            limit = min(rates, key=lambda k: rates[k])
            rate = simulated(n, compute_one + costs["read"], costs["schedule"] + costs["journal"], 1 / disk)
            share = rate / (n * each)
            speed = f"{1 / each:.3f} | {rate:.1f} | {100 * share:.0f} % | {rate * n_bytes / 1e9:.2f}"
            print(f"| {n} x {label} | {speed} | {limit} |")


def _nothing(about: Blocks, number: int) -> int:
    return number


def simulated(n_workers: int, worker_s: float, central_s: float, disk_s: float, n_blocks: int = 20000) -> float:
    """Blocks a second of a closed queue: each worker's block passes the one scheduler and the one disk, in turn."""
    import heapq

    ready = [(0.0, w) for w in range(n_workers)]
    central, disk, last = 0.0, 0.0, 0.0
    dice = np.random.default_rng(0)
    for _ in range(n_blocks):
        now, worker = heapq.heappop(ready)
        central = max(central, now) + central_s
        disk = max(disk, central) + disk_s
        last = max(disk, central) + worker_s * dice.uniform(0.9, 1.1)
        heapq.heappush(ready, (last, worker))
    return n_blocks / last


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder with a model of random weights."""
    with tempfile.TemporaryDirectory() as folder:
        config = preset("tiny", direct=True)
        network = random_network(config)
        Checkpoint(config, SCALING, network.state_dict(), {}).save(Path(folder) / "model.safetensors")
        yield Path(folder)


@torch.no_grad()
def random_network(config: RunConfig) -> Cosdd:
    """Every parameter random: fresh networks hide much behind layers of zeros."""
    network = Cosdd(config.network, SCALING, config.training.stabilise).eval()
    dice = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 10
        parameter.copy_(torch.randn(parameter.shape, generator=dice) / fan_in**0.5)
    return network


def random_denoiser(config: RunConfig) -> Denoiser:
    return Denoiser(random_network(config), config, "cpu")


def noise(side: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(seed).poisson(100, (side, side)).astype(np.uint16)


def noise_store(path: Path, side: int) -> Path:
    """Written strip by strip: no whole image is in memory."""
    group = zarr.create_group(str(path))
    level: Any = group.create_array("0", shape=(side, side), chunks=(CHUNK_PX, CHUNK_PX), dtype="uint16")
    for k, y in enumerate(range(0, side, CHUNK_PX)):
        rows = min(CHUNK_PX, side - y)
        level[y : y + rows] = np.random.default_rng(k).poisson(100, (rows, side)).astype(np.uint16)
    scales = [{"type": "scale", "scale": [0.1, 0.1]}]
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": scales}]
    group.attrs.update(
        {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets, "name": "noise"}]}}
    )
    return path


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
