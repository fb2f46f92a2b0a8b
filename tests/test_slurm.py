"""The job script stops in time, asks for another job, and goes on there. srun and scontrol are stand-ins."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import tifffile
from models import QUICK, scene

from cosdd_zoo.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "packaging" / "slurm" / "train.sbatch"
SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys
line = [word for i, word in enumerate(sys.argv[1:]) if i or not word.startswith("--")]
ranks = range(int(os.environ["SLURM_NTASKS"]))
own = [dict(SLURM_PROCID=str(i), SLURM_LOCALID=str(i), SLURM_NODEID="0") for i in ranks]
tasks = [subprocess.Popen(line, env={{**os.environ, **names}}) for names in own]
signal.signal(signal.SIGTERM, lambda number, _: [task.send_signal(number) for task in tasks])
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a job with two tasks. What is asked of scontrol is written to `asked`."""
    programs = {
        "srun": SRUN,
        "scontrol": f'#!/bin/bash\necho "$@" >> {tmp_path}/asked\n',
        "cosdd-zoo": f'#!/bin/bash\necho "$@" >> {tmp_path}/lines\nexec {sys.executable} -m cosdd_zoo "$@"\n',
    }
    for name, text in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    with socket.socket() as s:
        s.bind(("", 0))
        port = str(s.getsockname()[1])
    return {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


def job(cluster: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    line = ["bash", str(SCRIPT), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, text=True, stdout=pipe, stderr=pipe, env=cluster, start_new_session=True)


def ended(process: subprocess.Popen[str]) -> str:
    try:
        out, err = process.communicate(timeout=180)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_a_job_whose_time_is_over_is_queued_again_and_goes_on(tmp_path: Path, cluster: dict[str, str]) -> None:
    image, run, asked = tmp_path / "stack.tif", tmp_path / "run", tmp_path / "asked"
    tifffile.imwrite(image, scene(3, 64, 64), imagej=True, metadata={"axes": "TYX"})
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in QUICK.items() if k not in ("downsample", "max_steps")]
    first = job(cluster, run, image, *flags, "--max-steps=100000")
    while not (run / "metrics.csv").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in ended(first)
    assert asked.read_text() == "requeue 7\n"
    steps = load_checkpoint(run / "last.safetensors").facts["steps"]
    metrics = (run / "metrics.csv").read_text()

    second = ended(job(cluster, run, image, *flags, f"--max-steps={steps + 5}"))
    assert f"({steps + 5} steps" in second and "stopped by max_steps" in second
    assert (run / "metrics.csv").read_text().startswith(metrics)
    assert asked.read_text() == "requeue 7\n"  # what is done is not queued again
    lines = (tmp_path / "lines").read_text().splitlines()
    assert [f"--resume {run}" in line for line in lines] == [False, False, True, True]  # two processes each
    assert all(line.endswith("--devices 2 --nodes 1 --quiet") for line in lines)


def test_a_job_without_images_says_how_it_is_used(cluster: dict[str, str]) -> None:
    process = job(cluster, "run")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "usage: sbatch train.sbatch RUN IMAGES... [settings]\n")
