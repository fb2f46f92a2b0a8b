"""Models of the authors' own code become ours: the same outputs, and nothing in their files is executed."""

import copyreg
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from authors_reference import Authors, Files, Spec, write
from exported import CARD
from models import QUICK, scene
from torch import Tensor

import cosdd_zoo
from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint
from cosdd_zoo.errors import CheckpointError, ConfigError, ImageError, OutputError
from cosdd_zoo.networks.likelihood import Gaussian, gaussian, log_likelihood
from cosdd_zoo.noise.sampling import draws, sample_lines

SPECS = {
    "x": Spec(),
    "y, scaled, some levels halve": Spec(
        axis="y", n_channels=2, downsample=(False, True, False, True), scale_initialisation=True
    ),
    "none, 3 channels": Spec(axis="none", n_channels=3, n_mixture=2, n_code=5),
    "one level": Spec(downsample=(True,), n_mixture=2),
    "without direct denoiser": Spec(direct=False),
    "1-D": Spec(n_dims=1, n_channels=2),
    "3-D, z": Spec(n_dims=3, axis="z", n_channels=2),
    "3-D, y, scaled": Spec(n_dims=3, axis="y", downsample=(True, False), scale_initialisation=True),
    "3-D, none": Spec(n_dims=3, axis="none", downsample=(True,)),
}
SIZE = [8, 12, 16]
"""Divisible by every stride: elsewhere they pad with zeros and we with border pixels."""


def imported(folder: Path, authors: Authors, **changed: Any) -> Checkpoint:
    files = write(folder, authors, **changed)
    return load_checkpoint(cosdd_zoo.import_authors(*files, folder / "run", overwrite=True).model)


def images(spec: Spec, n: int = 2) -> Tensor:
    """Raw grey values [B, C, *]."""
    generator = torch.Generator().manual_seed(1)
    return 100 + 20 * torch.randn(n, spec.n_channels, *SIZE[-spec.n_dims :], generator=generator)


@pytest.fixture(scope="module")
def authors() -> Authors:
    return Authors(Spec())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, authors: Authors) -> Path:
    """An imported model. Not to be changed in place."""
    folder = tmp_path_factory.mktemp("imported")
    return cosdd_zoo.import_authors(*write(folder, authors), folder / "run").folder


@pytest.mark.parametrize("name", SPECS)
@torch.no_grad()
def test_every_output_is_theirs(tmp_path: Path, name: str) -> None:
    authors = Authors(SPECS[name])
    model, raw = imported(tmp_path, authors).model(), images(SPECS[name])
    x, v, dim = authors.normalised(raw), model.to_network(raw), model.noise_dim
    drawn, none = authors.eps(x), [torch.zeros_like(e) for e in authors.eps(x)]
    for eps in (drawn, none):
        theirs = authors.ladder(x, eps)
        maps = model.encoder.bottom_up(v)
        ours = model.encoder.top_down(maps, [e.transpose(dim, -1) for e in eps[::-1]], True)
        agree([m.transpose(dim, -1) for m in maps[::-1]], theirs.bottom_up)
        agree([ours.code.transpose(dim, -1)], [theirs.code])
        np.testing.assert_allclose(ours.kl.flip(0)[:-1], theirs.kl, rtol=1e-4)  # all levels but the coarsest
        agree([model.to_image(model.signal_decoder(ours.code), raw)], [authors.grey(authors.signal(theirs.code))], 1e-3)
        p, q = model.ar_decoder(v, ours.code), authors.mixtures(x, theirs.code)
        agree([part.transpose(dim + 1, -1) for part in p], q)
        each = q.log_weight + torch.distributions.Normal(q.mean, q.std).log_prob(x.unsqueeze(2))
        found, expected = log_likelihood(p, v).transpose(dim, -1), torch.logsumexp(each, 2)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    if SPECS[name].direct:
        agree([model.direct(raw)], [authors.grey(authors.direct(x))], 1e-3)


def agree(found: Any, expected: Any, atol: float = 1e-4) -> None:
    """1e-3 grey values are 5e-5 of a deviation."""
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=0.0)
        assert float(b.std()) > 1e-3  # nothing is compared that is the same for every image


def test_what_denoise_returns_is_their_signal(run: Path, authors: Authors) -> None:
    raw = images(authors.spec, 1)
    found = cosdd_zoo.load(run, "cpu").denoise(raw[0, 0].numpy(), 0, axes="YX").mean
    x = authors.normalised(raw)
    none = [torch.zeros_like(e) for e in authors.eps(x)]
    expected = authors.grey(authors.signal(authors.ladder(x, none).code))
    np.testing.assert_allclose(found, expected[0, 0], atol=2e-3)


def test_the_coarsest_prior_has_the_moments_of_theirs(run: Path, authors: Authors) -> None:
    model = load_checkpoint(run / "best.safetensors").model()
    prior = authors.weights["vae.top_down_layers.1.top_prior_params"]
    theirs = Gaussian(prior[:, 0::2], torch.nn.functional.softplus(prior[:, 1::2]))
    ours = gaussian(model.encoder.top.prior, model.encoder.top.min_std)
    torch.testing.assert_close(ours.mean, theirs.mean.mean([2, 3], keepdim=True))
    square = (theirs.std**2 + theirs.mean**2).mean([2, 3], keepdim=True)
    torch.testing.assert_close(ours.std**2 + ours.mean**2, square)


def test_noise_can_be_drawn_with_their_ar_decoder(run: Path) -> None:
    model = load_checkpoint(run / "best.safetensors").model()
    random = draws([1, 1, 6, 50], torch.device("cpu"), 0)
    code = torch.randn(1, 6, 6, 50, generator=torch.Generator().manual_seed(1))
    v = sample_lines(model.ar_decoder, code, random)
    p = model.ar_decoder(v, code)  # of every pixel given those that were drawn before it
    k = (p.log_weight.exp().cumsum(2) < random.u.unsqueeze(2)).sum(2, keepdim=True)
    expected = (p.mean.gather(2, k) + p.std.gather(2, k) * random.eps.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(v, expected, atol=1e-4, rtol=1e-4)


def test_tiles_give_what_the_whole_image_gives(run: Path) -> None:
    denoiser, image = cosdd_zoo.load(run, "cpu"), scene(120, 150)
    whole = denoiser.denoise(image, 2, axes="YX").mean
    tiled = denoiser.denoise(image, 2, axes="YX", tile_px=16).mean
    assert denoiser.windows([120, 150], 16, None)[1] == [56, 56]
    np.testing.assert_allclose(tiled, whole, atol=1e-3)


def test_an_imported_model_is_exported_as_a_package_that_passes(run: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample.tif"
    tifffile.imwrite(sample, scene(48, 48), imagej=True)
    path = tmp_path / "model.zip"
    with pytest.raises(ImageError, match=r"training images are not known .*it was imported.: give an image"):
        cosdd_zoo.export(run, path, card=CARD)
    assert cosdd_zoo.export(run, path, card=CARD, sample=sample, n_samples=0).check.passed
    image = scene(40, 52, seed=4)
    found = cosdd_zoo.load(path, "cpu").denoise(image, 0, axes="YX").mean
    np.testing.assert_allclose(found, cosdd_zoo.load(run, "cpu").denoise(image, 0, axes="YX").mean, atol=1e-3)


HOW = {name: QUICK[name] for name in ("crop_px", "batch_size", "validation_crops", "device")} | {"quiet": True}


def test_training_goes_on_from_an_imported_model_and_makes_it_better(run: Path, tmp_path: Path) -> None:
    how = {**HOW, "accumulate": 1, "max_steps": 12, "validate_every": 6, "warmup_steps": 2}
    made = cosdd_zoo.train(scene(6, 64, 64), tmp_path / "tuned", init_from=run, axes="TYX", **how)
    rows = [line.split(",") for line in (made.folder / "metrics.csv").read_text().splitlines()]
    loss = {int(r[0]): float(r[rows[0].index("nll")]) for r in rows[1:] if r[2] == "validation"}
    assert loss[12] < loss[0]
    assert (made.config.network.blocks, made.config.training.stabilise) == ("authors", False)


def test_a_direct_denoiser_is_distilled_from_an_imported_model(run: Path, tmp_path: Path) -> None:
    how = {**HOW, "max_steps": 2, "validate_every": 2, "accumulate": 1}
    made = cosdd_zoo.distill(run, scene(4, 64, 64), tmp_path / "small", n_features=4, n_levels=1, axes="TYX", **how)
    before, after = load_checkpoint(run / "best.safetensors"), load_checkpoint(made.model)
    assert after.scaling == before.scaling
    kept = {n: w for n, w in before.weights.items() if not n.startswith("direct_denoiser.")}
    assert all(torch.equal(w, after.weights[n]) for n, w in kept.items())
    assert cosdd_zoo.load(made.folder, "cpu").denoise(scene(32, 32), axes="YX", direct=True).mean.shape == (32, 32)


def test_an_imported_run_has_no_training_to_resume(run: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"holds no state.safetensors to go on from: it was imported.*--init-from"
    ):
        cosdd_zoo.resume(run)


def test_statistics_of_another_precision_and_of_one_number_are_taken(tmp_path: Path) -> None:
    authors = Authors(Spec(n_channels=2))
    authors.weights["data_mean"] = torch.tensor([[[[101.0]], [[203.0]]]], dtype=torch.bfloat16)
    authors.weights["data_std"] = torch.tensor(3.0, dtype=torch.float64)
    scaling = imported(tmp_path, authors).scaling
    assert (scaling.mean, scaling.std) == ([101.0, 203.0], [3.0, 3.0])


def test_what_could_not_be_imported_as_it_was_is_said(tmp_path: Path, authors: Authors) -> None:
    made = cosdd_zoo.import_authors(*write(tmp_path, authors), tmp_path / "run")
    assert len(made.notes) == 1
    assert "one Gaussian for each of 4 places of a training crop, became a single one" in made.notes[0]
    assert load_checkpoint(made.model).facts == {"imported_from": "final_model.ckpt", "epochs": 12}


# ---- their files are programs


class Calls:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Registered:
    """An object whose pickle names it by a number, of a registry that the program may fill."""


class Stateful:
    """An object that is rebuilt from its state."""

    def __init__(self) -> None:
        self.kept = {"a": 1}


copyreg.add_extension(Registered.__module__, Registered.__qualname__, 0xC05DD)


def innocent(flag: Path) -> dict[str, Any]:
    """Objects of many kinds, none of which torch.load would take with weights_only=True."""
    nested = Calls(getattr, Calls(__import__, "os"), "system")
    return {"path": flag, "state": Stateful(), "set": {1, flag}, "class": Stateful, "get": nested}


def test_a_checkpoint_that_holds_code_is_read_without_executing_it(tmp_path: Path, authors: Authors) -> None:
    flag = tmp_path / "flag"
    made = f"__import__('pathlib').Path({str(flag)!r}).touch()"
    evil = [Calls(os.system, f"touch {flag}"), Calls(eval, made), Calls(exec, made), Calls(Path.touch, flag)]
    files = write(tmp_path, authors, hyper_parameters={"evil": evil, **innocent(flag)})
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(files.checkpoint, weights_only=True)
    cosdd_zoo.import_authors(*files, tmp_path / "run")
    assert not flag.exists()
    torch.load(files.checkpoint, weights_only=False)
    assert flag.exists()  # the code is real


def test_code_in_place_of_a_weight_is_refused(tmp_path: Path, authors: Authors) -> None:
    flag = tmp_path / "flag"
    for evil in (Calls(os.system, f"touch {flag}"), Stateful(), "text", 3, None):
        files = write(tmp_path, authors, state_dict={**authors.weights, "data_std": evil})
        with pytest.raises(CheckpointError, match="data_std in its state_dict is no plain tensor"):
            cosdd_zoo.import_authors(*files, tmp_path / "run")
    assert not flag.exists()


@pytest.mark.parametrize(
    ("program", "step"),
    [
        (pickle.dumps({"state_dict": Registered}, 2), f"EXT4 {0xC05DD}"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", f"LONG_BINPUT {0x7FFFFFFF}"),  # would take 32 GB
        (b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00.", "expected 68719476736 bytes"),
        (pickle.dumps({"state_dict": {}}, 4), "FRAME"),
    ],
)
def test_steps_that_torch_save_does_not_write_are_refused(
    tmp_path: Path, authors: Authors, program: bytes, step: str
) -> None:
    files = write(tmp_path, authors)
    files.checkpoint.write_bytes(zip_of({"a/data.pkl": program}))
    refused(files, tmp_path, rf"its data.pkl is damaged: .*({step})")


def test_a_tensor_that_unpacks_to_more_than_its_file_is_refused(tmp_path: Path, authors: Authors) -> None:
    files = write(tmp_path, authors, state_dict={**authors.weights, "data_std": torch.ones(1).expand(2**40)})
    with pytest.raises(CheckpointError, match="data_std in its state_dict is no plain tensor"):
        cosdd_zoo.import_authors(*files, tmp_path / "run")


# ---- and mistakes are sentences

WHOLE = r"expected final_model.ckpt, which the authors' training.py writes, whole"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_a_sentence(tmp_path: Path, authors: Authors, share: float) -> None:
    files = write(tmp_path, authors)
    data = files.checkpoint.read_bytes()
    files.checkpoint.write_bytes(data[: int(share * len(data))])
    refused(files, tmp_path, rf"final_model.ckpt cannot be read \(File is not a zip file\): {WHOLE}")


def test_a_damaged_list_of_files_is_a_sentence(tmp_path: Path, authors: Authors) -> None:
    files = write(tmp_path, authors)
    data = bytearray(files.checkpoint.read_bytes())
    entry = data.index(b"PK\x01\x02")
    for place, value in ((6, 99), (8, 1), (46, 0xBA)):  # a zip of version 9.9, encrypted, a name that is no UTF-8
        changed = bytearray(data)
        changed[entry + place] |= value
        changed[entry + 9] |= 8 * (place == 46)
        files.checkpoint.write_bytes(changed)
        refused(files, tmp_path, rf"final_model.ckpt cannot be read \(.*{WHOLE}")


def refused(files: Files, folder: Path, sentence: str, kind: type[Exception] = CheckpointError) -> None:
    with pytest.raises(kind, match=sentence):
        cosdd_zoo.import_authors(*files, folder / "run")
    assert not (folder / "run").exists()


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


OTHER_FILES = {
    "text": (b"not a model", "File is not a zip file"),
    "a pickle of old": (pickle.dumps({"state_dict": {}}), "File is not a zip file"),
    "another zip": (zip_of({"rdf.yaml": b"name: x"}), "it is a zip, but not as torch.save writes it"),
    "a compressed zip": (zip_of({"a/data.pkl": bytes(99)}, zipfile.ZIP_DEFLATED), "it is a zip, but not as torch.save"),
    "another byte order": (zip_of({"a/data.pkl": b"", "a/byteorder": b"big"}), "it is a zip, but not as torch.save"),
    "a damaged pickle": (zip_of({"a/data.pkl": b"\x80\x02}q"}), "its data.pkl is damaged: "),
    "a list": (zip_of({"a/data.pkl": pickle.dumps([1], 2)}), "it holds no state_dict"),
    "weights alone": (zip_of({"a/data.pkl": pickle.dumps({"a": 1}, 2)}), "it holds no state_dict"),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_a_file_of_another_kind_is_a_sentence(tmp_path: Path, authors: Authors, case: str) -> None:
    content, reason = OTHER_FILES[case]
    files = write(tmp_path, authors)
    files.checkpoint.write_bytes(content)
    refused(files, tmp_path, rf"final_model.ckpt cannot be read \({reason}.*{WHOLE}")


def test_a_missing_file_is_a_sentence(tmp_path: Path, authors: Authors) -> None:
    files = write(tmp_path, authors)
    refused(
        files._replace(checkpoint=tmp_path / "no.ckpt"), tmp_path, r"no.ckpt cannot be read \(.*No such file.*whole"
    )
    refused(files._replace(settings=tmp_path / "no.yaml"), tmp_path, "no.yaml cannot be read as YAML", ConfigError)


@pytest.mark.parametrize(
    ("section", "name", "value", "sentence"),
    [
        ("data", "number-dimensions", 3, "number-dimensions is 3, but 2 in the weights"),
        ("hyper-parameters", "s-code-channels", 64, "s-code-channels is 64, but 6 in the weights"),
        ("hyper-parameters", "number-layers", 14, "number-layers is 14, but 2 in the weights"),
        ("hyper-parameters", "number-gaussians", 5, "number-gaussians is 5, but 3 in the weights"),
        ("hyper-parameters", "noise-direction", "y", "noise-direction is y, but x in the weights"),
        ("hyper-parameters", "noise-direction", "none", "noise-direction is none, but x in the weights"),
    ],
)
def test_settings_of_another_training_are_refused(
    tmp_path: Path, authors: Authors, section: str, name: str, value: object, sentence: str
) -> None:
    files = with_setting(write(tmp_path, authors), section, name, value)
    refused(
        files, tmp_path, rf"final_model.ckpt was not trained with these settings \({sentence}\): give the training-"
    )


def with_setting(files: Files, section: str, name: str, value: object) -> Files:
    """The same files with another setting; ... takes it away."""
    settings = yaml.safe_load(files.settings.read_text())
    settings[section][name] = value
    if value is ...:
        del settings[section][name]
    files.settings.write_text(yaml.safe_dump(settings))
    return files


EXPECTED = r".* Expected training-config.yaml, which the authors' training.py writes beside its checkpoint\."


@pytest.mark.parametrize(
    ("section", "name", "value", "sentence"),
    [
        ("hyper-parameters", "noise-direction", ..., r"hyper-parameters\.noise-direction is missing\."),
        ("hyper-parameters", "scale-initialisation", ..., r"hyper-parameters\.scale-initialisation is missing\."),
        ("data", "number-dimensions", ..., r"data\.number-dimensions is missing\."),
        (
            "hyper-parameters",
            "noise-direction",
            "w",
            r"hyper-parameters\.noise-direction is 'w': Input should be 'x', 'y'",
        ),
        ("hyper-parameters", "number-layers", "many", r"hyper-parameters\.number-layers is 'many': Input should be"),
    ],
)
def test_settings_that_are_missing_or_impossible_are_sentences(
    tmp_path: Path, authors: Authors, section: str, name: str, value: object, sentence: str
) -> None:
    files = with_setting(write(tmp_path, authors), section, name, value)
    refused(files, tmp_path, sentence + EXPECTED, ConfigError)


def test_a_foreign_yaml_file_is_a_sentence(tmp_path: Path, authors: Authors) -> None:
    files = write(tmp_path, authors)
    files.settings.write_text("preset: tiny\n")
    refused(files, tmp_path, r"data is missing\. hyper-parameters is missing\." + EXPECTED, ConfigError)
    files.settings.write_text("- 1\n")
    refused(files, tmp_path, "training-config.yaml holds list, not settings", ConfigError)


def test_a_noise_axis_that_the_images_do_not_have_is_a_sentence(tmp_path: Path) -> None:
    files = write(tmp_path, Authors(Spec(axis="y")))
    with_setting(files, "hyper-parameters", "noise-direction", "z")
    refused(files, tmp_path, "noise_axis is z, but a 2-D model has the axes y, x", ConfigError)


def test_a_noise_axis_in_capitals_is_what_they_take_it_for(tmp_path: Path) -> None:
    files = with_setting(write(tmp_path, Authors(Spec(axis="y"))), "hyper-parameters", "noise-direction", "Y")
    assert cosdd_zoo.import_authors(*files, tmp_path / "run").network.noise_axis == "y"


BRANCHES = "Networks of branch main alone can be imported; those of WACV_reproducibility and other branches are others"


def test_networks_of_other_branches_are_refused(tmp_path: Path, authors: Authors) -> None:
    other = {name.replace("ar_decoder.", "noise_model."): t for name, t in authors.weights.items()}
    files = write(tmp_path, authors, state_dict=other)
    refused(files, tmp_path, rf"final_model.ckpt holds no ar_decoder.out_conv.conv.weight\. {BRANCHES}")


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("data_mean", None, r"final_model.ckpt holds no data_mean\. " + BRANCHES),
        ("s_decoder.net.1.0.conv.bias", None, r"holds no s_decoder.net.1.0.conv.bias\. " + BRANCHES),
        ("vae.more.weight", torch.ones(2), r"holds vae.more.weight, which have no place here\. " + BRANCHES),
        ("s_decoder.net.3.conv.bias", torch.ones(9), r"has the shape \[9\]; the networks of .* main have \[1\]\. Netw"),
        ("vae.first_bottom_up.0.conv.weight", torch.ones(4), r"has the shape \[4\]: no convolution's\. " + BRANCHES),
        ("s_decoder.net.3.conv.bias", torch.tensor([torch.nan]), "holds values that are not finite: its training has"),
        ("data_std", torch.zeros(1), r"data_std in .* is 0\.0: its images were constant"),
        ("data_std", torch.ones(3), r"data_std in .* has the shape \[3\]: expected 1 channels"),
    ],
)
def test_weights_that_do_not_fit_are_sentences(
    tmp_path: Path, authors: Authors, name: str, tensor: Tensor | None, sentence: str
) -> None:
    weights = {**authors.weights, name: tensor}
    if tensor is None:
        del weights[name]
    refused(write(tmp_path, authors, state_dict=weights), tmp_path, sentence)


def test_what_is_there_is_not_overwritten(tmp_path: Path, authors: Authors) -> None:
    files = write(tmp_path, authors)
    with pytest.raises(OutputError, match="exists and is not empty"):
        cosdd_zoo.import_authors(*files, tmp_path)
    with pytest.raises(OutputError, match="is not empty and no run folder: it is not overwritten"):
        cosdd_zoo.import_authors(*files, tmp_path, overwrite=True)
    assert files.checkpoint.is_file()


@pytest.mark.skipif(
    "COSDD_AUTHORS_CODE" not in os.environ, reason="COSDD_AUTHORS_CODE names no clone of krulllab/COSDD"
)
def test_the_reference_is_their_code() -> None:
    program = Path(__file__).with_name("authors_clone.py")
    command = [sys.executable, str(program), os.environ["COSDD_AUTHORS_CODE"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
