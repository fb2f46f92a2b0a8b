"""The Python API; the command line is thin over it.

run = cosdd_zoo.train(["stacks/"], "runs/actin", preset="tiny", max_time=10)
denoiser = cosdd_zoo.load(run.folder)
mean, std = denoiser.denoise(image, n_samples=100, uncertainty=True)
cosdd_zoo.export(run.folder, "actin.zip", card="model_cards/actin.md")
cosdd_zoo.check("actin.zip").passed
cosdd_zoo.upload("actin.zip", token=...)
moved = cosdd_zoo.train(["other/"], "runs/other", init_from=run.folder, max_time=3)
small = cosdd_zoo.distill(run.folder, ["stacks/"], "runs/small", n_features=16, max_time=5)
theirs = cosdd_zoo.import_authors("final_model.ckpt", "training-config.yaml", "runs/theirs")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosdd_zoo.authors.importing import Imported, import_authors
from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.inference.denoise import Denoised, Denoiser
from cosdd_zoo.training.run_folder import checkpoint_of
from cosdd_zoo.training.train import Run, distill, resume, train

if TYPE_CHECKING:
    from cosdd_zoo.export.check import CheckReport
    from cosdd_zoo.export.package import PackageReport
    from cosdd_zoo.zoo.upload import Uploaded

__all__ = [
    "Denoised",
    "Denoiser",
    "Imported",
    "Run",
    "check",
    "distill",
    "export",
    "import_authors",
    "load",
    "open_images",
    "resume",
    "train",
    "upload",
]


def load(source: str | Path, device: str = "auto") -> Denoiser:
    """A denoiser from a run folder, a checkpoint (.safetensors) or an exported package (.zip).

    Raises CheckpointError or PackageError, with a sentence, for anything else.
    """
    path = Path(source)
    if path.suffix.lower() == ".zip":
        from cosdd_zoo.export.package import load_package

        return load_package(path, device)
    checkpoint = checkpoint_of(path)
    return Denoiser(checkpoint.model(), checkpoint.config, device, checkpoint.facts)


def export(run: str | Path, output: str | Path, *, card: str | Path, **options: Any) -> PackageReport:
    """Write a BioImage Model Zoo package of a run's best model, or of a checkpoint.

    card: the model card, a Markdown file with front matter. options: n_samples, direct, uncertainty, processing,
    side_px, with_onnx, sample, figures, overwrite; see `cosdd_zoo.export.export.export`. The zip appears only once it
    has passed its check.
    """
    from cosdd_zoo.export.export import export_run

    return export_run(run, output, card=card, **options)


def check(package: str | Path, targets: Sequence[str] = ("all",)) -> CheckReport:
    """Judge a package, ours or anybody's, by bioimageio.core's test and the rules of the programs that run packages.

    targets: of fiji, icy, qupath, ilastik, core, zoo, or all. Raises ConfigError for another, and PackageError for a
    file that is no package, or not a safe one to open.
    """
    from cosdd_zoo.export.check import check as judge

    return judge(package, targets)


def upload(
    package: str | Path,
    *,
    token: str,
    artifact_id: str = "",
    draft: bool = False,
    server: str | None = None,
    confirm: Callable[[], None] | None = None,
    quiet: bool = False,
) -> Uploaded:
    """Upload a package to the BioImage Model Zoo and ask for its review, or go on with an upload that broke off.

    token: of the zoo's server. artifact_id: a draft whose files are replaced; by default a new one is made. draft: ask
    for no review yet. confirm: called once the package is found fit, before anything is sent. Raises PackageError for a
    package that the zoo would not take, and UploadError for what it refuses.
    """
    from cosdd_zoo.zoo.store import SERVER, Hypha
    from cosdd_zoo.zoo.upload import upload as send

    with Hypha(token, server or SERVER) as store:
        return send(package, store, artifact_id=artifact_id, draft=draft, confirm=confirm, quiet=quiet)


def open_images(sources: Sequence[str | Path], axes: str | None = None) -> list[ImageFile]:
    """Open all images of some files, folders and globs, headers only. Raises ImageError or AxesError."""
    return [open_image(path, axes) for path in find_images(sources)]
