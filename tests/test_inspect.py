"""What `inspect` says of noise whose truth is known, and what it makes of images that were tampered with."""

import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from models import scene
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import cosdd_zoo
from cosdd_zoo.cli import app
from cosdd_zoo.config import resolve
from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.images import open_image
from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.data.simulate import NOISES, Noise, photon_stack, scene_stack
from cosdd_zoo.data.simulate.scenes import SCENES
from cosdd_zoo.errors import ConfigError, ImageError
from cosdd_zoo.noise.inspected import Inspected, inspect
from cosdd_zoo.noise.inspection import Noise as Found
from cosdd_zoo.noise.inspection import noise_of
from cosdd_zoo.report.inspect_page import rows

ACTIN = Path(cosdd_zoo.__file__).parent / "demo_data" / "actin_noisy.tif"


def bars(axis: str, size: int = 192, seed: int = 0) -> NDArray[np.float64]:
    """Photons of sharp bars that cross the frame, the hard case: signal that is correlated along an axis."""
    rng = np.random.default_rng(seed)
    profile = np.repeat(rng.uniform(3, 40, size // 8 + 1), 8)[:size]
    scene = gaussian_blur(np.tile(profile[:, None], (1, size)), 1.0)
    return scene if axis == "x" else scene.T


def found_in(stack: NDArray[Any]) -> Found:
    return noise_of(list(stack), [False] + [True] * (len(stack) - 1))


def inspected(array: NDArray[Any], axes: str = "SYX") -> Inspected:
    return cosdd_zoo.inspect(array, axes=axes)


@pytest.fixture(scope="module")
def stacks() -> dict[str, NDArray[Any]]:
    return {kind: scene_stack(noise(), n_frames=4, size=192).noisy for kind, noise in NOISES.items()}


@pytest.mark.parametrize("kind", NOISES)
def test_the_noise_axis_of_every_simulated_noise_is_found(kind: str, stacks: dict[str, NDArray[Any]]) -> None:
    assert found_in(stacks[kind]).axis == NOISES[kind].axis


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("kind", NOISES)
def test_bars_in_the_signal_are_not_taken_for_noise(kind: str, axis: str) -> None:
    photons = np.stack([bars(axis, seed=i) for i in range(4)])
    assert found_in(photon_stack(NOISES[kind](), photons).noisy).axis == NOISES[kind].axis


def test_where_noise_is_as_narrow_as_a_grey_level_the_likelihood_of_grey_levels_is_recommended(
    stacks: dict[str, NDArray[Any]],
) -> None:
    wide = stacks["stripes"][:2, :128, :128]
    narrow = np.rint((wide - 80.0) / 14).clip(0).astype(np.uint8)
    assert "likelihood" not in {s.name for s in inspected(wide).advice.settings}
    (found,) = [s for s in inspected(narrow).advice.settings if s.name == "likelihood"]
    assert found.value == "bins" and "grey levels wide" in found.reason


@pytest.mark.parametrize("axis", ["x", "y"])
def test_the_gain_of_noise_that_remembers_is_right_where_the_signal_changes_as_fast_as_it_forgets(axis: str) -> None:
    """By the slope on the pixel's own grey value it was 16 % too small."""
    noise, rng = NOISES["ar1"](), np.random.default_rng(5)
    frames = photon_stack(noise, np.stack([SCENES["lattice"](192, rng) for _ in range(4)]), seed=5).noisy
    frames = frames if axis == "x" else frames.transpose(0, 2, 1)
    ends = noise.variance(np.array([5.0, 40.0]))
    assert found_in(frames).levels.gain == pytest.approx(float(ends[1] - ends[0]) / (noise.gain * 35), rel=0.1)


@pytest.mark.parametrize("kind", ["uncorrelated", "stripes", "pickup", "ar1", "emccd", "scmos"])
def test_the_gain_is_the_slope_of_the_variance(kind: str, stacks: dict[str, NDArray[Any]]) -> None:
    noise: Noise = NOISES[kind]()
    ends = noise.variance(np.array([5.0, 40.0]))
    levels = found_in(stacks[kind]).levels
    assert levels.gain == pytest.approx(float(ends[1] - ends[0]) / (noise.gain * 35), rel=0.1)
    assert levels.trend == "rises"


def test_noise_that_falls_with_the_signal_is_said_to(stacks: dict[str, NDArray[Any]]) -> None:
    assert found_in(stacks["checkerboard"]).levels.trend == "falls"


@pytest.mark.parametrize("kind", ["stripes", "ar1", "emccd", "pickup"])
def test_the_correlation_along_lines_is_that_of_the_noise(kind: str) -> None:
    noise: Noise = NOISES[kind]()
    found = found_in(photon_stack(noise, np.full((3, 256, 256), 20.0)).noisy).x
    truth = [float(noise.correlation(lag, np.array(20.0))) for lag in range(1, 11)]
    assert np.all(np.abs(found.r[:10] - truth) < 4.5 * found.error[:10] + 2e-3)


def test_repeats_are_told_from_different_fields() -> None:
    photons = SCENES["filaments"](192, np.random.default_rng(0))
    noise = NOISES["stripes"]()
    repeats = found_in(photon_stack(noise, np.stack([photons] * 4)).noisy)
    assert (repeats.method, repeats.axis) == ("frame differences", "x")
    assert found_in(scene_stack(noise, n_frames=4, size=192).noisy).method != "frame differences"


def test_waves_and_offsets_of_lines_are_found() -> None:
    photons = np.full((4, 192, 192), 20.0)
    assert found_in(photon_stack(NOISES["pickup"](), photons).noisy).period_px == pytest.approx(12.7, rel=0.02)
    assert found_in(photon_stack(NOISES["checkerboard"](), photons).noisy).period_px == pytest.approx(2.0, rel=0.01)
    columns = found_in(photon_stack(NOISES["scmos"](), photons).noisy)
    assert columns.column_std == pytest.approx(12.0, rel=0.1) and columns.row_std == 0
    assert found_in(photon_stack(NOISES["stripes"](), photons).noisy).period_px == 0


def test_offsets_in_step_with_the_scan_are_found_where_frames_repeat() -> None:
    photons = np.stack([SCENES["filaments"](192, np.random.default_rng(0))] * 6)
    noisy = photon_stack(NOISES["stripes"](), photons).noisy.astype(np.float64)
    assert found_in(noisy).offsets_period_px == 0
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, (6, 1, 1))
    wave = 6 * np.cos(2 * np.pi * np.arange(192)[None, :, None] / 3.5 + phases)
    assert found_in(noisy + wave).offsets_period_px == pytest.approx(3.5, rel=0.02)


def test_a_fixed_pattern_is_told_from_noise() -> None:
    rng = np.random.default_rng(0)
    pattern = rng.normal(0, 10, (192, 192))
    noisy = scene_stack(NOISES["uncorrelated"](), n_frames=4, size=192).noisy
    assert abs(found_in(noisy).between) < 0.05
    with_pattern = inspected(noisy + pattern)
    assert with_pattern.facts.channels[0].frame_to_frame_correlation > 0.1
    assert any("repeats from frame to frame" in w for w in with_pattern.facts.warnings)


def test_noise_along_z_is_found_in_volumes_alone() -> None:
    rng = np.random.default_rng(0)
    e = rng.standard_normal((16, 128, 128))
    for z in range(1, 16):
        e[z] = 0.7 * e[z - 1] + np.sqrt(1 - 0.7**2) * e[z]
    found = inspected(100 + 10 * e, "ZYX").facts
    assert found.noise_axis == "z" and "may be correlated along z" in found.verdict
    assert found.recommended["network"] | {"receptive_field_px": 0} == {
        "n_dims": 3, "noise_axis": "z", "receptive_field_px": 0,
    }  # fmt: skip
    assert found.recommended["training"]["crop_depth_px"] == 12
    assert inspected(100 + 10 * e, "TYX").facts.noise_axis == "none"
    pattern = 10 * rng.standard_normal((1, 128, 128))
    assert inspected(100 + pattern + 5 * rng.standard_normal((16, 128, 128)), "ZYX").facts.noise_axis == "none"


def test_stacks_of_other_sizes_do_not_hide_noise_along_z() -> None:
    rng = np.random.default_rng(0)
    stacks = []
    for width in (128, 112):
        e = rng.standard_normal((14, 128, width))
        for z in range(1, 14):
            e[z] = 0.7 * e[z - 1] + np.sqrt(1 - 0.7**2) * e[z]
        stacks.append(from_array(100 + 10 * e, "ZYX"))
    found = inspect(stacks).facts
    assert found.noise_axis == "z" and "planes" in found.reasons["receptive_field_px"]
    along = {name: (value, meaning) for name, value, meaning in rows(found.channels[0])}
    assert float(along["correlation"][0]) > 0.4 and along["correlation"][1] == "with the next plane"
    assert along["correlation length"][0] == "not measured along z"


def memory(side: int, seed: int) -> NDArray[np.float64]:
    """A small image of noise alone that remembers along x."""
    e = np.random.default_rng(seed).standard_normal((side, side + 50))
    for j in range(1, side + 50):
        e[:, j] = 0.75 * e[:, j - 1] + np.sqrt(1 - 0.75**2) * e[:, j]
    return 100 + 10 * e[:, 50:]


def test_too_few_pixels_to_tell_are_not_taken_for_noise_without_correlation(tmp_path: Path) -> None:
    found = [inspected(memory(30, seed), "YX") for seed in range(4)]
    untold = [f for f in found if f.facts.noise_axis == "none"]
    assert untold  # else this test is of nothing
    for own in untold:
        assert own.facts.certainty == "unsure" and "cannot be told" in own.facts.verdict
        assert "noise_axis" not in own.facts.recommended.get("network", {})
    small = memory(30, next(seed for seed, f in enumerate(found) if f.facts.noise_axis == "none"))
    with pytest.raises(ConfigError, match="cannot be told"):
        cosdd_zoo.train(small, tmp_path / "run", axes="YX", noise_axis="auto", max_steps=1, **QUICK)
    assert not (tmp_path / "run").exists()


def jpeg(frame: NDArray[Any], quality: int) -> NDArray[np.uint8]:
    grey = np.clip(frame / np.quantile(frame, 0.999) * 230, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_jpeg_is_found_wherever_its_grid_begins(quality: int, stacks: dict[str, NDArray[Any]]) -> None:
    compressed = np.stack([jpeg(f, quality) for f in stacks["stripes"]])
    assert not inspected(stacks["stripes"]).facts.jpeg
    assert inspected(compressed).facts.jpeg and inspected(compressed[:, 3:, 5:]).facts.jpeg


@pytest.mark.parametrize("quality", [75, 90])
def test_jpeg_is_found_in_a_dark_frame_too(quality: int) -> None:
    frame = open_image(ACTIN).read_item(0, 2)[0][:512, :512]
    assert not inspected(frame, "YX").facts.jpeg
    buffer = io.BytesIO()
    Image.fromarray(frame.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    found = np.asarray(Image.open(buffer))
    assert (found == 0).mean() > 10 * (frame == 0).mean() + 0.01
    assert inspected(found, "YX").facts.jpeg


def test_smoothed_images_are_sent_back(stacks: dict[str, NDArray[Any]]) -> None:
    plain = inspected(stacks["uncorrelated"]).facts
    assert (plain.noise_axis, plain.resampled, plain.suits) == ("none", False, "partly")
    smooth = inspected(gaussian_blur(stacks["uncorrelated"], 0.8)).facts
    assert (smooth.noise_axis, smooth.resampled, smooth.suits) == ("both", True, "no")
    assert "go back to the raw ones" in smooth.verdict


def test_turned_images_are_told(stacks: dict[str, NDArray[Any]]) -> None:
    turned = [
        np.asarray(Image.fromarray(f.astype(np.float32)).rotate(7, Image.Resampling.BILINEAR))[30:-30, 30:-30]
        for f in stacks["stripes"]
    ]
    assert inspected(np.stack(turned)).facts.resampled
    assert not inspected(stacks["stripes"]).facts.resampled


def test_drift_is_measured_and_unlike_frames_have_none() -> None:
    scenery = gaussian_blur(np.random.default_rng(0).standard_normal((260, 260)), 3) * 60 + 30
    photons = np.stack([scenery[20 + 3 * i : 212 + 3 * i, 20:212] for i in range(4)]).clip(1)
    assert inspected(photon_stack(NOISES["stripes"](), photons).noisy).facts.drift_px == pytest.approx(3, abs=0.2)
    assert inspected(scene_stack(NOISES["stripes"](), n_frames=4, size=192).noisy).facts.drift_px == 0


def test_broken_clipped_and_stretched_pixels_are_counted(stacks: dict[str, NDArray[Any]]) -> None:
    noisy = stacks["stripes"].copy()
    noisy[:, 5::40, 7::50] = 4000
    broken = inspected(noisy).facts
    assert broken.channels[0].broken_share == pytest.approx(20 / 192**2, rel=1e-3)
    assert any("hot or dead" in w for w in broken.warnings)
    high = np.quantile(stacks["stripes"], 0.97)
    clipped = inspected(np.minimum(stacks["stripes"], int(high))).facts
    assert clipped.channels[0].saturated_share == pytest.approx(0.03, abs=0.01)
    assert any("clipped" in w for w in clipped.warnings)
    stretched = inspected(np.floor(stacks["stripes"] / 4).astype(np.uint16) * 7 // 2).facts
    assert any("contrast was stretched" in w for w in stretched.warnings)
    assert not inspected(stacks["stripes"]).facts.warnings


def test_channels_are_told_apart(stacks: dict[str, NDArray[Any]]) -> None:
    both = np.stack([stacks["stripes"], stacks["scmos"]], axis=1)
    facts = inspected(both, "SCYX").facts
    assert [c.noise_axis for c in facts.channels] == ["x", "y"]
    assert facts.noise_axis == "both" and "--channels" in facts.verdict
    assert cosdd_zoo.inspect(both, axes="SCYX", channels="1").facts.noise_axis == "y"


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.full((64, 64), 7, np.uint16), "constant"),
        (np.ones((64, 20), np.uint16), "at least 23 px"),
        (np.where(np.arange(64 * 64).reshape(64, 64) == 9, np.nan, 1.0), "1 NaN"),
        (np.ones(64, np.uint16), "needs YX"),
    ],
)
def test_images_that_say_nothing_are_a_sentence(image: NDArray[Any], sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        inspected(image, "SYX"[3 - image.ndim :])


def test_a_chosen_channel_that_says_nothing_goes_by_its_own_number(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(100, 10, (4, 64, 64)).astype(np.float32)
    image[3] = 7
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "CYX"}, ome=True)
    with pytest.raises(ImageError, match=r"Channel 3 .* leave it out: --channels 1\."):
        cosdd_zoo.inspect(tmp_path / "a.ome.tif", channels="1,3")


def test_images_of_different_channel_counts_are_a_sentence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", scene(64, 64), metadata={"axes": "YX"})
    tifffile.imwrite(tmp_path / "b.tif", scene(2, 64, 64), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match="channel counts differ"):
        inspect([open_image(tmp_path / "a.tif"), open_image(tmp_path / "b.tif")])


def test_large_series_are_sampled_in_pairs() -> None:
    from cosdd_zoo.data.arrays import from_array
    from cosdd_zoo.noise.frames import frames_of

    frames = frames_of([from_array(np.arange(200)[:, None, None] + np.zeros((1, 24, 24)), "TYX")], 10)
    numbers = [int(f.pixels[0, 0, 0]) for f in frames]
    assert len(frames) == 10 and numbers[0] == 0 and numbers[-1] == 199
    assert [f.follows for f in frames] == [False, True] * 5
    assert all(b == a + 1 for a, b in zip(numbers[::2], numbers[1::2], strict=True))


def test_what_is_hard_to_judge_is_judged_all_the_same(stacks: dict[str, NDArray[Any]]) -> None:
    """Each of these once gave a wrong answer or a traceback."""
    rng = np.random.default_rng(0)
    plain = stacks["stripes"]
    bordered = plain.copy()
    bordered[:, :, :70] = 0
    facts = inspected(bordered).facts
    assert facts.noise_axis == "x" and not facts.resampled and facts.warnings == []
    hits = plain.copy()
    hits[:, 100:102, 60:62] = 65535
    assert inspected(hits).facts.gain == pytest.approx(inspected(plain).facts.gain, rel=0.02)
    hot = np.where(rng.random(plain.shape) < 0.01, 4000, plain)
    assert inspected(hot).facts.noise_axis == "x"
    dark = np.rint(100 + 3 * rng.standard_normal((256, 256))).astype(np.uint16)
    dark[9, 9] = 65535
    assert not inspected(dark, "YX").facts.jpeg
    slow = np.zeros((256, 812))
    for j in range(1, 812):
        slow[:, j] = 0.9 * slow[:, j - 1] + rng.standard_normal(256)
    assert inspected(100 + 5 * slow[:, 300:], "YX").facts.period_px == 0
    same = photon_stack(NOISES["stripes"](), np.stack([SCENES["filaments"](192, rng)] * 3)).noisy
    copies = inspected(same[[0, 0, 1, 2]]).facts
    assert copies.channels[0].frame_to_frame_correlation == pytest.approx(0, abs=0.05)
    assert any("exact copies" in w for w in copies.warnings)
    photons = rng.poisson(0.6, (256, 256)).astype(np.uint8)
    assert not any("clipped" in w for w in inspected(photons, "YX").facts.warnings)
    few = inspected(100 + 5 * rng.standard_normal((23, 23)), "YX").facts
    assert (few.noise_axis, few.certainty) == ("none", "unsure")
    assert few.channels[0].gain_error is None and few.channels[0].correlation_x_error[0] is None


@pytest.mark.parametrize("kind", ["mask", "single pixel", "ramp", "constant channel"])
def test_images_without_noise_are_a_sentence(kind: str) -> None:
    y, x = np.mgrid[-64:64, -64:64]
    image = {
        "mask": (np.hypot(x, y) < 30) * 200,
        "single pixel": (np.hypot(x, y) < 1) * 200,
        "ramp": 10 * (x + 64),
        "constant channel": np.stack([np.random.default_rng(0).poisson(20, x.shape), 7 + 0 * x]),
    }[kind]
    with pytest.raises(ImageError, match="Channel 1.*--channels 0" if image.ndim == 3 else "No noise can be found"):
        inspected(image.astype(np.uint16), "CYX"[-image.ndim :])


def test_a_smooth_picture_has_hardly_any_noise() -> None:
    scene = gaussian_blur(np.random.default_rng(0).standard_normal((128, 128)), 8) * 1e4
    facts = inspected(scene, "YX").facts
    assert facts.suits == "no" and "hardly any noise" in facts.verdict


def test_images_of_several_types_are_said() -> None:
    from cosdd_zoo.data.arrays import from_array

    noisy = scene_stack(NOISES["stripes"](), n_frames=2, size=128).noisy
    found = inspect([from_array(noisy, "SYX"), from_array(noisy.astype(np.float32), "SYX")])
    assert any("float32, uint16" in w for w in found.facts.warnings)


# the command


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory, stacks: dict[str, NDArray[Any]]) -> Path:
    path = tmp_path_factory.mktemp("columns") / "noisy.tif"
    tifffile.imwrite(path, stacks["scmos"], imagej=True, metadata={"axes": "TYX"})
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_writes_a_page_facts_and_settings_that_train_takes(columns: Path, tmp_path: Path) -> None:
    done = run("inspect", columns, "-o", tmp_path / "look", "--quiet")
    assert done.exit_code == 0, done.output
    assert "noise axis" in done.stdout and "y (certain)" in done.stdout
    facts = json.loads((tmp_path / "look" / "inspect.json").read_text())
    assert facts["noise_axis"] == facts["recommended"]["network"]["noise_axis"] == "y"
    settings = yaml.safe_load((tmp_path / "look" / "settings.yaml").read_text())
    assert settings == facts["recommended"]
    assert resolve(None, settings, {}).network.noise_axis == "y"
    dry = run("train", columns, "--config", tmp_path / "look" / "settings.yaml", "--dry-run")
    assert dry.exit_code == 0 and "noise_axis: y" in dry.stdout


def test_what_an_earlier_inspection_wrote_is_not_replaced_unasked(columns: Path, tmp_path: Path) -> None:
    (tmp_path / "inspect.html").write_text("mine")
    refused = run("inspect", columns, "-o", tmp_path)
    assert "holds inspect.html already" in str(refused.exception) and (tmp_path / "inspect.html").read_text() == "mine"
    assert run("inspect", columns, "-o", tmp_path, "--overwrite", "--quiet").exit_code == 0


def test_json_is_all_of_stdout_and_nothing_is_written(
    columns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("inspect", columns, "--json", "--quiet")
    facts = json.loads(done.stdout)
    wanted = {"noise_axis", "correlation_length_px", "gain", "offset", "read_noise", "recommended", "snr", "warnings"}
    assert wanted <= set(facts)
    assert list(tmp_path.iterdir()) == []


class Page(HTMLParser):
    """What a browser would fetch, and which pictures have no words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.wordless = 0
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for name in ("src", "href", "xlink:href"):
            value = values.get(name) or ""
            if tag != "a" and value and not value.startswith(("data:", "#")):
                self.fetched.append(value)
        self.wordless += tag == "img" and not values.get("alt")
        self.ids += [values["id"] or ""] if "id" in values else []


def test_the_page_needs_nothing_from_elsewhere(columns: Path, tmp_path: Path) -> None:
    assert run("inspect", columns, "-o", tmp_path / "look", "--quiet").exit_code == 0
    text = (tmp_path / "look" / "inspect.html").read_text()
    page = Page(text)
    assert page.fetched == [] and page.wordless == 0
    assert text.count("<figure>") == text.count("<figcaption>") == 7
    assert len(text) < 2_000_000
    assert "@import" not in text and "url(http" not in text


def test_a_file_name_is_text_and_no_markup(tmp_path: Path, stacks: dict[str, NDArray[Any]]) -> None:
    path = tmp_path / "<b>a&b.tif"
    tifffile.imwrite(path, stacks["stripes"], imagej=True, metadata={"axes": "TYX"})
    assert run("inspect", path, "-o", tmp_path / "look", "--quiet").exit_code == 0
    text = (tmp_path / "look" / "inspect.html").read_text()
    assert "&lt;b&gt;a&amp;b.tif" in text and "<b>a" not in text


QUICK: dict[str, Any] = {
    "n_features": 6, "n_code": 5, "n_latents": 3, "ar_features": 5, "downsample": (True, False), "crop_px": 16,
    "batch_size": 2, "validation_crops": 2, "device": "cpu", "quiet": True,
}  # fmt: skip


def test_training_finds_the_noise_axis_itself(
    columns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = cosdd_zoo.train([columns], tmp_path / "run", noise_axis="auto", max_steps=1, **QUICK)
    assert made.config.network.noise_axis == "y"
    network = {"network": {"noise_axis": "auto"}}
    made = cosdd_zoo.train([columns], tmp_path / "again", config=network, max_steps=1, **QUICK)
    assert made.config.network.noise_axis == "y"
    made = cosdd_zoo.train([columns], tmp_path / "said", config=network, noise_axis="x", max_steps=1, **QUICK)
    assert made.config.network.noise_axis == "x"
    dry = run("train", columns, "--noise-axis", "auto", "--dry-run")
    assert "# Noise axis y (certain)." in dry.stdout and "noise_axis: y" in dry.stdout


def test_training_does_not_choose_between_two_axes(tmp_path: Path, stacks: dict[str, NDArray[Any]]) -> None:
    smooth = gaussian_blur(stacks["uncorrelated"], 0.8)
    with pytest.raises(ConfigError, match="--noise-axis x or y"):
        cosdd_zoo.train(smooth, tmp_path / "run", axes="SYX", noise_axis="auto", max_steps=1, **QUICK)
    assert not (tmp_path / "run").exists()
