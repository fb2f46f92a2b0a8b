"""The Python API; the command line is thin over it.

run = cosdd_zoo.train(["stacks/"], "runs/actin", preset="tiny", max_time=10)
denoiser = cosdd_zoo.load(run.folder)
mean, std = denoiser.denoise(image, n_samples=100, uncertainty=True)
cosdd_zoo.export(run.folder, "actin.zip", card="model_cards/actin.md")
cosdd_zoo.check("actin.zip").passed
"""

from __future__ import annotations

from pathlib import Path

from cosdd_zoo.checkpoint import load_checkpoint
from cosdd_zoo.errors import CheckpointError
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.training.run_folder import RunFolder
from cosdd_zoo.training.train import Run, resume, train

__all__ = ["Denoiser", "Run", "load", "resume", "train"]


def load(source: str | Path, device: str = "auto") -> Denoiser:
    """A denoiser from a run folder, a checkpoint (.safetensors) or an exported package (.zip).

    Raises CheckpointError or PackageError, with a sentence, for anything else.
    """
    path = Path(source)
    if path.suffix.lower() == ".zip":
        from cosdd_zoo.export.package import load_package

        return load_package(path, device)
    if path.is_dir():
        folder = RunFolder(path)
        folder.read_config()
        path = folder.best if folder.best.exists() else folder.last
    if not path.is_file():
        raise CheckpointError(
            f"{source} holds no model: expected a run folder with best.safetensors, a .safetensors file or a .zip."
        )
    checkpoint = load_checkpoint(path)
    return Denoiser(checkpoint.model(), checkpoint.config, device, checkpoint.facts)
