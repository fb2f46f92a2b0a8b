"""Figures of similarity, against definitions and other programs, and `evaluate` over files."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from exported import CARD
from numpy.typing import NDArray
from typer.testing import CliRunner

from cosdd_zoo.cli import app
from cosdd_zoo.data.metrics import gaussian_blur, psnr
from cosdd_zoo.data.similarity import affine_psnr, fourier_ring_correlation, micro_ssim, ssim
from cosdd_zoo.data.simulate import NOISES, scene_stack
from cosdd_zoo.errors import ImageError
from cosdd_zoo.export.card import read_card
from cosdd_zoo.report.scores import score_files


@pytest.fixture(scope="module")
def stack() -> Any:
    return scene_stack(NOISES["stripes"](), n_frames=4, size=160)


def test_micro_ssim_is_that_of_the_package_of_its_authors(stack: Any) -> None:
    """Values of microssim 0.0.5, which cannot be installed beside our torchmetrics, on the same images."""
    images = [
        stack.noisy[0],
        gaussian_blur(stack.noisy[1], 1.0),
        gaussian_blur(stack.noisy[2], 1.5) * 0.3 + 500,
        stack.signal[3].astype(np.float64) + 1,
    ]
    found = [micro_ssim(image, truth) for image, truth in zip(images, stack.signal, strict=True)]
    assert found == pytest.approx([0.3802427680894621, 0.47723973737846215, 0.5706406989345705, 1.0], abs=2e-6)


def test_ssim_is_its_formula_and_one_for_equal_images(stack: Any) -> None:
    s = stack.signal[0, 40:64, 60:90].astype(np.float64)
    y = gaussian_blur(stack.noisy[0], 1.0)[40:64, 60:90]
    assert ssim(s, s) == pytest.approx(1)
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    w = np.outer(line, line) / line.sum() ** 2
    a, b = (np.lib.stride_tricks.sliding_window_view(np.pad(v, 5, mode="reflect"), (11, 11)) for v in (y, s))
    ma, mb = (w * a).sum((-1, -2)), (w * b).sum((-1, -2))
    va, vb, c = (((w * m).sum((-1, -2)) - n) for m, n in ((a * a, ma**2), (b * b, mb**2), (a * b, ma * mb)))
    c1, c2 = ((k * (s.max() - s.min())) ** 2 for k in (0.01, 0.03))
    expected = (2 * ma * mb + c1) * (2 * c + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert ssim(y, s) == pytest.approx(float(expected.mean()), abs=1e-6)


def test_affine_psnr_forgives_brightness_and_contrast_alone(stack: Any) -> None:
    s, y = stack.signal[0], gaussian_blur(stack.noisy[0], 1.0)
    assert affine_psnr(3 * y + 70, s) == pytest.approx(affine_psnr(y, s)) and affine_psnr(y, s) >= psnr(y, s)
    assert affine_psnr(np.full_like(y, 5), s) == pytest.approx(psnr(np.full_like(y, s.mean()), s))


def test_ring_correlation_falls_where_a_blur_and_noise_begin() -> None:
    rng = np.random.default_rng(0)
    fine = rng.standard_normal((256, 256))
    assert fourier_ring_correlation(fine, fine).resolution_px == 2.0
    noise = rng.standard_normal((2, 256, 256))
    coarse = [gaussian_blur(fine, s) * 4 * s for s in (1.0, 2.0)]
    sharp, blurred = (fourier_ring_correlation(c + noise[0], c + noise[1]).resolution_px for c in coarse)
    assert 2.0 < sharp < blurred
    # signal to noise 1 / 6 in power gives a correlation of 1 / 7
    power = 16 * np.exp(-((2 * np.pi * np.arange(1, 129) / 256) ** 2))
    expected = 256 / (1 + np.flatnonzero(power < 1 / 6)[0])
    assert sharp == pytest.approx(expected, rel=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, stack: Any) -> Path:
    made = tmp_path_factory.mktemp("files")
    for name in ("results", "truth", "noisy"):
        (made / name).mkdir()
    for n, name in enumerate("ba"):  # the order of names is not that of frames
        truth = stack.signal[2 * n : 2 * n + 2]
        tifffile.imwrite(made / "truth" / f"{name}_gt.tif", truth, imagej=True, metadata={"axes": "TYX"})
        noisy = stack.noisy[2 * n : 2 * n + 2]
        tifffile.imwrite(made / "noisy" / f"{name}.tif", noisy, imagej=True, metadata={"axes": "TYX"})
        done = np.stack([gaussian_blur(f, 1.0 + n) for f in noisy]).astype(np.float32)
        tifffile.imwrite(made / "results" / f"{name}_denoised.tif", done, imagej=True, metadata={"axes": "TYX"})
    return made


def test_each_file_meets_the_reference_of_its_name(folder: Path, stack: Any) -> None:
    scores = {s.file: s for s in score_files([str(folder / "results")], [str(folder / "truth")])}
    assert {s.file: s.reference for s in scores.values()} == {
        "a_denoised.tif": "a_gt.tif",
        "b_denoised.tif": "b_gt.tif",
    }
    expected = np.mean([psnr(gaussian_blur(stack.noisy[n], 1.0).astype(np.float32), stack.signal[n]) for n in (0, 1)])
    assert scores["b_denoised.tif"].psnr_db == pytest.approx(float(expected))
    assert scores["b_denoised.tif"].bias == pytest.approx(0, abs=1)


def test_references_of_another_exposure_are_brought_to_the_noisy_scale(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "truth").iterdir():
        longer = tifffile.imread(path) * 7 + 300
        tifffile.imwrite(tmp_path / path.name, longer.astype(np.float32), imagej=True, metadata={"axes": "TYX"})
    plain = list(score_files([str(folder / "results")], [str(folder / "truth")], [str(folder / "noisy")]))
    scaled = list(score_files([str(folder / "results")], [str(tmp_path)], [str(folder / "noisy")]))
    assert [s.psnr_db for s in scaled] == pytest.approx([s.psnr_db for s in plain], abs=1e-3)
    unscaled = list(score_files([str(folder / "results")], [str(tmp_path)]))
    assert unscaled[0].psnr_db < scaled[0].psnr_db - 5
    assert unscaled[0].micro_ssim == pytest.approx(scaled[0].micro_ssim, abs=1e-4)


def test_noisy_images_are_matched_by_name_in_whatever_order_they_are_named(folder: Path) -> None:
    results, truth, noisy = (str(folder / name) for name in ("results", "truth", "noisy"))
    usual = {s.file: s.psnr_db for s in score_files([results], [truth], [noisy])}
    named = [str(folder / "results" / f"{n}_denoised.tif") for n in "ba"]
    assert {s.file: s.psnr_db for s in score_files(named, [truth], [noisy])} == pytest.approx(usual)
    (unlike,) = {s.file for s in score_files(named[:1], [truth + "/b_gt.tif"], [noisy + "/b.tif"])}
    assert unlike == "b_denoised.tif"


def test_one_name_too_many_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    for given, name in (("a_gt.tif", "a_gt.tif"), ("b_gt.tif", "c_gt.tif")):
        shutil.copy(folder / "truth" / given, tmp_path / name)
    with pytest.raises(ImageError, match=r"b_denoised\.tif has none of its name among the references"):
        list(score_files([str(folder / "results")], [str(tmp_path)]))


def test_standard_deviations_beside_results_are_no_results(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "results", tmp_path / "results")
    shutil.copy(folder / "truth" / "a_gt.tif", tmp_path / "results" / "a_denoised_std.tif")
    scores = list(score_files([str(tmp_path / "results")], [str(folder / "truth")]))
    assert [s.file for s in scores] == ["a_denoised.tif", "b_denoised.tif"]


@pytest.mark.parametrize(
    ("noisy", "sentence"),
    [
        (np.random.default_rng(0).normal(size=(1, 32, 32)), r"\(2, 1, 32, 32\), and the noisy image n.tif \(1, 1, 32"),
        (np.full((2, 32, 32), np.nan), "n.tif has 1024 NaN"),
        (np.ones((2, 32, 32)), "n.tif is constant in frame 0"),
    ],
)
def test_noisy_images_that_cannot_be_those_are_a_sentence(tmp_path: Path, noisy: NDArray[Any], sentence: str) -> None:
    image = np.random.default_rng(1).normal(size=(2, 32, 32))
    for name, array in (("a.tif", image), ("b.tif", image), ("n.tif", noisy)):
        tifffile.imwrite(tmp_path / name, array.astype(np.float32), metadata={"axes": "TYX"}, ome=True)
    with pytest.raises(ImageError, match=sentence):
        list(score_files(*([str(tmp_path / f"{name}.tif")] for name in "abn")))


def test_a_result_that_is_its_reference_has_json_that_can_be_read(folder: Path) -> None:
    one = folder / "truth" / "a_gt.tif"
    shown = run("evaluate", one, "--reference", one, "--json").stdout
    assert "Infinity" not in shown and json.loads(shown)["all"]["psnr_db"] is None


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_gives_a_table_csv_json_and_a_cards_figures(folder: Path, tmp_path: Path) -> None:
    line = ("evaluate", folder / "results", "--reference", folder / "truth")
    shown = run(*line)
    assert shown.exit_code == 0, shown.output
    assert "a_denoised.tif" in shown.stdout and "all" in shown.stdout
    card = tmp_path / "card.md"
    card.write_text(Path(CARD).read_text(encoding="utf-8"), encoding="utf-8")
    done = run(*line, "--json", "--csv", tmp_path / "t.csv", "--card", card)
    facts = json.loads(done.stdout)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [r["file"] for r in rows] == ["a_denoised.tif", "b_denoised.tif", "all"]
    assert float(rows[-1]["ssim"]) == facts["all"]["ssim"]
    mean = np.mean([f["psnr_db"] for f in facts["files"]])
    assert facts["all"]["psnr_db"] == pytest.approx(float(mean)) and facts["all"]["n_planes"] == 4
    assert read_card(card).figures["psnr_denoised_db"] == round(facts["all"]["psnr_db"], 2)
    again = run(*line, "--csv", tmp_path / "t.csv")
    assert "is there already" in str(again.exception)


@pytest.mark.parametrize(
    ("result", "reference", "sentence"),
    [
        (np.ones((2, 32, 32)), np.ones((3, 32, 32)), "2 frames of .* 3 of"),
        (np.ones((2, 32, 32)), np.ones((2, 32, 30)), "a reference of the same shape"),
        (np.ones((1, 8, 32)), np.ones((1, 8, 32)), "figures need 11 px"),
        (np.ones((1, 32, 32)), np.ones((1, 32, 32)), "is constant in frame 0"),
        (np.full((1, 32, 32), np.nan), np.arange(1024.0).reshape(1, 32, 32), "1024 NaN"),
    ],
)
def test_files_that_do_not_belong_together_are_a_sentence(
    tmp_path: Path, result: NDArray[Any], reference: NDArray[Any], sentence: str
) -> None:
    for name, array in (("a.tif", result), ("b.tif", reference)):
        tifffile.imwrite(tmp_path / name, array.astype(np.float32), metadata={"axes": "TYX"}, ome=True)
    with pytest.raises(ImageError, match=sentence):
        list(score_files([str(tmp_path / "a.tif")], [str(tmp_path / "b.tif")]))


def test_counts_that_do_not_match_are_a_sentence(folder: Path) -> None:
    one = str(next((folder / "truth").iterdir()))
    with pytest.raises(ImageError, match="1 results and 2 references"):
        list(score_files([str(folder / "results" / "a_denoised.tif")], [str(folder / "truth")]))
    assert [s.reference for s in score_files([str(folder / "results")], [one])] == [Path(one).name] * 2
