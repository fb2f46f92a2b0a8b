"""Is a denoising that is killed at a random moment and resumed the same as an unbroken one, byte for byte?

    python benchmarks/killed.py MODEL [TIMES] [SEED]        MODEL: a run, a checkpoint or a package

Each time the command line denoises a folder of four simulated stacks (ImageJ, OME and plain TIFF, OME-Zarr) with
standard deviations, is killed (SIGKILL) at a moment drawn from its whole duration, once or twice, and resumed. Prints a
Markdown table: when it was killed, what was there then, and whether all files are those of the unbroken run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import zarr

from cosdd_zoo.data.simulate import confocal_stack

KINDS: dict[str, dict[str, bool]] = {"imagej": {"imagej": True}, "ome": {"ome": True}, "plain": {}}


def main(model: str, times: str = "20", seed: str = "0") -> None:
    random = np.random.default_rng(int(seed))
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        stack = confocal_stack(n_frames=2, size=256).noisy
        for name, form in KINDS.items():
            tifffile.imwrite(images / f"{name}.tif", stack, metadata={"axes": "TYX"}, photometric="minisblack", **form)
        store(images / "store.ome.zarr", stack)
        begun = time.monotonic()
        denoised(model, images, Path(folder) / "whole")
        lasts = time.monotonic() - begun
        expected = files(Path(folder) / "whole")
        print(f"| killed after, of {lasts:.1f} s | finished files then | begun ones | the same |\n|---|---|---|---|")
        n_same = 0
        for k in range(int(times)):
            out = Path(folder) / f"killed-{k}"
            moments = random.uniform(0, lasts, 1 + k % 2)
            there = [killed(model, images, out, moment) for moment in moments]
            denoised(model, images, out, "--resume")
            same = files(out) == expected and not list(out.glob(".*"))
            n_same += same
            done, parts = there[-1]
            print(
                f"| {', '.join(f'{m:.1f}' for m in moments)} | {done} | {parts} | {'yes' if same else 'NO'} |",
                flush=True,
            )
        print(f"\n{n_same} of {times} the same")


def store(path: Path, stack: np.ndarray) -> None:
    group = zarr.create_group(str(path))
    group.create_array("0", data=stack, chunks=(1, 64, 64))
    axes = [{"name": "t", "type": "time"}, *({"name": a, "type": "space"} for a in "yx")]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}]
    group.attrs.update({"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}})


def denoised(model: str, images: Path, out: Path, *more: str) -> None:
    subprocess.run(command(model, images, out, *more), check=True, stdout=subprocess.DEVNULL)


def killed(model: str, images: Path, out: Path, after_s: float) -> tuple[int, int]:
    """Finished and begun files after a run that was killed."""
    run = subprocess.Popen(command(model, images, out, "--resume"), stdout=subprocess.DEVNULL)
    try:
        run.wait(after_s)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()
    return len(list(out.glob("[!.]*_denoised*"))), len(list(out.glob(".*.part")))


def command(model: str, images: Path, out: Path, *more: str) -> list[str]:
    how = ["--samples", "4", "--uncertainty", "--tile-px", "64", "--halo-px", "32", "--axes", "TYX", "--quiet"]
    return [
        sys.executable,
        "-m",
        "cosdd_zoo",
        "denoise",
        model,
        str(images),
        "-o",
        str(out),
        *how,
        "--device",
        "cpu",
        *more,
    ]


def files(folder: Path) -> dict[str, bytes]:
    """All that is there, but for the logs."""
    found = [
        path for path in folder.rglob("*") if (path.is_file() and path.suffix != ".json") or path.name == "zarr.json"
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


if __name__ == "__main__":
    main(*sys.argv[1:])
