"""What a user gives as images, opened: paths, arrays, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cosdd_zoo.data.arrays import from_array
from cosdd_zoo.data.channels import of_channels
from cosdd_zoo.data.finding import find_images
from cosdd_zoo.data.images import ImageFile, open_image


def open_all(images: Any, axes: str | None, channels: str | None) -> tuple[list[str], list[ImageFile]]:
    """The sources as absolute paths (none for arrays), and the opened images."""
    given = list(images) if isinstance(images, (list, tuple)) else [images]
    paths = [g for g in given if isinstance(g, (str, Path))]
    arrays = [from_array(g, axes) for g in given if not isinstance(g, (str, Path))]
    opened = [open_image(path, axes) for path in find_images(paths)] if paths else []
    sources = [str(Path(p).absolute()) for p in paths]
    return sources, [of_channels(image, channels) for image in opened + arrays]
