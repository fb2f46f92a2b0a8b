"""A report on a run: what is looked at, what is found, and all of it as facts in JSON."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from cosdd_zoo.checkpoint import Checkpoint
from cosdd_zoo.data.channels import of_channels
from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.data.metrics import psnr
from cosdd_zoo.data.opening import open_all
from cosdd_zoo.data.similarity import LEAST_PX, affine_psnr, fourier_ring_correlation, ssim
from cosdd_zoo.errors import AxesError, CosddError, ImageError
from cosdd_zoo.noise.inspection import Noise
from cosdd_zoo.noise.profile import Judge, judge_of
from cosdd_zoo.report.checks import Curves, Judged, of_channel
from cosdd_zoo.report.evidence import Evidence, gather
from cosdd_zoo.report.lights import Check, Light, worst
from cosdd_zoo.report.looked_at import (
    Amount,
    check_channels,
    chosen_places,
    items_of,
    noise_in,
    on_scale,
    repeats_in,
    usual_amount,
)  # fmt: skip
from cosdd_zoo.report.measures import correlation_with
from cosdd_zoo.report.run_checks import of_kind, of_training
from cosdd_zoo.training.run_folder import checkpoint_of
from cosdd_zoo.version import __version__

COLUMNS = ("step", "seconds", "nll", "kl", "signal")
VERDICTS: dict[Light, str] = {
    "good": "Nothing speaks against this model and its result on these images.",
    "fair": "The result can be used with care: look at what is marked.",
    "bad": "Do not rely on this result before what is marked bad is mended.",
    "unknown": "Not all could be judged; nothing that was speaks against this model and its result.",
}


class ChannelReport(BaseModel):
    """Lags from 1 px; grey values, variances in their squares."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    checks: list[Check]
    noise_axis_measured: str
    noise_std: float
    correlation_measured: list[float]
    """Of the noise, along the model's noise axis."""
    correlation_drawn: list[float]
    """Of noise that was drawn from the model, measured in the same way."""
    correlation_residual: list[float]
    correlation_residual_across: list[float]
    covariance_left_across: list[float]
    """Of the residual and of what the posterior leaves open, over the noise's variance: 0 for the right posterior."""
    variance_measured: list[tuple[float, float]]
    """Pairs of grey value and variance."""
    variance_drawn: list[tuple[float, float]]
    variance_residual: list[tuple[float, float]]
    bias: list[tuple[float, float]]
    """Pairs of brightness and mean of noisy minus denoised."""
    residual_correlated_with: dict[str, float]
    pit: list[float]
    """Shares of 20 equal bins of the likelihood's quantiles; 0.05 each if it is calibrated."""
    nll: float
    """Negative log-likelihood of the noisy image given its latents, nats a pixel."""
    posterior_std: float
    error_of_mean: list[tuple[int, float]]
    """Pairs of a number of samples and the standard error of their mean."""
    frc: dict[str, float]
    """Period in px at which the Fourier ring correlation falls below 1/7."""
    reference: dict[str, float]
    """psnr_db, affine_psnr_db, ssim, bias of the result, and of the noisy image; empty without a reference."""
    repeat: dict[str, float]


class Report(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    cosdd_zoo: str
    run: str
    light: Light
    verdict: str
    images: list[str]
    n_frames: int
    side_px: list[int]
    n_samples: int
    reference_scale: list[tuple[float, float]]
    """a and b of each channel: a s + b is on the noisy images' scale, s the reference; 1 and 0: it is as it was."""
    repeats: str
    """none, given, or found: consecutive frames that show the same thing."""
    other_kind: list[str]
    """How the images are not of the kind that the model was trained on."""
    settings: dict[str, Any]
    training: dict[str, Any]
    checks: list[Check]
    """Of the training and the images; those of the result are the channels'."""
    channels: list[ChannelReport]


class Metrics(NamedTuple):
    """Rows of metrics.csv, [rows] each."""

    split: list[str]
    columns: dict[str, list[float]]

    def of(self, split: str, column: str) -> list[float]:
        return [v for v, s in zip(self.columns.get(column, []), self.split, strict=True) if s == split]


class Reported(NamedTuple):
    facts: Report
    evidence: list[Evidence]
    judged: list[Judged]
    metrics: Metrics


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
    """What speaks for a run's model and its result, and what against.

    run: a run folder or a checkpoint. images: to look at, by default those of the training. reference: clean images, or
    repeat: other noisy ones of the same things, one for each image; consecutive frames that show the same thing are
    found. n_samples, n_items, side_px: how much is looked at. advance: called with shares that add up to 1.

    Raises CheckpointError, ConfigError, ImageError and AxesError with a sentence each.
    """
    path = Path(run)
    checkpoint = checkpoint_of(path)
    asked = {"n_samples": n_samples, "n_items": n_items, "side_px": side_px}
    much = usual_amount(checkpoint.config.network.n_features, device)
    much = much._replace(**{name: value for name, value in asked.items() if value is not None})
    return report_on(
        checkpoint, path, _opened(checkpoint, images, axes), _beside(checkpoint, reference, axes),
        _beside(checkpoint, repeat, axes), much, device, advance,
    )  # fmt: skip


def report_on(
    checkpoint: Checkpoint,
    path: Path,
    images: Sequence[ImageFile],
    references: Sequence[ImageFile] = (),
    repeats: Sequence[ImageFile] = (),
    amount: Amount = Amount(),  # noqa: B008  # it cannot be changed
    device: str = "auto",
    advance: Callable[[float], None] = lambda share: None,
) -> Reported:
    network = checkpoint.config.network
    items = items_of(images, references, repeats, network.n_dims, amount)
    found = "given" if repeats else "none"
    if not repeats and (again := repeats_in(images, network.n_dims, amount)):
        items, found = again, "found"
        if references:
            items = [
                item._replace(reference=own.reference)
                for item, own in zip(again, items_of(images, references, (), network.n_dims, amount), strict=True)
            ]
    items, scale = on_scale(items, network.noise_axis)
    check_channels(items, network.n_channels)
    noises = [noise_in(items, c, network.noise_axis) for c in range(network.n_channels)]  # what has none is said now
    evidence = gather(checkpoint, items, amount.n_samples, device, advance)
    exact = all(pair == (1.0, 0.0) for pair in scale)
    judged = [of_channel(e, noise, network.noise_axis, exact) for e, noise in zip(evidence, noises, strict=True)]
    metrics = read_metrics(path)
    losses = np.add(metrics.of("validation", "nll"), metrics.of("validation", "kl")).tolist()
    validation = list(zip(metrics.of("validation", "seconds"), losses, strict=True))
    shown = {k: images[k] for k, _ in chosen_places(images, network.n_dims, amount.n_items)}
    judge = judge_of(checkpoint.facts)
    other = _other_kind(judge, shown.values(), network.n_channels) if judge else None
    kind = of_kind(other, bool(judge and judge.profile.pixel_size))
    checks = [*of_training(checkpoint.facts, validation, evidence[0].kl), kind]
    names = list(checkpoint.facts.get("channels", []))
    channels = [
        _channel(names[c] if c < len(names) else f"channel {c}", *parts)
        for c, parts in enumerate(zip(evidence, judged, noises, strict=True))
    ]
    light = worst([c.light for c in checks] + [c.light for own in channels for c in own.checks])
    return Reported(
        Report(
            cosdd_zoo=__version__,
            run=path.name or str(path),
            light=light,
            verdict=VERDICTS[light],
            images=list(dict.fromkeys(item.name for item in items)),
            n_frames=len(evidence[0].x),
            side_px=list(evidence[0].x.shape[1:]),
            n_samples=amount.n_samples,
            reference_scale=[(float(f"{a:.6g}"), float(f"{b:.6g}")) for a, b in scale],
            repeats=found,
            other_kind=other or [],
            settings=checkpoint.config.model_dump(mode="json", exclude={"data"}),
            training={k: v for k, v in checkpoint.facts.items() if k not in ("profile", "images")},
            checks=checks,
            channels=channels,
        ),
        evidence,
        judged,
        metrics,
    )


def read_metrics(path: Path) -> Metrics:
    """Of a run folder; empty for a checkpoint alone."""
    folder = path if path.is_dir() else path.parent
    file = folder / "metrics.csv"
    if not (file.is_file() and (folder / "config.yaml").is_file()):
        return Metrics([], {})
    split: list[str] = []
    columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
    with file.open(newline="") as opened:
        for row in csv.DictReader(opened):
            try:
                values = [float(row[name]) for name in COLUMNS]
            except (KeyError, TypeError, ValueError):  # of a run that was killed while it wrote
                continue
            split.append(str(row.get("split")))
            for name, value in zip(COLUMNS, values, strict=True):
                columns[name].append(value)
    return Metrics(split, columns)


def _channel(name: str, e: Evidence, judged: Judged, noise: Noise) -> ChannelReport:
    c: Curves = judged.curves
    frc = {"two samples": _frc(e.two[0], e.two[1])}
    reference, repeat = {}, {}
    if e.reference is not None:
        frc["result and reference"] = _frc(e.mean, e.reference)
        reference = {**_against(e.mean, e.reference, ""), **_against(e.x, e.reference, "noisy_")}
    if e.repeat is not None and e.repeat_mean is not None:
        frc["results of two frames"] = _frc(e.mean, e.repeat_mean)
        error = float(np.mean((e.repeat - e.mean) ** 2)) - float(np.var(e.x - e.repeat)) / 2
        spread = float(e.mean.max() - e.mean.min())
        repeat = {"bias": float(np.mean(e.mean - e.repeat))}
        if error > 0 and spread > 0:
            repeat["psnr_db"] = round(10 * float(np.log10(spread**2 / error)), 2)
    return ChannelReport(
        name=name,
        checks=judged.checks,
        noise_axis_measured=noise.axis,
        noise_std=judged.noise_std,
        correlation_measured=_short(c.measured),
        correlation_drawn=_short(c.drawn),
        correlation_residual=_short(c.residual),
        correlation_residual_across=_short(c.residual_across),
        covariance_left_across=_short(c.left_across),
        variance_measured=_pairs(c.variance_measured.x, c.variance_measured.y),
        variance_drawn=_pairs(c.variance_drawn.x, c.variance_drawn.y),
        variance_residual=_pairs(c.variance_residual.x, c.variance_residual.y),
        bias=_pairs(c.bias.x, c.bias.y),
        residual_correlated_with={k: float(f"{v:.4g}") for k, v in correlation_with(e.residual, e.mean).items()},
        pit=_short(e.pit / max(int(e.pit.sum()), 1)),
        nll=e.nll,
        posterior_std=float(np.sqrt(np.mean(e.std**2))),
        error_of_mean=[(2 * (k + 1), float(f"{v:.6g}")) for k, v in enumerate(e.error)],
        frc=frc,
        reference=reference,
        repeat=repeat,
    )


def _against(image: Any, truth: Any, prefix: str) -> dict[str, float]:
    planes = list(zip(image, truth, strict=True))
    found = {
        "psnr_db": np.mean([psnr(y, s) for y, s in planes]),
        "affine_psnr_db": np.mean([affine_psnr(y, s) for y, s in planes]),
        "bias": np.mean(image - truth),
    }
    if min(image.shape[1:]) >= LEAST_PX:
        found["ssim"] = np.mean([ssim(y, s) for y, s in planes])
    return {prefix + name: float(f"{value:.5g}") for name, value in found.items()}


def _frc(first: Any, second: Any) -> float:
    return round(
        float(np.mean([fourier_ring_correlation(a, b).resolution_px for a, b in zip(first, second, strict=True)])), 3
    )


def _other_kind(judge: Judge, images: Iterable[ImageFile], n_channels: int) -> list[str]:
    return list(dict.fromkeys(f"{image.name}: {said}" for image in images for said in judge(image, range(n_channels))))


def _opened(checkpoint: Checkpoint, images: Any, axes: str | None) -> list[ImageFile]:
    data = checkpoint.config.data
    if images is not None:
        return [_fitting(checkpoint, image) for image in open_all(images, axes, None)[1]]
    if not data.images:
        raise ImageError(
            "The model's training images are not known (arrays in memory, or it was imported): name images to look at."
        )
    try:
        return open_all(list(data.images), axes or data.axes, data.channels)[1]
    except CosddError as error:
        raise ImageError(f"{error} These are the model's training images: name others to look at.") from None


def _beside(checkpoint: Checkpoint, sources: Any, axes: str | None) -> list[ImageFile]:
    """References or repeats, opened as the images are; by their own axes where they have fewer, as one for all frames
    has.
    """
    if sources is None:
        return []
    data = checkpoint.config.data
    paths = find_images([sources] if isinstance(sources, (str, Path)) else list(sources))
    out = []
    for path in paths:
        try:
            image = open_image(path, axes or data.axes)
        except AxesError:
            image = open_image(path)
        out.append(_fitting(checkpoint, image))
    return out


def _fitting(checkpoint: Checkpoint, image: ImageFile) -> ImageFile:
    """The training's channels of an image that has others beside them."""
    config = checkpoint.config
    return image if image.n_channels == config.network.n_channels else of_channels(image, config.data.channels)


def _short(values: Any) -> list[float]:
    return [float(f"{v:.5g}") for v in values]


def _pairs(x: Any, y: Any) -> list[tuple[float, float]]:
    return [(float(f"{a:.6g}"), float(f"{b:.6g}")) for a, b in zip(x, y, strict=True)]
