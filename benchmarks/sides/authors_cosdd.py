"""The authors' COSDD, run from a clone of their repository (krulllab/COSDD, branch main); nothing of it is here.

Their training script is executed as it stands, on the CPU in float32, with a config file of theirs written by us: 16
features, 4 levels, 5 components, batches of 8 crops of 64 px, no accumulation, Adamax at 2e-3 and all else by their
defaults: 90/10 split, patience of 50 epochs, direct denoiser trained beside. Their files are not changed; from outside,

    their assertion that there is CUDA is answered yes, once
    their Lightning trainer is told to use the CPU, and no progress bar

`as_published` leaves their shuffle of the images in, which loses about half of them; `without_the_shuffle` replaces it,
in the running process, by a permutation. The last state is denoised with, as they do; their rounding to bf16 does not
arise in float32. Fewer than ten frames they would cut into patches smaller than a crop, and fail: then their option
patch-size is set, as their README tells users to.
"""

from __future__ import annotations

import os
import random
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytorch_lightning
import tifffile
import torch
import yaml

from sides.interface import Clock, Job, Result, Results, SkippedError

N_SAMPLES = 100  # their default
NETWORKS = {"s-code-channels": 16, "number-layers": 4, "number-gaussians": 5}
CROP_PX = 64
BATCH = 8
MIN_FRAMES = 10  # to split 90/10
NOTE = "16 features, 4 levels, 5 components, 8 crops of 64 px"


def as_published(job: Job) -> Results:
    yield from rows(job, "authors' COSDD", permutes=False)


def without_the_shuffle(job: Job) -> Results:
    yield from rows(job, "authors' COSDD, no image lost", permutes=True)


def rows(job: Job, name: str, permutes: bool) -> Results:
    their_code_is_there(job)
    clock = Clock()
    with their_modules(job.authors_code):
        ended = train(job, permutes)
        training_s = clock.lap()
        hub, steps = trained(job)
        if steps == 0:
            raise SkippedError(f"the authors' training {ended}, before its first step")
        x = torch.from_numpy(np.asarray(job.shown, np.float32))[:, None]
        clock.lap()
        first = predicted(hub, x, direct=False)
        one_s = clock.lap()
        yield Result(f"{name}, one sample", first, training_s, one_s, steps, f"{NOTE}; {ended}")
        n = job.n_samples or N_SAMPLES
        total = first.astype(np.float64)
        for _ in range(n - 1):
            total += predicted(hub, x, direct=False)
        mean = (total / n).astype(np.float32)
        yield Result(f"{name}, mean of {n}", mean, training_s, one_s + clock.lap(), steps, f"{NOTE}; {ended}")
        image = predicted(hub, x, direct=True)
        yield Result(f"{name}, direct", image, training_s, clock.lap(), steps, f"{NOTE}; {ended}")


def their_code_is_there(job: Job) -> None:
    if not (job.authors_code / "training.py").is_file() or not (job.authors_code / "models/hub.py").is_file():
        raise SkippedError(f"{job.authors_code} is not a clone of krulllab/COSDD on its branch main: no training.py")


@contextmanager
def their_modules(code: Path) -> Iterator[None]:
    """Their repository on the path; its modules are called `utils` and `models`, and no others may be."""
    with mock.patch.object(sys, "path", [str(code), *sys.path]):
        yield


def train(job: Job, permutes: bool) -> str:
    """Their training.py, from the noisy stack as a TIFF to their checkpoint; how it ended."""
    import utils  # theirs

    data = job.folder / "data"
    data.mkdir()
    tifffile.imwrite(data / "noisy.tif", np.asarray(job.noisy), photometric="minisblack")
    config = job.folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings(job, data)))
    seed_all(job.seed)
    patches = [
        mock.patch("torch.cuda.is_available", yes_once(torch.cuda.is_available)),
        mock.patch("pytorch_lightning.Trainer", cpu_trainer),
        mock.patch.object(sys, "argv", ["training.py", str(config)]),
    ]
    if permutes:
        patches.append(mock.patch.object(utils, "random", SimpleNamespace(shuffle=permute, randint=random.randint)))
    before = Path.cwd()
    os.chdir(job.folder)  # it writes its checkpoints where it is started
    try:
        for patch in patches:
            patch.start()
        runpy.run_path(str(job.authors_code / "training.py"), run_name="__main__")
        return "stopped by the time, or before it by their patience"
    except Exception as error:
        if not checkpoint(job).exists():
            raise
        return f"broke at its end ({type(error).__name__}: {error}) and wrote its state all the same"
    finally:
        os.chdir(before)
        mock.patch.stopall()


def settings(job: Job, data: Path) -> dict[str, Any]:
    """A config file of theirs."""
    seconds = max(1, round(60 * job.minutes))
    days, rest = divmod(seconds, 86_400)
    max_time = f"{days:02}:{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return {
        "model-name": "side",
        "data": {"paths": str(data), "patterns": "*.tif", "axes": "SYX", "patch-size": patch_size(job.noisy.shape)},
        "train-parameters": {
            "max-time": max_time,
            "max-epochs": -1,
            "batch-size": BATCH,
            "number-grad-batches": 1,
            "crop-size": [CROP_PX, CROP_PX],
        },
        "hyper-parameters": {**NETWORKS, "noise-direction": job.noise_axis},
        "memory": {"precision": "32-true", "checkpointed": False},
    }


def patch_size(shape: tuple[int, ...]) -> list[int] | None:
    """The largest that gives ten patches to split; none where there are ten frames."""
    n, height, width = shape
    if n >= MIN_FRAMES:
        return None
    sides = [side for side in (512, 256, 128) if n * (height // side) * (width // side) >= MIN_FRAMES]
    return [max([*sides, CROP_PX])] * 2


def trained(job: Job) -> tuple[Any, int]:
    """Their networks with the weights that their training wrote, and the steps taken."""
    from models.get_models import get_models  # theirs
    from models.hub import Hub

    with (checkpoint(job).parent / "training-config.yaml").open() as file:
        config = yaml.safe_load(file)
    vae, ar_decoder, s_decoder, direct_denoiser = get_models(config, 1)
    hub = Hub.load_from_checkpoint(
        checkpoint(job),
        map_location="cpu",
        weights_only=False,
        vae=vae,
        ar_decoder=ar_decoder,
        s_decoder=s_decoder,
        direct_denoiser=direct_denoiser,
    )
    # three optimisers, each of which counts
    steps = torch.load(checkpoint(job), map_location="cpu", weights_only=False)["global_step"] // 3
    return hub.eval(), steps


@torch.no_grad()
def predicted(hub: Any, x: torch.Tensor, direct: bool) -> np.ndarray:
    """Image by image, as their prediction.py does."""
    hub.direct_pred = direct
    return torch.cat([hub.predict_step(x[k : k + 1], k) for k in range(len(x))])[:, 0].numpy()


def checkpoint(job: Job) -> Path:
    return job.folder / "checkpoints/side/final_model.ckpt"


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def permute(images: torch.Tensor) -> None:
    """In place, as random.shuffle does for a list; on a tensor that one overwrites rows by rows already overwritten."""
    images.copy_(images[torch.randperm(len(images))])


def yes_once(truthfully: Any) -> Any:
    """An answer of yes to the first who asks, their assertion; the truth to all later ones."""
    answers = iter([True])
    return lambda: next(answers, None) or truthfully()


def cpu_trainer(**settings: Any) -> Any:
    settings.update(accelerator="cpu", devices=1, enable_progress_bar=False, enable_model_summary=False)
    return _Trainer(**settings)


_Trainer = pytorch_lightning.Trainer
