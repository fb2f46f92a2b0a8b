"""Reading and writing images: what goes in comes out with the same axes, pixel size and metadata."""

import errno
import math
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import xarray
from numpy.typing import NDArray

from cosdd_zoo.data import pixels
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.axes import Layout
from cosdd_zoo.data.canvas import Form, to_dtype, unturned
from cosdd_zoo.data.finding import Source, find_images
from cosdd_zoo.data.images import ImageFile, check_finite, open_image
from cosdd_zoo.data.results import result_path
from cosdd_zoo.data.writing import write_tiff
from cosdd_zoo.errors import AxesError, ImageError, OutputError

Array = NDArray[Any]


def counted(shape: tuple[int, ...], dtype: str = "uint16") -> Array:
    """Every pixel another value, so that a wrong place shows."""
    return np.arange(math.prod(shape), dtype=dtype).reshape(shape)


def items_of(image: ImageFile, n_dims: int) -> Iterator[Array]:
    return (image.read_item(i, n_dims) for i in range(image.n_items(n_dims)))


def saved(path: Path, array: Array, **options: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(array))
    else:
        tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
    return path


# --- reading ---------------------------------------------------------------------------------------------------------

FORMS: list[tuple[str, tuple[int, ...], dict[str, Any], str]] = [
    ("plain.tif", (9, 7), {}, "YX"),
    ("stack.tif", (5, 9, 7), {}, "SYX"),
    ("pages.tif", (5, 9, 7), {"metadata": None}, "SYX"),
    ("one.tif", (1, 9, 7), {}, "SYX"),
    ("zlib.tif", (5, 9, 7), {"compression": "zlib"}, "SYX"),
    ("tiled.tif", (2, 40, 50), {"tile": (16, 16), "compression": "zlib"}, "SYX"),
    ("strips.tif", (2, 40, 50), {"rowsperstrip": 8, "compression": "lzw", "predictor": True}, "SYX"),
    ("big.tif", (5, 9, 7), {"bigtiff": True}, "SYX"),
    ("endian.tif", (5, 9, 7), {"byteorder": ">"}, "SYX"),
    ("named.tif", (2, 3, 9, 7), {"metadata": {"axes": "TCYX"}}, "TCYX"),
    ("hyper.tif", (2, 4, 3, 9, 7), {"imagej": True, "metadata": {"axes": "TZCYX"}}, "TZCYX"),
    ("time.tif", (4, 9, 7), {"imagej": True, "metadata": {"axes": "TYX"}}, "TYX"),
    ("a.ome.tif", (2, 3, 4, 9, 7), {"metadata": {"axes": "TCZYX"}}, "TCZYX"),
    ("z.ome.tif", (3, 4, 9, 7), {"metadata": {"axes": "CZYX"}, "compression": "zlib"}, "CZYX"),
    ("colour.tif", (9, 7, 3), {"photometric": "rgb"}, "YXC"),
    ("image.npy", (9, 7), {}, "YX"),
    ("stack.npy", (6, 9, 7), {}, "SYX"),
    ("line.npy", (9,), {}, "X"),
    ("grey.png", (9, 7), {}, "YX"),
    ("colour.png", (9, 7, 3), {}, "YXC"),
]


@pytest.mark.parametrize(("name", "shape", "options", "axes"), FORMS, ids=[f[0] for f in FORMS])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_image_reads_as_it_was_saved_with_the_axes_of_its_metadata(
    tmp_path: Path, name: str, shape: tuple[int, ...], options: dict[str, Any], axes: str, dtype: str
) -> None:
    if name.endswith(".png") and dtype == "float32":
        pytest.skip("PNG has no floats")
    array = counted(shape, "int64").astype(dtype)
    image = open_image(saved(tmp_path / name, array, **options))
    assert (image.axes, image.shape, image.dtype) == (axes, shape, array.dtype)
    n_dims = 2 if "Y" in axes else 1
    whole = image.assemble(items_of(image, n_dims), n_dims)
    np.testing.assert_array_equal(whole, array)
    assert whole.dtype.isnative and image.read_item(0, n_dims).dtype == array.dtype


def test_items_of_a_plane_model_count_everything_but_channels(tmp_path: Path) -> None:
    array = counted((2, 4, 3, 9, 7))
    image = open_image(saved(tmp_path / "h.tif", array, imagej=True, metadata={"axes": "TZCYX"}))
    assert (image.n_items(2), image.item_shape(2), image.n_channels) == (8, (3, 9, 7), 3)
    np.testing.assert_array_equal(image.read_item(5, 2), array[1, 1])
    assert (image.n_items(3), image.item_shape(3)) == (2, (3, 4, 9, 7))
    np.testing.assert_array_equal(image.read_item(1, 3), array[1].transpose(1, 0, 2, 3))
    np.testing.assert_array_equal(image.read_item(8, 1), array[0, 0, :, 8])
    with pytest.raises(IndexError):
        image.read_item(8, 2)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_crop_is_that_part_of_the_item(tmp_path: Path, compression: str | None) -> None:
    array = counted((2, 3, 4, 20, 30))
    image = open_image(saved(tmp_path / "c.ome.tif", array, metadata={"axes": "TCZYX"}, compression=compression))
    crop = image.read_crop(1, 3, (1, 5, 8), (2, 10, 12))
    np.testing.assert_array_equal(crop, array[1, :, 1:3, 5:15, 8:20])
    np.testing.assert_array_equal(image.read_crop(6, 2, (0, 29 - 8), (20, 9)), array[1, :, 2, :, 21:30])
    with pytest.raises(ValueError, match=r"sticks out"):
        image.read_crop(0, 2, (15, 0), (10, 10))


def test_uncompressed_pixels_are_mapped_and_compressed_ones_decoded_by_page(tmp_path: Path) -> None:
    array = counted((5, 9, 7))
    for form in ({}, {"imagej": True}, {"bigtiff": True}, {"metadata": None}, {"ome": True}):
        assert isinstance(open_image(saved(tmp_path / "m.tif", array, **form)).pixels, pixels.Mapped), form
    assert isinstance(open_image(saved(tmp_path / "a.npy", array)).pixels, pixels.Mapped)
    assert isinstance(open_image(saved(tmp_path / "z.tif", array, compression="zlib")).pixels, pixels.Pages)


def test_opening_decodes_nothing_and_a_read_only_its_own_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "z.tif", counted((5, 9, 7)), compression="zlib")
    read = []
    monkeypatch.setattr(pixels, "_read_page", lambda page: read.append(page.index) or page.asarray())
    image = open_image(path)
    assert not read
    with tifffile.TiffFile(path) as tif:
        monkeypatch.setattr(pixels, "tiff_pages", lambda *_: list(tif.series[0].pages))
        image.read_crop(3, 2, (0, 0), (2, 2))
        image.read_crop(3, 2, (4, 4), (2, 2))
    assert read == [3]


def test_the_cache_keeps_to_its_bytes_and_always_holds_the_newest() -> None:
    cache = pixels.DecodedCache(100)
    made: list[int] = []

    def get(key: int, size: int) -> None:
        cache.get(key, lambda: made.append(key) or np.zeros(size, np.uint8))  # type: ignore[func-returns-value]

    for key, size in [(1, 40), (2, 40), (1, 40), (3, 40), (1, 40), (2, 40), (4, 500), (4, 500)]:
        get(key, size)
    assert made == [1, 2, 3, 2, 4]


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "z.tif"
    for value in (1, 2):
        saved(path, np.full((9, 7), value, np.uint16), compression="zlib")
        os.utime(path, ns=(value, value))
        assert open_image(path).read_item(0, 2).max() == value


@pytest.mark.parametrize("name", ["z.tif", "m.npy", "p.png"])
def test_images_go_to_worker_processes(tmp_path: Path, name: str) -> None:
    image = open_image(saved(tmp_path / name, counted((9, 7)), **({"compression": "zlib"} if name == "z.tif" else {})))
    first = image.read_item(0, 2)
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(again.read_item(0, 2), first)


def test_what_is_read_may_be_written_to_without_changing_the_file(tmp_path: Path) -> None:
    image = open_image(saved(tmp_path / "z.tif", counted((9, 7)), compression="zlib"))
    image.read_item(0, 2)[:] = 0
    assert image.read_item(0, 2).max() == 62


def test_a_fortran_ordered_npy_is_read_right(tmp_path: Path) -> None:
    array = np.asfortranarray(counted((6, 9, 7)))
    image = open_image(saved(tmp_path / "f.npy", array))
    np.testing.assert_array_equal(image.read_item(4, 2)[0], array[4])


def test_a_16_bit_colour_png_keeps_its_16_bits_and_loses_only_transparency(tmp_path: Path) -> None:
    array = counted((9, 7, 4)) + 1000
    image = open_image(saved(tmp_path / "c.png", array))
    assert (image.axes, image.shape) == ("YXC", (9, 7, 3))
    np.testing.assert_array_equal(image.read_item(0, 2), array[..., :3].transpose(2, 0, 1))


# --- axes ------------------------------------------------------------------------------------------------------------


def test_the_user_may_name_the_axes_otherwise_than_the_file(tmp_path: Path) -> None:
    array = counted((4, 9, 7))
    path = saved(tmp_path / "h.tif", array, imagej=True, metadata={"axes": "ZYX"})
    image = open_image(path, "tyx")
    assert (image.axes, image.axes_source, image.n_items(2)) == ("TYX", "given", 4)
    written = write_tiff(tmp_path / "out.tif", items_of(image, 2), image, 2).path
    with tifffile.TiffFile(written) as tif:
        assert tif.series[0].axes == "ZYX"


def test_axes_of_length_one_need_no_name(tmp_path: Path) -> None:
    image = open_image(saved(tmp_path / "one.tif", counted((1, 9, 7))), "YX")
    assert (image.axes, image.shape, image.n_items(2)) == ("SYX", (1, 9, 7), 1)
    ome = saved(tmp_path / "o.ome.tif", counted((1, 3, 1, 9, 7)), metadata={"axes": "TCZYX"})
    assert open_image(ome, "TCZYX").axes == open_image(ome).axes == "CYX"


def test_who_named_the_axes_is_known(tmp_path: Path) -> None:
    assert open_image(saved(tmp_path / "s.npy", counted((6, 9, 7)))).axes_source == "guess"
    assert open_image(saved(tmp_path / "i.tif", counted((6, 9, 7)), imagej=True)).axes_source == "metadata"


WRONG_AXES = [
    ((24, 9, 7), "YX", "has shape (24, 9, 7), but --axes 'YX' names 2 axes. For a stack of 24 one-channel images, use"),
    ((9, 7), "SYX", "--axes 'SYX' names 3 axes. For one image of one channel, use --axes YX."),
    ((9, 7), "X", "names 1 axis."),
    ((9,), "YX", "For one line of pixels, use --axes X."),
    ((9, 7, 3), "YX", "For one image of 3 channels, use --axes YXC; for a stack of 9 images, use --axes SYX."),
    ((3, 9, 7), "YX", "For a stack of 3 one-channel images, use --axes SYX; for 3 channels of one image, --axes CYX."),
    ((8, 6, 9, 7), "SYX", "For 8 time points of 6 planes, use --axes TZYX."),
    ((8, 2, 9, 7), "SYX", "For 8 images of 2 channels, use --axes SCYX; for 8 stacks, --axes SZYX."),
    ((2, 8, 9, 7), "SYX", "For 2 channels of 8 planes, use --axes CZYX; for 2 time points of them, --axes TZYX."),
    ((2, 2, 3, 9, 7), "SYX", "Use --axes with one letter of S (sample), T (time), C (channel), Z, Y, X for each axis."),
    ((9, 7), "YQ", "--axes 'YQ' has the letter 'Q'. Use S (sample)"),
    ((9, 7), "XX", "--axes 'XX' names an axis twice."),
    ((9, 7), "ZY", "--axes 'ZY' has no X."),
]


@pytest.mark.parametrize(("shape", "axes", "sentence"), WRONG_AXES)
def test_axes_that_do_not_fit_are_refused_with_axes_that_do(shape: tuple[int, ...], axes: str, sentence: str) -> None:
    with pytest.raises(AxesError) as raised:
        from_array(counted(shape), axes)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("shape", [(5, 6, 9, 7), (9, 7, 3)])
def test_axes_that_a_shape_does_not_tell_are_asked_for(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for name in ("a.npy", "a.tif")[: 2 if len(shape) == 4 else 1]:
        with pytest.raises(AxesError, match=f"{name} has shape .* and does not say which axis is which. For .* --axes"):
            open_image(saved(tmp_path / name, counted(shape)))


def test_a_few_planes_that_only_tifffile_took_for_colours_are_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "shots.tif", counted((4, 9, 7)), photometric="rgb", planarconfig="separate")
    with pytest.raises(AxesError, match=r"stack of 4 one-channel images, use --axes SYX; for 4 channels"):
        open_image(path)
    image = open_image(path, "SYX")
    assert image.n_items(2) == 4
    written = open_image(write_tiff(tmp_path / "out.tif", items_of(image, 2), image, 2).path, "SYX")
    np.testing.assert_array_equal(written.assemble(items_of(written, 2), 2), counted((4, 9, 7)))


def test_a_plane_for_a_stack_model_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"has axes YX and shape .* but a 3-D model needs ZYX. A model of 2 dimensions"
    ):
        from_array(counted((9, 7))).item_shape(3)
    with pytest.raises(ImageError, match=r"If S is depth, use --axes ZYX; if not, a model of 2 dimensions fits"):
        from_array(counted((6, 9, 7))).read_item(0, 3)


# --- finding ---------------------------------------------------------------------------------------------------------


def test_files_folders_and_globs_are_found_once_and_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.tif", "f2.tif", "f1.TIF", "note.txt", ".hidden.tif", "x.png"):
        (tmp_path / name).touch()
    (tmp_path / "sub.tif").mkdir()
    names = [p.name for p in find_images([tmp_path])]
    assert names == ["f1.TIF", "f2.tif", "f10.tif", "x.png"]
    assert [p.name for p in find_images([f"{tmp_path}/f*", tmp_path / "x.png", tmp_path])] == names
    assert [p.name for p in find_images([tmp_path / "x.png", tmp_path])] == ["x.png", *names[:3]]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "cell[1].tif").touch()
    assert find_images([tmp_path / "cell[1].tif"])[0].name == "cell[1].tif"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("empty", "The folder .*empty holds no image. Expected files that end in .tif, .*"),
        ("*.png", "No image matches .*png. Check the pattern"),
        ("gone.tif", "gone.tif does not exist. Check the spelling"),
        ("cells.docx", r"cells.docx is of a kind that cannot be read. Expected .tif, .* convert it first"),
    ],
)
def test_sources_without_an_image_are_refused(tmp_path: Path, source: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cells.docx").touch()
    with pytest.raises(ImageError, match=sentence):
        find_images([tmp_path / source])
    with pytest.raises(ImageError, match=r"No images were given"):
        find_images([])


# --- bad files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.tif", b"no image at all", "a.tif is not a TIFF file .* Export it again as TIFF"),
        ("a.tif", b"II*\0\x08\0\0\0", "a.tif (cannot be read as a TIFF|is a TIFF without an image|is not a TIFF file)"),
        ("a.tif", b"", r"a.tif is empty \(0 bytes\). Copy it again"),
        ("a.npy", b"no image at all", "a.npy cannot be read as a NumPy array .* Save it again with numpy.save"),
        ("a.png", b"no image at all", "a.png is not a PNG file. Export it again"),
    ],
)
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=sentence):
        open_image(tmp_path / name)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"imagej": True},
        {"imagej": True, "truncate": True},
        {"ome": True},
        {"truncate": True},
        {"compression": "zlib"},
        {"compression": "zlib", "metadata": None},
        {"compression": "zlib", "ome": True},
        {"bigtiff": True},
        {"rowsperstrip": 16, "metadata": None},
    ],
    ids=str,
)
def test_a_truncated_tiff_is_refused_when_opened(tmp_path: Path, options: dict[str, Any], share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 60_000, (10, 64, 64)).astype(np.uint16)
    path = saved(tmp_path / "t.tif", noise, **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match=r"t.tif (is truncated: .*|cannot be read as a TIFF .*)[Cc]opy it again"):
        open_image(path)


@pytest.mark.parametrize("pages", [(1,), (10,)])
def test_a_page_that_lost_its_last_pixels_is_truncated(tmp_path: Path, pages: tuple[int]) -> None:
    path = tmp_path / "t.tif"
    with tifffile.TiffWriter(path) as tif:  # pixels behind the header, as most microscopes write them
        for page in counted((*pages, 64, 64)):
            tif.write(page, contiguous=False, metadata=None, photometric="minisblack")
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(ImageError, match=r"t.tif is truncated"):
        open_image(path)


def test_a_truncated_npy_or_png_is_refused(tmp_path: Path) -> None:
    for name in ("t.npy", "t.png"):
        path = saved(tmp_path / name, counted((64, 64)))
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(ImageError, match=r"t.npy cannot be read as|t.png cannot be decoded .* is damaged"):
            open_image(path).read_item(0, 2)


def test_a_page_that_does_not_decode_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "z.tif", counted((5, 64, 64)), compression="zlib")
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[2].dataoffsets[0]
    with path.open("rb+") as file:
        file.seek(at)
        file.write(b"\xff" * 50)
    image = open_image(path)
    image.read_item(0, 2)
    with pytest.raises(ImageError, match=r"Page 3 of z.tif cannot be decoded .* The file is damaged"):
        image.read_item(2, 2)


@pytest.mark.parametrize("name", ["m.npy", "z.tif", "p.png"])
def test_a_file_that_vanishes_while_in_use_is_said(tmp_path: Path, name: str) -> None:
    options = {"compression": "zlib"} if name == "z.tif" else {}
    image = open_image(saved(tmp_path / name, counted((9, 7)), **options))
    (tmp_path / name).unlink()
    with pytest.raises(ImageError, match=f"{name} has vanished or changed since it was opened"):
        image.read_item(0, 2)


def test_a_file_of_several_images_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as tif:
        for size in (9, 7):
            tif.write(counted((size, size)), photometric="minisblack")
    with pytest.raises(ImageError, match=r"two.tif holds 2 images of their own .* Save each one as a file"):
        open_image(tmp_path / "two.tif")


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.tif", counted((9, 7)))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(tifffile, "TiffFile", refuse)
    with pytest.raises(ImageError, match=r"a.tif cannot be read: Permission denied. Check its permissions"):
        open_image(path)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((5, 5), complex), "holds complex numbers. Expected integers or floating-point"),
        (np.zeros((5, 5), bool), "holds true or false"),
        (np.full((5, 5), "a"), "holds <U1"),
        (np.full((5, 5), None), "holds Python objects"),
        (np.zeros((0, 5)), r"has shape \(0, 5\), so it holds no pixels"),
        (np.zeros(()), r"has shape \(\), so it holds no pixels"),
    ],
)
def test_what_is_not_intensities_is_refused(array: Array, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        from_array(array)


def test_objects_in_an_npy_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"o.npy cannot be read as a NumPy array"):
        open_image(tmp_path / "o.npy")


def test_pixels_that_are_not_finite_are_counted_by_kind() -> None:
    item = np.zeros((1, 8, 8), np.float32)
    check_finite(item, "a.tif")
    check_finite(item.astype(np.uint8), "a.tif")
    item[0, 0, :3], item[0, 1, 0] = np.nan, -np.inf
    with pytest.raises(ImageError, match=r"a.tif has 3 NaN and 1 infinite pixels of 64. Crop them away"):
        check_finite(item, "a.tif")


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_a_data_array_comes_back_with_its_dims_coords_and_attrs() -> None:
    array = xarray.DataArray(
        counted((2, 5, 9, 7)),
        dims=("channel", "Time", "y", "x"),
        coords={"channel": ["a", "b"], "x": np.linspace(0, 1, 7), "run": 3},
        attrs={"unit": "counts"},
        name="cells",
    )
    image = from_array(array)
    assert (image.axes, image.n_items(2), image.axes_source) == ("CTYX", 5, "given")
    xarray.testing.assert_identical(image.labelled(image.assemble(items_of(image, 2), 2)), array)
    fewer = image.labelled(image.assemble((item[:1] for item in items_of(image, 2)), 2))
    assert isinstance(fewer, xarray.DataArray)
    assert fewer.dims == array.dims and fewer.shape == (1, 5, 9, 7) and set(fewer.coords) == {"x", "run"}


def test_more_channels_than_before_get_an_axis_before_y() -> None:
    array = xarray.DataArray(counted((5, 9, 7)), dims=("z", "y", "x"))
    image = from_array(array)
    more = image.labelled(image.assemble((np.concatenate([i, i]) for i in items_of(image, 3)), 3))
    assert isinstance(more, xarray.DataArray) and more.dims == ("z", "c", "y", "x")
    np.testing.assert_array_equal(more[:, 1], array)


def test_a_plain_array_comes_back_as_one_and_too_few_items_are_noticed() -> None:
    image = from_array(counted((5, 9, 7)))
    whole = image.assemble(items_of(image, 2), 2)
    assert image.labelled(whole) is whole
    with pytest.raises(ValueError, match=r"4 items are missing"):
        image.assemble([image.read_item(0, 2)], 2)


def test_dims_that_name_no_axis_are_refused() -> None:
    with pytest.raises(
        AxesError, match=r"The DataArray has dims \('u', 'y', 'x'\) .* pass axes=, for example axes='SYX'"
    ):
        from_array(xarray.DataArray(counted((5, 9, 7)), dims=("u", "y", "x")))
    assert from_array(xarray.DataArray(counted((5, 9, 7)), dims=("u", "y", "x")), "SYX").axes == "SYX"


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape", "options", "axes"), FORMS, ids=[f[0] for f in FORMS])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_result_has_the_axes_shape_and_kind_of_its_input(
    tmp_path: Path, name: str, shape: tuple[int, ...], options: dict[str, Any], axes: str, dtype: str
) -> None:
    array = counted(shape, "int64").astype("uint8")
    image = open_image(saved(tmp_path / name, array, **options))
    (tmp_path / "out").mkdir()
    n_dims = 2 if "Y" in axes else 1
    items = (item.astype(np.float32) for item in items_of(image, n_dims))
    out = write_tiff(
        result_path(Source(image.path, image.path, Path()), tmp_path / "out"), items, image, n_dims, dtype
    ).path
    assert out.suffix == ".tif" and [p.name for p in out.parent.iterdir()] == [out.name]
    if axes == "X":
        axes, shape = "YX", (1, *shape)
    np.testing.assert_array_equal(tifffile.imread(out), array.reshape(shape))
    found = open_image(out)
    kind = "plain" if name == "colour.tif" else image.kind
    assert (found.axes, found.shape, found.dtype, found.kind) == (axes, shape, np.dtype(dtype), kind)


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX", "YXC", "TCZYX", "CTYX", "XY", "ZXCY", "CYX", "SZYXC"])
@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_items_find_their_place_whatever_the_order_of_axes(tmp_path: Path, axes: str, n_dims: int) -> None:
    if n_dims == 3 and "Z" not in axes:
        pytest.skip("no stack")
    lengths = dict(zip("STCZYX", (2, 3, 4, 5, 9, 7), strict=True))
    array = counted(tuple(lengths[a] for a in axes))
    image = from_array(array, axes)
    np.testing.assert_array_equal(image.assemble(items_of(image, n_dims), n_dims), array)
    out = write_tiff(tmp_path / "a.tif", items_of(image, n_dims), image, n_dims).path
    np.testing.assert_array_equal(tifffile.imread(out), array)
    assert open_image(out).axes == axes


@pytest.mark.parametrize("shape", [(1, 1), (9, 1), (1, 7), (5, 9, 1), (5, 1, 7), (5, 1, 1), (1, 1, 1), (1, 9, 7)])
@pytest.mark.parametrize("form", [{"imagej": True}, {"ome": True}, {}, {"compression": "zlib"}, {"metadata": None}])
def test_lengths_of_one_pixel_survive(tmp_path: Path, shape: tuple[int, ...], form: dict[str, Any]) -> None:
    if {"imagej", "ome"} & set(form) and len(shape) == 3 and shape[-1] == 1:
        pytest.skip("tifffile cannot write it, or not every version")
    named = {"metadata": {"axes": "TYX"[3 - len(shape) :]}}
    path = saved(tmp_path / "a.tif", counted(shape), **{**named, **form})
    image = open_image(path)
    out = open_image(write_tiff(tmp_path / "o.tif", items_of(image, 2), image, 2).path)
    assert (out.axes, out.shape) == (image.axes, image.shape)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), tifffile.imread(path))


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize("form", [{"imagej": True}, {"ome": True}, {}])
def test_a_result_may_have_more_channels_or_fewer(tmp_path: Path, n_dims: int, form: dict[str, Any]) -> None:
    array = counted((5, 9, 7))
    image = open_image(saved(tmp_path / "a.tif", array, metadata={"axes": "ZYX"}, **form))
    two = (np.concatenate([i, i + 1000]) for i in items_of(image, n_dims))
    out = open_image(write_tiff(tmp_path / "two.tif", two, image, n_dims, n_channels=2).path)
    assert (out.axes, out.shape) == ("ZCYX", (5, 2, 9, 7))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "two.tif")[:, 1], array + 1000)
    one = (i[:1] for i in items_of(out, n_dims))
    again = write_tiff(tmp_path / "one.tif", one, out, n_dims, n_channels=1).path
    np.testing.assert_array_equal(tifffile.imread(again).squeeze(), array)


def test_colours_may_become_one_channel(tmp_path: Path) -> None:
    array = counted((9, 7, 3), "uint8")
    image = open_image(saved(tmp_path / "rgb.tif", array, photometric="rgb"))
    out = write_tiff(tmp_path / "o.tif", (i[:1] for i in items_of(image, 2)), image, 2, n_channels=1).path
    np.testing.assert_array_equal(tifffile.imread(out).squeeze(), array[..., 0])


def test_imagej_metadata_goes_on(tmp_path: Path) -> None:
    labels, luts = [f"plane {i}" for i in range(24)], [np.full((3, 256), i, np.uint8) for i in range(3)]
    metadata = {
        "axes": "TZCYX", "spacing": 0.5, "unit": "um", "finterval": 2.5, "min": 3.0, "max": 9.0, "mode": "composite",
        "Info": "objective = 60x", "Labels": labels, "LUTs": luts,
    }  # fmt: skip
    path = saved(
        tmp_path / "h.tif", counted((2, 4, 3, 9, 7)), imagej=True, resolution=(1 / 0.13, 1 / 0.13), metadata=metadata
    )
    image = open_image(path)
    out = write_tiff(tmp_path / "o.tif", items_of(image, 2), image, 2, "float32").path
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(out) as after:
        a, b = before.imagej_metadata, after.imagej_metadata
        assert a is not None and b is not None
        kept = ("spacing", "unit", "finterval", "mode", "Info", "Labels", "channels", "slices", "frames", "hyperstack")
        assert {k: b.get(k) for k in kept} == {k: a[k] for k in kept}
        np.testing.assert_array_equal(b["LUTs"], a["LUTs"])
        assert (b["min"], b["max"]) == (3.0, 9.0)
        for tag in ("XResolution", "YResolution", "ResolutionUnit"):
            assert after.pages.first.tags[tag].value == before.pages.first.tags[tag].value


def test_ome_metadata_goes_on(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "PhysicalSizeX": 0.13, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.14, "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 300.0, "PhysicalSizeZUnit": "nm", "TimeIncrement": 0.5, "TimeIncrementUnit": "ms",
    }  # fmt: skip
    metadata = {"axes": "TCZYX", "Name": "Zellen", "Channel": {"Name": ["DAPI", "GFP & µ", "Cy5"]}, **facts}
    image = open_image(saved(tmp_path / "a.ome.tif", counted((2, 3, 4, 9, 7)), metadata=metadata))
    out = write_tiff(tmp_path / "o.ome.tif", items_of(image, 3), image, 3, "float32").path
    with tifffile.TiffFile(out) as tif:
        found = tifffile.xml2dict(tif.ome_metadata or "")["OME"]["Image"]
        assert found["Name"] == "Zellen"
        assert {k: found["Pixels"][k] for k in facts} == facts
        assert [c["Name"] for c in found["Pixels"]["Channel"]] == ["DAPI", "GFP & µ", "Cy5"]
        assert tif.series[0].axes == "TCZYX" and tif.series[0].dtype == np.float32


def test_a_plain_tiff_keeps_its_resolution_and_its_inversion(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", counted((9, 7)), resolution=(300, 150), resolutionunit=3, photometric="miniswhite")
    image = open_image(path)
    out = write_tiff(tmp_path / "o.tif", items_of(image, 2), image, 2).path
    with tifffile.TiffFile(out) as tif:
        page = tif.pages.first
        assert page.resolution == (300, 150) and page.resolutionunit == 3 and page.photometric == 0
        assert page.software.startswith("cosdd_zoo ")


def test_the_name_stays_and_other_kinds_become_tif() -> None:
    expected = {
        "a.ome.tif": "a_denoised.ome.tif", "b.TIFF": "b_denoised.TIFF", "c.npy": "c_denoised.tif",
        "d.png": "d_denoised.tif", "e.ome.zarr": "e_denoised.ome.zarr", "f.zarr": "f_denoised.ome.zarr",
        "g.czi": "g_denoised.ome.tif", "two.dots.tif": "two.dots_denoised.tif",
    }  # fmt: skip
    for name, result in expected.items():
        path = Path("images") / name
        assert result_path(Source(path, path, Path("day1")), Path("out")) == Path("out") / "day1" / result
    plate = Path("plate.ome.zarr")
    field = Source(plate / "A" / "1" / "0", plate, Path())
    assert result_path(field, Path("out")) == Path("out/plate_denoised.ome.zarr/A/1/0")
    assert result_path(field, Path("out"), "tiff") == Path("out/plate_A_1_0_denoised.tif")


def test_large_results_are_bigtiff_and_large_hyperstacks_as_imagej_writes_them(tmp_path: Path) -> None:
    from cosdd_zoo.data.tiff_plan import lay_out, plan_of

    for form in ({}, {"imagej": True}, {"ome": True}):
        image = open_image(saved(tmp_path / "a.tif", counted((4, 9, 7)), metadata={"axes": "ZYX"}, **form))
        large = Layout("ZYX", (1100, 1024, 1024))  # 4.3 GB, a hole on the disk but for its headers
        plan = plan_of(image, np.dtype("float32"), Form())._replace(turned=unturned(large))
        part = tmp_path / "large.tif"
        lay_out(part, plan, image)
        with tifffile.TiffFile(part) as tif:
            assert tif.is_bigtiff is (image.kind != "imagej")
        found = open_image(part)
        assert (found.shape, found.kind) == (large.shape, image.kind)
        part.unlink()


def test_an_existing_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    image, out = from_array(counted((9, 7))), tmp_path / "o.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"o.tif is there already. Choose another place"):
        write_tiff(out, items_of(image, 2), image, 2)
    assert out.read_bytes() == b"precious"
    write_tiff(out, items_of(image, 2), image, 2, overwrite=True)
    assert open_image(out).shape == (9, 7)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "The disk of .* is full, so o.tif was not written. Free some space"),
        (errno.EROFS, "cannot be written to, so o.tif was not. Choose another folder"),
        (errno.EACCES, "cannot be written to, so o.tif was not"),
        (errno.EPERM, "cannot be written to, so o.tif was not"),
        (errno.EFBIG, "o.tif was not written: .* Choose another place"),
    ],
)
def test_a_disk_that_refuses_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, sentence: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    image = from_array(counted((9, 7)))
    with pytest.raises(OutputError, match=sentence):
        write_tiff(tmp_path / "o.tif", items_of(image, 2), image, 2)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_in_truth_is_said(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no full device here")
    (tmp_path / ".o.tif.part").symlink_to("/dev/full")
    image = from_array(counted((90, 70)))
    with pytest.raises(OutputError, match=r"o.tif was not written"):
        write_tiff(tmp_path / "o.tif", items_of(image, 2), image, 2)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    image = from_array(counted((9, 7)))
    with pytest.raises(OutputError, match=r"There is no folder .*gone for o.tif. Create it first"):
        write_tiff(tmp_path / "gone" / "o.tif", items_of(image, 2), image, 2)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_half_way_leaves_nothing_and_is_not_disguised(tmp_path: Path, error: type[BaseException]) -> None:
    image = from_array(counted((3, 9, 7)))

    def items() -> Iterator[Array]:
        yield image.read_item(0, 2)
        raise error

    with pytest.raises(error):
        write_tiff(tmp_path / "o.tif", items(), image, 2)
    assert not list(tmp_path.iterdir())


def test_an_input_that_fails_while_writing_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    image = from_array(counted((3, 9, 7)))

    def items() -> Iterator[Array]:
        (tmp_path / "gone.tif").read_bytes()
        yield image.read_item(0, 2)

    with pytest.raises(FileNotFoundError):
        write_tiff(tmp_path / "o.tif", items(), image, 2)


@pytest.mark.parametrize(
    "spoil", [lambda items: items[:-1], lambda items: [*items, items[0]], lambda items: [i[:, :4] for i in items]]
)
def test_items_that_do_not_fill_the_image_are_noticed(
    tmp_path: Path, spoil: Callable[[list[Array]], list[Array]]
) -> None:
    image = from_array(counted((3, 9, 7)))
    with pytest.raises(ValueError, match=r"item"):
        write_tiff(tmp_path / "o.tif", spoil(list(items_of(image, 2))), image, 2)
    assert not list(tmp_path.iterdir())


def test_a_file_that_reads_back_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cosdd_zoo.data import tiff_plan

    header = tiff_plan.read_header
    monkeypatch.setattr(tiff_plan, "read_header", lambda path: header(path)._replace(shape=(1, 2)))
    image = from_array(counted((9, 7)))
    with pytest.raises(OutputError, match=r"o.tif reads back as \(1, 2\) uint16 instead of \(9, 7\) uint16"):
        write_tiff(tmp_path / "o.tif", items_of(image, 2), image, 2)
    assert not list(tmp_path.iterdir())


def test_integers_are_rounded_half_to_even_and_saturated_with_a_count(tmp_path: Path) -> None:
    values = np.array([-3, -0.4, 0.5, 1.5, 2.5, 254.6, 255.5, 1e9, np.inf], np.float32)
    assert to_dtype(values, "uint8").array.tolist() == [0, 0, 0, 2, 2, 255, 255, 255, 255]
    assert to_dtype(values, "uint8").n_saturated == 4
    assert to_dtype(values, "int8").array.tolist() == [-3, 0, 0, 2, 2, 127, 127, 127, 127]
    assert to_dtype(np.array([-1e30, 5e9, 1e30], np.float32), "uint32").array.tolist() == [0, 2**32 - 1, 2**32 - 1]
    assert to_dtype(values, "float32").n_saturated == 0
    image = from_array(np.zeros((2, 1, 9), np.uint8))
    assert write_tiff(tmp_path / "o.tif", [values[None, None]] * 2, image, 2).n_saturated == 8
