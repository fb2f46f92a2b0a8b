"""Any format in, any format out: axes, sizes, channels and grey values survive, and other readers see them too."""

import math
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray
from models import denoised_to, few_features, model, quick, scene
from stores import pixels, store

from cosdd_zoo.data import readers
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.errors import ImageError
from cosdd_zoo.inference.denoise import Denoiser


@pytest.fixture
def denoiser() -> Denoiser:
    config = quick().model_copy(update={"network": few_features()})
    return Denoiser(model(config.network), config, "cpu")


STACK = np.clip(scene(2 * 3, 2 * 24, 20).reshape(2, 3, 2, 24, 20), 20, 60000)  # t z c y x
SIZES = {"T": 2.5, "Z": 0.5, "Y": 0.1, "X": 0.2}


def luts() -> list[Any]:
    ramp = np.arange(256, dtype=np.uint8)
    return [np.stack([ramp * 0, ramp, ramp * 0]), np.stack([ramp, ramp * 0, ramp])]


def hyperstack(folder: Path) -> Path:
    path = folder / "stack.tif"
    words = {
        "axes": "TZCYX", "unit": "um", "spacing": 0.5, "finterval": 2.5, "mode": "composite", "LUTs": luts(),
        "Ranges": [3.0, 300.0, 5.0, 500.0], "min": 3.0, "max": 300.0,
    }  # fmt: skip
    tifffile.imwrite(path, STACK, imagej=True, resolution=(5.0, 10.0), metadata=words)
    return path


def ome_tiff(folder: Path) -> Path:
    path = folder / "stack.ome.tif"
    stamps = [10.0 * t + z + 0.1 * c for t in range(2) for z in range(3) for c in range(2)]
    words = {
        "axes": "TZCYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.1,
        "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 0.5, "PhysicalSizeZUnit": "µm", "TimeIncrement": 2.5,
        "TimeIncrementUnit": "s", "Channel": {"Name": ["GFP", "RFP"], "Color": [16711935, -16776961]},
        "Plane": {"DeltaT": stamps, "DeltaTUnit": ["s"] * 12}, "AcquisitionDate": "2026-11-25T08:00:00",
    }  # fmt: skip
    tifffile.imwrite(path, STACK, metadata=words)
    return path


def ome_zarr(folder: Path) -> Path:
    array = STACK.transpose(0, 2, 1, 3, 4)
    return store(
        folder / "stack.ome.zarr", array, "tczyx", "0.5", (1, 1, 1, 24, 20), (2.5, 1, 0.5, 0.1, 0.2), ("GFP", "RFP")
    )


INPUTS = {"imagej": hyperstack, "ome-tiff": ome_tiff, "ome-zarr": ome_zarr}


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("format", ["same", "tiff", "ome-tiff", "ome-zarr"])
def test_a_result_in_any_format_has_the_pixels_the_sizes_and_the_channels(
    denoiser: Denoiser, tmp_path: Path, given: str, format: Any
) -> None:
    image = open_image(INPUTS[given](tmp_path))
    saved = denoised_to(denoiser, image, tmp_path / "out", 2, channels="0,1", format=format)
    found = open_image(saved.path)
    expected = denoiser.denoise(STACK, 2, axes="TZCYX", channels="0,1").mean
    order = [found.axes.index(a) for a in "TZCYX"]
    np.testing.assert_array_equal(whole(found).transpose(order), np.rint(expected).clip(0, 65535))
    assert {a: round(n, 9) for a, n in found.described().sizes.items()} == SIZES
    assert {unit for a, unit in found.described().units.items() if a != "T"} == {"micrometer"}
    before, after = image.described().channels, found.described().channels
    for a, b in zip(before, after, strict=True):
        assert b.name == (a.name if found.kind != "imagej" else "")
        assert b.color == a.color or not a.color
        if found.kind != "ome" and a.window:  # OME-XML of 2016 has no display range
            assert b.window == a.window
    if format == "tiff":
        assert found.kind == "imagej"


def whole(image: ImageFile) -> Any:
    return image.assemble((image.read_item(i, 2) for i in range(image.n_items(2))), 2)


def test_display_ranges_colours_and_time_stamps_go_on_in_the_same_format(denoiser: Denoiser, tmp_path: Path) -> None:
    saved = denoised_to(denoiser, open_image(hyperstack(tmp_path)), tmp_path / "out", 2, channels="1", uncertainty=True)
    with tifffile.TiffFile(saved.path) as tif:
        found = tif.imagej_metadata
        assert found is not None
        assert list(found["Ranges"]) == [3.0, 300.0, 5.0, 500.0] and found["mode"] == "composite"
        np.testing.assert_array_equal(found["LUTs"], luts())
        np.testing.assert_array_equal(tif.asarray()[:, :, 0], STACK[:, :, 0])  # the other channel is copied
    with tifffile.TiffFile(saved.std_path) as tif:
        assert not {"Ranges", "min", "max"} & set(tif.imagej_metadata or {})  # it is of other values
    saved = denoised_to(denoiser, open_image(ome_tiff(tmp_path)), tmp_path / "out", 2, channels="RFP", others="drop")
    with tifffile.TiffFile(saved.path) as tif:
        said = tifffile.xml2dict(tif.ome_metadata or "")["OME"]["Image"]
        assert said["AcquisitionDate"] == "2026-11-25T08:00:00"
        assert said["Pixels"]["Channel"]["Name"] == "RFP" and "Plane" not in said["Pixels"]
    saved = denoised_to(denoiser, open_image(ome_tiff(tmp_path)), tmp_path / "out2", 2, channels="RFP")
    with tifffile.TiffFile(saved.path) as tif:
        planes = tifffile.xml2dict(tif.ome_metadata or "")["OME"]["Image"]["Pixels"]["Plane"]
        of = {(p["TheT"], p["TheZ"], p["TheC"]): p["DeltaT"] for p in planes}
        assert of == {
            (t, z, c): pytest.approx(10 * t + z + 0.1 * c) for t in range(2) for z in range(3) for c in range(2)
        }


@pytest.mark.parametrize("given", ["imagej", "ome-tiff"])
@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw"])
def test_a_compressed_result_holds_the_same(denoiser: Denoiser, tmp_path: Path, given: str, compression: Any) -> None:
    image = open_image(INPUTS[given](tmp_path))
    plain = denoised_to(denoiser, image, tmp_path / "plain", 2, channels="0")
    saved = denoised_to(denoiser, image, tmp_path / "out", 2, channels="0", compression=compression)
    with tifffile.TiffFile(plain.path) as a, tifffile.TiffFile(saved.path) as b:
        np.testing.assert_array_equal(b.asarray(), a.asarray())
        assert (b.series[0].axes, b.series[0].kind) == (a.series[0].axes, a.series[0].kind)
        assert (
            b.pages.first.compression.name.lower()
            in {"zlib": "adobe_deflate", "zstd": "zstd", "lzw": "lzw"}[compression]
        )
        assert a.imagej_metadata is None or str(b.imagej_metadata) == str(a.imagej_metadata)
    assert [p.name for p in saved.path.parent.iterdir()] == [saved.path.name]


@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_compressed_store_holds_the_same(denoiser: Denoiser, tmp_path: Path, compression: Any, version: str) -> None:
    image = open_image(store(tmp_path / "a.zarr", scene(40, 50), "yx", version))
    saved = denoised_to(denoiser, image, tmp_path / "out", 2, compression=compression)
    expected = np.rint(denoiser.denoise(scene(40, 50), 2, axes="YX").mean).clip(0)
    np.testing.assert_array_equal(pixels(saved.path), expected)


def test_bioio_opens_a_result_and_sees_the_same(denoiser: Denoiser, tmp_path: Path) -> None:
    bioio = pytest.importorskip("bioio")
    pytest.importorskip("bioio_ome_tiff")
    saved = denoised_to(
        denoiser, open_image(hyperstack(tmp_path)), tmp_path / "out", 2, channels="0", format="ome-tiff"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        seen = bioio.BioImage(saved.path)
        np.testing.assert_array_equal(
            seen.get_image_data("TZCYX"), whole(open_image(saved.path)).transpose(0, 2, 1, 3, 4)
        )
        sizes = seen.physical_pixel_sizes
        assert pytest.approx((0.5, 0.1, 0.2)) == (sizes.Z, sizes.Y, sizes.X)
    saved = denoised_to(
        denoiser, open_image(ome_zarr(tmp_path)), tmp_path / "out2", 2, channels="GFP", format="ome-tiff"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert bioio.BioImage(saved.path).channel_names == ["GFP", "RFP"]


def test_a_czi_is_read_by_bioio_and_becomes_an_ome_tiff(denoiser: Denoiser, tmp_path: Path) -> None:
    """Where the extra `formats` is installed."""
    pytest.importorskip("bioio_czi")
    czi = pytest.importorskip("pylibCZIrw.czi")
    planes = scene(6, 60, 70)
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for z in range(3):
            for c in range(2):
                file.write(data=planes[2 * z + c][..., None], plane={"Z": z, "C": c, "T": 0})
        file.write_metadata("a", channel_names={0: "GFP", 1: "RFP"}, scale_x=1e-7, scale_y=1e-7, scale_z=5e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = denoised_to(denoiser, open_image(tmp_path / "a.czi"), tmp_path / "out", 2, channels="GFP")
    found = open_image(saved.path)
    assert (saved.path.name, found.axes, found.shape) == ("a_denoised.ome.tif", "CZYX", (2, 3, 60, 70))
    np.testing.assert_array_equal(whole(found)[1], planes[1::2])
    np.testing.assert_allclose([found.described().sizes[a] for a in "ZYX"], [0.5, 0.1, 0.1])
    assert [c.name for c in found.described().channels] == ["GFP", "RFP"]


MACRO = """
setBatchMode(true); open(getArgument());
getDimensions(w, h, c, z, t); getVoxelSize(vw, vh, vd, unit);
print(w, h, c, z, t, vw, vh, vd, unit, Stack.getFrameInterval());
n = nSlices;
for (i = 1; i <= n; i++) {
    setSlice(i); getMinAndMax(low, high);
    print("plane", getPixel(0, 0), getPixel(w - 1, h - 1), getPixel(3, 5), low, high);
}
"""
JAR = Path("/usr/share/java/ij.jar")  # Debian's imagej


@pytest.mark.skipif(not (JAR.exists() and shutil.which("xvfb-run")), reason="no ImageJ 1 (apt: imagej xvfb xauth)")
@pytest.mark.slow
def test_imagej_opens_a_result_with_dimensions_calibration_ranges_and_pixels(
    denoiser: Denoiser, tmp_path: Path
) -> None:
    """ImageJ 1 itself, by a macro; a result of an OME-Zarr too, and compressed."""
    (tmp_path / "look.ijm").write_text(MACRO)
    sources = [hyperstack(tmp_path), ome_zarr(tmp_path), ome_tiff(tmp_path)]
    how = [(0, "default"), (1, "default"), (2, "default"), (0, "zlib"), (0, "lzw")]
    for source, compression in ((sources[i], compression) for i, compression in how):
        out = tmp_path / f"{source.name}-{compression}"
        saved = denoised_to(
            denoiser, open_image(source), out, 2, channels="0", format="tiff", compression=compression
        )  # fmt: skip
        line = [
            "xvfb-run",
            "-a",
            "java",
            "-cp",
            str(JAR),
            "ij.ImageJ",
            "-batch",
            str(tmp_path / "look.ijm"),
            str(saved.path),
        ]
        told = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        lines = [entry for entry in told.stdout.splitlines() if entry.strip()]
        head = next(i for i, entry in enumerate(lines) if entry.startswith("20 24 2 3 2 "))
        numbers = lines[head].split()
        assert [float(n) for n in numbers[5:8]] == pytest.approx([0.2, 0.1, 0.5], abs=1e-4)
        assert numbers[8] in ("micron", "microns", "um", "µm", "\u00b5m") and float(numbers[9]) == pytest.approx(2.5)
        planes = [list(map(float, entry.split()[1:])) for entry in lines[head + 1 :] if entry.startswith("plane")]
        array = whole(open_image(saved.path)).reshape(12, 24, 20)
        assert [p[:3] for p in planes] == [[a[0, 0], a[-1, -1], a[5, 3]] for a in array]
        if source is sources[0]:
            assert [p[3:] for p in planes[:2]] == [[3, 300], [5, 500]]


def test_samples_beside_time_and_depth_have_no_place_in_ome_zarr(denoiser: Denoiser, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.broadcast_to(scene(24, 20), (2, 2, 2, 24, 20)))
    image = open_image(tmp_path / "a.npy", "STZYX")
    with pytest.raises(ImageError, match="samples beside time and depth have no place in this format"):
        denoised_to(denoiser, image, tmp_path / "out", 2, format="ome-zarr")
    assert denoised_to(denoiser, image, tmp_path / "out", 2).path.name == "a_denoised.tif"


@pytest.mark.parametrize(("axes", "expected"), [("SYX", "TYX"), ("STYX", "ZTYX"), ("SCYX", "TCYX")])
def test_samples_become_frames_or_slices_where_a_format_has_no_samples(
    denoiser: Denoiser, tmp_path: Path, axes: str, expected: str
) -> None:
    array = scene(6, 24, 20).reshape(
        [{"S": 3, "T": 2, "C": 2, "Y": 24, "X": 20}[a] for a in axes] if len(axes) > 3 else (6, 24, 20)
    )
    np.save(tmp_path / "a.npy", array)
    image = open_image(tmp_path / "a.npy", axes)
    channels = "0,1" if "C" in axes else None
    saved = denoised_to(denoiser, image, tmp_path / "out", 2, format="ome-zarr", channels=channels)
    found = open_image(saved.path)
    expectation = np.rint(denoiser.denoise(array, 2, axes=axes, channels=channels).mean).clip(0)
    order = [found.axes.index(a) for a in expected]
    np.testing.assert_array_equal(whole(found).transpose(order), expectation)


def test_a_reader_of_ones_own_is_used_for_its_ending(
    denoiser: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> xarray.DataArray:
        raw = np.frombuffer(path.read_bytes(), np.uint16).reshape(2, 24, 20)
        attrs = {"pixel_size": {"y": 0.1, "x": 0.2}, "unit": "micrometer"}
        return xarray.DataArray(raw, dims=("channel", "y", "x"), coords={"channel": ["GFP", "RFP"]}, attrs=attrs)

    monkeypatch.setattr(readers, "_own", lambda: {".raw": read})
    readers.further_suffixes.cache_clear()
    try:
        array = scene(2, 24, 20)
        (tmp_path / "a.raw").write_bytes(array.tobytes())
        image = open_image(tmp_path / "a.raw")
        assert (image.axes, image.shape) == ("CYX", (2, 24, 20))
        saved = denoised_to(denoiser, image, tmp_path / "out", 2, channels="RFP")
        found = open_image(saved.path)
        assert (saved.path.name, found.kind) == ("a_denoised.ome.tif", "ome")
        np.testing.assert_array_equal(whole(found)[0], array[0])
        assert [c.name for c in found.described().channels] == ["GFP", "RFP"]
        assert found.described().sizes == {"Y": 0.1, "X": 0.2}
        (tmp_path / "b.raw").write_bytes(b"short")
        with pytest.raises(ImageError, match=r"b.raw cannot be read \(ValueError"):
            open_image(tmp_path / "b.raw")
    finally:
        readers.further_suffixes.cache_clear()


def test_a_lazy_array_is_read_window_by_window(denoiser: Denoiser, tmp_path: Path) -> None:
    import dask.array

    seen: list[int] = []

    def piece(block: Any, block_info: Any = None) -> Any:
        seen.append(block.size)
        return block

    array = scene(2, 64, 64)
    lazy = dask.array.from_array(array, chunks=(1, 32, 32)).map_blocks(
        piece, dtype=array.dtype, meta=np.empty((0, 0, 0), array.dtype)
    )
    labelled = xarray.DataArray(lazy, dims=("t", "y", "x"), attrs={"pixel_size": {"y": 0.1, "x": 0.1}})
    found = denoiser.denoise(labelled, 2, tile_px=32, halo_px=16).mean
    assert max(seen) <= 32 * 32 and found.attrs["pixel_size"] == {"y": 0.1, "x": 0.1}
    np.testing.assert_array_equal(found.values, denoiser.denoise(array, 2, axes="TYX", tile_px=32, halo_px=16).mean)


def test_an_image_becomes_a_lazy_dataarray_with_coordinates(tmp_path: Path) -> None:
    for make in INPUTS.values():
        image = open_image(make(tmp_path))
        found = image.to_xarray()
        assert set(found.dims) == {"t", "z", "c", "y", "x"} and hasattr(found.data, "dask")
        np.testing.assert_array_equal(found.transpose("t", "z", "c", "y", "x").values, STACK)
        assert found.coords["z"].values.tolist() == [0, 0.5, 1.0]
        assert math.isclose(found.attrs["pixel_size"]["x"], 0.2) and found.attrs["time_step"] == 2.5
        np.testing.assert_array_equal(found[1, ..., 3:9, 5].values, np.asarray(found.values)[1, ..., 3:9, 5])
