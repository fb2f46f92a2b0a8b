"""The main job from end to end, on data that ships with the package: train, denoise, export, check.

Truth is used for the figures alone; the model sees the noisy images only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from cosdd_zoo import api
from cosdd_zoo.data.beside import write_together
from cosdd_zoo.data.metrics import affine_fit, best_gaussian, psnr
from cosdd_zoo.data.pictures import panel
from cosdd_zoo.data.simulate import confocal_stack
from cosdd_zoo.errors import OutputError, TrainingError
from cosdd_zoo.inference.files import Settings, denoise_file
from cosdd_zoo.inference.progress import steps

PICTURE_PX = 256


class Scene(NamedTuple):
    noisy: NDArray[Any]  # [S, Y, X]
    truth: NDArray[Any]  # [S, Y, X], on the scale of noisy
    card: str
    minutes: float
    n_samples: int  # of the result and of the package


class Figures(NamedTuple):
    psnr_noisy_db: float
    psnr_gaussian_db: float
    psnr_denoised_db: float
    best_sigma_px: float


def run_demo(output: Path, real: bool, max_time: float | None, overwrite: bool, quiet: bool) -> Iterator[str]:
    """Make `output` and fill it; yields the lines to print, as soon as each is known.

    Raises OutputError when the folder holds anything, unless `overwrite`.
    """
    began = time.monotonic()
    run, denoised, package = (
        output / "run",
        output / "denoised",
        output / f"cosdd-{'actin' if real else 'confocal'}.zip",
    )
    if output.exists() and not overwrite and any(output.iterdir()):
        raise OutputError(f"{output} exists and is not empty: choose another -o, or use --overwrite.")
    denoised.mkdir(parents=True, exist_ok=True)
    scene = real_scene() if real else simulated_scene()
    noisy_file = output / "noisy.tif"
    tifffile.imwrite(noisy_file, scene.noisy, imagej=True, metadata={"axes": "TYX"}, compression="zlib")
    minutes = max_time or scene.minutes
    yield f"Training `tiny` for {minutes:g} minutes on {len(scene.noisy)} noisy frame(s) alone: {noisy_file}"
    trained = api.train([noisy_file], run, max_time=minutes, axes=_axes(scene), overwrite=True, quiet=quiet)
    if trained.stopped_by in ("SIGINT", "SIGTERM"):
        raise TrainingError(f"Interrupted. Continue with: cosdd-zoo train --resume {run}")
    image = api.open_images([noisy_file], _axes(scene))[0]
    result = denoised / "noisy_denoised.tif"
    with steps("denoise", 1, quiet) as advance:
        settings = Settings(scene.n_samples)
        saved = denoise_file(api.load(run), image, result, settings, overwrite=True, advance=advance)
    figures = measure(scene, tifffile.imread(saved.path).reshape(scene.noisy.shape))
    picture = output / "before_after.png"
    draw(scene, tifffile.imread(saved.path).reshape(scene.noisy.shape), picture)
    with as_file(files("cosdd_zoo") / "demo_data" / scene.card) as card:
        api.export(run, package, card=card, n_samples=scene.n_samples, figures=dict(figures._asdict()), overwrite=True)
    checked = api.check(package)
    looked = _reported(run, quiet)
    yield f"denoised TIFF    {saved.path}"
    yield f"package          {package}  (check: {'passed' if checked.passed else 'FAILED'}, {len(checked.rules)} rules)"
    yield f"before and after {picture}"
    yield f"report           {looked}"
    yield from table(figures, real)
    yield f"in {(time.monotonic() - began) / 60:.1f} minutes, {trained.facts['steps']} steps"


def _reported(run: Path, quiet: bool) -> str:
    """The report on the run, written into its folder: where it is, and its verdict."""
    from cosdd_zoo.report.report_page import report_page

    with steps("report", 1, quiet) as advance:
        found = api.report(run, n_items=1, n_samples=16, advance=advance)
    write_together(run, {"report.html": report_page(found)}, overwrite=True)
    return f"{run / 'report.html'}  ({found.facts.verdict})"


def table(figures: Figures, real: bool) -> list[str]:
    """The figures as lines."""
    fitted = ", after an affine fit of the long exposure" if real else ""
    gaussian = f"best Gaussian (sigma {figures.best_sigma_px:.1f} px)"
    return [
        f"PSNR in dB{fitted}:",
        f"  {'noisy':<30}{figures.psnr_noisy_db:6.2f}",
        f"  {gaussian:<30}{figures.psnr_gaussian_db:6.2f}   an oracle: its sigma is chosen by the truth",
        f"  {'denoised':<30}{figures.psnr_denoised_db:6.2f}",
    ]


def simulated_scene() -> Scene:
    """24 frames of filaments and cells with their exact expectation (data.simulate)."""
    stack = confocal_stack()
    return Scene(stack.noisy, stack.signal, "demo-confocal.md", 3.0, n_samples=16)


def real_scene() -> Scene:
    """One frame of actin in a confocal microscope, and its long exposure (demo_data/README.md)."""
    folder = files("cosdd_zoo") / "demo_data"
    with as_file(folder / "actin_noisy.tif") as noisy, as_file(folder / "actin_truth.tif") as truth:
        x, s = tifffile.imread(noisy), tifffile.imread(truth)
    return Scene(x[None], affine_fit(s, x)[None], "demo-actin.md", 3.0, n_samples=0)


def measure(scene: Scene, denoised: NDArray[Any]) -> Figures:
    """PSNR of noisy, best Gaussian and denoised against the truth, over all frames together."""
    gaussian = best_gaussian(scene.noisy, scene.truth)
    noisy, best, ours = (
        round(s, 2) for s in (psnr(scene.noisy, scene.truth), gaussian.psnr, psnr(denoised, scene.truth))
    )
    return Figures(noisy, best, ours, gaussian.sigma_px)


def draw(scene: Scene, denoised: NDArray[Any], path: Path) -> None:
    """The middle of the first frame: noisy, denoised, truth."""
    start = [(n - min(n, PICTURE_PX)) // 2 for n in scene.noisy.shape[1:]]
    cut = tuple(slice(s, s + PICTURE_PX) for s in start)
    images = {"noisy": scene.noisy, "denoised": denoised, "truth": scene.truth}
    panel({name: np.asarray(image[0][cut], dtype=np.float64) for name, image in images.items()}, path)


def _axes(scene: Scene) -> str:
    return "TYX" if len(scene.noisy) > 1 else "YX"
