"""Training resumes exactly, survives what goes wrong, and leaves a run folder that explains itself."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import tifffile
import torch
from models import QUICK, quick, scene
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from cosdd_zoo import load, resume, train
from cosdd_zoo.checkpoint import load_checkpoint, read_tensors
from cosdd_zoo.config import RunConfig, read_yaml, validated
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.crops import Crops, split
from cosdd_zoo.data.statistics import statistics
from cosdd_zoo.errors import CheckpointError, ConfigError, ImageError, OutputError, TrainingError
from cosdd_zoo.training.module import MAX_SKIPPED_IN_A_ROW, CosddModule
from cosdd_zoo.training.recorder import is_collapsed, warnings_of
from cosdd_zoo.training.train import Run


def quick_run(images: Any, output: Path, **settings: Any) -> Run:
    return train(images, output, quiet=True, **{**QUICK, **settings})


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def losses_by_step(run: Path, what: str) -> dict[int, tuple[str, ...]]:
    names = ("nll", "kl", "signal", "direct", "learning_rate", "grad_norm", "skipped")
    return {int(r["step"]): tuple(r[n] for n in names) for r in metrics(run) if r["split"] == what}


def signal_when(reached: Callable[[], bool], number: signal.Signals, pid: int) -> threading.Thread:
    def wait() -> None:
        for _ in range(3000):
            if reached():
                os.kill(pid, number)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "stack.tif"
    tifffile.imwrite(path, scene(3, 64, 64), imagej=True, metadata={"axes": "TYX"})
    return path


def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path, images: Path) -> None:
    settings = {"max_steps": 60, "validate_every": 30, "accumulate": 2}
    whole = quick_run([images], tmp_path / "whole", **settings)
    rows = tmp_path / "broken" / "metrics.csv"
    thread = signal_when(lambda: rows.exists() and "\n20," in rows.read_text(), signal.SIGTERM, os.getpid())
    broken = quick_run([images], tmp_path / "broken", **settings)
    thread.join()
    assert broken.stopped_by == "SIGTERM"
    assert 20 <= broken.facts["steps"] < 60
    ended = resume(tmp_path / "broken", quiet=True)
    assert (ended.stopped_by, ended.facts["steps"]) == (whole.stopped_by, whole.facts["steps"]) == ("max_steps", 60)
    expected = losses_by_step(whole.folder, "train")
    assert sorted(expected) == [20, 40, 60]
    assert losses_by_step(ended.folder, "train") == expected
    assert losses_by_step(ended.folder, "validation")[60] == losses_by_step(whole.folder, "validation")[60]
    states = [read_tensors(run.folder / "state.safetensors")[0] for run in (whole, ended)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_same_seed_gives_the_same_training_and_another_one_another(tmp_path: Path, images: Path) -> None:
    weights = []
    for i, seed in enumerate([5, 5, 6]):
        torch.manual_seed(i)  # what the session drew before does not matter
        weights.append(load_checkpoint(quick_run([images], tmp_path / str(i), seed=seed).model).weights)
    equal = [all(torch.equal(a[name], b[name]) for name in a) for a, b in pairwise(weights)]
    assert equal == [True, False]


def test_a_finished_training_is_not_trained_further_by_resuming(tmp_path: Path, images: Path) -> None:
    run = quick_run([images], tmp_path / "run")
    before = {p.name: p.read_bytes() for p in run.folder.glob("*.*")}
    again = resume(run.folder, quiet=True)
    assert (again.facts["steps"], again.stopped_by) == (6, "max_steps")
    assert {p.name: p.read_bytes() for p in run.folder.glob("*.*")} == before


def test_a_finished_training_goes_on_with_more_steps(tmp_path: Path, images: Path) -> None:
    run = quick_run([images], tmp_path / "run")
    assert resume(run.folder, quiet=True, max_steps=9).facts["steps"] == 9
    assert validated(read_yaml(run.folder / "config.yaml")).training.max_steps == 9


def test_a_run_keeps_its_networks(tmp_path: Path, images: Path) -> None:
    run = quick_run([images], tmp_path / "run")
    with pytest.raises(ConfigError, match="The networks of a run are settled once it has begun"):
        resume(run.folder, quiet=True, max_steps=9, noise_axis="y")


def test_only_a_run_can_be_resumed(tmp_path: Path, images: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no run folder: it holds no config.yaml"):
        resume(tmp_path)
    run = quick_run([images], tmp_path / "run")
    (run.folder / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"state.safetensors cannot be read"):
        resume(run.folder, quiet=True)


def test_a_run_on_arrays_asks_for_them_again(tmp_path: Path) -> None:
    run = quick_run(scene(2, 64, 64), tmp_path / "run", axes="SYX")
    with pytest.raises(ImageError, match="was trained on arrays in memory: give the same arrays again"):
        resume(run.folder)
    assert resume(run.folder, scene(2, 64, 64), quiet=True, max_steps=8).facts["steps"] == 8


def test_an_existing_run_is_never_overwritten_unasked(tmp_path: Path, images: Path) -> None:
    run = quick_run([images], tmp_path / "run")
    before = (run.folder / "metrics.csv").read_text()
    with pytest.raises(OutputError, match="exists and is not empty: choose another -o, remove it, or continue it"):
        quick_run([images], tmp_path / "run")
    assert (run.folder / "metrics.csv").read_text() == before
    (tmp_path / "run" / "report.html").write_text("of the model that was here before")
    quick_run([images], tmp_path / "run", overwrite=True, max_steps=3)
    assert not (tmp_path / "run" / "report.html").exists()
    assert [r["step"] for r in metrics(run.folder)] == ["3"]


def test_a_folder_that_cannot_be_made_is_refused_before_any_pixel_is_read(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("cosdd_zoo.training.train.statistics", lambda *_: pytest.fail("pixels were read first"))
    with pytest.raises(OutputError, match=r"run cannot be made, since .*file cannot be written to"):
        quick_run([images], tmp_path / "file" / "run")


def test_overwriting_removes_nothing_but_a_run(tmp_path: Path, images: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="is not empty and no run folder: it is not overwritten"):
        quick_run([images], tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_run_folder_explains_itself(trained: Path) -> None:
    config = validated(read_yaml(trained / "config.yaml"))
    assert config == load_checkpoint(trained / "best.safetensors").config
    assert config.network.n_channels == 1
    assert Path(config.data.images[0]).is_absolute()
    rows = metrics(trained)
    assert [(r["step"], r["split"]) for r in rows] == [
        (s, w) for s in ("20", "40", "60") for w in ("train", "validation")
    ]
    assert all(np.isfinite(float(v)) for r in rows for k, v in r.items() if k != "split")
    pictures = sorted((trained / "previews").iterdir())
    assert [p.name for p in pictures] == [f"step_0000{n}.png" for n in (20, 40, 60)]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    facts = load_checkpoint(trained / "best.safetensors").facts
    assert facts["images"] == ["stack.tif"]
    assert facts["quantisation_step"] == [1.0]
    assert not list(trained.glob(".*"))


def test_the_best_model_is_kept_not_the_last(trained: Path) -> None:
    validations = {int(r["step"]): float(r["nll"]) + float(r["kl"]) for r in metrics(trained) if r["split"] != "train"}
    best = load_checkpoint(trained / "best.safetensors").facts
    assert best["validation_loss"] == pytest.approx(min(validations.values()))
    assert best["steps"] == min(validations, key=lambda step: validations[step])
    assert load_checkpoint(trained / "last.safetensors").facts["steps"] == 60


def module_of(config: RunConfig, image: NDArray[Any]) -> tuple[CosddModule, Crops]:
    opened = [from_array(image, "SYX")]
    parts = split(opened, config)
    stats = statistics(opened, parts.training, config)
    kept = Crops(opened, parts.validation, config, stream=1)
    return CosddModule(config, stats, torch.from_numpy(np.stack([kept[i] for i in range(2)]))), Crops(
        opened, parts.training, config, stats.brightness
    )


def fit(module: CosddModule, batches: list[Tensor]) -> None:
    loader: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, loader)  # fmt: skip


def batches_of(crops: Crops, n: int, size: int) -> list[Tensor]:
    return [torch.from_numpy(np.stack([crops[b * size + i] for i in range(size)])) for b in range(n)]


def weights_of(module: CosddModule) -> list[Tensor]:
    return [p.detach().clone() for p in module.model.parameters()]


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*in eval mode")
class TestSteps:
    """One module, driven step by step."""

    def test_undefined_gradients_are_skipped_and_counted(self) -> None:
        module, crops = module_of(quick(), scene(3, 64, 64))
        after: list[list[Tensor]] = []

        def poison(gradient: Tensor) -> Tensor:
            after.append(weights_of(module))  # the weights that this step started from
            return gradient * float("nan") if module.progress.step in (2, 3, 6) else gradient

        module.model.signal_decoder.out.bias.register_hook(poison)
        fit(module, batches_of(crops, 8, 2))
        after.append(weights_of(module))
        moved = [any(not torch.equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in pairwise(after)]
        assert moved == [True, True, False, False, True, True, False, True]
        assert (module.progress.step, module.progress.skipped, module.progress.skipped_in_a_row) == (8, 3, 0)
        parameters = [*module.model.parameters(), *module.averaged.parameters()]
        assert all(torch.isfinite(p).all() for p in parameters)

    def test_exploded_gradients_are_skipped_until_they_are_usual(self) -> None:
        module, crops = module_of(quick(), scene(3, 64, 64))
        factor = {25: 1e6}
        module.model.signal_decoder.out.bias.register_hook(lambda g: g * factor.get(module.progress.step, 1.0))
        fit(module, batches_of(crops, 28, 2))
        assert module.progress.skipped == 1

    def test_a_training_without_hope_ends_with_a_sentence(self) -> None:
        module, crops = module_of(quick(crop_px=8), scene(3, 64, 64))
        module.model.signal_decoder.out.bias.register_hook(lambda g: g * float("nan"))
        with pytest.raises(TrainingError, match=f"{MAX_SKIPPED_IN_A_ROW} steps in a row had gradients"):
            fit(module, batches_of(crops, 1, 1) * 200)
        assert module.progress.step == MAX_SKIPPED_IN_A_ROW

    def test_accumulated_passes_count_as_one_batch(self) -> None:
        """The gradient of a step is the mean of its passes' gradients, each crop once, the last short pass too."""
        module, crops = module_of(quick(batch_size=2, accumulate=3), scene(3, 64, 64))
        gradients: list[Tensor] = []
        module.model.normalise.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach().clone()))
        seen: list[Tensor] = []
        bias = module.model.signal_decoder.out.bias
        bias.register_hook(lambda g: gradients.append(g.clone()))
        (batch,) = batches_of(crops, 1, 5)
        before = bias.detach().clone()
        fit(module, [batch])
        assert [len(x) for x in seen] == [2, 2, 1]
        assert (torch.cat(seen) - batch).abs().max() <= 0.5 + 1e-4
        assert module.progress.step == 1
        assert len(gradients) == 3
        assert not torch.equal(bias, before)

    def test_a_gradient_does_not_depend_on_how_its_batch_is_divided(self) -> None:
        sums = []
        for size, accumulate in [(4, 1), (2, 2), (1, 4), (3, 2)]:
            module, crops = module_of(quick(batch_size=size, accumulate=accumulate, clip_norm=1e9), scene(3, 64, 64))
            (batch,) = batches_of(crops, 1, 4)
            fit(module, [batch])
            gradient = module.model.signal_decoder.out.bias.grad
            assert gradient is not None
            sums.append(float(gradient))
        assert sums == pytest.approx([sums[0]] * 4, rel=1e-5)

    def test_validation_is_the_same_number_for_the_same_weights(self) -> None:
        module, crops = module_of(quick(), scene(3, 64, 64))
        first = module.validate()
        torch.manual_seed(1)
        second = module.validate()
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        fit(module, batches_of(crops, 3, 2))
        assert not torch.equal(module.validate().nll, first.nll)

    def test_the_averaged_weights_follow_the_trained_ones(self) -> None:
        module, crops = module_of(quick(ema_decay=0.0), scene(3, 64, 64))
        fit(module, batches_of(crops, 3, 2))
        pairs = zip(module.model.parameters(), module.averaged.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        module, crops = module_of(quick(ema_decay=0.999), scene(3, 64, 64))
        start = weights_of(module)
        fit(module, batches_of(crops, 3, 2))
        now, mean = weights_of(module), list(module.averaged.parameters())
        far = sum(float((a - b).norm()) for a, b in zip(now, start, strict=True))
        assert 0 < sum(float((a - b).norm()) for a, b in zip(mean, start, strict=True)) < far


def test_a_collapsed_posterior_is_said() -> None:
    assert is_collapsed(0.002, 0.001)
    assert not is_collapsed(0.011, 0.001)
    assert not is_collapsed(0.002, 0.011)  # of empty crops, and others
    facts = {"skipped_steps": 0, "collapsed": True, "validation_kl_per_level": [0.001, 0.0004]}
    (sentence,) = warnings_of(facts)
    assert "The posterior has collapsed: the latents hold 0.0014 nats a pixel, less than 0.003" in sentence
    assert "--n-mixture" in sentence
    assert warnings_of({**facts, "collapsed": False}) == []
    assert "3 steps with exploded or undefined gradients" in warnings_of({**facts, "skipped_steps": 3})[0]


def test_a_training_that_just_began_is_called_collapsed(tmp_path: Path, images: Path) -> None:
    run = quick_run([images], tmp_path / "run", max_steps=1)
    assert run.facts["collapsed"]
    assert warnings_of(run.facts)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "a single image": (scene(64, 64), {"axes": "YX"}),
    "two images": (scene(2, 64, 64), {"axes": "SYX"}),
    "fewer crops than a batch": (scene(40, 33), {"axes": "YX", "batch_size": 16, "accumulate": 3, "max_steps": 2}),
    "different sizes": ([scene(64, 64), scene(40, 90), scene(48, 41)], {"axes": "YX"}),
    "two channels": (scene(2, 64, 64), {"axes": "CYX", "direct": True}),
    "no noise axis": (scene(64, 64), {"axes": "YX", "noise_axis": "none"}),
    "columns": (scene(64, 48), {"axes": "YX", "noise_axis": "y"}),
    "volumes": (
        scene(6, 48, 40),
        {"axes": "ZYX", "n_dims": 3, "crop_depth_px": 4, "n_downsample_z": 1, "downsample": (True,) * 3},
    ),
    "correlated along z": (scene(10, 40, 48), {"axes": "ZYX", "n_dims": 3, "crop_depth_px": 8, "noise_axis": "z"}),
    "lines": (scene(50, 100), {"axes": "SX", "n_dims": 1}),
    "floats": (scene(64, 64) / np.float32(7), {"axes": "YX"}),
    "bfloat16": (20_000 + scene(64, 64), {"axes": "YX", "precision": "bfloat16"}),
    "no transform, no dequantisation": (scene(64, 64), {"axes": "YX", "stabilise": False, "likelihood": "density"}),
    "deeper than the crop": (scene(64, 64), {"axes": "YX", "downsample": (True,) * 7}),
}


@pytest.mark.parametrize("case", CASES)
def test_any_data_that_can_be_denoised_can_be_learned(tmp_path: Path, case: str) -> None:
    image, settings = CASES[case]
    run = quick_run(image, tmp_path / "run", **settings)
    assert run.facts["steps"] == settings.get("max_steps", 6)
    assert run.facts["skipped_steps"] <= 1  # an untrained network's first gradients say little of the usual
    assert np.isfinite(run.facts["validation_loss"])
    first = image[0] if isinstance(image, list) else image
    found = load(run.folder, "cpu").denoise(first, 2, axes=settings["axes"]).mean
    assert found.shape == first.shape
    assert found.dtype == np.float32
    assert abs(found.mean() - first.mean()) < 3 * first.std()


def test_mixed_channel_counts_and_constant_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    pair = [scene(64, 64), scene(2, 64, 64)]
    files = [tmp_path / "a.tif", tmp_path / "b.tif"]
    tifffile.imwrite(files[0], pair[0], imagej=True)
    tifffile.imwrite(files[1], pair[1], imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match=r"channel counts differ: a.tif has 1, b.tif has 2"):
        quick_run(files, tmp_path / "run")
    with pytest.raises(ImageError, match="is constant"):
        quick_run(np.full((64, 64), 3), tmp_path / "run", axes="YX")
    assert not (tmp_path / "run").exists()


def test_training_stops_when_it_no_longer_gets_better(tmp_path: Path, images: Path) -> None:
    settings = {"learning_rate": 1e-9, "patience": 2, "validate_every": 1, "max_steps": 50, "ema_decay": 0.0}
    run = quick_run([images], tmp_path / "run", **settings)
    assert run.stopped_by == "patience"
    assert run.facts["steps"] < 50


def test_training_stops_when_its_time_is_over(tmp_path: Path, images: Path) -> None:
    run = quick_run([images], tmp_path / "run", max_time=0.02, max_steps=100_000)
    assert run.stopped_by == "max_time"
    assert run.facts["minutes"] < 0.1
    assert float(metrics(run.folder)[-1]["learning_rate"]) < 0.05 * QUICK.get("learning_rate", 5e-3)


def command(*arguments: Any, **kwargs: Any) -> subprocess.Popen[str]:
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in QUICK.items() if k not in ("downsample", "max_steps")]
    line = [
        sys.executable,
        "-m",
        "cosdd_zoo",
        "train",
        *map(str, arguments),
        *(flags if "--resume" not in arguments else []),
    ]
    return subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_leaves_a_usable_run(tmp_path: Path, images: Path, number: signal.Signals) -> None:
    run = tmp_path / "run"
    process = command(images, "-o", run, "--max-steps=100000", "--quiet")
    signal_when(lambda: (run / "best.safetensors").exists(), number, process.pid).join()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"stopped by {number.name}" in out
    assert f"Continue with: cosdd-zoo train --resume {run}" in err
    assert "Traceback" not in err
    steps = load_checkpoint(run / "last.safetensors").facts["steps"]
    assert load(run, "cpu").denoise(scene(40, 40), 2, axes="YX").mean.shape == (40, 40)
    again = resume(run, quiet=True, max_steps=steps + 5)
    assert again.facts["steps"] == steps + 5


@pytest.mark.slow
def test_a_killed_training_can_be_resumed_from_its_last_validation(tmp_path: Path, images: Path) -> None:
    run = tmp_path / "run"
    process = command(images, "-o", run, "--max-steps=100000", "--quiet")
    signal_when(lambda: (run / "state.safetensors").exists(), signal.SIGKILL, process.pid).join()
    process.communicate(timeout=60)
    assert process.returncode != 0
    saved = json.loads(read_tensors(run / "state.safetensors")[1]["progress"])["step"]
    assert resume(run, quiet=True, max_steps=saved + 4).facts["steps"] == saved + 4
    assert load(run, "cpu").config.network.noise_axis == "x"
