"""Five hundred files and stores that are damaged, of another kind, or lie: a sentence each, no half-written result.

Each begins as a sound file of a kind that microscopes write. Hypothesis then cuts, overwrites or lengthens its bytes,
or changes what its header says; the seed is fixed, so that a failure is seen again.
"""

import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import denoised_to, few_features, model, quick, scene
from stores import store

from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import open_image
from cosdd_zoo.errors import CosddError
from cosdd_zoo.inference.denoise import Denoiser

N_FILES, N_STORES, N_ARRAYS = 300, 120, 80
SECONDS = 20
"""Far more than any of them takes; what hangs is stopped."""

FORMS: dict[str, Callable[[Path], Any]] = {
    "plain.tif": lambda p: tifffile.imwrite(p, scene(2, 24, 20), photometric="minisblack"),
    "imagej.tif": lambda p: tifffile.imwrite(p, scene(4, 24, 20), imagej=True, metadata={"axes": "TYX"}),
    "a.ome.tif": lambda p: tifffile.imwrite(p, scene(4, 24, 20), metadata={"axes": "TYX", "PhysicalSizeX": 0.1}),
    "zlib.tif": lambda p: tifffile.imwrite(p, scene(2, 24, 20), compression="zlib", photometric="minisblack"),
    "tiled.tif": lambda p: tifffile.imwrite(p, scene(48, 40), tile=(16, 16), compression="lzw", predictor=True),
    "big.btf": lambda p: tifffile.imwrite(p, scene(24, 20), bigtiff=True),
    "a.npy": lambda p: np.save(p, scene(24, 20)),
    "a.png": lambda p: _png(p),
}


def _png(path: Path) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(scene(24, 20)))


def sound(name: str, folder: Path) -> bytes:
    path = folder / name
    if not path.exists():
        FORMS[name](path)
    return path.read_bytes()


def damaged(data: bytes, kind: str, dice: random.Random) -> bytes:
    changed = bytearray(data)
    if kind == "truncated":
        return data[: dice.randrange(len(data))]
    if kind == "empty":
        return b""
    if kind == "other":
        return dice.randbytes(dice.randrange(1, 300))
    if kind == "longer":
        return data + dice.randbytes(64)
    # where headers lie: at the beginning, and in TIFFs of tifffile's before the pixels
    reach = min(len(changed), 400) if kind == "header" else len(changed)
    for _ in range(dice.randrange(1, 12)):
        at = dice.randrange(reach)
        changed[at] = dice.choice([0, 1, 255, 127, 128, dice.randrange(256)])
    if kind == "huge":
        at = dice.randrange(8, reach - 4)
        changed[at : at + 4] = (2**32 - 1).to_bytes(4, "little")
    return bytes(changed)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    config = quick().model_copy(update={"network": few_features(n_features=2, n_code=2, n_latents=1)})
    return Denoiser(model(config.network), config, "cpu")


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A timer of the process; each example sets it anew."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"an input took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def judge(denoiser: Denoiser, path: Path, out: Path, axes: str | None = None) -> str:
    """Denoises it or raises a CosddError, and nothing else; what is then there is whole, or nothing."""
    signal.alarm(SECONDS)
    shutil.rmtree(out, ignore_errors=True)
    try:
        image = open_image(find_images([path])[0], axes)
        if int(np.prod(image.shape, dtype=object)) > 10**6:
            return "large"  # not denied: whoever says so may mean it
        result = denoised_to(denoiser, image, out, 0).path
    except CosddError as error:
        assert str(error).strip().endswith((".", ":", ")")) and "Traceback" not in str(error)
        assert not out.exists() or not list(out.iterdir())
        return "refused"
    finally:
        signal.alarm(0)
    open_image(result)
    assert [p.name for p in out.iterdir()] == [result.name]
    return "denoised"


EXAMPLES: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.slow
def test_damaged_files(denoiser: Denoiser, tmp_path: Path) -> None:
    found: dict[str, int] = {}

    @settings(max_examples=N_FILES, **EXAMPLES)
    @given(
        name=st.sampled_from(sorted(FORMS)),
        kind=st.sampled_from(["truncated", "header", "anywhere", "huge", "empty", "other", "longer"]),
        seed=st.integers(0, 2**32 - 1),
    )
    def one(name: str, kind: str, seed: int) -> None:
        data = damaged(sound(name, tmp_path), kind, random.Random(seed))
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        verdict = judge(denoiser, folder / name, tmp_path / "out")
        found[verdict] = found.get(verdict, 0) + 1

    one()
    assert sum(found.values()) >= N_FILES and found["refused"] > N_FILES / 3, found


WORDS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
def test_damaged_stores(denoiser: Denoiser, tmp_path: Path) -> None:
    """Any value at any place of what a store says, in both versions, and chunks that are cut or overwritten."""
    found: dict[str, int] = {}
    sources = {v: store(tmp_path / f"sound{v}.zarr", scene(2, 24, 20), "tyx", v, (1, 16, 16)) for v in ("0.4", "0.5")}

    @settings(max_examples=N_STORES, **EXAMPLES)
    @given(version=st.sampled_from(["0.4", "0.5"]), value=WORDS, seed=st.integers(0, 2**32 - 1))
    def one(version: str, value: Any, seed: int) -> None:
        # a place of its own: what was read of a store is remembered by its place
        dice, path = random.Random(seed), tmp_path / f"damaged{sum(found.values())}-{seed}-{version}.zarr"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(sources[version], path)
        files = sorted(p for p in path.rglob("*") if p.is_file())
        victim = dice.choice(files)
        if victim.name.endswith((".json", ".zattrs", ".zarray", ".zgroup")) and dice.random() < 0.8:
            victim.write_text(json.dumps(_changed(json.loads(victim.read_text()), value, dice)))
        elif dice.random() < 0.3:
            victim.unlink()
        else:
            victim.write_bytes(damaged(victim.read_bytes(), dice.choice(["truncated", "anywhere", "other"]), dice))
        verdict = judge(denoiser, path, tmp_path / "out")
        shutil.rmtree(path)
        found[verdict] = found.get(verdict, 0) + 1

    one()
    assert sum(found.values()) >= N_STORES and found["refused"] > N_STORES / 4, found


def _changed(words: Any, value: Any, dice: random.Random) -> Any:
    """The same with one entry, at any depth, replaced or taken away."""
    if isinstance(words, dict) and words and dice.random() < 0.9:
        key = dice.choice(sorted(words))
        if dice.random() < 0.2:
            return {k: v for k, v in words.items() if k != key}
        return {**words, key: _changed(words[key], value, dice)}
    if isinstance(words, list) and words and dice.random() < 0.9:
        at = dice.randrange(len(words))
        return [*words[:at], _changed(words[at], value, dice), *words[at + 1 :]]
    return value


@pytest.mark.slow
def test_arrays_of_any_shape_type_and_axes(denoiser: Denoiser, tmp_path: Path) -> None:
    """Sound files of images that make no sense: no pixels, NaN, complex numbers, any number of axes, any --axes."""
    found: dict[str, int] = {}

    @settings(max_examples=N_ARRAYS, **EXAMPLES)
    @given(
        shape=st.lists(st.integers(0, 9), min_size=0, max_size=6),
        dtype=st.sampled_from(["uint8", "int16", "uint64", "float16", "float32", "float64", "complex64", "bool", "U3"]),
        axes=st.none() | st.text("STCZYXxyqÄ 1", max_size=6),
        fill=st.sampled_from(["counted", "nan", "inf", "constant"]),
    )
    def one(shape: list[int], dtype: str, axes: str | None, fill: str) -> None:
        array = np.arange(int(np.prod(shape))).reshape(shape)
        whole = array.astype(dtype) if dtype != "bool" else array % 2 == 0
        if whole.dtype.kind == "f" and whole.size and fill in ("nan", "inf"):
            whole.flat[0] = np.nan if fill == "nan" else np.inf
        if fill == "constant" and whole.dtype.kind in "uif":
            whole[...] = 3
        np.save(tmp_path / "a.npy", whole)
        verdict = judge(denoiser, tmp_path / "a.npy", tmp_path / "out", axes)
        found[verdict] = found.get(verdict, 0) + 1

    one()
    assert sum(found.values()) >= N_ARRAYS and found["refused"] > N_ARRAYS / 4, found
