"""The command line: what it prints, and for every mistake one red sentence, exit code 1 and nothing half-written."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
import yaml
from authors_reference import Authors, Spec, write
from models import few_features, model, quick, scaling, scene

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.cli import main
from cosdd_zoo.config import validated
from cosdd_zoo.data.images import open_image
from cosdd_zoo.data.metrics import psnr
from cosdd_zoo.data.simulate import NOISES, confocal_stack, folder
from cosdd_zoo.data.simulate.scenes import SCENES
from cosdd_zoo.errors import ImageError
from cosdd_zoo.inference.denoise import N_SAMPLES_CPU
from cosdd_zoo.version import __version__

QUICK_FLAGS = [
    "--crop-px=32", "--batch-size=2", "--max-steps=3", "--validate-every=3", "--validation-crops=2", "--n-features=8",
    "--n-code=8", "--receptive-field-px=8", "--device=cpu", "--quiet",
]  # fmt: skip


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs `cosdd-zoo ...` in this process, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["cosdd-zoo", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else int(code is not None), *capfd.readouterr())

    return run


def tiff(path: Path, image: np.ndarray, axes: str = "YX") -> Path:
    tifffile.imwrite(path, image, imagej=True, metadata={"axes": axes})
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tiff(tmp_path / "image.tif", scene(64, 64))


def refuses(outcome: Outcome, sentence: str) -> None:
    """One line on stderr and nothing on stdout."""
    assert outcome.code == 1
    assert outcome.out == ""
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert sentence in lines[0]
    assert "Traceback" not in outcome.err


def test_train_and_denoise_from_end_to_end(cli: Cli, image: Path, tmp_path: Path) -> None:
    done = cli("train", image, "-o", tmp_path / "run", *QUICK_FLAGS)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path / 'run' / 'best.safetensors'}  (3 steps, ")
    assert "stopped by max_steps" in done.out
    assert "The posterior has collapsed" in done.err  # three steps are not enough
    done = cli("denoise", tmp_path / "run", image, "-o", tmp_path / "out", "--samples=2", "--device=cpu", "--quiet")
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'out' / 'image_denoised.tif'}  (mean of 2 samples on cpu)\n"
    assert done.err == ""
    assert tifffile.imread(tmp_path / "out" / "image_denoised.tif").shape == (64, 64)


def test_denoise_says_how_many_samples_it_takes_by_default(
    cli: Cli, trained: Path, image: Path, tmp_path: Path
) -> None:
    done = cli("denoise", trained, image, "-o", tmp_path / "o", "--device=cpu", "--uncertainty", "--float32", "--quiet")
    assert f"(mean of {N_SAMPLES_CPU} samples on cpu)" in done.out
    assert f"{tmp_path / 'o' / 'image_denoised_std.tif'}  (posterior standard deviation)" in done.out
    assert tifffile.imread(tmp_path / "o" / "image_denoised.tif").dtype == np.float32
    done = cli("denoise", trained, image, "-o", tmp_path / "d", "--device=cpu", "--direct", "--quiet")
    assert "(direct denoiser on cpu)" in done.out


TUNING = ["--crop-px=32", "--batch-size=2", "--max-steps=2", "--validation-crops=2", "--device=cpu", "--quiet"]


def test_fine_tuning_from_end_to_end(cli: Cli, trained: Path, image: Path, tmp_path: Path) -> None:
    source = ["--init-from", trained, "--train-only=ar_decoder"]
    done = cli("train", image, *source, "--dry-run", *TUNING)
    assert done.code == 0, done.err
    config = validated(yaml.safe_load(done.out))
    assert (config.network.n_features, config.training.train_only) == (8, "ar_decoder")  # not the preset's 32
    done = cli("train", image, "-o", tmp_path / "run", *source, *TUNING)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path / 'run' / 'best.safetensors'}  (2 steps, ")
    done = cli("train", "--resume", tmp_path / "run", "--max-steps=3", "--quiet")
    assert "(3 steps, " in done.out


def test_a_model_of_the_authors_is_imported_and_denoises(cli: Cli, image: Path, tmp_path: Path) -> None:
    files, output = write(tmp_path, Authors(Spec())), tmp_path / "run"
    done = cli("import-authors", *files, "-o", output)
    assert done.code == 0, done.err
    facts = "2-D, 1 channels, 2 levels, 6 features, noise axis x, with direct denoiser"
    assert done.out == f"{output / 'best.safetensors'}  ({facts})\n"
    assert "became a single one" in done.err
    refuses(cli("import-authors", *files, "-o", output), "exists and is not empty")
    assert cli("denoise", output, image, "-o", tmp_path / "out", "--direct", "--device=cpu", "--quiet").code == 0


def test_distilling_from_end_to_end(cli: Cli, trained: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("training: {crop_px: 32, batch_size: 2, validation_crops: 2}")
    size = ["--features=4", "--levels=1", "--samples=0"]
    how = ["--config", tmp_path / "c.yaml", "--max-steps=2", "--device=cpu", "--quiet"]
    done = cli("distill", trained, image, "-o", tmp_path / "run", *size, *how)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path / 'run' / 'best.safetensors'}  (2 steps, ")
    config = validated(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()))
    assert (config.network.direct_features, config.network.direct_levels) == (4, 1)
    assert (config.training.teacher_samples, config.training.statistics_from) == (0, "init")
    done = cli("train", "--resume", tmp_path / "run", "--max-steps=3", "--quiet")
    assert "(3 steps, " in done.out
    run = tmp_path / "run"
    done = cli("denoise", run, image, "-o", tmp_path / "out", "--direct", "--device=cpu", "--quiet")
    assert "(direct denoiser on cpu)" in done.out


def bad_starts(folder: Path, trained: Path, package: Path) -> dict[str, tuple[list[object], str]]:
    """COMMAND, MODEL and settings, and the sentence that they must lead to."""
    tune: list[object] = ["train", "--init-from"]
    return {
        "other networks": ([*tune, trained, "--n-features=9"], "n_features is 9, but 8 in"),
        "a package": ([*tune, package], "model.zip is an exported package"),
        "no model": ([*tune, folder / "nothing"], "nothing holds no model"),
        "no source": (["train", "--train-only=ar_decoder"], "name it with --init-from"),
        "no such part": ([*tune, trained, "--train-only=encoder"], "training.train_only is 'encoder': Input should be"),
        "a package as teacher": (["distill", package], "model.zip is an exported package"),
        "no teacher": (["distill", folder / "nothing"], "nothing holds no model"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "other networks", "a package", "no model", "no source", "no such part", "a package as teacher", "no teacher",
    ],
)  # fmt: skip
def test_a_start_that_cannot_be_is_a_sentence_and_leaves_nothing(
    cli: Cli, trained: Path, package: Path, image: Path, tmp_path: Path, case: str
) -> None:
    arguments, sentence = bad_starts(tmp_path, trained, package)[case]
    refuses(cli(*arguments, image, "-o", tmp_path / "run", "--quiet"), sentence)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_the_settings_and_sizes_and_writes_nothing(cli: Cli, image: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("training: {seed: 3, batch_size: 3}")
    before = sorted(tmp_path.rglob("*"))
    done = cli(
        "train", image, "--config", tmp_path / "c.yaml", "--dry-run", "--seed=5", "--preset=small", "--crop-px=48"
    )
    assert done.code == 0, done.err
    config = validated(yaml.safe_load(done.out))
    assert (config.preset, config.training.seed, config.training.batch_size) == ("small", 5, 3)
    assert config.network.n_channels == 1
    (parameters, memory) = [line for line in done.out.splitlines() if line.startswith("#")]
    assert "encoder 2,7" in parameters
    assert "memory of a training step: about " in memory
    assert sorted(tmp_path.rglob("*")) == before
    assert cli("train", "--dry-run").code == 0


def test_the_settings_that_a_dry_run_printed_can_be_given_back(cli: Cli, image: Path, tmp_path: Path) -> None:
    first = cli("train", image, "--dry-run", "--preset=base", "--crop-px=40", "--noise-axis=y").out
    (tmp_path / "c.yaml").write_text(first)
    assert cli("train", image, "--dry-run", "--config", tmp_path / "c.yaml").out == first


def test_every_setting_is_a_flag_with_its_explanation(cli: Cli) -> None:
    text = " ".join(cli("train", "--help").out.replace("│", " ").split())
    for flag in ("--noise-axis", "--n-mixture", "--max-time", "--likelihood", "--receptive-field", "--resume"):
        assert flag in text
    assert "Raise it if noise survives in the output" in text


def test_info_names_versions_devices_and_presets(cli: Cli) -> None:
    out = cli("info").out
    assert f"cosdd-zoo {__version__}" in out
    assert "cpu" in out
    assert all(f"preset {name}: " in out for name in ("tiny", "small", "base", "large"))


def test_the_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom cosdd_zoo.cli import main\nsys.argv = ['cosdd-zoo', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'torch', 'lightning', 'numpy', 'tifffile', 'bioimageio'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in found
    assert all(name in found for name in ("train", "denoise", "distill", "export", "check", "simulate", "demo", "info"))


def broken_tiff(path: Path) -> Path:
    data = tiff(path, scene(64, 64)).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def bad_images(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Arguments of train, and the sentence that each must lead to."""
    (folder / "text.tif").write_text("no image")
    (folder / "notes.txt").write_text("no image")
    (folder / "empty").mkdir()
    nan = scene(64, 64).astype(np.float32)
    nan[0, :5], nan[1, 0] = np.nan, np.inf
    stack = tiff(folder / "stack.tif", scene(12, 64, 64), "TYX")
    return {
        "not an image": ([folder / "text.tif"], "text.tif"),
        "another kind of file": ([folder / "notes.txt"], "notes.txt is of a kind that cannot be read"),
        "missing": ([folder / "nowhere.tif"], "nowhere.tif does not exist"),
        "truncated": ([broken_tiff(folder / "cut.tif")], "cut.tif"),
        "empty folder": ([folder / "empty"], "empty holds no image"),
        "wrong axes": ([stack, "--axes=YX"], "has shape (12, 64, 64)"),
        "unknown axes": ([stack, "--axes=QYX"], "Use S (sample), T (time), C (channel), Z, Y and X"),
        "constant": (
            [tiff(folder / "flat.tif", np.full((64, 64), 9, np.uint16))],
            "flat.tif is constant (9 everywhere)",
        ),
        "NaN": ([tiff(folder / "nan.tif", nan)], "nan.tif has 5 NaN and 1 infinite pixels of"),
        "2-D to 3-D": ([tiff(folder / "plane.tif", scene(64, 64)), "--n-dims=3"], "but a 3-D model needs ZYX"),
        "smaller than the crop": (
            [tiff(folder / "s.tif", scene(20, 20))],
            "s.tif is 20 x 20 px, smaller than the training",
        ),
        "unknown preset": ([stack, "--preset=tinny"], "There is no preset 'tinny'. Did you mean 'tiny'?"),
        "impossible value": ([stack, "--batch-size=0"], "batch_size is 0"),
        "impossible axis": ([stack, "--noise-axis=z"], "noise_axis is z, but a 2-D model has the axes y, x"),
        "no such device": ([stack, "--device=tpu"], "device"),
        "missing config": ([stack, "--config", folder / "no.yaml"], "no.yaml cannot be read as YAML"),
    }


CASES = [
    "not an image", "another kind of file", "missing", "truncated", "empty folder", "wrong axes", "unknown axes",
    "constant", "NaN", "2-D to 3-D", "smaller than the crop", "unknown preset", "impossible value",
    "impossible axis", "no such device", "missing config",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_of_a_training_is_a_sentence_and_leaves_nothing(cli: Cli, tmp_path: Path, case: str) -> None:
    arguments, sentence = bad_images(tmp_path)[case]
    flags = [f for f in QUICK_FLAGS if f.split("=")[0] not in {str(a).split("=")[0] for a in arguments}]
    refuses(cli("train", *arguments, "-o", tmp_path / "run", *flags), sentence)
    assert not (tmp_path / "run").exists()


def test_a_misspelt_key_of_a_config_file_is_a_sentence(cli: Cli, image: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("training:\n  learnin_rate: 0.1\n")
    found = cli("train", image, "-o", tmp_path / "run", "--config", tmp_path / "c.yaml")
    refuses(found, "There is no setting 'training.learnin_rate'. Did you mean 'learning_rate'?")


def test_what_is_missing_is_named(cli: Cli, image: Path, tmp_path: Path) -> None:
    refuses(cli("train", image), "-o RUN is missing")
    refuses(cli("train", "-o", tmp_path / "run"), "IMAGES is missing")


def test_a_run_in_the_way_is_a_sentence(cli: Cli, image: Path, trained: Path) -> None:
    refuses(cli("train", image, "-o", trained, *QUICK_FLAGS), "exists and is not empty")


@pytest.mark.parametrize("command", ["train", "denoise"])
def test_an_output_that_cannot_be_written_is_a_sentence(
    cli: Cli, image: Path, trained: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    model = [trained] if command == "denoise" else []
    flags = QUICK_FLAGS if command == "train" else ["--device=cpu", "--quiet"]
    refuses(cli(command, *model, image, "-o", tmp_path / "file" / "out", *flags), "choose another folder with -o")
    assert (tmp_path / "file").read_text() == "in the way"


def bad_denoising(folder: Path, trained: Path) -> dict[str, tuple[list[object], str]]:
    """MODEL and IMAGES of denoise, and the sentence that they must lead to."""
    plane = tiff(folder / "plane.tif", scene(64, 64))
    colours = tiff(folder / "colours.tif", scene(3, 64, 64), "CYX")
    nan = scene(64, 64).astype(np.float32)
    nan[0, 0] = np.nan
    good = (trained / "best.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(good[: len(good) // 2])
    config = quick().model_copy(update={"network": few_features(n_dims=3, downsample=(True,))})
    Checkpoint(config, scaling(), model(config.network).state_dict(), {}).save(folder / "volumes.safetensors")
    (folder / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    (folder / "void").mkdir()
    return {
        "channels": ([trained, colours], "colours.tif has 3 channels (axes CYX, shape (3, 64, 64)), but the model was"),
        "2-D to 3-D": ([folder / "volumes.safetensors", plane], "plane.tif has axes YX and shape (64, 64), but a 3-D"),
        "NaN": ([trained, tiff(folder / "nan.tif", nan)], "nan.tif has 1 NaN and 0 infinite pixels of 4096"),
        "truncated image": ([trained, broken_tiff(folder / "cut.tif")], "cut.tif"),
        "no image": ([trained, folder / "void"], "void holds no image"),
        "damaged checkpoint": ([folder / "cut.safetensors", plane], "cut.safetensors cannot be read as a checkpoint"),
        "damaged zip": ([folder / "cut.zip", plane], "cut.zip"),
        "no model": ([folder / "nothing", plane], "nothing holds no model"),
        "a folder that is no run": ([folder / "void", plane], "void is no run folder"),
        "no such device": ([trained, plane, "--device=tpu"], "There is no tpu device here"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "channels", "2-D to 3-D", "NaN", "truncated image", "no image", "damaged checkpoint", "damaged zip", "no model",
        "a folder that is no run", "no such device",
    ],
)  # fmt: skip
def test_bad_input_of_denoising_is_a_sentence_and_leaves_nothing(
    cli: Cli, trained: Path, tmp_path: Path, case: str
) -> None:
    arguments, sentence = bad_denoising(tmp_path, trained)[case]
    device = [] if "--device=tpu" in arguments else ["--device=cpu"]
    refuses(cli("denoise", *arguments, "-o", tmp_path / "out", "--samples=2", "--quiet", *device), sentence)
    assert not [p for p in (tmp_path / "out").glob("*") if p.is_file()]


def test_a_direct_denoiser_that_was_not_trained_is_a_sentence(cli: Cli, image: Path, tmp_path: Path) -> None:
    config = quick()
    Checkpoint(config, scaling(), model(config.network).state_dict(), {}).save(tmp_path / "m.safetensors")
    found = cli("denoise", tmp_path / "m.safetensors", image, "-o", tmp_path / "out", "--direct", "--quiet")
    refuses(found, "This model has no direct denoiser")


def test_a_result_in_the_way_is_a_sentence(cli: Cli, trained: Path, image: Path) -> None:
    before = image.read_bytes()
    result = tiff(image.parent / "image_denoised.tif", scene(64, 64))
    found = cli("denoise", trained, image, "-o", image.parent, "--samples=1", "--device=cpu", "--quiet")
    refuses(found, "image_denoised.tif is there already")
    assert result.exists()
    assert image.read_bytes() == before


SMALL = ["--frames=3", "--size=64"]


def test_simulate_writes_a_noisy_stack_its_truth_and_what_repeats_them(cli: Cli, tmp_path: Path) -> None:
    done = cli("simulate", "-o", tmp_path / "s", "--noise=scmos", "--clean=nuclei", "--seed=4", *SMALL)
    assert done.code == 0, done.err
    noisy, truth = (tifffile.imread(tmp_path / "s" / name) for name in ("noisy.tif", "truth.tif"))
    assert done.out.splitlines()[0] == (
        f"{tmp_path / 's' / 'noisy.tif'}  (3 x 64 x 64 px, scmos, noise axis y, {psnr(noisy, truth):.2f} dB)"
    )
    assert done.err == ""
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["noisy.tif", "simulation.yaml", "truth.tif"]
    assert open_image(tmp_path / "s" / "noisy.tif").axes == "TYX"
    done = cli("simulate", "-o", tmp_path / "again", "--config", tmp_path / "s" / "simulation.yaml")
    assert done.code == 0, done.err
    for name in ("noisy.tif", "truth.tif", "simulation.yaml"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "s" / name).read_bytes()


def test_simulate_makes_the_demo_s_stack_by_default(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "-o", tmp_path / "s", "--noise=stripes", "--frames=2").code == 0
    stack = confocal_stack(n_frames=2)
    assert np.array_equal(tifffile.imread(tmp_path / "s" / "noisy.tif"), stack.noisy)
    assert np.array_equal(tifffile.imread(tmp_path / "s" / "truth.tif"), stack.signal)


def test_a_simulation_s_settings_say_what_the_noise_is_like(cli: Cli, tmp_path: Path) -> None:
    cli("simulate", "-o", tmp_path / "s", "--noise=emccd", *SMALL)
    text = (tmp_path / "s" / "simulation.yaml").read_text()
    assert f"# cosdd-zoo {__version__}, NumPy {np.__version__}." in text
    assert "# noise axis x; at the mean of " in text
    assert "correlation along x at 1, 2 and 3 px -0.079 0.000 0.000" in text
    assert yaml.safe_load(text)["noise"]["undershoot"] == 0.08


def test_simulate_takes_clean_images_in_turn_and_cuts_out_their_middle(cli: Cli, tmp_path: Path) -> None:
    clean = np.random.default_rng(0).gamma(2.0, 100.0, (2, 80, 90)).astype(np.float32)
    path = tiff(tmp_path / "clean.tif", clean, "TYX")
    done = cli("simulate", "-o", tmp_path / "s", "--noise=uncorrelated", "--clean", path, *SMALL)
    assert done.code == 0, done.err
    truth, noisy = (tifffile.imread(tmp_path / "s" / name) for name in ("truth.tif", "noisy.tif"))
    for frame, index in enumerate((0, 1, 0)):
        assert np.corrcoef(truth[frame].ravel(), clean[index, 8:72, 13:77].ravel())[0, 1] > 0.99
    assert np.array_equal(truth[0], truth[2])
    assert not np.array_equal(noisy[0], noisy[2])


def test_one_simulated_frame_is_an_image(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "-o", tmp_path / "s", "--noise=pickup", "--frames=1", "--size=64").code == 0
    assert open_image(tmp_path / "s" / "noisy.tif").axes == "YX"


def test_the_help_of_simulate_names_every_noise_scene_and_default(cli: Cli) -> None:
    text = " ".join(cli("simulate", "--help").out.replace("│", " ").split())
    settings = folder.Simulation.model_fields
    numbers = [f"{settings[name].default:g} by default" for name in ("n_frames", "size_px", "photons")]
    assert all(name in text for name in (*NOISES, *SCENES, f"{settings['clean'].default} (by default)", *numbers))


def bad_simulations(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Arguments of simulate, and the sentence that each must lead to."""
    (folder / "text.tif").write_text("no image")
    (folder / "c.yaml").write_text("noise: {kind: stripes, row_stdd: 3}")
    (folder / "list.yaml").write_text("- stripes")
    nan = np.full((64, 64), np.nan, np.float32)
    return {
        "no noise": ([], "--noise is missing: choose one of uncorrelated, stripes"),
        "unknown noise": (["--noise=strips"], "There is no noise 'strips'. Did you mean 'stripes'?"),
        "unknown scene": (["--clean=filament"], "There is no scene and no file 'filament'. Did you mean 'filaments'?"),
        "missing": (["--clean", folder / "nowhere.tif"], "nowhere.tif does not exist"),
        "not an image": (["--clean", folder / "text.tif"], "text.tif"),
        "too small": (["--clean", tiff(folder / "s.tif", scene(40, 64))], "s.tif is 40 x 64 px, but frames of 64 px"),
        "colours": (["--clean", tiff(folder / "c.tif", scene(3, 64, 64), "CYX")], "c.tif has 3 channels, but noise is"),
        "NaN": (["--clean", tiff(folder / "nan.tif", nan)], "nan.tif has 4096 NaN and 0 infinite pixels"),
        "constant": (
            ["--clean", tiff(folder / "flat.tif", np.full((64, 64), 9, np.uint16))],
            "are 9 nearly everywhere",
        ),
        "no photons": (["--photons=0"], "photons is 0.0: Input should be greater than 0"),
        "too large": (["--frames=600", "--size=1024"], "629145600 pixels, more than the 134217728 of one file"),
        "misspelt": (["--config", folder / "c.yaml"], "There is no setting 'noise.row_stdd'. Did you mean 'row_std'?"),
        "no settings": (["--config", folder / "list.yaml"], "list.yaml holds list, not settings"),
        "missing config": (["--config", folder / "no.yaml"], "expected settings as in the simulation.yaml"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "no noise", "unknown noise", "unknown scene", "missing", "not an image", "too small", "colours", "NaN",
        "constant", "no photons", "too large", "misspelt", "no settings", "missing config",
    ],
)  # fmt: skip
def test_bad_input_of_a_simulation_is_a_sentence_and_leaves_nothing(cli: Cli, tmp_path: Path, case: str) -> None:
    arguments, sentence = bad_simulations(tmp_path)[case]
    named = case == "no noise" or any(str(a).startswith(("--noise", "--config")) for a in arguments)
    noise = [] if named else ["--noise=stripes"]
    size = [] if case == "too large" else SMALL
    refuses(cli("simulate", "-o", tmp_path / "out", *noise, *size, *arguments), sentence)
    assert not (tmp_path / "out").exists()


def test_a_simulation_in_the_way_is_kept_unless_it_may_be_replaced(cli: Cli, tmp_path: Path) -> None:
    arguments = ["simulate", "-o", tmp_path / "s", "--noise=ar1", *SMALL]
    assert cli(*arguments).code == 0
    (tmp_path / "s" / "notes.txt").write_text("mine")
    before = (tmp_path / "s" / "noisy.tif").read_bytes()
    sentence = "s holds noisy.tif, truth.tif, simulation.yaml already: choose another -o, or use --overwrite."
    refuses(cli(*arguments, "--seed=1"), sentence)
    assert (tmp_path / "s" / "noisy.tif").read_bytes() == before
    assert cli(*arguments, "--seed=1", "--overwrite").code == 0
    assert (tmp_path / "s" / "noisy.tif").read_bytes() != before
    assert (tmp_path / "s" / "notes.txt").read_text() == "mine"


def test_a_simulation_that_cannot_be_written_is_a_sentence(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refuses(cli("simulate", "-o", tmp_path / "file" / "s", "--noise=ar1", *SMALL), "choose another folder with -o")


def test_a_disk_that_fills_up_leaves_no_part_of_a_simulation(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    real = folder._save
    monkeypatch.setattr(folder, "_save", lambda part, stack: (real if stack.dtype == np.uint16 else full)(part, stack))
    refuses(cli("simulate", "-o", tmp_path / "s", "--noise=ar1", *SMALL), "s is full, so truth.tif was not written")
    assert list((tmp_path / "s").iterdir()) == []


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cosdd-zoo", "train", "nowhere.tif", "-o", "run", "--debug"])
    with pytest.raises(ImageError, match=r"nowhere.tif does not exist"):
        main()
