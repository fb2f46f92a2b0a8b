"""The figures that the benchmarks print are those of their definitions."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from models import few_features, model, quick
from numpy.typing import NDArray

from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.training.objective import Detector, losses

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import datasets  # noqa: E402
import gpu  # noqa: E402
import scores  # noqa: E402
import summary  # noqa: E402

MODES = ("float32", "bf16", "bf16, channels-last")


def truth(seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 100, (2, 64, 64))


def test_an_affine_fit_forgives_brightness_and_contrast_and_nothing_else() -> None:
    s = truth()
    error = 5 * np.random.default_rng(1).standard_normal(s.shape)
    error -= np.polyval(np.polyfit(s.ravel(), error.ravel(), 1), s)  # uncorrelated with s, and zero on average
    # the regression of s on s + error leaves var(s) var(error) / (var(s) + var(error))
    left = s.var() * error.var() / (s.var() + error.var())
    expected = 10 * np.log10(np.ptp(s) ** 2 / left)
    assert scores.affine_psnr(s + error, s) == pytest.approx(expected)
    assert scores.affine_psnr(3.0 * (s + error) - 7.0, s) == pytest.approx(expected)


def test_a_constant_image_scores_as_the_mean_does() -> None:
    s = truth()
    assert scores.affine_psnr(np.zeros_like(s), s) == pytest.approx(10 * np.log10(np.ptp(s) ** 2 / s.var()))


def test_the_structural_similarity_of_a_shifted_image_is_that_of_its_means() -> None:
    # without structure in both images (mean a, mean b) only the luminance term is left
    a, b, data_range = 40.0, 60.0, 100.0
    flat = np.full((1, 64, 64), b)
    reference = np.full((1, 64, 64), a)
    reference[0, 0, 0], reference[0, -1, -1] = 0.0, data_range
    c1 = (0.01 * data_range) ** 2
    luminance = (2 * a * b + c1) / (a * a + b * b + c1)
    assert scores.ssim(flat, reference) == pytest.approx(luminance, abs=0.02)
    assert scores.ssim(truth(), truth()) == pytest.approx(1.0)


def test_a_residual_that_holds_signal_is_seen_beyond_the_noise_axis() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 128, 128))
    noise[:, :, 1:] += noise[:, :, :-1]
    y, x = np.mgrid[:128, :128]
    s = 10 * np.sin(y / 3.0) * np.sin(x / 3.0)
    assert scores.scores(s[None], s[None], s[None] + noise, "x").beyond < 0.03
    assert scores.scores(np.zeros_like(s)[None], s[None], s[None] + noise, "x").beyond > 0.2


@pytest.mark.parametrize("name", ["stripes", "scmos", "uncorrelated"])
def test_a_simulated_set_has_two_exposures_of_one_truth(name: str) -> None:
    data = datasets.dataset(name)
    assert data.second is not None
    assert data.noise_axis == {"stripes": "x", "scmos": "y", "uncorrelated": "none"}[name]
    errors = [v[: len(data.truth)].astype(np.float64) - data.truth for v in (data.noisy, data.second)]
    assert abs(np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1]) < 0.01
    assert abs(errors[0].mean()) < 0.1 * errors[0].std()


def test_every_truth_of_a_real_set_is_on_its_noisy_frames_scale(tmp_path: Path) -> None:
    """Those that are scored, and those that a supervised side learns from."""
    truth = np.random.default_rng(0).uniform(0, 1, (6, 32, 32))
    noisy = 100 + 50 * truth + np.random.default_rng(1).normal(0, 1, truth.shape)
    (tmp_path / "w2s").mkdir()
    for kind, image in (("noisy", noisy), ("gt", truth)):
        tifffile.imwrite(tmp_path / "w2s" / f"w2s_c0_{kind}_fov001_020.tif", image.astype(np.float32))
    found = datasets.dataset("w2s", tmp_path)
    assert found.clean is not None
    np.testing.assert_allclose(np.concatenate([found.truth, found.clean]), 100 + 50 * truth, atol=1)


def test_a_real_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no \*/actin_low.tif: give the folder of the real sets"):
        datasets.dataset("actin", tmp_path)


def test_the_drawn_noise_of_the_papers_figure_comes_from_a_loaded_model() -> None:
    pytest.importorskip("matplotlib")
    from paper import noise_reconstruction

    noisy = np.random.default_rng(0).normal(100, 20, (2, 16, 24))
    drawn = noise_reconstruction.draw(Denoiser(model(few_features()), quick(), "cpu"), noisy)
    assert drawn.noise.shape == drawn.signal.shape == noisy.shape
    assert drawn.noise.std() > 0
    assert not np.array_equal(drawn.noise[0], drawn.noise[1])


def test_the_gpu_benchmark_needs_torch_lightning_and_numpy_alone(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(('pydantic', 'tifffile', 'xarray', 'typer')))"
    out = tmp_path / "gpu.md"
    argv = ["gpu.py", "--device=cpu", "--quick", "--sizes", "tiny", "--modes", *MODES, f"--out={out}"]
    run = f"import runpy; sys.argv = {argv!r}; runpy.run_path({str(BENCHMARKS / 'gpu.py')!r}, run_name='__main__')"
    subprocess.run([sys.executable, "-c", f"{blocked}\n{run}"], check=True, cwd=tmp_path)
    rows = [line.split(" | ") for line in out.read_text().splitlines() if line.startswith("| tiny")]
    assert [row[:3] for row in rows[:3]] == [["| tiny", "ours", mode] for mode in MODES]
    assert [row[0] for row in rows[3:]] == ["| tiny, ours, float32", "| tiny, ours, bf16"]
    assert all(float(row[3]) > 0 for row in rows[:3]) and all(float(row[1]) >= 0 for row in rows[3:])
    assert "Self CPU time total" in out.read_text()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at all it meets
def test_compiled_means_every_part_of_the_network_in_one_graph_each() -> None:
    model = gpu.our_model("tiny")
    graphs = []

    def counting(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    gpu.compile_parts(model, backend=counting)
    one = torch.ones(1, 1, 1, 1)
    detector = Detector(one, torch.inf * one, torch.inf * one, "dequantised")
    losses(model, torch.rand(1, 1, 64, 64), detector, [torch.Generator()]).total.backward()
    assert len(graphs) == 5


def test_the_readme_shows_the_recorded_rows_of_the_benchmark() -> None:
    readme = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
    assert summary.table(summary.measured()) in readme


def test_the_window_of_the_picture_is_where_the_truth_varies_most() -> None:
    image = np.full((300, 280), 1e4)
    image[150:246, 120:216] += np.random.default_rng(0).uniform(-1, 1, (96, 96))
    assert summary.busiest(image) == (slice(150, 246), slice(120, 216))
