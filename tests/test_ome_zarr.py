"""OME-Zarr in and out: what other programs write is read, and what is written other programs read."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import tifffile
import zarr
from models import denoised_to, few_features, model, quick, scaling, scene
from stores import pixels, plate, store
from typer.testing import CliRunner

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.cli import app
from cosdd_zoo.data.finding import find_images, find_sources
from cosdd_zoo.data.images import open_image
from cosdd_zoo.errors import CosddError, ImageError
from cosdd_zoo.inference.denoise import Denoiser

VERSIONS = ["0.4", "0.5"]
HOW: dict[str, Any] = {"n_samples": 2, "tile_px": 32, "halo_px": 16}


@pytest.fixture
def denoiser() -> Denoiser:
    config = quick().model_copy(update={"network": few_features()})
    return Denoiser(model(config.network), config, "cpu")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    config = quick().model_copy(update={"network": few_features()})
    Checkpoint(config, scaling(), model(config.network).state_dict(), {}).save(tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["denoise", *map(str, arguments), "--quiet", "--device", "cpu"])


def valid(path: Path) -> Any:
    """By the models of the specification; raises for what it does not allow."""
    return ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_is_read_with_its_axes_sizes_and_channels(tmp_path: Path, version: str) -> None:
    array = np.arange(2 * 3 * 4 * 9 * 7, dtype=np.uint16).reshape(2, 3, 4, 9, 7)
    path = store(
        tmp_path / "a.ome.zarr",
        array,
        "tczyx",
        version,
        (1, 1, 2, 4, 5),
        (2.5, 1, 0.5, 0.1, 0.2),
        ("DAPI", "GFP", "Cy5"),
    )
    image = open_image(path)
    assert (image.axes, image.shape, image.dtype, image.kind) == ("TCZYX", array.shape, np.uint16, "ome-zarr")
    assert (image.chunks, image.version, image.axes_source) == ((1, 1, 2, 4, 5), version, "metadata")
    np.testing.assert_array_equal(image.read_item(1, 3), array[1])
    np.testing.assert_array_equal(image.read_item(6, 2), array[1, :, 2])
    np.testing.assert_array_equal(image.read_crop(6, 2, (3, 2), (5, 4)), array[1, :, 2, 3:8, 2:6])
    found = image.described()
    assert found.sizes == {"T": 2.5, "Z": 0.5, "Y": 0.1, "X": 0.2}
    assert found.units == {"T": "second", "Z": "micrometer", "Y": "micrometer", "X": "micrometer"}
    assert [(c.name, c.color, c.window) for c in found.channels][:2] == [
        ("DAPI", "00FF00", (3, 300)), ("GFP", "FF0000", (3, 300)),
    ]  # fmt: skip


def test_shards_and_other_codecs_are_read(tmp_path: Path) -> None:
    array = scene(70, 90)
    path = store(tmp_path / "a.zarr", array, "yx", chunks=(16, 16), shards=(64, 64), compressors=None)
    np.testing.assert_array_equal(open_image(path).read_item(0, 2)[0], array)


def test_old_versions_and_plain_arrays_are_read(tmp_path: Path) -> None:
    array = np.arange(2 * 1 * 1 * 9 * 7, dtype=np.uint16).reshape(2, 1, 1, 9, 7)
    path = store(tmp_path / "a.zarr", array, "tczyx", "0.4")
    words = json.loads((path / ".zattrs").read_text())
    words["multiscales"][0]["axes"] = ["t", "c", "z", "y", "x"]  # 0.3
    (path / ".zattrs").write_text(json.dumps(words))
    assert open_image(path).axes == "TCZYX"
    del words["multiscales"][0]["axes"]  # 0.1 and 0.2
    (path / ".zattrs").write_text(json.dumps(words))
    assert open_image(path).axes == "TCZYX"
    plain: Any = zarr.create_array(str(tmp_path / "plain.zarr"), shape=(9, 7), dtype="uint8")
    plain[:] = 3
    image = open_image(tmp_path / "plain.zarr")
    assert (image.axes, image.axes_source) == ("YX", "guess")


def test_a_store_is_found_in_a_folder_by_its_name_and_by_a_glob(tmp_path: Path) -> None:
    array = scene(20, 30)
    path = store(tmp_path / "images" / "a.ome.zarr", array, "yx")
    tifffile.imwrite(tmp_path / "images" / "b.tif", array)
    for source in (tmp_path / "images", tmp_path / "images" / "*"):
        assert [p.name for p in find_images([source])] == ["a.ome.zarr", "b.tif"]
    assert find_images([path]) == [path]
    series = tmp_path / "series.zarr"
    zarr.create_group(str(series), attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    for i in (0, 1, 10):
        store(series / str(i), array, "yx")
    assert [p.name for p in find_images([series])] == ["0", "1", "10"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "tyx", "yx"])
def test_a_result_is_valid_has_a_pyramid_and_keeps_what_the_input_says(
    denoiser: Denoiser, tmp_path: Path, version: str, axes: str
) -> None:
    lengths = {"t": 2, "c": 1, "z": 2, "y": 300, "x": 70}
    array = scene(300, 70)[(None,) * (len(axes) - 2)] * np.ones([lengths[a] for a in axes], np.uint16)
    scale = tuple({"t": 2.5, "c": 1.0, "z": 0.5, "y": 0.1, "x": 0.2}[a] for a in axes)
    path = store(tmp_path / "a.ome.zarr", array, axes, version, scale=scale, channels=("GFP",) if "c" in axes else ())
    saved = denoised_to(denoiser, open_image(path), tmp_path / "out", **{**HOW, "tile_px": 160})
    assert saved.path.name == "a_denoised.ome.zarr"
    found = valid(saved.path)
    assert found.ome_zarr_version == version
    scales = found.attributes.multiscales[0] if version == "0.4" else found.ome_attributes.multiscales[0]
    assert [a.name for a in scales.axes] == list(axes)
    assert [tuple(d.coordinateTransformations[0].scale) for d in scales.datasets] == [
        scale, (*scale[:-2], scale[-2] * 2, scale[-1] * 2),
    ]  # fmt: skip
    expected = np.rint(denoiser.denoise(array, 2, axes=axes.upper(), tile_px=160, halo_px=16).mean).clip(0)
    np.testing.assert_array_equal(pixels(saved.path), expected)
    halved = pixels(saved.path, 1)
    assert halved.shape == (*array.shape[:-2], 150, 35)
    blocks = expected.reshape(*array.shape[:-2], 150, 2, 35, 2).mean((-3, -1))
    np.testing.assert_array_equal(halved, np.rint(blocks))
    again = open_image(saved.path)
    assert again.dtype == array.dtype
    assert again.described().sizes == open_image(path).described().sizes
    assert again.described().channels == open_image(path).described().channels


def test_other_programs_open_a_result_and_see_the_same_as_this_one(denoiser: Denoiser, tmp_path: Path) -> None:
    path = store(tmp_path / "a.ome.zarr", scene(2, 50, 70), "tyx", scale=(2.0, 0.1, 0.1))
    saved = denoised_to(denoiser, open_image(path), tmp_path / "out", **HOW)
    whole = open_image(saved.path).to_xarray()
    assert (whole.dims, whole.attrs) == (
        ("t", "y", "x"),
        {"pixel_size": {"y": 0.1, "x": 0.1}, "unit": "micrometer", "time_step": 2.0},
    )
    np.testing.assert_array_equal(whole.compute().values, pixels(saved.path))
    np.testing.assert_array_equal(
        denoiser.denoise(whole, 2).mean, denoiser.denoise(pixels(saved.path), 2, axes="TYX").mean
    )


def test_a_store_without_an_image_stops_no_other_and_a_glob_does_not_look_into_stores(tmp_path: Path) -> None:
    store(tmp_path / "exp.1", scene(20, 30), "yx")
    plate(tmp_path / "plate.zarr", {"A/1/0": scene(1, 20, 30)}, "cyx")
    zarr.create_group(str(tmp_path / "table.zarr"))
    found = [str(s.path.relative_to(tmp_path)) for s in find_sources([tmp_path])]
    assert found == ["exp.1", "plate.zarr/A/1/0", "table.zarr"]
    assert [str(s.path.relative_to(tmp_path)) for s in find_sources([tmp_path / "**"])] == found
    with pytest.raises(ImageError, match="cannot be read as OME-Zarr"):
        open_image(tmp_path / "table.zarr")
    with pytest.raises(ImageError, match="without an image"):
        find_sources([tmp_path / "table.zarr"])


def test_a_store_whose_name_has_a_dot_keeps_it_and_stays_a_store(denoiser: Denoiser, tmp_path: Path) -> None:
    image = open_image(store(tmp_path / "2024.05.01_a", scene(40, 50), "yx"))
    assert denoised_to(denoiser, image, tmp_path / "out", 2).path.name == "2024.05.01_a_denoised.ome.zarr"


def test_a_scale_of_one_without_a_unit_invents_no_calibration(denoiser: Denoiser, tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", scene(2, 40, 50), "tyx")
    words = json.loads((path / "zarr.json").read_text())
    for axis in words["attributes"]["ome"]["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    (path / "zarr.json").write_text(json.dumps(words))
    saved = denoised_to(denoiser, open_image(path), tmp_path / "out", 2, format="ome-tiff")
    with tifffile.TiffFile(saved.path) as tif:
        assert "PhysicalSize" not in (tif.ome_metadata or "") and "TimeIncrement" not in (tif.ome_metadata or "")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_is_denoised_field_by_field_and_stays_a_plate(weights: Path, tmp_path: Path, version: str) -> None:
    fields = {f"{well}/{i}": scene(1, 40, 50, seed=3 * i) for well in ("A/1", "A/2", "B/1") for i in (0, 1)}
    path = plate(tmp_path / "plate.ome.zarr", fields, "cyx", version)
    shutil.rmtree(path / "B/1/1/0")  # a field whose pixels were lost
    done = command(weights, path, "-o", tmp_path / "out", "--samples", 2, "--uncertainty")
    assert done.exit_code == 2 and "1 of 6 images could not be denoised" in done.stderr
    result = tmp_path / "out" / "plate_denoised.ome.zarr"
    assert type(valid(result)).__name__ == "HCS"
    assert type(valid(tmp_path / "out" / "plate_denoised_std.ome.zarr")).__name__ == "HCS"
    assert sorted(str(p.relative_to(result)) for p in find_images([result])) == sorted(set(fields) - {"B/1/1"})
    assert pixels(result / "A/2/1").shape == (1, 40, 50)
    store(tmp_path / "one", fields["B/1/1"], "cyx", version)
    shutil.copytree(tmp_path / "one" / "0", path / "B/1/1/0")
    done = command(weights, path, "-o", tmp_path / "out", "--samples", 2, "--uncertainty", "--resume")
    assert done.exit_code == 0, done.output
    assert sorted(str(p.relative_to(result)) for p in find_images([result])) == sorted(fields)


def test_series_stay_together_with_what_bioformats2raw_says_of_them(weights: Path, tmp_path: Path) -> None:
    series = tmp_path / "series.zarr"
    zarr.create_group(str(series), attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    zarr.create_group(str(series / "OME"), attributes={"ome": {"version": "0.5", "series": ["0", "1"]}})
    (series / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    for i in (0, 1):
        store(series / str(i), scene(40, 50, seed=i), "yx")
    assert command(weights, series, "-o", tmp_path / "out", "--samples", 2).exit_code == 0
    result = tmp_path / "out" / "series_denoised.ome.zarr"
    assert [p.name for p in find_images([result])] == ["0", "1"]
    assert (result / "OME" / "METADATA.ome.xml").read_text() == "<OME/>"
    assert command(weights, series, "-o", tmp_path / "tiffs", "--samples", 2, "--format", "tiff").exit_code == 0
    names = sorted(p.name for p in (tmp_path / "tiffs").glob("*.tif"))
    assert names == ["series_0_denoised.tif", "series_1_denoised.tif"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_interrupted_store_goes_on_and_is_the_same(denoiser: Denoiser, tmp_path: Path, version: str) -> None:
    path = store(tmp_path / "a.zarr", scene(2, 70, 90), "tyx", version, (1, 32, 32))
    image, how = open_image(path), {**HOW, "uncertainty": True}
    denoised_to(denoiser, image, tmp_path / "whole", **how)
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoised_to(denoiser, image, tmp_path / "out", **how, advance=stop)
    assert all(p.name.startswith(".") for p in (tmp_path / "out").iterdir())
    torn = next(
        p
        for p in sorted((tmp_path / "out" / ".a_denoised.ome.zarr.part" / "0").rglob("*"))
        if p.is_file() and p.name.isdigit()
    )
    torn.write_bytes(torn.read_bytes()[:-7])
    done: list[float] = []
    denoised_to(denoiser, image, tmp_path / "out", **how, resume=True, advance=done.append)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert done[:3] == [1 / 18] * 3  # four had been written, of which one was torn


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_windows_are_whole_chunks_of_the_result_so_that_processes_may_share_it(
    denoiser: Denoiser, tmp_path: Path
) -> None:
    for name, chunks in (("aligned", (64, 32)), ("not", (50, 33))):
        path = store(tmp_path / f"{name}.zarr", scene(200, 150), "yx", chunks=chunks)
        saved = denoised_to(denoiser, open_image(path), tmp_path / "out", 2, tile_px=64, halo_px=16)
        own: Any = zarr.open_array(str(saved.path / "0"), mode="r")
        assert all(64 % c == 0 for c in own.chunks)
        if name == "aligned":
            assert own.chunks == chunks


def test_a_store_in_the_way_is_replaced_only_when_asked(denoiser: Denoiser, tmp_path: Path) -> None:
    image = open_image(store(tmp_path / "a.zarr", scene(40, 50), "yx"))
    denoised_to(denoiser, image, tmp_path / "out", 2)
    before = files(tmp_path / "out")
    with pytest.raises(CosddError, match=r"a_denoised.ome.zarr is there already"):
        denoised_to(denoiser, image, tmp_path / "out", 3)
    assert files(tmp_path / "out") == before
    denoised_to(denoiser, image, tmp_path / "out", 3, overwrite=True)
    assert files(tmp_path / "out") != before
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a_denoised.ome.zarr"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda p: (p / "zarr.json").write_text("{"), "cannot be read as OME-Zarr"),
        (lambda p: (p / "zarr.json").write_text('{"attributes": {"ome": []}}'), "its attributes are no mapping"),
        (lambda p: (p / "zarr.json").write_text('{"attributes": {"ome": {"multiscales": []}}}'), "multiscales lack"),
        (lambda p: (p / "0" / "zarr.json").write_text("[1, 2]"), "cannot be read as OME-Zarr"),
        (lambda p: shutil.rmtree(p / "0"), "lacks its first level"),
        (
            lambda p: next((p / "0" / "c").rglob("0")).write_bytes(b"torn") if False else _spoil_chunk(p),
            "cannot be decoded",
        ),
        (lambda p: _without_words(p), "without an image"),
    ],
)
def test_a_damaged_store_is_a_sentence(denoiser: Denoiser, tmp_path: Path, spoil: Any, sentence: str) -> None:
    path = store(tmp_path / "a.zarr", scene(40, 50), "yx", chunks=(32, 32))
    spoil(path)
    with pytest.raises(ImageError, match=sentence):
        denoised_to(denoiser, open_image(find_images([path])[0]), tmp_path / "out", 2)
    assert not [p for p in tmp_path.rglob("*denoised*") if p.is_file()]


def _spoil_chunk(path: Path) -> None:
    chunk = next(p for p in (path / "0" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(b"torn" * 20)


def _without_words(path: Path) -> None:
    group = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**group, "attributes": {}}))
    shutil.move(path / "0", path / "image")


@pytest.mark.slow
def test_a_training_reads_crops_from_the_chunks_of_a_store(tmp_path: Path) -> None:
    """The crops, and so the losses, are those of the same pixels in a TIFF."""
    from models import QUICK

    from cosdd_zoo import train

    array = scene(300, 260)
    path = store(tmp_path / "a.ome.zarr", array, "yx", chunks=(64, 64))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    how: dict[str, Any] = {**QUICK, "max_steps": 3, "quiet": True}
    losses = []
    for source in (path, tmp_path / "a.tif"):
        run = train([source], tmp_path / f"run-{source.suffix}", axes=None if source == path else "YX", **how)
        losses.append((run.folder / "metrics.csv").read_text().splitlines()[-1].split(",")[2:])
    assert losses[0] == losses[1]
