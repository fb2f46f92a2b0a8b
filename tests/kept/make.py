"""Made the three packages beside this file, by version 0.1.0. They are kept as they are, and never made again.

    python tests/kept/make.py FOLDER

What users have on their disks stays usable: tests/test_kept.py holds every later version to these files. A new kind of
package gets a new file here; the old ones stay.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import QUICK, scene

import cosdd_zoo

CARD = Path(__file__).parents[2] / "model_cards" / "demo-confocal.md"
SIZE = {"n_features": 8, "n_code": 8, "n_latents": 4, "ar_features": 6}
LONG = {"max_steps": 300, "warmup_steps": 30, "validate_every": 300}

KINDS: dict[str, tuple[tuple[int, ...], str, Mapping[str, Any], Mapping[str, Any]]] = {
    "mean-of-2-with-std": ((1, 96, 80), "CYX", {}, {"n_samples": 2, "uncertainty": True}),
    "direct-two-channels": ((2, 96, 80), "CYX", {"direct": True, "noise_axis": "y"}, {"direct": True}),
    "volume-latents-means": ((1, 12, 80, 72), "CZYX", {"n_dims": 3, "crop_depth_px": 8}, {"n_samples": 0}),
}
"""Shape and axes of the sample, settings of the training, options of the export."""


def main(folder: Path) -> None:
    for name, (shape, axes, settings, options) in KINDS.items():
        image = scene(*shape, seed=3)
        small = {
            k: v
            for k, v in {**QUICK, **SIZE, **LONG}.items()
            if not (k == "downsample" and settings.get("n_dims") == 3)
        }
        run = cosdd_zoo.train([image], folder / f"{name}-run", axes=axes, quiet=True, **{**small, **settings})
        package = folder / f"{name}.zip"
        cosdd_zoo.export(run.folder, package, card=CARD, sample=image, **options)
        odd = odd_image(len(shape), shape[0])
        done = cosdd_zoo.load(package, "cpu").denoise(odd, **how(options), axes=axes)
        std = [done.std] if options.get("uncertainty") else []
        np.save(folder / f"{name}.npy", np.concatenate([done.mean, *std]))


def odd_image(n_axes: int, n_channels: int) -> np.ndarray[Any, Any]:
    """An image of sizes that no training saw: [C, (Z,) Y, X]."""
    return scene(n_channels, *((9,) if n_axes == 4 else ()), 75, 83, seed=4)


def how(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `denoise` that repeat what a package does."""
    return {key: options[key] for key in ("n_samples", "direct", "uncertainty") if key in options}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
