"""The figures of a model card: what noise was found, and how far the result is from the truth where one is known.

The residual noisy - denoised is the model's noise. Its autocorrelation along the noise axis is what the model was made
for; across it there should be none: what is there is signal that was removed, or noise that was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.data.matching import matched
from cosdd_zoo.data.metrics import affine_fit, best_gaussian, psnr
from cosdd_zoo.errors import ImageError
from cosdd_zoo.export.card import Figures
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.noise.autocorrelation import autocorrelation
from cosdd_zoo.noise.figures import autocorrelation_figure

LAGS_PX = 5
PICTURE_LAGS_PX = 10
Item = NDArray[Any]  # [C, *]


def evaluate(
    denoiser: Denoiser,
    images: Sequence[str],
    truths: Sequence[str] = (),
    *,
    n_samples: int | None = None,
    direct: bool = False,
    axes: str | None = None,
) -> Figures:
    """What a model does to images: noise found, and with truths (one a file, that of its name) PSNRs in dB.

    A truth of one frame serves all frames of its image. It is brought to each noisy frame's scale by least squares.
    Raises ImageError for files that do not fit the model or one another.
    """
    n_dims = denoiser.network.n_dims
    files = [open_image(path, axes) for path in find_images(images)]
    known = [open_image(path, axes) for path in find_images(truths)] if truths else []
    known = matched(files, known, "truths") if known else []
    estimator = denoiser.estimator(denoiser.default_samples if n_samples is None else n_samples, direct)
    noisy: list[Item] = []
    denoised: list[Item] = []
    fitted: list[Item] = []
    for k, file in enumerate(files):
        for i in range(denoiser.n_items(file)):
            noisy.append(file.read_item(i, n_dims))
            done = denoiser.item(file, i, estimator)
            denoised.append(done.mean)
            if known:
                fitted.append(affine_fit(_truth(known[k], i, file, n_dims), noisy[-1]))
    steps, minutes = denoiser.facts.get("steps"), denoiser.facts.get("minutes")
    found: dict[str, float | str] = {} if steps is None else {"training_steps": f"{steps}"}
    found |= {} if minutes is None else {"training_minutes": f"{minutes}"}
    found |= noise_figures(noisy, denoised)
    return {**found, **truth_figures(noisy, denoised, fitted)} if known else found


def noise_figures(noisy: Sequence[Item], denoised: Sequence[Item]) -> Figures:
    """Standard deviation in grey values, and the autocorrelation at lags of 1 to 5 px along x and y."""
    removed = _removed(noisy, denoised)
    variance = float(np.mean([r.var() for r in removed]))
    figures: dict[str, float | str] = {"noise_std_in_grey_values": float(f"{np.sqrt(variance):.4g}")}
    found = [autocorrelation(r, LAGS_PX) for r in removed if _can_be_correlated(r, LAGS_PX)]
    for axis in "xy" if found else "":
        r = np.mean([f.along(axis) for f in found], axis=0)
        figures[f"noise_autocorrelation_along_{axis}_at_1_to_{LAGS_PX}_px"] = ", ".join(f"{v:.2f}" for v in r)
    return figures


def noise_picture(noisy: Item, denoised: Item) -> bytes:
    """A PNG of the autocorrelation of what was removed from an image; empty where the image is too small for it."""
    [removed] = _removed([noisy], [denoised])
    if not _can_be_correlated(removed, PICTURE_LAGS_PX):
        return b""
    return autocorrelation_figure(autocorrelation(removed, PICTURE_LAGS_PX), "Noise removed from the sample image")


def truth_figures(noisy: Sequence[Item], denoised: Sequence[Item], truths: Sequence[Item]) -> Figures:
    """PSNR in dB, mean over the items: noisy, best Gaussian (an oracle: its width is chosen by the truth), denoised."""
    rows = [(psnr(x, s), best_gaussian(x, s).psnr, psnr(y, s)) for x, y, s in zip(noisy, denoised, truths, strict=True)]
    names = ("psnr_noisy_db", "psnr_gaussian_db", "psnr_denoised_db")
    return {name: round(float(v), 2) for name, v in zip(names, np.mean(rows, axis=0), strict=True)}


def _removed(noisy: Sequence[Item], denoised: Sequence[Item]) -> list[NDArray[np.float64]]:
    return [np.asarray(x, np.float64) - y for x, y in zip(noisy, denoised, strict=True)]


def _can_be_correlated(removed: Item, lags_px: int) -> bool:
    return removed.ndim >= 3 and min(removed.shape[-2:]) > lags_px and bool(removed.var() > 0)


def _truth(known: ImageFile, index: int, file: ImageFile, n_dims: int) -> Item:
    """The truth of one item of a file. Raises ImageError where it is of another shape."""
    n = known.n_items(n_dims)
    if n not in (1, file.n_items(n_dims)) or known.item_shape(n_dims) != file.item_shape(n_dims):
        raise ImageError(
            f"The truth {known.name} has the shape {known.shape} and the image {file.name} {file.shape}: give a truth "
            f"of the same shape, or one frame that serves all frames."
        )
    return known.read_item(0 if n == 1 else index, n_dims)
