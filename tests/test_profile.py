"""Images that are not of the kind that a model was trained on are told, and those that are, are not."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from exported import CARD
from numpy.typing import NDArray
from PIL import Image
from test_inspect import QUICK
from typer.testing import CliRunner

import cosdd_zoo
from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint
from cosdd_zoo.cli import app
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.images import open_image
from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.data.simulate import NOISES, photon_stack, scene_stack
from cosdd_zoo.data.simulate.noises import PEDESTAL
from cosdd_zoo.data.simulate.scenes import SCENES
from cosdd_zoo.export.export import export
from cosdd_zoo.noise.profile import Profile, described, differences, profile_of
from cosdd_zoo.noise.spread import Spread
from cosdd_zoo.noise.surprise import unlikely


def jpeg(frame: NDArray[Any]) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


OTHERS: dict[str, tuple[Any, str]] = {
    "turned by 90 degrees": (np.rot90, "turned by 90 degrees"),
    "twice the gain": (lambda x: PEDESTAL + 2.0 * (x - PEDESTAL), "times the variance"),
    "smoothed": (lambda x: gaussian_blur(x, 1.0), "smoothing or resampling"),
    "JPEG": (jpeg, "JPEG"),
}
CORRELATED = [kind for kind, noise in NOISES.items() if noise.axis != "none"]


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    found = {}
    for kind, noise in NOISES.items():
        profile = profile_of([from_array(scene_stack(noise(), n_frames=8, size=192).noisy, "SYX")], noise.axis)
        assert profile is not None
        found[kind] = profile
    return found


def said(image: NDArray[Any], profile: Profile) -> list[str]:
    return differences(from_array(image, "YX"), profile, [0])


def fresh(kind: str, n: int = 4) -> NDArray[Any]:
    return scene_stack(NOISES[kind](), n_frames=n, size=192, seed=77).noisy


@pytest.mark.parametrize("kind", NOISES)
def test_new_images_of_the_same_kind_raise_no_alarm(kind: str, profiles: dict[str, Profile]) -> None:
    assert [said(image, profiles[kind]) for image in fresh(kind, 8)] == [[]] * 8


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", ["stripes", "ar1", "scmos"])
def test_images_of_another_kind_are_told_by_what_they_are(kind: str, other: str, profiles: dict[str, Profile]) -> None:
    change, words = OTHERS[other]
    for image in fresh(kind):
        assert any(words in sentence for sentence in said(change(image), profiles[kind]))


@pytest.mark.parametrize("kind", ["stripes", "ar1", "scmos"])
def test_a_turned_image_is_not_said_to_have_another_gain(kind: str, profiles: dict[str, Profile]) -> None:
    for image in fresh(kind):
        assert not any("variance" in sentence for sentence in said(np.rot90(image), profiles[kind]))


def test_without_a_noise_axis_no_image_is_said_to_be_turned(profiles: dict[str, Profile]) -> None:
    white = profiles["uncorrelated"]
    for axis in ("none", "z"):
        sentences = [s for x in fresh("ar1", 8) for s in said(x, white.model_copy(update={"noise_axis": axis}))]
        assert any("is correlated by" in s for s in sentences) and not any("turned" in s for s in sentences)


def test_grey_values_that_the_training_never_had_say_nothing_of_the_gain() -> None:
    rng, noise = np.random.default_rng(0), NOISES["stripes"]()
    scenes = np.stack([SCENES["filaments"](192, rng) for _ in range(4)])
    bright = profile_of([from_array(photon_stack(noise, 100 + scenes).noisy, "SYX")], "x")
    assert bright is not None
    sentences = said(photon_stack(noise, scenes, 1).noisy[0], bright)
    assert not any("variance" in sentence for sentence in sentences)


def test_other_grey_values_and_another_pixel_size_are_told(profiles: dict[str, Profile], tmp_path: Path) -> None:
    bright = fresh("stripes", 1)[0] + 1000
    assert any("grey values" in s for s in said(bright, profiles["stripes"]))
    sizes = []
    for name, px in (("a", 0.1), ("b", 0.2)):
        path, how = tmp_path / f"{name}.tif", {"axes": "TYX", "unit": "um"}
        tifffile.imwrite(path, fresh("stripes"), imagej=True, resolution=(1 / px, 1 / px), metadata=how)
        sizes.append(open_image(path))
    profile = profile_of(sizes[:1], "x")
    assert profile is not None
    assert differences(sizes[0], profile, [0]) == []
    assert differences(sizes[1], profile, [0]) == ["its pixels are 0.2 micrometer wide, theirs 0.1"]


GREY: dict[str, tuple[Any, str]] = {
    "contrast stretched": (lambda x: np.rint((x - 100.0) * 1.6), "gaps between its grey values"),
    "an offset subtracted": (lambda x: x - 40.3, "between the multiples of 1"),
    "too much light": (lambda x: np.clip(3 * (x.astype(int) - 100), 0, 255).astype(np.uint8), "are saturated"),
}


@pytest.mark.parametrize("name", GREY)
def test_grey_values_that_no_camera_wrote_are_told(name: str, profiles: dict[str, Profile]) -> None:
    change, words = GREY[name]
    for image in fresh("stripes"):
        assert any(words in sentence for sentence in said(change(image), profiles["stripes"]))


def test_training_images_with_gaps_and_saturated_pixels_are_a_kind_of_their_own() -> None:
    change = GREY["too much light"][0]
    profile = profile_of([from_array(change(scene_stack(NOISES["stripes"](), n_frames=8, size=192).noisy), "SYX")], "x")
    assert profile is not None
    assert [said(change(image), profile) for image in fresh("stripes")] == [[]] * 4


def test_what_cannot_be_judged_is_not(profiles: dict[str, Profile]) -> None:
    assert said(np.full((64, 64), 100.0), profiles["stripes"]) == []
    assert said(np.full((64, 64), np.nan), profiles["stripes"]) == []
    assert said(fresh("stripes", 1)[0][:16, :16], profiles["stripes"]) == []
    assert differences(from_array(np.ones(64), "X"), profiles["stripes"], [0]) == []
    assert profile_of([from_array(np.ones((3, 64)), "SX")], "x") is None
    assert profile_of([from_array(np.ones((3, 64, 64)), "SYX")], "x") is None


# by the likelihood of a trained model


@pytest.fixture(scope="module")
def judged() -> tuple[Profile, Checkpoint]:
    """A profile of a trained model's own, with how well its likelihood fits frames of the training's kind."""
    found = load_checkpoint(Path(__file__).parent / "kept" / "stripes.safetensors")
    frames = [from_array(scene_stack(NOISES["stripes"](), n_frames=4, seed=31).noisy, "TYX")]
    return Profile.model_validate(described(frames, found.config, found)["profile"]), found


WORSE: dict[str, tuple[Any, str]] = {
    "turned": (np.rot90, "as if it was turned by 90 degrees"),
    "a third more gain": (lambda x: PEDESTAL + 1.3 * (x - PEDESTAL), "unlikely by the model's likelihood (NLL"),
    "mean of two pixels": (lambda x: (x + np.roll(x, 1, 0)) / 2, "the model's noise axis x"),
}


@pytest.mark.parametrize("name", WORSE)
def test_a_trained_model_s_likelihood_tells_changes_that_are_small(
    name: str, judged: tuple[Profile, Checkpoint]
) -> None:
    profile, found = judged
    fits, model, (change, words) = [c.fit for c in profile.channels], found.model(), WORSE[name]
    for frame in scene_stack(NOISES["stripes"](), n_frames=3, seed=77).noisy.astype(np.float64):
        assert unlikely(frame[None], fits, model, [1.0], "x") == []
        (said,) = unlikely(np.ascontiguousarray(change(frame))[None], fits, model, [1.0], "x")
        assert words in said


def test_what_an_image_shows_is_not_held_against_it(judged: tuple[Profile, Checkpoint]) -> None:
    """Other scenes, darker and brighter ones: their NLL differs, and the likelihood fits them all the same."""
    profile, found = judged
    for scene, photons in (("nuclei", 20.0), ("lattice", 40.0), ("filaments", 10.0)):
        frame = scene_stack(NOISES["stripes"](), scene, 1, photons=photons, seed=5).noisy[0].astype(np.float64)
        assert unlikely(frame[None], [c.fit for c in profile.channels], found.model(), [1.0], "x") == []


def test_structures_that_the_model_has_not_learned_are_told(judged: tuple[Profile, Checkpoint]) -> None:
    """A texture as fine as the noise, which the model takes for noise and takes away."""
    profile, found = judged
    rng = np.random.default_rng(0)
    texture = gaussian_blur(rng.standard_normal((192, 192)), 0.8)
    photons = np.maximum(30 + 40 * texture / texture.std(), 0.0)
    frame = photon_stack(NOISES["stripes"](), photons[None], 1).noisy[0].astype(np.float64)
    (sentence,) = unlikely(frame[None], [c.fit for c in profile.channels], found.model(), [1.0], "x")
    assert "structures that the model has not learned" in sentence


def test_a_model_that_knows_no_axis_does_not_say_that_images_are_turned(judged: tuple[Profile, Checkpoint]) -> None:
    found = load_checkpoint(Path(__file__).parent / "kept" / "wrong-axis.safetensors")
    frames = [from_array(scene_stack(NOISES["stripes"](), n_frames=4, seed=31).noisy, "TYX")]
    (own,) = Profile.model_validate(described(frames, found.config, found)["profile"]).channels
    for frame in scene_stack(NOISES["stripes"](), n_frames=3, seed=77).noisy.astype(np.float64):
        assert unlikely(frame[None], [own.fit], found.model(), [1.0], "y") == []  # of the wrong one
    profile, found = judged
    fit = profile.channels[0].fit
    assert fit is not None
    blind = fit.model_copy(update={"turned": Spread(mean=-0.01, std=0.01)})
    turned = np.ascontiguousarray(np.rot90(frame))[None]
    assert not any("turned" in said for said in unlikely(turned, [blind], found.model(), [1.0], "x"))


def test_a_model_without_ar_decoder_is_not_asked(judged: tuple[Profile, Checkpoint]) -> None:
    noisy = scene_stack(NOISES["stripes"](), n_frames=1, seed=77).noisy[0]
    image = from_array(PEDESTAL + 1.3 * (noisy.astype(np.float64) - PEDESTAL), "YX")
    profile, found = judged  # here of the noise alone, not of the grey values' gaps
    blind = Spread(mean=0.0, std=10.0)  # to the variance
    profile = profile.model_copy(
        update={"channels": [profile.channels[0].model_copy(update={"ratio": blind, "grey": None})]}
    )
    assert differences(image, profile, [0], object(), [1.0]) == differences(image, profile, [0]) == []
    assert differences(image, profile, [0], found.model(), [1.0]) != []


# through training, export and denoising


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("profile")
    stack = scene_stack(NOISES["stripes"](), n_frames=8, size=128).noisy
    tifffile.imwrite(made / "train.tif", stack, imagej=True, metadata={"axes": "TYX"})
    cosdd_zoo.train([made / "train.tif"], made / "run", max_steps=1, **QUICK)
    trained = load_checkpoint(made / "run" / "best.safetensors")
    usable = trained._replace(facts={**trained.facts, "collapsed": False})  # one step has taught it nothing
    export(usable, made / "m.zip", CARD, n_samples=2, sample=stack[:1])
    (made / "images").mkdir()
    good = scene_stack(NOISES["stripes"](), n_frames=1, size=128, seed=5).noisy[0]
    tifffile.imwrite(made / "images" / "good.tif", good)
    tifffile.imwrite(made / "images" / "turned.tif", np.ascontiguousarray(np.rot90(good)))
    return made


def denoised(folder: Path, model: str, output: Path, *options: str) -> Any:
    line = ["denoise", folder / model, folder / "images", "-o", output, "--samples", "2", "--device", "cpu", "--quiet"]
    return CliRunner().invoke(app, [*map(str, line), *options])


@pytest.mark.parametrize("model", ["run", "m.zip"])
def test_denoise_says_it_in_one_line_and_in_the_log(folder: Path, tmp_path: Path, model: str) -> None:
    done = denoised(folder, model, tmp_path / "out")
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stderr.splitlines() if "not of the kind" in line]
    assert len(lines) == 1 and "turned.tif" in lines[0] and "turned by 90 degrees" in lines[0]
    log = json.loads((tmp_path / "out" / "cosdd-denoise.json").read_text())
    notes = {Path(f["input"]).name: f.get("note", "") for f in log["files"]}
    assert notes["good.tif"] == "" and "turned by 90 degrees" in notes["turned.tif"]


def test_strict_refuses_the_image_and_does_the_others(folder: Path, tmp_path: Path) -> None:
    done = denoised(folder, "run", tmp_path / "out", "--strict")
    assert done.exit_code == 2
    assert "without --strict" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == ["good_denoised.tif"]


def test_strict_says_that_a_model_without_profile_cannot_compare(folder: Path, tmp_path: Path) -> None:
    found = load_checkpoint(folder / "run" / "best.safetensors")
    bare = found._replace(facts={k: v for k, v in found.facts.items() if k != "profile"})
    bare.save(tmp_path / "bare.safetensors")
    line = ["denoise", tmp_path / "bare.safetensors", folder / "images", "-o", tmp_path / "out", "--strict"]
    done = CliRunner().invoke(app, [*map(str, line), "--device", "cpu", "--quiet"])
    assert "no image can be compared" in str(done.exception) and not (tmp_path / "out").exists()


def test_a_resumed_run_and_a_distilled_model_keep_a_profile(folder: Path, tmp_path: Path) -> None:
    resumed = cosdd_zoo.resume(folder / "run", max_steps=2, quiet=True)
    profile = cosdd_zoo.load(resumed.folder).facts["profile"]
    assert profile["noise_axis"] == "x" and profile["channels"][0]["fit"]["nll"]["mean"] != 0
    small = cosdd_zoo.distill(folder / "run", [folder / "train.tif"], tmp_path / "small", max_steps=1, quiet=True)
    assert "profile" in cosdd_zoo.load(small.folder).facts
