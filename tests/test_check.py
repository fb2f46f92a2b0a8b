"""`check` judges packages: ours pass, foreign ones get a sentence for each thing that a consumer fails on, and what is
made to do harm is not opened.
"""

import io
import json
import os
import pickle
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import changed, contents, described, npy, tiny, zipped
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from cosdd_zoo.errors import ConfigError, PackageError
from cosdd_zoo.export.archive import kind_of_weights, open_archive
from cosdd_zoo.export.check import CheckReport, check
from cosdd_zoo.export.graph_rules import libtorch_ops, newer_ops
from cosdd_zoo.export.judged import Package
from cosdd_zoo.export.rules import RULES
from cosdd_zoo.export.targets import ALL
from cosdd_zoo.export.torchscript import op_names, script

Edit = Callable[[dict[str, Any]], object]


def failure(report: CheckReport, rule: str) -> str:
    """What a rule says that is expected to fail."""
    found = report.of_rule(rule)
    assert found
    assert {f.state for f in found} == {"fails"}
    return found[0].detail


def unknown(report: CheckReport, rule: str) -> str:
    """What a rule says that cannot be judged here."""
    found = report.of_rule(rule)
    assert {f.state for f in found} == {"unknown"}
    return found[0].detail


def judged(package: Path, rule: str, edit: Edit) -> str:
    rdf = described(package)
    edit(rdf)
    with open_archive(package) as archive:
        return "; ".join(RULES[rule].problems(Package(archive, rdf)))


def scripted(module: nn.Module) -> bytes:
    return bytes(script(module).save_to_buffer())


def test_our_package_passes_every_rule(package: Path) -> None:
    report = check(package)
    assert not report.failures
    assert report.passed
    assert len(report.rules) >= 40
    assert report.runs_in == ALL
    assert json.loads(json.dumps(report.as_dict()))["targets"] == dict.fromkeys(ALL, True)


def test_what_is_not_started_here_is_not_said_to_hold(package: Path) -> None:
    unknown = [f for f in check(package).findings if f.state == "unknown"]
    assert [f.target for f in unknown] == ["fiji", "icy", "qupath", "ilastik", "zoo"]
    assert all("itself" in f.rule for f in unknown)


def test_a_target_is_judged_by_its_own_rules_alone(package: Path, tmp_path: Path) -> None:
    path = changed(package, tmp_path / "model.zip", {}, put("covers", []))
    assert not check(path, ["fiji"]).passed
    report = check(changed(package, tmp_path / "b.zip", {}, drop("tags")), ["fiji", "ilastik"])
    assert report.passed
    assert {f.target for f in report.findings} == {"fiji", "ilastik"}
    assert "tags" not in report.rules
    assert check(tmp_path / "b.zip", ["zoo"]).failures[0].rule == "tags"
    with pytest.raises(ConfigError, match="--target imagej is unknown: use fiji, icy, qupath, ilastik, core, zoo or"):
        check(path, ["imagej"])


def test_every_program_has_rules_and_every_rule_a_program() -> None:
    assert {t for rule in RULES.values() for t in rule.targets} == set(ALL)
    assert all(rule.targets for rule in RULES.values())


def axis(side: str, i: int, **values: Any) -> Edit:
    return lambda rdf: rdf[side][0]["axes"][i].update(values)


def put(*path: Any) -> Edit:
    """put("a", 0, "b", value) sets rdf["a"][0]["b"]."""

    def edit(rdf: Any) -> None:
        *way, key, value = path
        for step in way:
            rdf = rdf[step]
        rdf[key] = value

    return edit


def drop(*path: Any) -> Edit:
    def edit(rdf: Any) -> None:
        *way, key = path
        for step in way:
            rdf = rdf[step]
        del rdf[key]

    return edit


SIZE_OF_Y = ("outputs", 0, "axes", 2, "size")
SCALE = {"id": "scale_range"}
Z_SCORE = {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 1.0, "std": 2.0}}
Z_SCORES = {"id": "fixed_zero_mean_unit_variance", "kwargs": {"axis": "channel", "mean": [1.0, 1.0], "std": [2.0, 2.0]}}
LINEAR = {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": 1.0}}
LINEARS = {"id": "scale_linear", "kwargs": {"axis": "channel", "gain": [2.0, 3.0], "offset": [1.0, 1.0]}}


@pytest.mark.parametrize(
    ("rule", "edit", "sentence"),
    [
        ("format version", put("format_version", "0.3.6"), "it is 0.3.6; expected 0.5.x"),
        ("format version", put("format_version", "0.5.x"), "it is 0.5.x; expected 0.5.x: export the model again"),
        ("format version", put("format_version", "0.5.99"), "newer than 0.5.6, which the programs were tried with"),
        ("format version", put("type", "dataset"), "type is dataset"),
        ("documentation and covers are plain strings", put("documentation", {"source": "README.md"}), "documentation"),
        ("documentation and covers are plain strings", put("covers", [{"source": "cover.png"}]), "covers is no list"),
        ("no null values", put("config", "bioimageio", "funded_by", None), "config.bioimageio.funded_by is null"),
        ("all files are inside", put("covers", ["https://example.com/a.png"]), "a.png is not in the zip"),
        ("checksums", put("weights", "torchscript", "sha256", "0" * 64), "weights.pt is not the file whose sha256"),
        ("checksums", drop("inputs", 0, "test_tensor", "sha256"), "test_input.npy has no sha256"),
        ("one input, one output", lambda rdf: rdf["outputs"].append(rdf["outputs"][0]), "there are 2 outputs"),
        ("no time axis", axis("inputs", 2, type="time"), "time axis, on which deepImageJ crashes"),
        ("axes", lambda rdf: rdf["outputs"][0]["axes"].reverse(), "differ in number or order"),
        ("axes", axis("inputs", 2, id="row"), "inputs have the space axes row, x"),
        ("axes", put("inputs", "an input"), "inputs have the axes none"),
        ("channel names", axis("inputs", 1, channel_names="channel{i}"), "inputs have no list of channel_names"),
        ("float32 on both sides", put("inputs", 0, "data", "type", "uint16"), "the type of inputs is uint16"),
        ("two dimensions", lambda rdf: rdf["inputs"][0]["axes"].insert(2, {"type": "space", "id": "z"}), "2-D models"),
        ("sizes are stated", axis("inputs", 2, size="all"), "the size of y is missing"),
        ("sizes are stated", axis("inputs", 2, size={"min": 64, "step": 0}), "the step of y is 0"),
        ("min is a multiple of step", axis("inputs", 3, size={"min": 65, "step": 16}), "min of x (65) is no multiple"),
        ("fits ilastik's tiles", axis("inputs", 3, size={"min": 1024, "step": 1}), "x needs 1024 px at least"),
        ("fits ilastik's tiles", axis("inputs", 3, size=1024), "ilastik gives tiles of 512 px"),
        ("fits QuPath's tiles", axis("inputs", 3, size={"min": 1024, "step": 1}), "1024 px at least, and QuPath"),
        ("sizes of any image", axis("inputs", 2, size={"min": 64, "step": 16}), "y is 64, 80, 96 ... px: core refuses"),
        ("sizes of any image", axis("inputs", 2, size=128), "y is 128 px and nothing else: core refuses smaller"),
        ("fixed sizes in JDLL", axis("inputs", 2, size=128), "images below 43 px refused"),
        ("something is left within the halo", axis("outputs", 3, halo=32), "halo of x, 32 px on both sides, takes"),
        ("batch", axis("inputs", 0, size=1), "the batch has a fixed size"),
        ("test tensors", drop("outputs", 0, "test_tensor"), "outputs have no test_tensor"),
        ("samples", drop("inputs", 0, "sample_tensor"), "inputs have no sample_tensor"),
        ("offset is 0", axis("outputs", 2, size={"axis_id": "y", "offset": 4}), "offset of y is 4"),
        ("output has the input's size", axis("outputs", 2, size=64), "does not refer to that of the input"),
        ("output has the input's size", put(*SIZE_OF_Y, "tensor_id", "nope"), "size of y does not refer to that of"),
        ("halo", drop("outputs", 0, "axes", 2, "halo"), "y has none"),
        ("processing in JDLL", put("inputs", 0, "preprocessing", [SCALE]), "asks for scale_range, which was not tried"),
        ("processing in JDLL", put("inputs", 0, "preprocessing", [Z_SCORES]), "with a list of values, on which JDLL"),
        ("processing in JDLL", put("inputs", 0, "preprocessing", [Z_SCORE]), "right up to JDLL 0.6.3"),
        ("processing in JDLL", put("outputs", 0, "postprocessing", [LINEARS]), "JDLL takes the first for all channels"),
        ("processing in QuPath", put("inputs", 0, "preprocessing", [Z_SCORE]), "QuPath skips with a line in its log"),
        ("processing in QuPath", put("outputs", 0, "postprocessing", [LINEAR]), "which QuPath cannot read"),
        ("processing in QuPath", put("inputs", 0, "preprocessing", [SCALE]), "which was not tried in QuPath"),
        ("TorchScript is there", put("weights", {"pytorch_state_dict": {}}), "the weights are pytorch_state_dict"),
        ("TorchScript is there", put("weights", {"onnx": {}}), "nothing but TorchScript is run here"),
        ("TorchScript alone", put("weights", "onnx", {}), "which of them JDLL takes is its own choice"),
        ("name of the weights' file", put("weights", "torchscript", "source", "a.ptl.pt"), "file is a.ptl.pt"),
        ("name of the weights' file", put("weights", "torchscript", "source", "weights.bin"), "file is weights.bin"),
        ("pytorch_version", put("weights", "torchscript", "pytorch_version", "2.13.0+cpu"), "it is 2.13.0+cpu"),
        ("pytorch_version in JDLL", put("weights", "torchscript", "pytorch_version", "1.4.0"), "it is 1.4, and JDLL"),
        ("pytorch_version in JDLL", put("weights", "torchscript", "pytorch_version", "9.9"), "it is 9.9, and which"),
        ("fields that QuPath needs", drop("description"), "description is missing, without which QuPath cannot read"),
        ("config", drop("config", "bioimageio", "nickname"), "no bioimageio.nickname"),
        ("config", put("config", "deepimagej", {}), "section deepimagej"),
        ("tolerance", drop("config", "bioimageio", "reproducibility_tolerance"), "no reproducibility_tolerance"),
        ("no id yet", put("id", "affable-shark"), "it has the id affable-shark; the zoo gives one at the upload"),
        ("name", put("name", "COSDD: actin/2"), "'COSDD: actin/2' is not made of"),
        ("name", put("name", "four"), "'four' is not made of 5 to 128"),
        ("name", put("name", "a" * 129), "is not made of 5 to 128"),
        ("cover", put("covers", []), "there are none: add a picture"),
        ("authors and maintainers", drop("maintainers"), "has a github_user"),
        ("authors and maintainers", drop("authors"), "there are no authors"),
        ("citations", put("cite", [{"text": "a paper"}]), "doi or url"),
        ("license", put("license", "GPL"), "GPL is no SPDX identifier"),
        ("tags", drop("tags"), "there are none"),
        ("README", drop("documentation"), "there is no README.md"),
    ],
)  # fmt: skip
def test_what_a_consumer_fails_on_is_a_sentence(package: Path, rule: str, edit: Edit, sentence: str) -> None:
    assert not judged(package, rule, lambda rdf: None)
    assert sentence in judged(package, rule, edit)


@pytest.mark.parametrize(
    ("rule", "name", "data", "sentence"),
    [
        ("README", "README.md", b"# A model\n", "README.md has no heading with Validation"),
        ("cover", "cover.png", b"no picture", "cover.png is no picture"),
        ("all files lie in the root", "notes/README.md", b"", "notes/README.md lies in a folder"),
    ],
)
def test_files_are_judged_by_what_they_hold(
    package: Path, tmp_path: Path, rule: str, name: str, data: bytes, sentence: str
) -> None:
    assert sentence in judged(changed(package, tmp_path / "model.zip", {name: data}), rule, lambda rdf: None)


def test_a_cover_of_another_shape_or_size_is_refused(package: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (800, 900), dtype=np.uint8)).save(buffer, format="PNG")
    said = judged(changed(package, tmp_path / "model.zip", {"cover.png": buffer.getvalue()}), "cover", lambda rdf: None)
    assert "bytes; the zoo takes up to 500,000" in said
    assert "900 x 800 px; expected a ratio of 2:1 or 1:1" in said


def test_a_description_under_another_name_is_judged_and_fails(package: Path, tmp_path: Path) -> None:
    files = {**contents(package)}
    files["bioimageio.yaml"] = files.pop("rdf.yaml").replace(b"weights.pt", b"missing.pt")
    report = check(zipped(tmp_path / "model.zip", files))
    assert "it is named bioimageio.yaml" in failure(report, "the description is rdf.yaml")


def test_a_readme_that_is_named_by_a_map_is_found(package: Path) -> None:
    assert not judged(package, "README", put("documentation", {"source": "README.md"}))


def test_every_rule_of_the_description_is_kept_by_ours_and_broken_by_some_package() -> None:
    """No rule without a mutation: the marks of the tests above name them all."""
    marks = test_what_a_consumer_fails_on_is_a_sentence.pytestmark  # type: ignore[attr-defined]
    named = {case[0] for mark in marks for case in mark.args[1]}
    assert set(RULES) - named == {"all files lie in the root", "the description is rdf.yaml"}  # each has its own test


def test_a_description_that_bioimageio_refuses_fails_though_no_rule_of_ours_reads_that_place(
    package: Path, tmp_path: Path
) -> None:
    report = check(changed(package, tmp_path / "model.zip", {}, put("timestamp", "never")), ["core"])
    assert "timestamp" in failure(report, "bioimageio.spec")


@pytest.mark.parametrize("name", ["weights.pt", "test_input.npy"])
def test_a_file_that_was_changed_is_never_run(package: Path, tmp_path: Path, name: str) -> None:
    files = contents(package)
    other = scripted(Draws()) if name == "weights.pt" else npy(np.zeros([1, 1, 64, 64], np.float32))
    report = check(zipped(tmp_path / "model.zip", {**files, name: other}))
    assert f"{name} is not the file whose sha256 was written down" in failure(report, "checksums")
    if name == "weights.pt":
        assert "so it was not opened: get it anew" in failure(report, "TorchScript")
        assert "no random numbers" not in report.rules


def test_a_failed_reproduction_fails_here_and_is_not_passed_in_core(package: Path, tmp_path: Path) -> None:
    y = np.load(io.BytesIO(contents(package)["test_output.npy"]))
    report = check(changed(package, tmp_path / "model.zip", {"test_output.npy": npy(y + 1)}))
    assert "values are further off than allowed" in failure(report, "reproduces its test output")
    assert "status valid-format" in failure(report, "bioimageio.core's test")


def test_what_is_within_our_tolerance_but_beyond_the_zoos_fails(package: Path, tmp_path: Path) -> None:
    y = np.load(io.BytesIO(contents(package)["test_output.npy"]))
    report = check(changed(package, tmp_path / "model.zip", {"test_output.npy": npy((y * 1.0005).astype(np.float32))}))
    assert "values are further off than allowed" in failure(report, "reproduces its test output")
    assert {f.state for f in report.of_rule("bioimageio.core's test")} == {"holds"}


class Interpolates(nn.Module):
    """Frozen, with an operator that libtorch 1.13.1 lacks, and for sizes from 8 px on and one image at a time only."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[0] == 1
        assert x.shape[-1] >= 8
        return F.interpolate(F.avg_pool2d(x, 2), size=x.shape[2:])


def test_a_graph_for_new_runtimes_only_is_refused(package: Path, tmp_path: Path) -> None:
    report = check(changed(package, tmp_path / "model.zip", {"weights.pt": scripted(Interpolates())}))
    assert "aten::_upsample_lanczos2d_aa" in failure(report, "operators of libtorch 1.13.1")
    assert "ilastik cannot move it" in failure(report, "not frozen")
    assert "further off" in failure(report, "reproduces its test output")
    assert "the model fails" in failure(report, "batches")
    assert "the model fails" in failure(report, "any image size")


def test_the_real_network_uses_only_operators_of_libtorch_1_13_1() -> None:
    assert len(libtorch_ops()) > 1500
    assert newer_ops(["aten::add.Tensor", "aten::scaled_dot_product_attention"]) == [
        "aten::scaled_dot_product_attention"
    ]
    assert not newer_ops(op_names(tiny(uncertainty=True)))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pickle-was-run",)


def pickled() -> bytes:
    return pickle.dumps(Bomb())


def saved_by_torch() -> bytes:
    buffer = io.BytesIO()
    torch.save(Bomb(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("weights", [pickled(), saved_by_torch(), pickle.dumps(Bomb(), protocol=0)])
def test_pickled_weights_fail_and_are_never_opened(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    report = check(changed(package, tmp_path / "model.zip", {"weights.pt": weights}))
    assert "weights.pt is a pickle, which can run any program when it is opened" in failure(report, "TorchScript")
    assert "bioimageio.core's test" not in report.rules
    assert not (tmp_path / "pickle-was-run").exists()


def test_pickled_test_tensors_are_never_opened(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = npy(np.array([Bomb()], dtype=object))
    report = check(changed(package, tmp_path / "model.zip", {"test_input.npy": data}))
    assert "test tensors cannot be read" in failure(report, "reproduces its test output")
    assert not report.passed
    assert not (tmp_path / "pickle-was-run").exists()


def test_kinds_of_weights_are_told_apart(package: Path) -> None:
    assert kind_of_weights(contents(package)["weights.pt"]) == "torchscript"
    assert kind_of_weights(b"\x08\x00safetensors") == "unknown"
    assert kind_of_weights(b"PK\x03\x04 cut off") == "unknown"
    assert kind_of_weights(b"") == "unknown"


def test_damaged_torchscript_is_a_sentence(package: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("constants.pkl", "data.pkl", "code/a.py", "version"):
            file.writestr(f"archive/{name}", b"nonsense")
    report = check(changed(package, tmp_path / "model.zip", {"weights.pt": buffer.getvalue()}))
    assert "weights.pt cannot be loaded" in failure(report, "TorchScript")


FOREIGN = b"""
format_version: 0.4.9
type: model
name: A model of others
description: Older, with several inputs, pickled weights and an architecture in Python.
inputs:
- {name: raw, axes: bcyx, data_type: float32, shape: [1, 1, 64, 64], preprocessing: [{name: zero_mean_unit_variance}]}
- {name: guide, axes: bcyx, data_type: float32, shape: [1, 1, 64, 64]}
outputs: nonsense
weights:
  pytorch_state_dict: {source: weights.pt, architecture: network.py:Net}
test_inputs: [in.npy]
"""


def test_a_foreign_model_gets_sentences_instead_of_a_traceback(tmp_path: Path) -> None:
    report = check(zipped(tmp_path / "foreign.zip", {"rdf.yaml": FOREIGN, "weights.pt": pickled()}))
    assert not report.passed
    assert "there are 2 inputs" in failure(report, "one input, one output")
    assert "pytorch_state_dict" in failure(report, "TorchScript is there")
    assert "it is 0.4.9, which programs still read" in unknown(report, "format version")
    for rule in (
        "axes",
        "no time axis",
        "halo",
        "offset is 0",
        "processing in JDLL",
    ):
        assert "does not read descriptions of format 0.4.9" in unknown(report, rule)
    assert "no TorchScript weights, and no others are run here" in unknown(report, "TorchScript")
    assert all(finding.detail for finding in report.findings if finding.state != "holds")


@pytest.mark.parametrize(
    "text", [b"inputs: 3\nweights: 1\n", b"weights: [a]\ninputs: [[1]]\noutputs: {}\ncovers: {a: 1}\n"]
)
def test_any_mapping_can_be_judged(tmp_path: Path, text: bytes) -> None:
    assert not check(zipped(tmp_path / "foreign.zip", {"rdf.yaml": text})).passed


def refused(path: Path) -> str:
    with pytest.raises(PackageError) as caught:
        check(path)
    return str(caught.value)


def test_what_is_no_package_is_said_to_be_none(tmp_path: Path) -> None:
    assert "does not exist: give the path of a package" in refused(tmp_path / "none.zip")
    assert "is a folder" in refused(tmp_path)
    text = tmp_path / "text.zip"
    text.write_text("not a zip")
    assert "text.zip is no zip file or a damaged one" in refused(text)
    assert "holds no rdf.yaml, so it is no BioImage" in refused(zipped(tmp_path / "a.zip", {"a.txt": b""}))
    nested = zipped(tmp_path / "b.zip", {"model/rdf.yaml": b""})
    assert "There is a model/rdf.yaml: zip the files, not their folder" in refused(nested)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"a: [", "cannot be read as YAML"),
        (b"a list", "holds str instead of `key: value` lines"),
        (b"a: &a [1, 2]\nb: [*a, *a]\n", "one part refers to another by an alias"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
        (b"a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_a_description_that_is_none_is_a_sentence(tmp_path: Path, text: bytes, sentence: str) -> None:
    assert sentence in refused(zipped(tmp_path / "model.zip", {"rdf.yaml": text}))


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a/../../evil", "..\\evil.txt", "C:\\evil.txt"])
def test_names_that_lead_out_of_the_folder_are_refused(package: Path, tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "model.zip", {**contents(package), name: b"evil"})
    assert "would be written outside of its folder. Do not use this file." in refused(path)


def test_links_are_refused(package: Path, tmp_path: Path) -> None:
    path = zipped(tmp_path / "model.zip", contents(package))
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    assert "'link' is a link to another place" in refused(path)


def test_zip_bombs_are_refused(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("rdf.yaml", b"a: 1")
        file.writestr("weights.pt", bytes(20_000_000))
    assert "as a zip bomb does" in refused(path)
    many = zipped(tmp_path / "many.zip", {"rdf.yaml": b"a: 1", **{f"{i}": b"" for i in range(1001)}})
    assert "it holds 1,002 files" in refused(many)


def test_a_file_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    """The central directory is what is believed, so it is what is judged."""
    path = zipped(tmp_path / "model.zip", {"rdf.yaml": b"a: 1"})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 4_000_000_000)
    path.write_bytes(data)
    assert "unpacks to 4,000,000,000 bytes" in refused(path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "model.zip", {"rdf.yaml": b"a: 1"})
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr("rdf.yaml", b"a: 2")
    assert "two of its files have the same name" in refused(path)


def test_encrypted_packages_are_refused(package: Path, tmp_path: Path) -> None:
    data = bytearray(package.read_bytes())
    at = data.index(b"PK\x01\x02") + 8
    data[at] |= 1
    path = tmp_path / "model.zip"
    path.write_bytes(data)
    assert "is encrypted, and packages are not" in refused(path)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_truncated_package_is_a_sentence(package: Path, tmp_path: Path, cut: float) -> None:
    data = package.read_bytes()
    path = tmp_path / "model.zip"
    path.write_bytes(data[: int(cut * len(data))])
    assert "no zip file or a damaged one" in refused(path)


def test_a_damaged_package_is_a_sentence(package: Path, tmp_path: Path) -> None:
    data = bytearray(package.read_bytes())
    at = data.index(b"weights.pt", 100)
    data[at + 2000 : at + 2100] = bytes(100)
    path = tmp_path / "model.zip"
    path.write_bytes(data)
    assert "export or download it again" in refused(path)


class Mixes(nn.Module):
    """Right for one image alone, but in a batch the last one shines through."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + x[-1:] * self.weight


def test_a_model_whose_images_depend_on_their_batch_is_refused(package: Path, tmp_path: Path) -> None:
    x = np.load(io.BytesIO(contents(package)["test_input.npy"]))
    files = {"weights.pt": scripted(Mixes()), "test_output.npy": npy(2 * x)}
    report = check(changed(package, tmp_path / "model.zip", files))
    assert {f.rule for f in report.failures} == {"batches"}
    assert "an image in a batch against alone: largest difference" in failure(report, "batches")


class Draws(nn.Module):
    """The image with noise from the generator, of no size once it is repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight * torch.randn_like(x)


class OnTheCpu(nn.Module):
    """Adds a tensor that is made on the CPU wherever the image is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + torch.zeros([2], device="cpu")[0:1].expand(x.shape[-1])


class Two(nn.Module):
    """The image twice, as two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.weight, x


class OfSomeSizes(nn.Module):
    """Right for most sizes; at 530 px, 37 px or 65 px it breaks in its own way."""

    def __init__(self, breaks_at: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.breaks_at = breaks_at

    def forward(self, x: Tensor) -> Tensor:
        if x.size(2) == self.breaks_at:
            if self.breaks_at == 37:
                return x[:, :, :30]
            if self.breaks_at == 7:
                return x / 0.0
            assert x.size(2) == 0, "too large"
        return x * self.weight


class Loose(nn.Module):
    """With a tensor that is neither parameter nor buffer, so that no `.to()` takes it along."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.one = torch.ones(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight * self.one


class Doubles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).double()


class Pads(nn.Module):
    """To the next multiple of 16 by the size that it was traced with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        n = int(x.shape[-1])
        return F.pad(x * self.weight, [0, -n % 16])[..., :n]


def identity(package: Path, path: Path, module: bytes, edit: Edit = lambda rdf: None, **files: bytes) -> CheckReport:
    """Judges a package whose model should give back its input."""
    x = contents(package)["test_input.npy"]
    return check(changed(package, path, {"weights.pt": module, "test_output.npy": x, **files}, edit))


def test_more_than_one_tensor_is_refused(package: Path, tmp_path: Path) -> None:
    report = identity(package, tmp_path / "model.zip", scripted(Two()))
    assert "it returns tuple instead of one tensor" in failure(report, "reproduces its test output")


@pytest.mark.parametrize(
    ("px", "sentence"), [(530, "the model fails"), (37, "px it makes"), (7, "values that are not finite")]
)
def test_sizes_beside_that_of_the_test_are_tried(package: Path, tmp_path: Path, px: int, sentence: str) -> None:
    report = identity(package, tmp_path / "model.zip", scripted(OfSomeSizes(px)))
    assert {f.rule for f in report.failures} == {"any image size"}
    assert sentence in failure(report, "any image size")


def test_what_only_the_test_of_bioimageio_core_finds_fails(package: Path, tmp_path: Path) -> None:
    """It runs the least size, and one and two steps more."""
    report = identity(package, tmp_path / "model.zip", scripted(OfSomeSizes(65)))
    assert {f.rule for f in report.failures} == {"bioimageio.core's test"}


def test_tensors_that_a_move_to_a_gpu_leaves_behind_are_noticed(package: Path, tmp_path: Path) -> None:
    report = identity(package, tmp_path / "model.zip", scripted(Loose()))
    assert {f.rule for f in report.failures} == {"other devices"}


def test_a_graph_or_a_test_tensor_of_another_type_is_refused(package: Path, tmp_path: Path) -> None:
    report = identity(package, tmp_path / "model.zip", scripted(Doubles()))
    assert "the graph returns torch.float64: make it float32" in failure(report, "float32 in fact")
    x = np.load(io.BytesIO(contents(package)["test_input.npy"]))
    files = {"test_input.npy": npy(x.astype(np.uint16))}
    report = identity(package, tmp_path / "b.zip", scripted(OfSomeSizes(0)), **files)
    assert "the test input is uint16" in failure(report, "float32 in fact")


def test_the_channels_that_are_named_are_those_of_the_tensors(package: Path, tmp_path: Path) -> None:
    edit = axis("inputs", 1, channel_names=["actin", "dna"])
    report = check(changed(package, tmp_path / "model.zip", {}, edit), ["fiji"])
    assert "the test input has 1 channels, and 2 are named" in failure(report, "channels that are named")


def test_a_traced_model_whose_size_was_baked_in_is_refused(package: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Pads(), torch.ones(1, 1, 128, 128))
    report = identity(package, tmp_path / "model.zip", bytes(traced.save_to_buffer()))
    assert {f.state for f in report.of_rule("reproduces its test output")} == {"holds"}
    assert "any image size" in {f.rule for f in report.failures}


def test_a_model_that_was_saved_in_training_mode_is_noticed(package: Path, tmp_path: Path) -> None:
    module = script(OfSomeSizes(0)).train()
    report = identity(package, tmp_path / "model.zip", bytes(module.save_to_buffer()))
    assert "saved in training mode (the whole): call .eval()" in unknown(report, "in eval mode")


def test_an_archive_that_old_libtorch_cannot_open_is_refused(package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(scripted(OfSomeSizes(0)))) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    [version] = [name for name in parts if name.endswith("/version") and name.count("/") == 1]
    from cosdd_zoo.export.graph_rules import GRAPH_RULES, Graph

    rule, _ = GRAPH_RULES["archive of libtorch 1.13.1"]
    for number, state in ((b"10", "holds"), (b"11", "fails")):
        newer = zipped(tmp_path / "weights.pt", {**parts, version: number}).read_bytes()
        assert rule(Graph(None, newer)).state == state  # type: ignore[arg-type]


class Blurs(nn.Module):
    """With zeros beyond the image's border, where programs that pad put its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x * self.weight, 3, stride=1, padding=1)


def test_a_model_that_is_another_with_mirrored_borders_is_told(package: Path, tmp_path: Path) -> None:
    x = torch.from_numpy(np.load(io.BytesIO(contents(package)["test_input.npy"])))
    files = {"weights.pt": scripted(Blurs()), "test_output.npy": npy(Blurs()(x).detach().numpy())}
    report = check(changed(package, tmp_path / "model.zip", files))
    assert "JDLL and core give it mirrored borders" in unknown(report, "padded by its halo")
    assert {f.state for f in check(package, ["fiji"]).of_rule("padded by its halo")} == {"holds"}


class Counts(nn.Module):
    """The image with counts from the generator, in an operator of another name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight * torch.binomial(x * 0 + 9, x * 0 + 0.5)


def test_a_model_that_draws_counts_is_refused(package: Path, tmp_path: Path) -> None:
    report = identity(package, tmp_path / "model.zip", scripted(Counts()))
    assert "aten::binomial" in failure(report, "no random numbers")


def test_a_model_that_draws_random_numbers_is_refused(package: Path, tmp_path: Path) -> None:
    report = check(changed(package, tmp_path / "model.zip", {"weights.pt": scripted(Draws())}))
    assert "aten::randn_like" in failure(report, "no random numbers")


def test_a_model_that_is_bound_to_the_cpu_is_refused(package: Path, tmp_path: Path) -> None:
    report = check(changed(package, tmp_path / "model.zip", {"weights.pt": scripted(OnTheCpu())}))
    assert "the model fails" in failure(report, "other devices")
