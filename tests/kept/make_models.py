"""Made the two checkpoints beside this file, by version 0.1.0, in a quarter of an hour on two cores.

    python tests/kept/make_models.py FOLDER

stripes.safetensors       tiny, ten minutes on the simulated stack of `cosdd-zoo simulate --noise stripes`
wrong-axis.safetensors    the same for six minutes with the noise axis y, while the noise runs along x

What a report or drawn noise is worth can only be told on models that have learned something, and tests have no time to
train one. Weights are stored as float16, for their size.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cosdd_zoo
from cosdd_zoo.checkpoint import load_checkpoint
from cosdd_zoo.data.simulate.folder import resolve_simulation, write_simulation

MINUTES = {"stripes": ("x", 10), "wrong-axis": ("y", 6)}


def main(folder: Path) -> None:
    noisy = write_simulation(resolve_simulation("stripes", None), folder / "simulated", True).noisy
    for name, (axis, minutes) in MINUTES.items():
        run = cosdd_zoo.train([noisy], folder / name, noise_axis=axis, max_time=minutes, quiet=True)
        found = load_checkpoint(run.model)
        half = {k: v.half() if v.is_floating_point() else v for k, v in found.weights.items()}
        nameless = found.config.data.model_copy(update={"images": ()})
        config = found.config.model_copy(update={"data": nameless})
        found._replace(weights=half, config=config).save(folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
