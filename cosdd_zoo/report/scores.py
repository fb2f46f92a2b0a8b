"""Results against references, file by file: PSNR, SSIM and their kind.

A result belongs to the reference of its name (NAME_denoised to NAME) if all have one, else both are taken in order.
A reference of one frame serves all frames of its result.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, check_finite, open_image
from cosdd_zoo.data.metrics import affine_fit, psnr
from cosdd_zoo.data.similarity import LEAST_PX, affine_psnr, fourier_ring_correlation, micro_ssim, ssim
from cosdd_zoo.errors import ImageError

SUFFIXES = ("_denoised", "_noisy", "_raw", "_low", "_gt", "_truth", "_clean", "_high")
"""Ends of names that say what an image is, and not which."""


class Score(BaseModel):
    """Means over frames and channels, planes [Y, X] each."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    file: str
    reference: str
    n_planes: int
    psnr_db: float
    affine_psnr_db: float
    """Of a y + b, with the a and b nearest to the reference."""
    ssim: float
    micro_ssim: float
    bias: float
    """Mean of result minus reference, grey values."""
    bias_slope: float
    """How the bias goes with intensity: the slope of the result on the reference, minus 1."""
    frc_px: float
    """Period at which the Fourier ring correlation with the reference falls below 1/7."""


class Pair(NamedTuple):
    result: ImageFile
    reference: ImageFile


def score_files(
    results: Sequence[str],
    references: Sequence[str],
    noisy: Sequence[str] = (),
    *,
    axes: str | None = None,
    reference_axes: str | None = None,
) -> Iterator[Score]:
    """The score of each result. noisy: the images that were denoised, to whose scale the references are brought first
    (a s + b by least squares), where these were taken with another exposure.

    Raises ImageError for files that do not belong together, and AxesError for axes that nobody knows.
    """
    found = pairs(results, references, axes, reference_axes or axes)
    seen = pairs(noisy, references, axes, reference_axes or axes) if noisy else []
    if seen and len(seen) != len(found):
        raise ImageError(f"There are {len(found)} results and {len(seen)} noisy images: give one for each.")
    for n, pair in enumerate(found):
        yield _score(pair, seen[n].result if seen else None)


def pairs(
    results: Sequence[str], references: Sequence[str], axes: str | None = None, reference_axes: str | None = None
) -> list[Pair]:
    """Which reference is whose. Raises ImageError where counts differ, or shapes."""
    ours = [open_image(path, axes) for path in find_images(results)]
    theirs = [open_image(path, reference_axes or axes) for path in find_images(references)]
    if len(theirs) == 1:
        theirs = theirs * len(ours)
    if len(ours) != len(theirs):
        raise ImageError(
            f"There are {len(ours)} results and {len(theirs)} references: give one reference for each result, or one "
            "for all."
        )
    named = {_stem(image.name): image for image in theirs}
    if len(named) == len(theirs) and all(_stem(image.name) in named for image in ours):
        theirs = [named[_stem(image.name)] for image in ours]
    for result, reference in zip(ours, theirs, strict=True):
        _check(result, reference)
    return [Pair(*both) for both in zip(ours, theirs, strict=True)]


def mean_score(scores: Sequence[Score]) -> Score:
    """Over files, each counting once. Raises ValueError for none."""
    if not scores:
        raise ValueError("there are no scores")
    numbers = {
        name: float(np.mean([getattr(s, name) for s in scores]))
        for name, field in Score.model_fields.items()
        if field.annotation is float
    }
    return Score(file="all", reference="", n_planes=sum(s.n_planes for s in scores), **numbers)


def as_csv(scores: Sequence[Score]) -> str:
    """One line a file, under the names of the columns."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(Score.model_fields), lineterminator="\n")
    table.writeheader()
    table.writerows(score.model_dump() for score in scores)
    return text.getvalue()


def as_figures(score: Score) -> dict[str, float | str]:
    """What a model card's Validation section is filled with."""
    return {
        "psnr_denoised_db": round(score.psnr_db, 2),
        "psnr_affine_db": round(score.affine_psnr_db, 2),
        "ssim": round(score.ssim, 4),
        "micro_ssim": round(score.micro_ssim, 4),
        "bias_in_grey_values": float(f"{score.bias:.3g}"),
        "frc_resolution_px": round(score.frc_px, 2),
    }


def _score(pair: Pair, noisy: ImageFile | None) -> Score:
    rows = [_of_plane(y, s) for y, s in _planes(pair, noisy)]
    numbers = dict(zip(_MEASURED, np.mean(rows, axis=0).tolist(), strict=True))
    return Score(file=pair.result.name, reference=pair.reference.name, n_planes=len(rows), **numbers)


_MEASURED = ("psnr_db", "affine_psnr_db", "ssim", "micro_ssim", "bias", "bias_slope", "frc_px")


def _of_plane(y: NDArray[Any], s: NDArray[Any]) -> tuple[float, ...]:
    centred = s - s.mean()
    slope = float(np.mean(centred * (y - y.mean())) / max(float(np.mean(centred**2)), 1e-300))
    frc = fourier_ring_correlation(y, s).resolution_px
    return psnr(y, s), affine_psnr(y, s), ssim(y, s), micro_ssim(y, s), float(np.mean(y - s)), slope - 1, frc


def _planes(pair: Pair, noisy: ImageFile | None) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Each plane [Y, X] of the result and of its reference."""
    n_reference = pair.reference.n_items(2)
    for i in range(pair.result.n_items(2)):
        result = pair.result.read_item(i, 2).astype(np.float64)
        reference = pair.reference.read_item(i if n_reference > 1 else 0, 2).astype(np.float64)
        check_finite(result, pair.result.name)
        check_finite(reference, pair.reference.name)
        seen = noisy.read_item(i, 2).astype(np.float64) if noisy is not None else None
        for c in range(len(result)):
            truth = reference[c]
            if truth.std() == 0:
                raise ImageError(
                    f"{pair.reference.name} is constant in frame {i}: there is nothing to compare with. Give another "
                    "reference."
                )
            yield result[c], truth if seen is None else affine_fit(truth, seen[c])


def _check(result: ImageFile, reference: ImageFile) -> None:
    ours, theirs = result.item_shape(2), reference.item_shape(2)
    n, n_reference = result.n_items(2), reference.n_items(2)
    if ours != theirs or n_reference not in (1, n):
        raise ImageError(
            f"{result.name} has {n} frames of {ours} (channels, y, x), and its reference {reference.name} "
            f"{n_reference} of {theirs}: give a reference of the same shape, or one frame for all. --axes names axes."
        )
    if min(ours[1:]) < LEAST_PX:
        raise ImageError(f"{result.name} is {ours[1]} x {ours[2]} px: figures need {LEAST_PX} px along y and x.")


def _stem(name: str) -> str:
    stem = name
    while "." in stem:
        stem = stem.rsplit(".", 1)[0]
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem
