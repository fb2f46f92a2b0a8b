"""Pictures to look at: grey panels side by side, and the cover of a model package. All PNG, 8 bits.

Panels of a picture share one contrast, or a denoised image would look brighter or darker than its input.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cosdd_zoo.data.axes import Array
from cosdd_zoo.data.beside import beside

_GAP_PX = 8
_LABEL_PX = 24
_FONT_PX = 15
# the shorter side of a panel: smaller images are magnified by whole pixels, larger ones cut
_PANEL_PX = 256
_PANEL_MAX_PX = 640
# grey pixels of noise hardly compress: a cover of 2 x 448^2 of them stays under 500 KB whatever it shows
_COVER_PX = 448


def panel(images: Mapping[str, Array], path: Path, scale: tuple[float, float] | None = None) -> None:
    """Writes the images [Y, X] side by side, each under its name; a picture that is there is replaced.

    scale: the values shown black and white; by default percentiles of the first image. Larger images are cut to their
    middle. Raises OutputError if the disk refuses.
    """
    first = next(iter(images.values()))
    low, high = scale or contrast(first)
    greys = {name: _sized(_grey(image, low, high)) for name, image in images.items()}
    width = sum(grey.width for grey in greys.values()) + _GAP_PX * (len(greys) + 1)
    height = max(grey.height for grey in greys.values()) + _LABEL_PX + _GAP_PX
    picture = Image.new("L", (width, height), 255)
    draw, font, x = ImageDraw.Draw(picture), ImageFont.load_default(_FONT_PX), _GAP_PX
    for name, grey in greys.items():
        draw.text((x, (_LABEL_PX - _FONT_PX) // 2), name, fill=0, font=font)
        picture.paste(grey, (x, _LABEL_PX))
        x += grey.width + _GAP_PX
    _save(picture, path)


def cover(noisy: Array, denoised: Array, path: Path) -> None:
    """Writes noisy [Y, X] and denoised [Y, X], left and right, twice as wide as high: the part with most to see.

    A picture that is there is replaced. Raises OutputError if the disk refuses.
    """
    side = min(_COVER_PX, *noisy.shape)
    y, x = _liveliest(denoised, side)
    low, high = contrast(denoised)
    picture = Image.new("L", (2 * _COVER_PX, _COVER_PX))
    for left, image in ((0, noisy), (_COVER_PX, denoised)):
        half = _grey(image[y : y + side, x : x + side], low, high)
        picture.paste(half.resize((_COVER_PX, _COVER_PX), Image.Resampling.BICUBIC), (left, 0))
    _save(picture, path)


def contrast(image: Array) -> tuple[float, float]:
    """The values to show black and white: percentiles, so that a few hot pixels do not darken the rest."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite.astype(np.float64), (0.3, 99.7)))
    # a constant image, or all but: grey, not noise of rounding blown up
    return (low, high) if high - low > 1e-6 * max(abs(low), abs(high)) else (low - 0.5, low + 0.5)


def _grey(image: Array, low: float, high: float) -> Image.Image:
    values: NDArray[np.float64] = np.nan_to_num((image.astype(np.float64) - low) / max(high - low, 1e-300))
    return Image.fromarray(np.rint(255 * values.clip(0, 1)).astype(np.uint8))


def _sized(grey: Image.Image) -> Image.Image:
    """Magnified to be seen, or cut to its middle: shrinking would average the noise away, and so tell a lie."""
    width, height = (min(n, _PANEL_MAX_PX) for n in grey.size)
    left, top = (grey.width - width) // 2, (grey.height - height) // 2
    # a strip of few lines is magnified less than would make it too wide
    times = max(1, min(_PANEL_PX // min(width, height), _PANEL_MAX_PX // max(width, height)))
    cut = grey.crop((left, top, left + width, top + height))
    return cut.resize((width * times, height * times), Image.Resampling.NEAREST)


def _liveliest(image: Array, side: int) -> tuple[int, int]:
    """Where the square of `side` px starts that varies most, of a grid of half-overlapping ones."""
    starts = [sorted({*range(0, n - side + 1, max(1, side // 2)), n - side}) for n in image.shape]
    squares = {(y, x): image[y : y + side, x : x + side] for y in starts[0] for x in starts[1]}
    return max(squares, key=lambda at: float(np.nan_to_num(squares[at].astype(np.float64)).std()))


def _save(picture: Image.Image, path: Path) -> None:
    with beside(Path(path), overwrite=True) as part:
        picture.save(part, format="PNG", optimize=True)
