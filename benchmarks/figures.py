"""The figures that README states of one trained run: agreement, tiling, memory, samples, start-up.

    python benchmarks/figures.py RUN PACKAGE IMAGE [TRUTH]        e.g. of `cosdd-zoo demo --real`

Prints a Markdown table; every row is measured in this call. TRUTH is fitted affinely to IMAGE.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tifffile

import cosdd_zoo
from cosdd_zoo.data.metrics import affine_psnr


def main(run: str, package: str, image: str, truth: str | None = None) -> None:
    x = tifffile.imread(image)
    x = x if x.ndim == 2 else x[0]
    rows = [
        ("package in bioimageio.core against denoise, largest difference / std", package_difference(package, x)),
        ("tiled (256 px, default halo) against whole, largest difference / std", tiling_difference(run, x)),
        ("peak memory of denoise, 100 samples / 2 samples", memory_ratio(run, image)),
        ("cosdd-zoo --help, median of 5, s", help_seconds()),
    ]
    if truth is not None:
        rows += samples_curve(run, x, tifffile.imread(truth).reshape(-1, *x.shape)[0])
    print("| what | measured |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value:.4g} |")


def package_difference(package: str, x: np.ndarray) -> float:
    from bioimageio.core import create_prediction_pipeline, load_description
    from bioimageio.core.sample import Sample
    from bioimageio.core.tensor import Tensor

    model = load_description(package, perform_io_checks=False)
    side = min(512, *x.shape)
    part = x[:side, :side]
    tensor = Tensor.from_numpy(part[None, None].astype(np.float32), dims=("batch", "channel", "y", "x"))
    # without core's own halo: it would be padding, which moves the image on the grid that the samples belong to
    with create_prediction_pipeline(model) as pipeline:
        sample = Sample(members={"input": tensor}, stat={}, id="x")
        result = pipeline.predict_sample_without_blocking(sample, skip_input_padding=True, skip_output_cropping=True)
    core = np.asarray(next(iter(result.members.values())).data)[0, 0]
    denoiser = cosdd_zoo.load(package)
    n_samples = int(denoiser.engine.n_samples)
    ours = denoiser.denoise(part, n_samples, axes="YX").mean
    return float(np.abs(core - ours).max() / x.std())


def tiling_difference(run: str, x: np.ndarray) -> float:
    denoiser = cosdd_zoo.load(run)
    whole = denoiser.denoise(x, 4, axes="YX", tile_px=4096).mean
    tiled = denoiser.denoise(x, 4, axes="YX", tile_px=256).mean
    return float(np.abs(whole - tiled).max() / x.std())


def memory_ratio(run: str, image: str) -> float:
    return peak_bytes(run, image, 100) / peak_bytes(run, image, 2)


def peak_bytes(run: str, image: str, n_samples: int) -> float:
    """Peak resident memory of a fresh process that denoises the image's middle 512 px."""
    code = (
        "import sys, resource, tifffile, cosdd_zoo\n"
        "x = tifffile.imread(sys.argv[2]); x = x if x.ndim == 2 else x[0]\n"
        "cosdd_zoo.load(sys.argv[1]).denoise(x[:512, :512], int(sys.argv[3]), axes='YX')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", code, run, image, str(n_samples)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def help_seconds() -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("cosdd-zoo"), "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def samples_curve(run: str, x: np.ndarray, truth: np.ndarray) -> list[tuple[str, float]]:
    denoiser = cosdd_zoo.load(run)
    scores = []
    for n in (1, 2, 4, 8, 16, 32, 100):
        y = denoiser.denoise(x[:512, :512], n, axes="YX").mean
        scores.append(
            (f"PSNR of the mean of {n} samples, top left 512 px, dB", affine_psnr(y, truth[:512, :512], x[:512, :512]))
        )
    return scores


if __name__ == "__main__":
    print(f"<!-- python benchmarks/figures.py {' '.join(sys.argv[1:])} -->")
    main(*sys.argv[1:])
    print(f"\npeak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", file=sys.stderr)
