"""A direct denoiser that learns from a trained model: near its teacher, which stays as it was."""

import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import CARD
from models import QUICK, few_features, grey, model, quick, scaling, scene

from cosdd_zoo import api, check, distill, load, resume
from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint, read_tensors
from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.networks.direct_denoiser import DirectDenoiser
from cosdd_zoo.training.objective import distillation
from cosdd_zoo.training.train import Run

HOW = {name: QUICK[name] for name in ("crop_px", "batch_size", "validation_crops")} | {"device": "cpu", "quiet": True}


def distilled(teacher: Path, output: Path, **settings: Any) -> Run:
    plan = {"max_steps": 6, "validate_every": 3, **HOW, **settings}
    return distill(teacher, [teacher.parent / "stack.tif"], output, **plan)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A smaller U-Net that has learned for a short while."""
    settings = {"n_features": 6, "n_levels": 1, "max_steps": 200, "validate_every": 50, "learning_rate": 2e-2}
    return distilled(trained, tmp_path_factory.mktemp("student") / "run", **settings).folder


def test_a_student_comes_near_its_teacher(student: Path, trained: Path) -> None:
    image = scene(64, 64, seed=9)
    target = load(trained, "cpu").denoise(image, 16, axes="YX").mean
    learned = load(student, "cpu").denoise(image, axes="YX", direct=True).mean
    checkpoint = load_checkpoint(student / "best.safetensors")
    untrained = Cosdd(checkpoint.config.network, checkpoint.scaling, checkpoint.config.training.stabilise)
    with torch.no_grad():
        start = untrained.direct(torch.from_numpy(image.astype(np.float32))[None, None])[0, 0].numpy()
    errors = [float(((found - target) ** 2).mean()) for found in (start, learned)]
    assert errors[1] < 0.1 * errors[0]
    assert errors[1] < 0.2 * target.var()


def test_a_teacher_stays_as_it_was_and_can_still_be_sampled(student: Path, trained: Path) -> None:
    before, after = (load_checkpoint(run / "best.safetensors") for run in (trained, student))
    assert before.scaling == after.scaling
    kept = {n: w for n, w in before.weights.items() if not n.startswith("direct_denoiser.")}
    assert all(torch.equal(w, after.weights[n]) for n, w in kept.items())
    image = scene(40, 48, seed=5)
    expected = load(trained, "cpu").denoise(image, 2, axes="YX", uncertainty=True)
    found = load(student, "cpu").denoise(image, 2, axes="YX", uncertainty=True)
    assert np.array_equal(found.mean, expected.mean)
    assert np.array_equal(found.std, expected.std)


def test_the_best_student_is_the_one_nearest_to_its_teacher(student: Path) -> None:
    rows = [line.split(",") for line in (student / "metrics.csv").read_text().splitlines()]
    column = rows[0].index("direct")
    errors = {int(r[0]): float(r[column]) for r in rows[1:] if r[2] == "validation"}
    facts = load_checkpoint(student / "best.safetensors").facts
    assert facts["steps"] == min(errors, key=lambda step: errors[step])
    assert facts["validation_loss"] == pytest.approx(min(errors.values()))


def test_a_student_can_be_exported(student: Path, trained: Path, tmp_path: Path) -> None:
    facts = {**load_checkpoint(student / "best.safetensors").facts, "collapsed": False}  # whatever sixty steps made
    load_checkpoint(student / "best.safetensors")._replace(facts=facts).save(tmp_path / "student.safetensors")
    path = tmp_path / "model.zip"
    api.export(tmp_path / "student.safetensors", path, card=CARD, direct=True, sample=trained.parent / "stack.tif")
    assert check(path).passed
    image = scene(64, 64, seed=9)
    expected = load(student, "cpu").denoise(image, axes="YX", direct=True).mean
    module = load(path, "cpu").engine
    with torch.no_grad():
        found = module(torch.from_numpy(image.astype(np.float32))[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3 * image.std())


@pytest.mark.parametrize(("shape", "is_anew"), [({}, False), ({"n_levels": 2}, True), ({"n_features": 7}, True)])
def test_a_student_learns_on_unless_it_changes_its_shape(
    tmp_path: Path, student: Path, trained: Path, shape: dict[str, int], is_anew: bool
) -> None:
    images = [trained.parent / "stack.tif"]
    run = distill(student, images, tmp_path / "run", max_steps=1, learning_rate=1e-30, **shape, **HOW)
    before, after = (load_checkpoint(folder / "best.safetensors") for folder in (student, run.folder))
    error = float(before.facts["validation_loss"])
    assert (after.facts["validation_loss"] > 2 * error) == is_anew


def test_a_teacher_s_collapse_is_not_hidden_by_distilling(tmp_path: Path, trained: Path) -> None:
    config = quick()  # untrained: its posterior is its prior
    net = Cosdd(config.network, load_checkpoint(trained / "best.safetensors").scaling, stabilise=True)
    checkpoint = Checkpoint(config, scaling(), net.state_dict(), {})
    checkpoint.save(tmp_path / "m.safetensors")
    run = distill(tmp_path / "m.safetensors", [trained.parent / "stack.tif"], tmp_path / "run", max_steps=1, **HOW)
    assert run.facts["collapsed"]


@pytest.mark.parametrize("n_samples", [0, 3])
def test_a_resumed_distilling_goes_on_as_if_it_had_not_stopped(tmp_path: Path, trained: Path, n_samples: int) -> None:
    # a constant learning rate: the decay is planned for the number of steps
    plan = {"max_steps": 100_000, "learning_rate": 0.3, "ema_decay": 0.0, "n_samples": n_samples}
    whole = distilled(trained, tmp_path / "whole", patience=2, **plan)
    broken = distilled(trained, tmp_path / "broken", patience=1, **plan)
    assert broken.facts["steps"] < whole.facts["steps"]
    ended = resume(broken.folder, quiet=True, patience=2)
    assert ended.facts["steps"] == whole.facts["steps"]
    states = [read_tensors(run.folder / "state.safetensors")[0] for run in (whole, ended)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_an_interrupted_distilling_leaves_a_usable_run(tmp_path: Path, trained: Path) -> None:
    def interrupt() -> None:
        while not (tmp_path / "run" / "state.safetensors").exists():  # there before the first step
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    run = distilled(trained, tmp_path / "run", max_steps=100_000, validate_every=1000)
    thread.join()
    assert run.stopped_by == "SIGINT"
    assert load(run.folder, "cpu").denoise(scene(40, 40), axes="YX", direct=True).mean.shape == (40, 40)
    steps = run.facts["steps"]
    assert resume(run.folder, quiet=True, max_steps=steps + 2).facts["steps"] == steps + 2


def n_parameters(config: NetworkConfig) -> int:
    return sum(p.numel() for p in DirectDenoiser(config).parameters())


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_fewer_features_and_levels_are_fewer_parameters(preset: str) -> None:
    base = {"n_features": 12, "n_code": 8, "downsample": (True,) * 3, "direct": True}
    sizes = [
        n_parameters(few_features(preset, **{**base, **smaller}))
        for smaller in ({}, {"direct_levels": 2}, {"direct_features": 6}, {"direct_features": 6, "direct_levels": 1})
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[3] < 0.3 * sizes[0]
    assert n_parameters(few_features(preset, **base, direct_features=12, direct_levels=9)) == sizes[0]
    net = model(few_features(preset, **base, direct_features=6, direct_levels=1, noise_axis="y"))
    assert net.direct(grey(2, 1, 21, 30)).shape == (2, 1, 21, 30)


def generators() -> list[torch.Generator]:
    """Of two crops."""
    return [torch.Generator().manual_seed(seed) for seed in (1, 2)]


@pytest.mark.parametrize("n_samples", [0, 1, 2, 5])
def test_the_target_is_the_mean_of_so_many_samples(n_samples: int) -> None:
    """Its squared error is that of the posterior's mean plus the samples' own variance, less with more of them."""
    net = model(few_features(direct=True, downsample=(True, True)))
    x = grey(2, 1, 16, 16)
    found = distillation(net, x, n_samples, generators())
    assert net.direct_denoiser is not None
    with torch.no_grad():
        noise = generators()
        v = net.to_network(x)
        maps = net.encoder.bottom_up(v)
        shapes = [(2, net.encoder.n_latents, *m.shape[2:]) for m in maps]
        sizes = [math.prod(s[1:]) for s in shapes]
        signals = []
        while len(signals) < max(n_samples, 1):
            drawn = torch.stack([torch.randn(sum(sizes), generator=g) for g in noise]).split(sizes, 1)
            eps = [(n_samples > 0) * e.reshape(s) for e, s in zip(drawn, shapes, strict=True)]
            signals += [net.signal_decoder(net.encoder.top_down(maps, [sign * e for e in eps], False).code)
                        for sign in (1, -1)]  # fmt: skip
        target = torch.stack(signals[: max(n_samples, 1)]).mean(0)
        expected = ((net.direct_denoiser(v) - target) ** 2).mean()
    torch.testing.assert_close(found.direct.detach(), expected)
    assert found.nll == 0
    assert (found.kl > 0).all()
    if n_samples == 0:
        signal = net.normalise.linear(net.posterior(x, 0, 0, [0, 0]).mean)
        torch.testing.assert_close(signal, target)


def test_the_direct_denoiser_alone_has_a_gradient() -> None:
    net = model(few_features(direct=True, downsample=(True, True)))
    distillation(net, grey(2, 1, 16, 16), 2, generators()).total.backward()
    moved = {n.split(".")[0] for n, p in net.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert moved == {"direct_denoiser"}
