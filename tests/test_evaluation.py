"""The figures that `card fill` measures are those of the images, and reach the package's README."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from models import QUICK, few_features, model, quick
from PIL import Image
from typer.testing import CliRunner

import cosdd_zoo
from cosdd_zoo.cli import app
from cosdd_zoo.data.metrics import affine_fit, psnr
from cosdd_zoo.data.simulate import confocal_stack
from cosdd_zoo.errors import ImageError
from cosdd_zoo.export.card import read_card
from cosdd_zoo.export.evaluation import evaluate, noise_figures, noise_picture
from cosdd_zoo.inference.denoise import Denoiser

CARD = Path(__file__).parents[1] / "model_cards" / "demo-confocal.md"
STACK = confocal_stack(n_frames=2, size=96)


@pytest.fixture
def denoiser() -> Denoiser:
    config = quick().model_copy(update={"network": few_features()})
    return Denoiser(model(config.network), config, "cpu", {"steps": 12, "minutes": 0.5})


def written(folder: Path, **images: np.ndarray) -> dict[str, str]:
    paths = {name: folder / f"{name}.tif" for name in images}
    for name, path in paths.items():
        tifffile.imwrite(path, images[name], imagej=True, metadata={"axes": "TYX" if images[name].ndim == 3 else "YX"})
    return {name: str(path) for name, path in paths.items()}


def test_the_noise_that_was_put_in_is_found_with_its_axis() -> None:
    white = np.random.default_rng(0).normal(0, 5, (1, 400, 402))
    rows = (white[..., 1:-1] + white[..., 2:]) / np.sqrt(2)
    found = noise_figures([rows], [np.zeros_like(rows)])
    assert found["noise_std_in_grey_values"] == pytest.approx(5, rel=0.02)
    along = {axis: str(found[f"noise_autocorrelation_along_{axis}_at_1_to_5_px"]).split(", ") for axis in "xy"}
    assert float(along["x"][0]) == pytest.approx(0.5, abs=0.02)
    assert all(abs(float(r)) < 0.02 for r in along["x"][1:] + along["y"])


def test_the_picture_shows_the_correlation_that_was_put_in() -> None:
    """Its brightest coloured pixels lie beside the middle along x, where the noise is correlated, and not along y."""
    white = np.random.default_rng(0).normal(0, 5, (1, 100, 102))
    rows = (white[..., 1:-1] + white[..., 2:]) / np.sqrt(2)
    turned = rows.swapaxes(1, 2)
    pictures = [noise_picture(r, np.zeros_like(r)) for r in (rows, turned, rows)]
    along_x, along_y = (np.asarray(Image.open(io.BytesIO(p)).convert("RGB"), int) for p in pictures[:2])
    assert pictures[0] == pictures[2]
    half = slice(0, along_x.shape[1] * 2 // 5)  # the map, without its colour bar

    def red(picture: np.ndarray) -> np.ndarray:
        return np.argwhere((picture[:, half, 0] > 90) & (picture[:, half, 1:].max(-1) < 40))

    assert np.ptp(red(along_x)[:, 1]) > 2 * np.ptp(red(along_x)[:, 0])
    assert np.ptp(red(along_y)[:, 0]) > 2 * np.ptp(red(along_y)[:, 1])
    assert noise_picture(rows[:, :10], np.zeros_like(rows[:, :10])) == b""


def test_psnrs_are_those_of_the_denoised_images(tmp_path: Path, denoiser: Denoiser) -> None:
    paths = written(tmp_path, noisy=STACK.noisy, truth=(2 * STACK.signal + 7).astype(np.float32))
    found = evaluate(denoiser, [paths["noisy"]], [paths["truth"]], n_samples=0)
    y = denoiser.denoise(STACK.noisy, 0, axes="TYX").mean
    fitted = [affine_fit(s, x) for s, x in zip(STACK.signal, STACK.noisy, strict=True)]
    assert found["psnr_denoised_db"] == pytest.approx(np.mean(list(map(psnr, y, fitted))), abs=0.01)
    assert found["psnr_noisy_db"] == pytest.approx(np.mean(list(map(psnr, STACK.noisy, fitted))), abs=0.01)
    assert (found["training_steps"], found["training_minutes"]) == ("12", "0.5")


def test_one_clean_frame_serves_all_frames_and_another_size_is_refused(tmp_path: Path, denoiser: Denoiser) -> None:
    frames = np.stack([STACK.noisy[0]] * 2)
    paths = written(tmp_path, noisy=frames, truth=STACK.signal[0].astype(np.float32), small=STACK.noisy[0, :64])
    assert "psnr_noisy_db" in evaluate(denoiser, [paths["noisy"]], [paths["truth"]], n_samples=0)
    with pytest.raises(ImageError, match=r"The truth small.tif has the shape \(64, 96\) and the image noisy.tif"):
        evaluate(denoiser, [paths["noisy"]], [paths["small"]], n_samples=0)
    with pytest.raises(ImageError, match="There are 1 images and 2 truths"):
        evaluate(denoiser, [paths["noisy"]], [paths["truth"], paths["small"]], n_samples=0)


def test_card_fill_measures_and_writes(tmp_path: Path) -> None:
    paths = written(tmp_path, noisy=STACK.noisy, truth=STACK.signal.astype(np.float32))
    run = cosdd_zoo.train([paths["noisy"]], tmp_path / "run", quiet=True, **QUICK)
    card = tmp_path / "card.md"
    card.write_text(CARD.read_text())
    done = CliRunner().invoke(
        app, ["card", "fill", str(card), str(run.folder), paths["noisy"], "--truth", paths["truth"], "--samples", "0"]
    )
    assert done.exit_code == 0, done.output
    figures = read_card(card).figures
    assert {"psnr_noisy_db", "psnr_gaussian_db", "psnr_denoised_db", "training_steps"} <= set(figures)
    assert f"psnr_noisy_db: {figures['psnr_noisy_db']}" in done.output
