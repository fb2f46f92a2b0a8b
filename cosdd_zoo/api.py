"""The Python API; the command line is thin over it.

cosdd_zoo.inspect(["stacks/"]).facts.noise_axis
run = cosdd_zoo.train(["stacks/"], "runs/actin", preset="tiny", noise_axis="auto", max_time=10)
denoiser = cosdd_zoo.load(run.folder)
mean, std = denoiser.denoise(image, n_samples=100, uncertainty=True)
cosdd_zoo.report(run.folder).facts.verdict
cosdd_zoo.export(run.folder, "actin.zip", card="model_cards/actin.md")
cosdd_zoo.check("actin.zip").passed
cosdd_zoo.upload("actin.zip", token=...)
moved = cosdd_zoo.train(["other/"], "runs/other", init_from=run.folder, max_time=3)
small = cosdd_zoo.distill(run.folder, ["stacks/"], "runs/small", n_features=16, max_time=5)
noisy = cosdd_zoo.noise_model(run.folder).add(mean)
theirs = cosdd_zoo.import_authors("final_model.ckpt", "training-config.yaml", "runs/theirs")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cosdd_zoo.authors.importing import Imported, import_authors
from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import RunConfig
from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.data.opening import open_all
from cosdd_zoo.inference.denoise import Denoised, Denoiser
from cosdd_zoo.noise.auto import with_found_axis
from cosdd_zoo.noise.profile import described
from cosdd_zoo.training import train as training
from cosdd_zoo.training.run_folder import checkpoint_of
from cosdd_zoo.training.train import Run

if TYPE_CHECKING:
    from cosdd_zoo.export.check import CheckReport
    from cosdd_zoo.export.package import PackageReport
    from cosdd_zoo.noise.inspected import Inspected
    from cosdd_zoo.report.reported import Reported
    from cosdd_zoo.synthetic.noise_model import NoiseModel
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
    "inspect",
    "load",
    "noise_model",
    "open_images",
    "report",
    "resume",
    "train",
    "upload",
]


def inspect(images: Any, *, axes: str | None = None, channels: str | None = None) -> Inspected:
    """What the noise of images is like, before anything is trained: its axis, length, gain, traces of processing, and
    the settings that follow.

    images, axes, channels: as for `train`. Returns the facts (`.facts`, a pydantic model), and what pictures are drawn
    from. Raises ImageError or AxesError for images that say nothing of their noise.
    """
    from cosdd_zoo.noise.inspected import inspect as look

    return look(open_all(images, axes, channels)[1])


def train(
    images: Any,
    output: str | Path,
    *,
    preset: str | None = None,
    config: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a model on noisy images alone.

    images: paths (files, folders, globs), or an array or xarray.DataArray, or a list of them.
    output: the run folder; must not exist or be empty, unless `overwrite`.
    preset: tiny, small, base or large. config: nested settings, as in config.yaml. settings: single ones by name, e.g.
    max_time=10, noise_axis="y", axes="TYX". Later ones win. init_from="runs/other" starts from that model's weights
    and networks, train_only="ar_decoder" leaves all else as it is there. noise_axis="auto" is what `inspect` finds.

    With devices=2 or more, Lightning runs the script that calls this once more for each further device. Those copies
    end here; what follows in the script is done once.

    Raises CosddError subclasses with a sentence each for images, settings or folders that do not work.
    """
    settings = with_found_axis(images, config, settings, Console(stderr=True, quiet=quiet).print)
    return training.train(
        images, output, preset=preset, config=config, overwrite=overwrite, tensorboard=tensorboard, quiet=quiet,
        describe=_seen(quiet), **settings,
    )  # fmt: skip


def _seen(quiet: bool) -> training.Describe:
    """The profile of the training images, which takes seconds that a user would wonder about."""

    def describe(images: Sequence[ImageFile], config: RunConfig, trained: Checkpoint | None = None) -> dict[str, Any]:
        with Console(stderr=True, quiet=quiet).status("Looking at the noise of the training images"):
            return described(images, config, trained)

    return describe


def distill(
    run: str | Path,
    images: Any,
    output: str | Path,
    *,
    n_samples: int | None = None,
    n_features: int | None = None,
    n_levels: int | None = None,
    **settings: Any,
) -> Run:
    """Train a direct denoiser to predict what a trained model, which stays as it is, returns in many passes.

    run: a run folder or checkpoint, the teacher. images: of the kind that it was trained on; noisy ones suffice.
    n_samples: posterior samples averaged for each target; 0: the latents' means.
    n_features, n_levels: a smaller U-Net than the teacher's ladder. settings: as for `train`, e.g. max_time=5.

    The new run holds teacher and direct denoiser. Raises what `train` raises.
    """
    asked = {"direct_features": n_features, "direct_levels": n_levels, "teacher_samples": n_samples}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    how: dict[str, Any] = {"init_from": run, "train_only": "direct_denoiser", **given, **settings}
    return training.train(images, output, describe=_seen(bool(settings.get("quiet"))), **how)


def resume(output: str | Path, images: Any = None, *, quiet: bool = False, **settings: Any) -> Run:
    """Continue a run exactly where its state was saved.

    images: only needed when the run was trained on arrays. settings: max_steps, max_time or patience may be raised;
    another number of devices takes the same steps if batch_size or accumulate make up for it.

    Raises CheckpointError when the folder is no run, ConfigError for other networks, and what `train` raises.
    """
    return training.resume(output, images, quiet=quiet, describe=_seen(quiet), **settings)


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


def noise_model(run: str | Path, device: str = "auto") -> NoiseModel:
    """The camera's noise as a run or checkpoint has learned it: to put on clean images, or to draw images anew.

    Raises CheckpointError for anything else; a package (.zip) lacks the part that draws noise.
    """
    from cosdd_zoo.synthetic.noise_model import NoiseModel

    return NoiseModel(checkpoint_of(Path(run)), device)


def report(
    run: str | Path,
    images: Any = None,
    *,
    reference: Any = None,
    repeat: Any = None,
    axes: str | None = None,
    n_samples: int | None = None,
    n_items: int | None = None,
    side_px: int | None = None,
    device: str = "auto",
    advance: Callable[[float], None] = lambda share: None,
) -> Reported:
    """What speaks for a run's model and its result, and what against: `.facts` is a pydantic model.

    images: to look at, by default those of the training. reference: clean ones, or repeat: noisy ones of the same
    things, one for each image. n_samples, n_items, side_px: how much is looked at. advance: called with shares that
    add up to 1. Raises CheckpointError, ConfigError, ImageError and AxesError with a sentence each.
    """
    from cosdd_zoo.report.reported import report as look

    return look(
        run, images, reference=reference, repeat=repeat, axes=axes, n_samples=n_samples, n_items=n_items,
        side_px=side_px, device=device, advance=advance,
    )  # fmt: skip


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
