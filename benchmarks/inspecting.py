"""Whether `inspect` finds the noise: on every simulated kind, where the truth is known, and on real sets.

    python benchmarks/inspecting.py simulated [DRAWS]     axis and gain, 100 draws of every kind and scene by default
    python benchmarks/inspecting.py real FOLDER           the sets of a folder, against what is written here of each
    python benchmarks/inspecting.py jpeg FOLDER           JPEG's trace: the sets' middle frames and simulated ones
    python benchmarks/inspecting.py alarms [DRAWS]        `denoise`'s alarms: images of the training's kind, and others
    python benchmarks/inspecting.py real-alarms FOLDER    the same on halves of the real sets
    python benchmarks/inspecting.py run-alarms RUN NOISY [AXES]    the same by a trained model and its likelihood

A draw is `FRAMES` frames of 256 x 256 px of a scene, at a signal-to-noise ratio (deviation of the signal over that of
the noise) drawn log-uniformly from 1 to 10. Scenes: those of the package, and bars along x or y, the hard case: they
cross the frame from end to end, with edges as sharp as a microscope's point-spread function (sigma 1 px) lets them be.
Alarms: a profile of 8 frames of a scene, then images of other frames as they are, turned by 90 degrees, at twice the
gain (grey values from the pedestal on doubled), the same as a camera would write it (without the gaps that doubling
leaves between whole numbers, and not beyond what their type holds), blurred by a Gaussian of 1 px, and through JPEG of
quality 75. Of real
sets one half is the training's (frames, or the upper half where there is one frame), the other is judged, in quarters.

The gain asked for is the slope of the variance against the grey value, as it is for the simulated noise.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.data.metrics import gaussian_blur
from cosdd_zoo.data.simulate import NOISES, Noise, photon_stack, scene_stack
from cosdd_zoo.data.simulate.noises import PEDESTAL
from cosdd_zoo.data.simulate.scenes import SCENES
from cosdd_zoo.noise.frames import frames_of
from cosdd_zoo.noise.inspection import noise_of
from cosdd_zoo.noise.profile import Profile, differences, profile_of, with_fit
from cosdd_zoo.noise.traces import is_jpeg, pixels_of
from cosdd_zoo.training.run_folder import checkpoint_of

SIDE_PX = 256
FRAMES, MOST_FRAMES = 4, 24
SNR = (1.0, 10.0)
FLAT = {"checkerboard": "falls"}
"""Kinds whose variance has no gain to be found."""
AXES = {"fmd_test_mix": "SYX"}
"""Of files that do not say."""
REAL = {
    "hagen_confocal/actin_low*": "x",
    "nd_2p_flim/*_noisy*": "x",
    "nd_2p_lfi/*": "x",
    "fmd_test_mix/*_raw*": "x",
    "stem_singles/*": "x",
    "tkrem_sim/*_noisy*": "x",
    "emccd_pn2v/convallaria*": "x",
    "w2s_8bit/*_noisy*": "none",
    "sima_2p/*": "x",
    "misc_singles/ir_car_stripes*": "y",
}


def main(what: str, *given: str) -> None:
    if what == "simulated":
        simulated(int(given[0]) if given else 100)
    elif what == "jpeg":
        jpeg(Path(given[0]))
    elif what == "alarms":
        alarms(int(given[0]) if given else 100)
    elif what == "real-alarms":
        real_alarms(Path(given[0]))
    elif what == "run-alarms":
        run_alarms(Path(given[0]), *given[1:])
    else:
        real(Path(given[0]))


def simulated(n_draws: int) -> None:
    print(
        "| noise | scene | axis right | gain, median error | 95 of 100 below | within 10 % |\n|---|---|---|---|---|---|"
    )
    for kind, noise in NOISES.items():
        for scene in [*SCENES, "bars along x", "bars along y"]:
            found = [draw(noise(), scene, seed) for seed in range(n_draws)]
            right = sum(axis == noise.axis for axis, _ in found)
            errors = np.array([e for _, e in found])
            median, most = 100 * np.median(errors), 100 * np.quantile(errors, 0.95)
            gain = f"{median:.1f} % | {most:.1f} % | {np.mean(errors <= 0.1):.0%}" if kind not in FLAT else "| | "
            print(f"| {kind} | {scene} | {right} of {n_draws} | {gain} |", flush=True)


def draw(noise: Noise, scene: str, seed: int) -> tuple[str, float]:
    """The axis found, and the relative error of the gain."""
    rng = np.random.default_rng(seed)
    snr = float(np.exp(rng.uniform(*np.log(SNR))))
    drawn = bars if scene.startswith("bars") else SCENES[scene]
    photons = np.stack([drawn(SIDE_PX, rng) for _ in range(FRAMES)])
    if scene.endswith("y"):
        photons = photons.transpose(0, 2, 1)
    photons = at_snr(photons, noise, snr)
    stack = photon_stack(noise, photons, seed)
    found = noise_of(list(stack.noisy), [False] + [True] * (FRAMES - 1))
    slope = slope_of(noise, photons)
    return found.axis, abs(found.levels.gain / slope - 1)


def slope_of(noise: Noise, photons: NDArray[np.float64]) -> float:
    low, high = np.quantile(photons, [0.01, 0.99])
    a, b = (float(noise.variance(np.array(f))) for f in (low, high))
    return (b - a) / (noise.gain * (high - low))


def at_snr(photons: NDArray[np.float64], noise: Noise, snr: float) -> NDArray[np.float64]:
    """Photons by the one factor that gives this ratio."""
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        f = photons * middle
        is_less = noise.gain * f.std() / np.sqrt(noise.variance(f).mean()) < snr
        low, high = (middle, high) if is_less else (low, middle)
    return photons * middle


def bars(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Bars along x of 3 to 24 px, of any brightness, through a point-spread function; [size, size] photons."""
    profile, at = np.zeros(size), 0
    while at < size:
        width = int(rng.integers(3, 25))
        profile[at : at + width] = rng.uniform(0, 40) * rng.integers(0, 2)
        at += width
    return gaussian_blur(np.tile(profile[:, None], (1, size)), 1.0) + 3.0


def real(folder: Path) -> None:
    print("| images | axis | found | | r along x, 1 to 3 | r along y, 1 to 3 | gain | SNR | method |")
    print("|---|---|---|---|---|---|---|---|---|")
    for pattern, axis in REAL.items():
        for path in find_images([str(folder / pattern)]):
            frames = frames_of([open_image(path, AXES.get(path.parent.name))])
            found = noise_of([f.pixels[0] for f in frames], [f.follows for f in frames])
            along = [" ".join(f"{v:.2f}" for v in c.r[:3]) for c in (found.x, found.y)]
            said = "" if found.axis == axis else "**wrong**"
            print(
                f"| {path.parent.name}/{path.name} | {axis} | {found.axis} ({found.certainty}) | {said} | {along[0]} "
                f"| {along[1]} | {found.levels.gain:.3g} ({found.levels.trend}) | {found.snr:.2g} | {found.method} |",
                flush=True,
            )


def jpeg(folder: Path) -> None:
    """In how many images the trace is found, wherever the grid of 8 x 8 px begins."""
    qualities = (50, 75, 90, 95)
    print(
        "| images | of | as they are | Gaussian 1 px | "
        + " | ".join(f"{q}" for q in qualities)
        + " | 75, cut by 3, 5 px |"
    )
    print("|---|---|---|---|" + "---|" * (len(qualities) + 1))
    sets = {"real": [_middle(path) for pattern in REAL for path in find_images([str(folder / pattern)])]}
    for kind, noise in NOISES.items():
        sets[kind] = [x for scene in SCENES for x in scene_stack(noise(), scene, 4, SIDE_PX, seed=3000).noisy]
    for name, images in sets.items():
        ways = [images, [gaussian_blur(x, 1.0) for x in images]]
        ways += [[_jpeg(x, 0.0, q) for x in images] for q in qualities]
        ways.append([x[3:, 5:] for x in ways[3]])
        found = [sum(is_jpeg(x.astype(np.float64), pixels_of([x]).step) for x in way) for way in ways]
        print(f"| {name} | {len(images)} | {' | '.join(map(str, found))} |", flush=True)


def _middle(path: Path) -> NDArray[Any]:
    image = open_image(path, AXES.get(path.parent.name))
    return image.read_item(image.n_items(2) // 2, 2)[0]


def alarms(n_draws: int) -> None:
    print(f"| noise | scene | {' | '.join(CHANGES)} |\n|---|---|{'---|' * len(CHANGES)}")
    for kind, noise in NOISES.items():
        for scene in SCENES:
            training = scene_stack(noise(), scene, 8, SIDE_PX, seed=1000).noisy
            profile = profile_of([from_array(training, "SYX")], noise.axis)
            assert profile is not None
            fresh = scene_stack(noise(), scene, n_draws, SIDE_PX, seed=2000).noisy
            told = [sum(_is_told(change(x, PEDESTAL), profile) for x in fresh) for change in CHANGES.values()]
            print(f"| {kind} | {scene} | {' | '.join(map(str, told))} |", flush=True)


def real_alarms(folder: Path) -> None:
    print(f"| images | judged | {' | '.join(CHANGES)} |\n|---|---|{'---|' * len(CHANGES)}")
    for pattern, axis in REAL.items():
        for path in find_images([str(folder / pattern)]):
            image = open_image(path, AXES.get(path.parent.name))
            ours, others = halves_of(image)
            profile = profile_of([from_array(np.stack(ours), "SYX")], axis)
            judged = [q for x in others[:10] for q in _quarters(x)]
            if profile is None:
                print(f"| {path.parent.name}/{path.name} | no profile |")
                continue
            floor = float(np.quantile(ours, 0.01))
            told = [sum(_is_told(change(x, floor), profile) for x in judged) for change in CHANGES.values()]
            print(f"| {path.parent.name}/{path.name} | {len(judged)} | {' | '.join(map(str, told))} |", flush=True)


def halves_of(image: ImageFile) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Its frames in two halves, or the upper and the lower rows of its one frame."""
    items = [image.read_item(i, 2)[0] for i in range(image.n_items(2))]
    if len(items) > 1:
        return items[: len(items) // 2], items[len(items) // 2 :]
    middle = items[0].shape[0] // 2 // 8 * 8
    return [items[0][:middle]], [items[0][middle:]]


def run_alarms(run: Path, noisy: str, axes: str | None = None) -> None:
    """Quarters of the frames of NOISY, by the run's profile, without and with the likelihood of its model."""
    checkpoint = checkpoint_of(run)
    config, model = checkpoint.config, checkpoint.model()
    sources = [open_image(path, config.data.axes or axes) for path in find_images(list(config.data.images))]
    step = list(checkpoint.facts["quantisation_step"])
    noise_alone = profile_of(sources, config.network.noise_axis)
    assert noise_alone is not None
    profile = with_fit(noise_alone, model, sources, step)
    image = open_image(noisy, axes)
    judged = [q for i in range(min(MOST_FRAMES, image.n_items(2))) for q in _quarters(image.read_item(i, 2)[0])]
    floor = checkpoint.scaling.pedestal[0]
    for name, engine in (("noise alone", None), ("with the likelihood", model)):
        told = []
        for change in CHANGES.values():
            changed = [from_array(np.ascontiguousarray(change(x, floor)), "YX") for x in judged]
            told.append(sum(bool(differences(x, profile, [0], engine, step)) for x in changed))
        print(f"| {run} | {name} | {len(judged)} | {' | '.join(map(str, told))} |", flush=True)


def _quarters(x: NDArray[Any]) -> list[NDArray[Any]]:
    y, w = (n // 2 // 8 * 8 for n in x.shape)
    return [x[i : i + y, j : j + w] for i in (0, y) for j in (0, w)]


def _is_told(x: NDArray[Any], profile: Profile) -> bool:
    return bool(differences(from_array(np.ascontiguousarray(x), "YX"), profile, [0]))


def _written(x: NDArray[Any], floor: float) -> NDArray[Any]:
    """Twice the gain, each value anywhere in what became of its step, in the values of x's type."""
    doubled = floor + 2 * (x.astype(np.float64) - floor)
    if x.dtype.kind not in "iu":
        return doubled
    filled = np.rint(doubled + np.random.default_rng(0).uniform(-1, 1, x.shape))
    held = np.iinfo(x.dtype)
    return filled.clip(held.min, held.max).astype(x.dtype)


def _jpeg(x: NDArray[Any], floor: float, quality: int = 75) -> NDArray[Any]:
    """As it is where it fits 8 bits, else stretched."""
    low, high = (0.0, 255.0) if x.min() >= 0 and x.max() < 256 and x.max() > 20 else (float(x.min()), float(x.max()))
    grey = np.rint((x - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


CHANGES: dict[str, Callable[[NDArray[Any], float], NDArray[Any]]] = {
    "the same kind": lambda x, floor: x,
    "turned": lambda x, floor: np.rot90(x),
    "gain x 2": lambda x, floor: floor + 2 * (x.astype(np.float64) - floor),
    "gain x 2, as written": _written,
    "Gaussian 1 px": lambda x, floor: gaussian_blur(x, 1.0),
    "JPEG 75": _jpeg,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
