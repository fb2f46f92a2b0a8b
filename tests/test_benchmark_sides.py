"""The benchmark's sides are measured one by one, and are told no more than they may know."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NOISY = np.random.default_rng(0).poisson(50.0, (2, 32, 48)).astype(np.uint16)


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yield importlib.import_module
    for name in [m for m in sys.modules if m == "sides" or m.startswith("sides.")]:
        del sys.modules[name]


def test_a_side_never_receives_a_truth_that_it_does_not_need(sides: Any, tmp_path: Path) -> None:
    process, job = sides("sides.process"), sides("sides.interface").Job
    for name, receives in (("bm3d", False), ("gaussian", True)):
        process.write_job(name, job(NOISY, tmp_path / name, truth=NOISY))
        assert (process.read_job(tmp_path / name).truth is not None) == receives


def test_a_side_is_measured_without_the_memory_of_who_started_it(sides: Any, tmp_path: Path) -> None:
    ballast = np.ones(2**26)  # 512 MiB
    (measured,) = sides("sides.process").measure("noisy", sides("sides.interface").Job(NOISY, tmp_path / "noisy"))
    assert np.array_equal(measured.result.image, NOISY)
    assert 0.0 < measured.wall_s < 60.0
    if sys.platform == "linux":
        assert measured.peak_bytes < ballast.nbytes / 2


def test_a_side_that_cannot_do_a_job_says_why(sides: Any, tmp_path: Path) -> None:
    interface = sides("sides.interface")
    with pytest.raises(interface.SkippedError, match="care needs pairs"):
        sides("sides.process").measure("care", interface.Job(NOISY, tmp_path / "care"))


def test_noise_is_estimated_from_noisy_images_alone(sides: Any) -> None:
    level = sides("sides.noise_level")
    rng = np.random.default_rng(0)
    signal = np.broadcast_to(np.linspace(20.0, 400.0, 256), (4, 256, 256)).swapaxes(1, 2)
    white = rng.standard_normal((4, 256, 257))
    row = (white[..., 1:] + white[..., :-1]) / np.sqrt(2.0)  # correlation 0.5 at one pixel, 0 further on
    x = signal + np.sqrt(3.0 * signal + 60.0) * row
    f = level.stabiliser(x).forward(x)
    c = level.correlation(f, is_white=False)
    assert c[0] == pytest.approx(1.0, abs=0.15)
    assert c[1:4] / c[0] == pytest.approx([0.5, 0.0, 0.0], abs=0.05)
    assert level.reach_px(c) == 1
    line = level.variance_line(x)
    assert line.at(np.array([50.0, 300.0])) == pytest.approx([210.0, 960.0], rel=0.15)
    expected = 1.0 + np.cos(2.0 * np.pi * np.fft.fftfreq(64))
    assert level.power_spectrum(c, (32, 64))[0] / (32 * 64 * c[0]) == pytest.approx(expected, abs=0.15)


def test_what_was_stabilised_comes_back_without_bias(sides: Any) -> None:
    level = sides("sides.noise_level")
    rng = np.random.default_rng(0)
    signal = np.repeat([10.0, 40.0, 160.0], 128)[:, None] * np.ones((4, 384, 256))
    x = rng.poisson(signal).astype(float)
    root = level.stabiliser(x)
    means = root.backward(root.forward(x).reshape(4, 3, 128, 256).mean((0, 2, 3)))
    assert means == pytest.approx([10.0, 40.0, 160.0], rel=0.02)
