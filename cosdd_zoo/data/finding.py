"""Which image files a user means by a list of files, folders and globs."""

import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cosdd_zoo.errors import ImageError

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
SUFFIXES = (*TIFF_SUFFIXES, ".npy", ".png")


def find_images(sources: Sequence[str | Path]) -> list[Path]:
    """The image files among files, folders (not their subfolders) and globs; each once, folders in natural order.

    Raises ImageError for a source that is missing, of an unknown kind, or holds no image.
    """
    if not sources:
        raise ImageError("No images were given. Name files, folders, or globs such as 'stacks/*.tif'.")
    found = [path for source in sources for path in _images_of(Path(source).expanduser())]
    first_named: dict[Path, Path] = {}
    for path in found:
        first_named.setdefault(path.resolve(), path)
    return list(first_named.values())


def _images_of(source: Path) -> list[Path]:
    kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    if source.is_dir():
        found, problem = (
            _known(source.iterdir()),
            f"The folder {source} holds no image. Expected files that end in {kinds}.",
        )
    elif source.exists():
        found, problem = (
            _known([source]),
            (
                f"{source.name} is of a kind that cannot be read. Expected {kinds}: convert it first, "
                "for example with Fiji: File > Save As > Tiff."
            ),
        )
    elif glob.has_magic(str(source)):
        found = _known(map(Path, glob.glob(str(source), recursive=True)))
        problem = f"No image matches {source}. Check the pattern; images end in {kinds}."
    else:
        found, problem = [], f"{source} does not exist. Check the spelling, and the folder that you are in."
    if not found:
        raise ImageError(problem)
    return found


def _known(paths: Iterable[Path]) -> list[Path]:
    files = [p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()]
    return sorted(files, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", str(path).lower())]
