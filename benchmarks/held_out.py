"""`denoise`'s alarms on halves of real sets, by models that were trained on the other half, as a new user would.

    python benchmarks/held_out.py FOLDER OUTPUT [--half first|second] [--minutes 5] [--sets NAME ...]

FOLDER: the real sets. For each file: the half (of its frames, or of the rows of its one frame) is written as a TIFF,
`cosdd-zoo inspect` looks at it, `cosdd-zoo train` takes the settings that it writes, and quarters of the frames of the
other half are judged, by the noise and grey values alone and with the model's likelihood; see `inspecting.py` for how
they are changed. What is in OUTPUT already is not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile

from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import open_image
from inspecting import AXES, CHANGES, REAL, halves_of, run_alarms

PATTERNS = [*REAL, "emccd_pn2v/field_diaphragm*"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--half", choices=["first", "second"], default="first", help="what the models are trained on")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sets", nargs="*", help="parts of the files' names; all of them by default")
    given = parser.parse_args()
    print(f"| run | by | judged | {' | '.join(CHANGES)} |\n|---|---|---|{'---|' * len(CHANGES)}", flush=True)
    for path in find_images([str(given.folder / pattern) for pattern in PATTERNS]):
        if given.sets is None or any(name in path.name for name in given.sets):
            judge(path, given.output / f"{path.stem}_{given.half}", given.half, given.minutes)


def judge(path: Path, output: Path, half: str, minutes: float) -> None:
    first, second = halves_of(open_image(path, AXES.get(path.parent.name)))
    trained, judged = (first, second) if half == "first" else (second, first)
    output.mkdir(parents=True, exist_ok=True)
    axes = "SYX" if len(first) + len(second) > 2 else "YX"
    for name, frames in (("trained", trained), ("judged", judged)):
        pixels = np.stack(frames) if axes == "SYX" else frames[0]
        tifffile.imwrite(output / f"{name}.tif", pixels, photometric="minisblack")
    noisy, look, run = [str(output / "trained.tif"), "--axes", axes], output / "look", output / "run"
    if not (run / "best.safetensors").exists():
        _cosdd_zoo("inspect", *noisy, "-o", str(look), "--overwrite")
        settings = ["--config", str(look / "settings.yaml")]
        _cosdd_zoo("train", *noisy, "-o", str(run), *settings, "--max-time", str(minutes), "--overwrite")
    run_alarms(run, str(output / "judged.tif"), axes)


def _cosdd_zoo(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "cosdd_zoo", *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
