"""Results against references, file by file: PSNR, SSIM and their kind.

A result belongs to the reference of its name (NAME_denoised to NAME) if all have one, else both are taken in order.
A reference of one frame serves all frames of its result. Standard deviations beside results (NAME_denoised_std) are no
results.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, check_finite, open_image
from cosdd_zoo.data.matching import matched
from cosdd_zoo.data.metrics import affine_fit, psnr
from cosdd_zoo.data.similarity import LEAST_PX, affine_psnr, fourier_ring_correlation, micro_ssim, ssim
from cosdd_zoo.errors import ImageError

STD = "_denoised_std."


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
    noisy: ImageFile | None = None


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
    found = pairs(results, references, axes, reference_axes)
    if noisy:
        seen = matched(
            [p.result for p in found], [open_image(path, axes) for path in find_images(noisy)], "noisy images"
        )
        found = [pair._replace(noisy=own) for pair, own in zip(found, seen, strict=True)]
        for pair, own in zip(found, seen, strict=True):
            _check_noisy(pair.result, own)
    for pair in found:
        yield _score(pair)


def pairs(
    results: Sequence[str], references: Sequence[str], axes: str | None = None, reference_axes: str | None = None
) -> list[Pair]:
    """Which reference is whose. Raises ImageError where counts differ, or shapes."""
    paths = find_images(results)
    ours = [open_image(path, axes) for path in [p for p in paths if STD not in p.name] or paths]
    theirs = [open_image(path, reference_axes or axes) for path in find_images(references)]
    if len(theirs) == 1:
        theirs = theirs * len(ours)
    if len(ours) != len(theirs):
        raise ImageError(
            f"There are {len(ours)} results and {len(theirs)} references: give one reference for each result, or one "
            "for all."
        )
    found = [Pair(*both) for both in zip(ours, matched(ours, theirs, "references"), strict=True)]
    for pair in found:
        _check(pair.result, pair.reference)
    return found


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
    """What a model card's Validation section is filled with; without what is infinite."""
    figures: dict[str, float | str] = {
        "psnr_denoised_db": round(score.psnr_db, 2),
        "psnr_affine_db": round(score.affine_psnr_db, 2),
        "ssim": round(score.ssim, 4),
        "micro_ssim": round(score.micro_ssim, 4),
        "bias_in_grey_values": float(f"{score.bias:.3g}"),
        "frc_resolution_px": round(score.frc_px, 2),
    }
    return {name: value for name, value in figures.items() if isinstance(value, str) or math.isfinite(value)}


def _score(pair: Pair) -> Score:
    rows = [_of_plane(y, s) for y, s in _planes(pair)]
    numbers = dict(zip(_MEASURED, np.mean(rows, axis=0).tolist(), strict=True))
    return Score(file=pair.result.name, reference=pair.reference.name, n_planes=len(rows), **numbers)


_MEASURED = ("psnr_db", "affine_psnr_db", "ssim", "micro_ssim", "bias", "bias_slope", "frc_px")


def _of_plane(y: NDArray[Any], s: NDArray[Any]) -> tuple[float, ...]:
    centred = s - s.mean()
    slope = float(np.mean(centred * (y - y.mean())) / max(float(np.mean(centred**2)), 1e-300))
    frc = fourier_ring_correlation(y, s).resolution_px
    return psnr(y, s), affine_psnr(y, s), ssim(y, s), micro_ssim(y, s), float(np.mean(y - s)), slope - 1, frc


def _planes(pair: Pair) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Each plane [Y, X] of the result and of its reference."""
    n_reference = pair.reference.n_items(2)
    for i in range(pair.result.n_items(2)):
        result = pair.result.read_item(i, 2).astype(np.float64)
        reference = pair.reference.read_item(i if n_reference > 1 else 0, 2).astype(np.float64)
        check_finite(result, pair.result.name)
        check_finite(reference, pair.reference.name)
        seen = pair.noisy.read_item(i, 2).astype(np.float64) if pair.noisy is not None else None
        if pair.noisy is not None and seen is not None:
            check_finite(seen, pair.noisy.name)
        for c in range(len(result)):
            truth = reference[c]
            if truth.std() == 0 or (seen is not None and seen[c].std() == 0):
                name = pair.reference.name if truth.std() == 0 or pair.noisy is None else pair.noisy.name
                raise ImageError(f"{name} is constant in frame {i}: there is nothing to compare with. Give another.")
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


def _check_noisy(result: ImageFile, noisy: ImageFile) -> None:
    shapes = [(image.n_items(2), *image.item_shape(2)) for image in (result, noisy)]
    if shapes[0] != shapes[1]:
        raise ImageError(
            f"{result.name} has (frames, channels, y, x) = {shapes[0]}, and the noisy image {noisy.name} {shapes[1]}: "
            "give the images that were denoised. --axes names axes."
        )
