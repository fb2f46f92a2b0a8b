"""From a run to a package: the graph, its sample image, its card, in one zip that has passed its own test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.config import SPATIAL_AXES, to_yaml
from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import check_finite, open_image
from cosdd_zoo.errors import CheckpointError, ConfigError, CosddError, ImageError
from cosdd_zoo.export.card import read_card
from cosdd_zoo.export.onnx_weights import check_onnx_is_here, to_onnx
from cosdd_zoo.export.package import PackageReport, write_package
from cosdd_zoo.export.rdf import ZScore
from cosdd_zoo.export.torchscript import Portable, PortableDirect, PortableMean, script
from cosdd_zoo.inference.denoise import check_uncertainty
from cosdd_zoo.inference.tiling import round_up
from cosdd_zoo.inference.windows import halos, image_order
from cosdd_zoo.training.run_folder import checkpoint_of

N_SAMPLES = 8
"""Four antithetic pairs: within 0.05 dB of the mean of 64 (benchmarks/results), at an eighth of the time."""
INNER_PX = 512
"""Side of the windows that bound the graph's own memory, plus a halo on each side."""
INNER_DEPTH_PX = 32


def export_run(run: str | Path, output: str | Path, *, card: str | Path, **options: Any) -> PackageReport:
    """Write a BioImage Model Zoo package of a run's best model, or of a checkpoint; options: those of `export`.

    card: the model card, a Markdown file with front matter. Raises CheckpointError, and what `export` raises.
    """
    return export(checkpoint_of(Path(run)), Path(output), Path(card), **options)


def export(
    checkpoint: Checkpoint,
    path: Path,
    card: Path,
    *,
    n_samples: int | None = None,
    direct: bool = False,
    uncertainty: bool = False,
    processing: str = "graph",
    side_px: int | None = None,
    with_onnx: bool = False,
    sample: Path | NDArray[Any] | None = None,
    figures: dict[str, float | str] | None = None,
    overwrite: bool = False,
) -> PackageReport:
    """Write the package `path`; it appears only after bioimageio.core has reproduced its test output.

    sample: an image file, or an array [C, *], for the test tensors and the cover; by default the first training image.
    processing: "graph" (portable: statistics inside) or "rdf" (z-score before and after it, said in the rdf).
    side_px: the one size along y and x that the description allows, so that Fiji cuts tiles of it; by default any.
    with_onnx: add the same model as ONNX, checked by onnxruntime.

    Raises ConfigError, ImageError, OutputError or PackageError with a sentence each.
    """
    _check(checkpoint, path, direct, processing)
    check_uncertainty(uncertainty, direct, n_samples)
    if with_onnx:
        check_onnx_is_here()
    read = read_card(card)
    image = sample if isinstance(sample, np.ndarray) else sample_item(checkpoint, sample)
    scaling, outside = checkpoint.scaling, None
    if processing == "rdf":
        outside = ZScore(tuple(scaling.mean), tuple(scaling.std))
        factor = [1.0 / s for s in scaling.std]
        offset = [-m / s for m, s in zip(scaling.mean, scaling.std, strict=True)]
        checkpoint = checkpoint._replace(scaling=scaling.moved(factor, offset))
    model = portable(checkpoint, N_SAMPLES if n_samples is None else n_samples, direct, uncertainty)
    return write_package(
        script(model),
        path,
        read,
        image,
        halos(checkpoint.config.network),
        uncertainty=uncertainty,
        processing=outside,
        side_px=side_px,
        figures=figures,
        config_text=to_yaml(_without_paths(checkpoint)),
        profile_text=json.dumps(checkpoint.facts["profile"]) if "profile" in checkpoint.facts else "",
        onnx=to_onnx(model) if with_onnx else None,
        overwrite=overwrite,
    )


def portable(checkpoint: Checkpoint, n_samples: int, direct: bool, uncertainty: bool) -> Portable:
    """The graph before scripting, windowed on the model's grid."""
    network = checkpoint.config.network
    wanted = {"z": INNER_DEPTH_PX, "y": INNER_PX, "x": INNER_PX}
    stride = image_order(network, network.total_stride())
    inner = [round_up(wanted[a], s) for a, s in zip(SPATIAL_AXES[network.n_dims], stride, strict=True)]
    halo = halos(network)
    model = checkpoint.model()
    return PortableDirect(model, inner, halo) if direct else PortableMean(model, inner, halo, n_samples, 0, uncertainty)


def sample_item(checkpoint: Checkpoint, sample: Path | None) -> NDArray[Any]:
    """The first item of the sample image, or of the first training image: [C, *]. Raises ImageError."""
    sources = [str(sample)] if sample else list(checkpoint.config.data.images)
    if not sources:
        raise ImageError(
            "The model's training images are not known (arrays in memory, or it was imported): give an image for test "
            "and cover with --sample."
        )
    try:
        image = open_image(find_images(sources)[0], checkpoint.config.data.axes)
    except CosddError as error:
        raise ImageError(f"{error} A package needs an image for its test and cover: give one with --sample.") from None
    item = image.read_item(0, checkpoint.config.network.n_dims)
    check_finite(item, image.name)
    return item


def _check(checkpoint: Checkpoint, path: Path, direct: bool, processing: str) -> None:
    if path.suffix.lower() != ".zip":
        raise ConfigError(f"{path} does not end in .zip: a package is one zip file, e.g. -o {path.stem}.zip.")
    if processing not in ("graph", "rdf"):
        raise ConfigError(f"--processing {processing} is unknown: use graph (portable) or rdf (explicit).")
    if direct and not checkpoint.config.network.direct:
        raise ConfigError(
            "This model has no direct denoiser: leave out --direct, or make one with `cosdd-zoo distill`."
        )
    if checkpoint.config.network.n_dims == 1:
        raise ConfigError("A package holds 2-D or 3-D models, and this one is 1-D: run it with `cosdd-zoo denoise`.")
    if checkpoint.facts.get("collapsed"):
        raise CheckpointError(
            "The model's posterior has collapsed: it returns the data's mean, so that a package of it is of no use. "
            "Train again: with another --seed, fewer --n-mixture, or a shorter --receptive-field-px."
        )


def _without_paths(checkpoint: Checkpoint) -> Any:
    """The config without the names of folders on the author's computer."""
    data = checkpoint.config.data.model_copy(update={"images": ()})
    training = checkpoint.config.training.model_copy(update={"init_from": None})
    return checkpoint.config.model_copy(update={"data": data, "training": training})
