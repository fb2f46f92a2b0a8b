"""Several processes train as one would with their batches put together, stop together, and leave one run."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from models import QUICK, scene

from cosdd_zoo import load, resume, train
from cosdd_zoo.checkpoint import load_checkpoint
from cosdd_zoo.errors import ConfigError

ROOT = Path(__file__).parents[1]
SETTINGS = {**QUICK, "direct": True, "max_steps": 40, "validate_every": 10, "validation_crops": 3, "accumulate": 2}
FLAGS = [f"--{k.replace('_', '-')}={v}" for k, v in SETTINGS.items() if k not in ("downsample", "direct")]
CLI = [sys.executable, "-m", "cosdd_zoo"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "stack.tif"
    tifffile.imwrite(path, scene(3, 64, 64), imagej=True, metadata={"axes": "TYX"})
    (path.parent / "levels.yaml").write_text("network: {downsample: [true, true], direct: true}\n")
    return path


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """The run of one process with the batches of two. Not to be changed in place."""
    folder = tmp_path_factory.mktemp("doubled") / "run"
    return train([images], folder, quiet=True, **{**SETTINGS, "batch_size": 4}).folder


def command(images: Path, *arguments: object) -> list[str]:
    config = images.with_name("levels.yaml")
    return [*CLI, "train", str(images), f"--config={config}", *FLAGS, *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def started(line: list[str], **more: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        line, text=True, stdout=pipe, stderr=pipe, env=environment(**more), cwd=ROOT, start_new_session=True
    )


def finished(line: list[str], **more: str) -> tuple[str, str]:
    return ended(started(line, **more))


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """stdout and stderr of a process that has ended well. None of its own outlives the test."""
    try:
        out, err = process.communicate(timeout=180)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out, err


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same_training(run: Path, expected: Path) -> None:
    assert_same_losses(rows(run), rows(expected))
    weights = [load_checkpoint(r / "last.safetensors").weights for r in (run, expected)]
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], rtol=1e-3, atol=1e-4, err_msg=name)


def assert_same_losses(found: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    """Up to the order in which float32 numbers are added."""
    names = ("step", "nll", "kl", "signal", "direct", "learning_rate", "grad_norm", "skipped")
    numbers = [[[float(r[n]) for n in names] for r in of_run] for of_run in (found, expected)]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=2e-5)
    assert [r["split"] for r in found] == [r["split"] for r in expected]


def free_port() -> str:
    with socket.socket() as s:
        s.bind(("", 0))
        return str(s.getsockname()[1])


LAUNCHERS = {
    "by itself": [],
    "by torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port={port}"],
}


@pytest.mark.slow
@pytest.mark.parametrize("how", LAUNCHERS)
def test_two_processes_train_as_one_with_the_doubled_batch(
    tmp_path: Path, images: Path, doubled: Path, how: str
) -> None:
    launcher = [word.format(port=free_port()) for word in LAUNCHERS[how]]
    line = command(images, "-o", tmp_path / "run", "--devices=2", "--quiet")
    out, _ = finished(launcher + line[1:] if launcher else line)
    assert out.count("stopped by max_steps") == 1  # said once
    assert_same_training(tmp_path / "run", doubled)
    assert len(list((tmp_path / "run" / "previews").iterdir())) == 4


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_a_signal_to_one_process_ends_all_and_one_device_goes_on_where_two_stopped(
    tmp_path: Path, images: Path, doubled: Path, which: int
) -> None:
    run, port = tmp_path / "run", free_port()
    line = command(images, "-o", run, "--devices=2")
    pair = [started(line, LOCAL_RANK=str(i), MASTER_ADDR="127.0.0.1", MASTER_PORT=port) for i in range(2)]
    wait_until(lambda: (run / "metrics.csv").exists() and "\n20," in (run / "metrics.csv").read_text())
    pair[which].send_signal(signal.SIGTERM)
    (out, err), (silent, _) = [ended(process) for process in pair]
    assert "stopped by SIGTERM" in out
    assert f"Continue with: cosdd-zoo train --resume {run}" in err
    assert silent == ""
    assert 20 <= load_checkpoint(run / "last.safetensors").facts["steps"] < 40
    assert load(run, "cpu").denoise(scene(40, 40), 2, axes="YX").mean.shape == (40, 40)
    again = resume(run, quiet=True, devices=1, batch_size=4)
    assert (again.facts["steps"], again.stopped_by) == (40, "max_steps")
    assert_same_losses([r for r in rows(run) if int(r["step"]) % 10 == 0], rows(doubled))  # one more at the stop


@pytest.mark.slow
def test_two_devices_go_on_where_one_stopped(tmp_path: Path, doubled: Path) -> None:
    one, two = (Path(shutil.copytree(doubled, tmp_path / name)) for name in ("one", "two"))
    resume(one, quiet=True, max_steps=60)
    finished([*CLI, "train", "--resume", str(two), "--devices=2", "--batch-size=2", "--max-steps=60", "--quiet"])
    assert rows(two)[-1]["step"] == "60"
    assert_same_training(two, one)


@pytest.mark.slow
def test_what_follows_the_training_in_a_script_is_done_once(tmp_path: Path, images: Path) -> None:
    script = tmp_path / "script.py"
    settings = {**QUICK, "devices": 2}
    script.write_text(
        "import cosdd_zoo\n"
        f"run = cosdd_zoo.train([{str(images)!r}], {str(tmp_path / 'run')!r}, quiet=True, **{settings!r})\n"
        "print('after', run.facts['steps'])\n"
    )
    out, _ = finished([sys.executable, str(script)], PYTHONPATH=str(ROOT))
    assert out == "after 6\n"


def test_processes_other_than_those_asked_for_are_refused(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_LOCALID", "0")
    monkeypatch.setenv("SLURM_NODEID", "0")
    with pytest.raises(ConfigError, match="--devices 3 on --nodes 1 are 3 processes, but srun or torchrun has started"):
        train([images], tmp_path / "run", quiet=True, **{**QUICK, "devices": 3})
    assert not (tmp_path / "run").exists()


def test_more_gpus_than_there_are_cannot_be_had(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosdd_zoo.training.train.accelerator", lambda _: ("cuda", "32-true"))
    monkeypatch.setattr("lightning.pytorch.accelerators.CUDAAccelerator.is_available", lambda: True)
    with pytest.raises(ConfigError, match="--devices 64 cannot be had here: "):
        train([images], tmp_path / "run", quiet=True, **{**QUICK, "devices": 64})


FAULTS = {
    "of the first": "run_folder.RunFolder.append_metrics = fail(OutputError)",
    "of all": "module.CosddModule._count = fail(TrainingError)",
}


@pytest.mark.slow
@pytest.mark.parametrize("whose", FAULTS)
def test_an_error_is_said_once_and_ends_all_processes(tmp_path: Path, images: Path, whose: str) -> None:
    script = tmp_path / "script.py"
    settings = {**QUICK, "devices": 2, "max_steps": 40}
    script.write_text(
        "import cosdd_zoo\n"
        "from cosdd_zoo.errors import CosddError, OutputError, TrainingError\n"
        "from cosdd_zoo.training import module, run_folder\n"
        "def fail(kind):\n"
        "    def method(*_): raise kind('nothing to be done')\n"
        "    return method\n"
        f"{FAULTS[whose]}\n"
        "try:\n"
        f"    cosdd_zoo.train([{str(images)!r}], {str(tmp_path / 'run')!r}, quiet=True, **{settings!r})\n"
        "except CosddError as error:\n"
        "    print(error)\n"
    )
    out, _ = finished([sys.executable, str(script)], PYTHONPATH=str(ROOT))  # its pipes close when all have ended
    assert out == "nothing to be done\n"
