"""Packages: what is in them, that they appear whole or not at all, and that they run where they promise to."""

import errno
import hashlib
import io
import shutil
import socket
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from exported import MEAN, STD, changed, contents, demo_card, described, noisy, npy, stand_in, tiny
from PIL import Image

from cosdd_zoo.config import preset, to_yaml
from cosdd_zoo.errors import OutputError, PackageError
from cosdd_zoo.export.package import load_package, read_package, write_package
from cosdd_zoo.export.rdf import ZScore, interface
from cosdd_zoo.export.running import difference

LIBTORCH = Path(__file__).parents[1] / "packaging" / "libtorch"


def no_network(*args: object, **kwargs: object) -> None:
    raise AssertionError("the network was asked")


def folder_is_empty(path: Path) -> bool:
    return not list(path.iterdir())


def test_a_package_is_flat_and_complete(package: Path) -> None:
    assert sorted(contents(package)) == sorted(
        [
            "README.md", "config.yaml", "cover.png", "noise.png", "rdf.yaml", "sample_input.tif", "sample_output.tif",
            "test_input.npy", "test_output.npy", "weights.pt",
        ]
    )  # fmt: skip


def test_the_description_is_in_string_form_without_nulls_and_aliases(package: Path) -> None:
    text = contents(package)["rdf.yaml"].decode()
    rdf = yaml.safe_load(text)
    assert rdf["format_version"] == "0.5.6"
    assert rdf["documentation"] == "README.md"
    assert rdf["covers"] == ["cover.png"]
    assert "null" not in text and "&id" not in text
    assert "id" not in rdf
    assert list(rdf["config"]) == ["bioimageio"]
    assert rdf["config"]["bioimageio"]["nickname"] == "cosdd-demo-confocal"
    assert rdf["inputs"][0]["preprocessing"] == [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
    assert "postprocessing" not in rdf["outputs"][0]


def test_every_checksum_is_that_of_its_file(package: Path) -> None:
    rdf, files = described(package), contents(package)
    nodes = [t[k] for side in ("inputs", "outputs") for t in rdf[side] for k in ("test_tensor", "sample_tensor")]
    for node in [*nodes, rdf["weights"]["torchscript"], *rdf["attachments"]]:
        assert node["sha256"] == hashlib.sha256(files[node["source"]]).hexdigest()


def test_files_that_only_we_know_are_named_so_that_no_program_leaves_them_behind(package: Path) -> None:
    assert [node["source"] for node in described(package)["attachments"]] == ["config.yaml", "noise.png"]


def test_the_readme_shows_the_noise_that_was_removed(package: Path) -> None:
    files = contents(package)
    assert "](noise.png)" in files["README.md"].decode()
    width, height = Image.open(io.BytesIO(files["noise.png"])).size
    assert width > height > 300


def test_axes_agree_and_the_least_size_leaves_something_inside_the_halo(package: Path) -> None:
    rdf = described(package)
    y = rdf["inputs"][0]["axes"][2]
    assert y == {"type": "space", "id": "y", "size": {"min": 64, "step": 1}}
    assert rdf["outputs"][0]["axes"][2]["size"] == {"tensor_id": "input", "axis_id": "y", "offset": 0}
    assert rdf["outputs"][0]["axes"][2]["halo"] == 16
    for halo in (1, 31, 32, 40, 192):
        io = interface(["intensity"], [halo, halo, halo], uncertainty=False)
        assert all(2 * h < least <= 72 for h, least in zip(io.halo_px, io.min_px, strict=True))
        assert io.min_px[0] <= 12


def test_the_test_output_is_that_of_the_saved_weights(package: Path) -> None:
    files = contents(package)
    x, y = (np.load(io.BytesIO(files[f"test_{n}.npy"])) for n in ("input", "output"))
    assert x.shape == (1, 1, 128, 128) and x.dtype == np.float32
    np.testing.assert_allclose(read_package(package)(x), y, rtol=1e-6)


def test_imagej_reads_the_samples(package: Path) -> None:
    with tifffile.TiffFile(io.BytesIO(contents(package)["sample_input.tif"])) as file:
        assert file.is_imagej
        assert file.asarray().shape == (128, 128)


def test_the_cover_is_twice_as_wide_as_high_and_small(package: Path) -> None:
    data = contents(package)["cover.png"]
    width, height = Image.open(io.BytesIO(data)).size
    assert width == 2 * height
    assert len(data) < 500_000


def test_the_same_model_makes_the_same_zip(tmp_path: Path) -> None:
    made = [tmp_path / "1.zip", tmp_path / "2.zip"]
    module = stand_in()
    for path in made:
        write_package(module, path, demo_card(), noisy(1, 64, 64), [16, 16])
    assert made[0].read_bytes() == made[1].read_bytes()


def test_nothing_is_looked_up_in_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    write_package(stand_in(), tmp_path / "model.zip", demo_card(), noisy(1, 64, 64), [16, 16])


@pytest.mark.parametrize(
    ("sample", "names", "uncertainty", "inputs", "outputs"),
    [
        ((1, 64, 64), (), True, ["intensity"], ["denoised", "std"]),
        ((2, 64, 64), ("actin", "dna"), True, ["actin", "dna"], ["actin", "dna", "actin std", "dna std"]),
        ((2, 5, 64, 64), (), False, ["channel1", "channel2"], ["channel1", "channel2"]),
    ],
)
def test_channels_volumes_and_uncertainty_are_described_as_they_are(
    tmp_path: Path,
    sample: tuple[int, ...],
    names: tuple[str, ...],
    uncertainty: bool,
    inputs: list[str],
    outputs: list[str],
) -> None:
    n_dims = len(sample) - 1
    module = stand_in(n_dims=n_dims, n_channels=sample[0], uncertainty=uncertainty)
    path = tmp_path / "model.zip"
    write_package(module, path, demo_card(), noisy(*sample), [4] * n_dims, channel_names=names, uncertainty=uncertainty)
    read = read_package(path)
    assert list(read.input_channels) == inputs
    assert list(read.output_channels) == outputs
    assert read.n_dims == n_dims
    assert read.uncertainty == uncertainty


@pytest.mark.parametrize(("n_channels", "uncertainty"), [(1, False), (2, True)])
def test_explicit_processing_gives_what_the_portable_package_gives(
    tmp_path: Path, n_channels: int, uncertainty: bool
) -> None:
    processing = ZScore((MEAN,) * n_channels, (STD,) * n_channels)
    path = tmp_path / "model.zip"
    outside = stand_in(n_channels=n_channels, uncertainty=uncertainty, inside=False)
    write_package(
        outside, path, demo_card(), noisy(n_channels, 64, 64), [16, 16], processing=processing, uncertainty=uncertainty
    )
    x = noisy(1, n_channels, 30, 40).astype(np.float32)
    inside = stand_in(n_channels=n_channels, uncertainty=uncertainty)
    with torch.no_grad():
        expected = inside(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(read_package(path)(x), expected, rtol=1e-4, atol=1e-3)
    steps = described(path)["inputs"][0]["preprocessing"]
    one = n_channels == 1
    assert steps[1]["kwargs"] == (
        {"mean": MEAN, "std": STD} if one else {"axis": "channel", "mean": [MEAN] * 2, "std": [STD] * 2}
    )


def test_a_line_model_cannot_be_a_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"for 1-D images.*take 2-D and 3-D ones"):
        write_package(stand_in(), tmp_path / "model.zip", demo_card(), noisy(1, 64), [16])


def test_a_sample_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"shape \(2, 64\); expected 2 channels and the axes y, x"):
        write_package(stand_in(), tmp_path / "model.zip", demo_card(), noisy(2, 64), [16, 16])
    assert folder_is_empty(tmp_path)


def test_a_model_that_makes_another_number_of_channels_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"makes the shape \(1, 1, 64, 64\).*expected \(1, 2, 64, 64\)"):
        write_package(stand_in(), tmp_path / "model.zip", demo_card(), noisy(1, 64, 64), [16, 16], uncertainty=True)
    assert folder_is_empty(tmp_path)


def test_a_model_that_makes_nan_is_not_packed(tmp_path: Path) -> None:
    module = stand_in()
    module.std.fill_(float("nan"))
    with pytest.raises(PackageError, match="values that are not finite"):
        write_package(module, tmp_path / "model.zip", demo_card(), noisy(1, 64, 64), [16, 16])
    assert folder_is_empty(tmp_path)


def test_a_package_that_fails_its_check_is_not_kept(tmp_path: Path) -> None:
    module = stand_in()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(module)
    with pytest.raises(PackageError, match=r"model.zip was not written.*not frozen: the graph has no parameters"):
        write_package(frozen, tmp_path / "model.zip", demo_card(), noisy(1, 64, 64), [16, 16])
    assert folder_is_empty(tmp_path)


def test_a_package_that_is_there_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_text("precious")
    with pytest.raises(OutputError, match="is there already"):
        write_package(stand_in(), path, demo_card(), noisy(1, 64, 64), [16, 16])
    assert path.read_text() == "precious"
    write_package(stand_in(), path, demo_card(), noisy(1, 64, 64), [16, 16], overwrite=True)
    assert zipfile.is_zipfile(path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="There is no folder"):
        write_package(stand_in(), tmp_path / "none" / "model.zip", demo_card(), noisy(1, 64, 64), [16, 16])


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OutputError, match=r"disk of .* is full"):
        write_package(stand_in(), tmp_path / "model.zip", demo_card(), noisy(1, 64, 64), [16, 16])
    assert folder_is_empty(tmp_path)


def test_a_package_gives_back_its_run_config(package: Path) -> None:
    assert read_package(package).config_text == "preset: tiny\n"


def test_a_package_without_its_run_config_is_run_as_anybody_elses(tiny_package: Path) -> None:
    assert load_package(tiny_package, "cpu").is_foreign


def test_the_denoiser_of_a_package_gives_what_the_package_gives(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    config_text = to_yaml(preset("tiny"))
    write_package(tiny(n_samples=2), path, demo_card(), noisy(1, 72, 72), [32, 32], config_text=config_text)
    x = noisy(1, 70, 61).astype(np.float32)
    found = load_package(path, "cpu").denoise(x, n_samples=2, axes="CYX").mean
    assert difference(found, read_package(path)(x[np.newaxis])[0], 1e-5 * STD, 1e-5).n_beyond == 0


def test_reading_never_opens_pickled_weights(package: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, buffer)
    path = changed(package, tmp_path / "model.zip", {"weights.pt": buffer.getvalue()})
    with pytest.raises(PackageError, match=r"model.zip: weights.pt is a pickle, which can run any program"):
        read_package(path)


def test_reading_refuses_models_with_several_inputs(package: Path, tmp_path: Path) -> None:
    path = changed(package, tmp_path / "model.zip", {}, lambda rdf: rdf["inputs"].append({}))
    with pytest.raises(PackageError, match="not a denoiser that can be run here: there are 2 inputs"):
        read_package(path)


def test_the_real_network_is_the_same_in_a_package(tiny_package: Path) -> None:
    x = noisy(1, 1, 50, 61).astype(np.float32)
    with torch.no_grad():
        expected = tiny(uncertainty=True)(torch.from_numpy(x)).numpy()
    d = difference(read_package(tiny_package)(x), expected, 1e-5 * STD, 1e-5)
    assert d.n_beyond == 0


@pytest.mark.slow
def test_bioimageio_runs_the_package_as_its_users_do(tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Core's own loading and prediction, from the zip itself, on an image of another size, to which core adds a border
    of the halo's width.
    """
    from bioimageio.core import create_prediction_pipeline, load_model_description
    from bioimageio.core.digest_spec import create_sample_for_model

    from cosdd_zoo.export.check import quiet_bioimageio

    monkeypatch.setattr(socket.socket, "connect", no_network)
    x = noisy(1, 1, 90, 101).astype(np.float32)
    with quiet_bioimageio(), zipfile.ZipFile(tiny_package) as file:
        model = load_model_description(file, perform_io_checks=False)
        sample = create_sample_for_model(model, inputs={"input": x})
        with create_prediction_pipeline(model, devices=["cpu"]) as pipeline:
            done = pipeline.predict_sample_without_blocking(sample)
        found = done.members["output"].data.to_numpy()
    assert difference(found, read_package(tiny_package)(x), 1e-3 * STD, 0).n_beyond == 0


@pytest.fixture(scope="session")
def run_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ program of packaging/libtorch, built against Debian's libtorch 1.13.1."""
    if not (shutil.which("cmake") and shutil.which("c++") and Path("/usr/include/torch/csrc/api").is_dir()):
        pytest.skip("libtorch is not installed: apt-get install cmake g++ libtorch-dev")
    build = tmp_path_factory.mktemp("libtorch")
    subprocess.run(
        ["cmake", "-S", LIBTORCH, "-B", build, "-DCMAKE_CXX_FLAGS_RELEASE=-O0"], check=True, capture_output=True
    )
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    return build / "run_package"


def extracted(package: Path, folder: Path, **files: bytes) -> list[Path]:
    for name, data in {**contents(package), **files}.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in ("weights.pt", "test_input.npy", "test_output.npy")]


@pytest.mark.slow
def test_the_real_network_runs_in_libtorch_without_python(
    run_package: Path, tiny_package: Path, tmp_path: Path
) -> None:
    done = subprocess.run([run_package, *extracted(tiny_package, tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(done.stdout)


@pytest.mark.slow
def test_the_libtorch_program_fails_where_the_output_differs(run_package: Path, package: Path, tmp_path: Path) -> None:
    y = np.load(io.BytesIO(contents(package)["test_output.npy"]))
    paths = extracted(package, tmp_path)
    paths[2].write_bytes(npy(y + 2e-4 * np.abs(y).max()))
    done = subprocess.run([run_package, *paths], capture_output=True, text=True)
    assert done.returncode == 1
    assert "largest relative difference 0.000" in done.stdout
