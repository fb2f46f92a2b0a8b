"""A run folder: everything one training leaves behind, readable at any moment.

config.yaml         every setting, resolved
metrics.csv         one row every few steps, one a validation
best.safetensors    the averaged weights with the lowest validation loss: the model
last.safetensors    the averaged weights of the last validation
state.safetensors   what --resume needs: weights, averages, optimiser, counters
report.html, .json  what `cosdd-zoo report` found of the model
previews/           noisy, one sample, mean (and direct) of one crop, as training goes
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cosdd_zoo.checkpoint import Checkpoint, load_checkpoint
from cosdd_zoo.config import RunConfig, read_yaml, to_yaml, validated
from cosdd_zoo.data.beside import beside
from cosdd_zoo.errors import CheckpointError, OutputError


def checkpoint_of(source: Path) -> Checkpoint:
    """The checkpoint in a run folder (its best), or the file itself. Raises CheckpointError."""
    if source.suffix.lower() == ".zip" and source.is_file():
        raise CheckpointError(
            f"{source} is an exported package, which holds what denoising needs and no AR decoder: give the run folder "
            f"that it came from, or that run's best.safetensors."
        )
    path = source
    if path.is_dir():
        folder = RunFolder(path)
        folder.read_config()
        path = folder.best
    if not path.is_file():
        raise CheckpointError(
            f"{source} holds no model: expected a run folder with best.safetensors, a .safetensors file or a .zip."
        )
    return load_checkpoint(path)


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.csv"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.state = path / "state.safetensors"
        self.previews = path / "previews"

    def refuse_what_is_there(self, overwrite: bool) -> None:
        """Raises OutputError when something is there already that is not to be, or must not be, overwritten."""
        is_free = not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))
        if not is_free and not overwrite:
            raise OutputError(
                f"{self.path} exists and is not empty: choose another -o, remove it, or continue it with --resume."
            )
        if not is_free and not self.config_file.is_file():
            raise OutputError(f"{self.path} is not empty and no run folder: it is not overwritten. Choose another -o.")
        there = next(p for p in (self.path.absolute(), *self.path.absolute().parents) if p.exists())
        if not (there.is_dir() and os.access(there, os.W_OK)):  # said now, not after minutes of statistics
            raise OutputError(
                f"{self.path} cannot be made, since {there} cannot be written to: choose another folder with -o."
            )

    def _clear(self) -> None:
        """Remove what an earlier run left, and nothing that is not a run's."""
        if not self.path.is_dir():
            return
        files = [self.config_file, self.metrics_file, self.best, self.last, self.state]
        files += [self.path / "report.html", self.path / "report.json"]  # of that run's model
        for path in (*files, *self.previews.glob("*.png"), *self.path.glob("tensorboard/events*")):
            path.unlink(missing_ok=True)

    def create(self, config: RunConfig) -> None:
        """Make the folder with its config, in place of an earlier run's. Raises OutputError when it cannot be made."""
        with self._writing():
            self._clear()
            self.previews.mkdir(parents=True, exist_ok=True)
        self.write_config(config)

    def write_config(self, config: RunConfig) -> None:
        """Replace config.yaml. Raises OutputError when it cannot be written."""
        with self._writing(), beside(self.config_file, overwrite=True) as part:  # another process may be reading it
            part.write_text(to_yaml(config))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}): free some space, or choose another folder with -o."
            ) from None

    def read_config(self) -> RunConfig:
        """The settings of a run. Raises CheckpointError when the folder is none."""
        if not self.config_file.is_file():
            raise CheckpointError(f"{self.path} is no run folder: it holds no config.yaml. Give the -o of a training.")
        return validated(read_yaml(self.config_file))

    def append_metrics(self, row: Mapping[str, float | int | str]) -> None:
        """Add a row to metrics.csv; columns are those of the first row."""
        is_new = not self.metrics_file.exists()
        with self.metrics_file.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that a resumed run will take again."""
        if not self.metrics_file.exists():
            return
        header, *rows = self.metrics_file.read_text().splitlines()
        kept = [row for row in rows if row and int(row.split(",")[0]) <= step]
        self.metrics_file.write_text("\n".join([header, *kept]) + "\n")
