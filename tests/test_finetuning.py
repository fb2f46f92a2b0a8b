"""Training from another model's weights: what is taken over, what stays, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from models import QUICK, few_features, model, quick, scaling, scene

from cosdd_zoo import load, resume, train
from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint, read_tensors
from cosdd_zoo.config import read_yaml, validated
from cosdd_zoo.errors import CheckpointError, ConfigError, ImageError, OutputError
from cosdd_zoo.export.export import _without_paths
from cosdd_zoo.training.train import Run

HOW = {name: QUICK[name] for name in ("crop_px", "batch_size", "max_steps", "validate_every", "validation_crops")}
HOW |= {"device": "cpu", "quiet": True}
"""How to train for a second; what the networks look like comes from the source."""
UNMOVED = {"learning_rate": 1e-30, "max_steps": 1}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Another exposure of another scene."""
    path = tmp_path / "new.tif"
    tifffile.imwrite(path, 2 * scene(4, 64, 64, seed=3) + 50, imagej=True, metadata={"axes": "TYX"})
    return path


def tuned(images: Any, output: Path, source: Path, **settings: Any) -> Run:
    return train(images, output, init_from=source, **{**HOW, **settings})


def changed(before: Checkpoint, after: Checkpoint) -> set[str]:
    """The parts whose weights are not bit-identical."""
    assert before.weights.keys() == after.weights.keys()
    return {n.split(".")[0] for n, w in before.weights.items() if not torch.equal(w, after.weights[n])}


def test_a_fine_tuning_starts_as_the_model_that_it_starts_from(tmp_path: Path, trained: Path) -> None:
    image, stack = scene(40, 48, seed=5), trained.parent / "stack.tif"
    run = tuned([stack], tmp_path / "run", trained, **UNMOVED)
    before, after = load(trained, "cpu"), load(run.folder, "cpu")
    for how in ({"n_samples": 2}, {"direct": True}):
        expected = before.denoise(image, axes="YX", **how).mean
        assert np.array_equal(after.denoise(image, axes="YX", **how).mean, expected)


def test_new_images_bring_their_own_scaling_unless_the_source_s_is_to_be_kept(
    tmp_path: Path, trained: Path, images: Path
) -> None:
    before = load_checkpoint(trained / "best.safetensors")
    own = load_checkpoint(tuned([images], tmp_path / "own", trained, **UNMOVED).model)
    kept = load_checkpoint(tuned([images], tmp_path / "kept", trained, statistics_from="init", **UNMOVED).model)
    assert changed(before, own) == changed(before, kept) == set()
    assert own.scaling.std[0] == pytest.approx(2 * before.scaling.std[0], rel=0.2)
    assert own.scaling.mean[0] == pytest.approx(2 * before.scaling.mean[0] + 50, rel=0.1)
    assert kept.scaling == before.scaling


def test_everything_learns_unless_told_otherwise(tmp_path: Path, trained: Path, images: Path) -> None:
    run = tuned([images], tmp_path / "run", trained)
    parts = {"encoder", "ar_decoder", "signal_decoder", "direct_denoiser"}
    assert changed(load_checkpoint(trained / "best.safetensors"), load_checkpoint(run.folder / "last.safetensors")) == (
        parts
    )


def test_training_the_ar_decoder_alone_changes_nothing_else(tmp_path: Path, trained: Path, images: Path) -> None:
    run = tuned([images], tmp_path / "run", trained, train_only="ar_decoder", max_steps=30, validate_every=10)
    after = load_checkpoint(run.folder / "last.safetensors")
    assert changed(load_checkpoint(trained / "best.safetensors"), after) == {"ar_decoder"}
    rows = [line.split(",") for line in (run.folder / "metrics.csv").read_text().splitlines()]
    losses = {int(r[0]): (float(r[3]), r[4]) for r in rows if r[2] == "validation"}
    assert losses[30][0] < losses[0][0]  # the likelihood of the new noise rises
    assert losses[30][1] == losses[0][1]  # the posterior is what it was


def test_the_start_competes_for_the_best_model(tmp_path: Path, trained: Path) -> None:
    run = tuned([trained.parent / "stack.tif"], tmp_path / "run", trained, learning_rate=10.0)
    best = load_checkpoint(run.model)
    assert best.facts["steps"] == 0
    assert changed(load_checkpoint(trained / "best.safetensors"), best) == set()


def test_a_posterior_that_has_been_learned_is_not_freed_of_its_cost_again(
    tmp_path: Path, trained: Path, images: Path
) -> None:
    assert tuned([images], tmp_path / "a", trained, **UNMOVED).config.training.kl_warmup_steps == 0
    run = tuned([images], tmp_path / "b", trained, kl_warmup_steps=7, **UNMOVED)
    assert run.config.training.kl_warmup_steps == 7


@pytest.mark.parametrize("settings", [{}, {"train_only": "ar_decoder"}, {"statistics_from": "init"}])
def test_a_resumed_fine_tuning_goes_on_as_if_it_had_not_stopped(
    tmp_path: Path, trained: Path, images: Path, settings: dict[str, Any]
) -> None:
    source = Path(shutil.copytree(trained, tmp_path / "source"))
    # a constant learning rate: the decay is planned for the number of steps
    plan = {**settings, "max_time": 1e9, "max_steps": 100_000, "patience": 3, "learning_rate": 0.1, "ema_decay": 0.0}
    whole = tuned([images], tmp_path / "whole", source, **plan)
    assert whole.stopped_by == "patience"
    broken = tuned([images], tmp_path / "broken", source, **{**plan, "patience": 1})
    assert broken.facts["steps"] < whole.facts["steps"]
    shutil.rmtree(source)  # it is not read again
    ended = resume(broken.folder, quiet=True, patience=3)
    assert ended.facts["steps"] == whole.facts["steps"]
    states = [read_tensors(run.folder / "state.safetensors")[0] for run in (whole, ended)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert load_checkpoint(whole.folder / "last.safetensors").scaling == (
        load_checkpoint(ended.folder / "last.safetensors").scaling
    )


def test_a_run_keeps_its_start(tmp_path: Path, trained: Path, images: Path) -> None:
    run = tuned([images], tmp_path / "run", trained, **UNMOVED)
    stored = validated(read_yaml(run.folder / "config.yaml"))
    assert stored == load_checkpoint(run.model).config
    assert stored.training.init_from == str(trained)
    assert stored.network == load_checkpoint(trained / "best.safetensors").config.network
    with pytest.raises(ConfigError, match="The train_only of a run is settled once it has begun"):
        resume(run.folder, quiet=True, train_only="ar_decoder")


def test_a_direct_denoiser_can_be_added_or_left_out(tmp_path: Path, trained: Path, images: Path) -> None:
    before = load_checkpoint(trained / "best.safetensors")
    without = load_checkpoint(tuned([images], tmp_path / "a", trained, direct=False, **UNMOVED).model)
    assert {n.split(".")[0] for n in before.weights.keys() - without.weights.keys()} == {"direct_denoiser"}
    added = load_checkpoint(tuned([images], tmp_path / "b", tmp_path / "a", direct=True, **UNMOVED).model)
    assert changed(before, added) == {"direct_denoiser"}


def test_a_package_s_settings_hold_no_path_of_the_source(tmp_path: Path, trained: Path, images: Path) -> None:
    made = load_checkpoint(tuned([images], tmp_path / "run", trained, **UNMOVED).model)
    assert str(tmp_path.parent) not in str(_without_paths(made))
    assert str(trained) not in str(_without_paths(made))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "other networks": (
        {"n_features": 16},
        r"n_features is 16, but 8 in .*run, whose networks this training starts from: leave out --n-features, or train",
    ),
    "other networks in a file": ({"config": {"network": {"noise_axis": "y"}}}, "noise_axis is 'y', but 'x' in"),
    "another preset": ({"preset": "small"}, "preset is 'small', but 'tiny' in"),
    "another transform": ({"stabilise": False}, "stabilise is False, but True in .*: leave out --stabilise"),
    "a new part that does not learn": ({"train_only": "ar_decoder", "direct": False}, "direct is False, but True in"),
    "nothing to learn": (
        {"train_only": "direct_denoiser", "direct": False},
        "train_only is direct_denoiser, but direct is False",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_networks_that_are_not_the_source_s_are_refused(tmp_path: Path, trained: Path, images: Path, case: str) -> None:
    settings, sentence = REFUSED[case]
    with pytest.raises(ConfigError, match=sentence):
        tuned([images], tmp_path / "run", trained, **settings)
    assert not (tmp_path / "run").exists()


def test_settings_that_agree_with_the_source_are_no_conflict(tmp_path: Path, trained: Path, images: Path) -> None:
    whole = read_yaml(trained / "config.yaml")
    assert tuned([images], tmp_path / "run", trained, config=whole, preset="tiny", **UNMOVED).facts["steps"] == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"train_only": "ar_decoder"}, "train_only is ar_decoder, but there is no model yet .* with --init-from"),
        ({"statistics_from": "init"}, "statistics_from is init, but there is no model yet"),
        ({"preset": "small", "blocks": "authors"}, "blocks is authors, but there is no model yet"),
    ],
)
def test_a_part_alone_needs_a_model_that_the_rest_comes_from(
    tmp_path: Path, images: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        train([images], tmp_path / "run", **HOW, **settings)


def test_what_is_no_source_is_a_sentence(tmp_path: Path, trained: Path, tiny_package: Path, images: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model.zip is an exported package.* no AR decoder: give the run folder"):
        tuned([images], tmp_path / "run", tiny_package)
    with pytest.raises(CheckpointError, match="nowhere holds no model"):
        tuned([images], tmp_path / "run", tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"state.safetensors is a safetensors file, but not a model"):
        tuned([images], tmp_path / "run", trained / "state.safetensors")
    colours = quick().model_copy(update={"network": few_features(n_channels=2)})
    Checkpoint(colours, scaling(2), model(colours.network).state_dict(), {}).save(tmp_path / "two.safetensors")
    with pytest.raises(
        ImageError, match=r"new.tif has 1 channels .*, but the model that the training starts from has 2"
    ):
        tuned([images], tmp_path / "run", tmp_path / "two.safetensors")
    assert not (tmp_path / "run").exists()


def test_a_source_is_not_overwritten_by_what_starts_from_it(tmp_path: Path, trained: Path, images: Path) -> None:
    source = Path(shutil.copytree(trained, tmp_path / "source"))
    for name in (source, source / "best.safetensors"):
        with pytest.raises(OutputError, match="source holds the model that the training starts from"):
            tuned([images], source, name, overwrite=True)
    assert (source / "best.safetensors").is_file()
