"""From the authors' final_model.ckpt and training-config.yaml to a run folder of ours.

imported = import_authors("final_model.ckpt", "training-config.yaml", "runs/imported")
cosdd_zoo.load(imported.folder)
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cosdd_zoo.authors.pickled import read_saved
from cosdd_zoo.authors.settings import config_of, read_settings
from cosdd_zoo.authors.tensors import Tensors
from cosdd_zoo.authors.translation import translated
from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.training.run_folder import RunFolder


class Imported(NamedTuple):
    folder: Path
    model: Path  # best.safetensors
    network: NetworkConfig
    notes: tuple[str, ...]  # what could not be imported as it was, a sentence each


def import_authors(
    checkpoint: str | Path, config: str | Path, output: str | Path, *, overwrite: bool = False
) -> Imported:
    """Make a run folder of a model that the authors' training.py (branch main) has trained.

    checkpoint: final_model.ckpt, of which nothing is executed. config: the training-config.yaml beside it.
    output: the run folder; must not exist or be empty, unless `overwrite`. It can be denoised with, exported, distilled
    and trained on from, but not resumed.

    Raises ConfigError or CheckpointError for what cannot be imported, and OutputError.
    """
    folder = RunFolder(Path(output))
    folder.refuse_what_is_there(overwrite)
    settings = read_settings(Path(config))
    saved = read_saved(Path(checkpoint))
    tensors = Tensors(Path(checkpoint), saved.weights)
    ours = config_of(tensors, settings)
    found = translated(tensors, ours.network, settings.hyper_parameters.scale_initialisation)
    facts = {"imported_from": Path(checkpoint).name, "epochs": saved.epoch}
    made = Checkpoint(ours, found.scaling, found.weights, facts)
    made.model()  # every weight has its place
    folder.create(ours)
    made.save(folder.best)
    return Imported(folder.path, folder.best, ours.network, _notes(found.n_top_places))


def _notes(n_top_places: int) -> tuple[str, ...]:
    if n_top_places == 1:
        return ()
    return (
        f"The prior of the coarsest level, one Gaussian for each of {n_top_places} places of a training crop, became a "
        f"single one of the same mean and variance. Denoising does not use it.",
    )
