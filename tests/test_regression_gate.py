"""The quality of a short training on simulated stripes stays above a recorded floor."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import regression_gate
from cosdd_zoo.data.metrics import best_gaussian, psnr
from cosdd_zoo.data.simulate import confocal_stack
from cosdd_zoo.training.recorder import COLLAPSED_KL


def test_a_short_training_on_stripes_stays_above_the_recorded_floor(tmp_path: Path) -> None:
    found = regression_gate.found(tmp_path / "run", seed=0)
    assert found.psnr_db >= regression_gate.FLOOR_DB, (
        f"{regression_gate.STEPS} steps came to {found.psnr_db:.2f} dB, below the floor of "
        f"{regression_gate.FLOOR_DB} dB: a change made training worse. Move the floor only with the table of "
        "benchmarks/regression_gate.py, which measures seeds and deliberate breaks"
    )
    stack = confocal_stack()
    noisy, signal = stack.noisy[: regression_gate.N_SCORED], stack.signal[: regression_gate.N_SCORED]
    assert found.psnr_db > psnr(noisy, signal) + 8
    assert found.psnr_db > best_gaussian(noisy, signal).psnr + 1
    assert found.kl > 10 * COLLAPSED_KL
