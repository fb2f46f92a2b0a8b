"""Which images a user means by a list of files, folders, stores and globs, and where each one's result goes."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cosdd_zoo.data.ome_zarr import images_within, is_store
from cosdd_zoo.data.readers import further_suffixes
from cosdd_zoo.errors import ImageError

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
RESULT = re.compile(r"_denoised(_std)?\.")
"""In the names of results."""
SUFFIXES = (*TIFF_SUFFIXES, ".npy", ".png")


class Source(NamedTuple):
    """An image to be opened. One that shares its file or store with others has `path` within `holder`."""

    path: Path
    holder: Path
    """The file or the store itself."""
    folder: Path
    """Where it lies below what the user named: a result's place is as deep below the output folder."""

    def resolved(self) -> Source:
        return self._replace(path=self.path.resolve(), holder=self.holder.resolve())


def find_images(sources: Sequence[str | Path]) -> list[Path]:
    """The images among files, folders, OME-Zarr stores and globs; each once, folders in natural order.

    Raises ImageError for a source that is missing, of an unknown kind, or holds no image.
    """
    return [source.path for source in find_sources(sources)]


def find_sources(sources: Sequence[str | Path], recursive: bool = False, but: Path | None = None) -> list[Source]:
    """As `find_images`, with where each lies below what was named.

    recursive: folders with their subfolders. but: where the results go: what was denoised there is no image to denoise.
    """
    if not sources:
        raise ImageError("No images were given. Name files, folders, or globs such as 'stacks/*.tif'.")
    results = but.resolve() if but else None
    found: dict[Path, Source] = {}
    for named in map(Path, sources):
        for path, base in _holders(named.expanduser(), recursive, results):
            for image in _images_of(path, path == named.expanduser()):
                found.setdefault(image.resolve(), Source(image, path, path.parent.relative_to(base)))
    return list(found.values())


def _images_of(path: Path, is_named: bool) -> list[Path]:
    """The images of a file or store. A store without one fails when it is opened, unless it was asked for by name."""
    if not is_store(path):
        return [path]
    try:
        return images_within(path)
    except ImageError:
        if is_named:
            raise
        return [path]


def kinds() -> tuple[str, ...]:
    """The endings of files that can be read here."""
    return (*SUFFIXES, *further_suffixes())


def _holders(source: Path, recursive: bool, but: Path | None) -> Iterator[tuple[Path, Path]]:
    """Files and stores, each with the folder that its place is told from."""
    endings = kinds()
    said = f"{', '.join(endings[:-1])} or {endings[-1]}"
    if is_store(source):
        found, base, problem = [source], source.parent, ""
    elif source.is_dir():
        found, base = sorted(_below(source, recursive, but), key=_natural), source
        problem = f"The folder {source} holds no image. Expected files that end in {said}, or OME-Zarr stores."
        if not recursive and any(p.is_dir() for p in source.iterdir()):
            problem += " With --recursive, its subfolders are looked into as well."
    elif source.exists():
        found, base = _known([source]), source.parent
        problem = (
            f"{source.name} is of a kind that cannot be read. Expected {said}: convert it first, for example with "
            "Fiji: File > Save As > Tiff; further formats come with `pip install 'cosdd-zoo[formats]'`."
        )
    elif glob.has_magic(str(source)):
        base = _fixed_part(source)
        matches = _known(map(Path, glob.glob(str(source), recursive=True)))
        # what lies in a store is an image of that store, or a part of one
        whole = (p for p in matches if not any(is_store(above) for above in p.parents if above.is_relative_to(base)))
        found = sorted((p for p in whole if not _is_result(p, but)), key=_natural)
        problem = f"No image matches {source}. Check the pattern; images end in {said}."
    else:
        found, base = [], source
        problem = f"{source} does not exist. Check the spelling, and the folder that you are in."
    if not found:
        raise ImageError(problem)
    yield from ((path, base) for path in found)


def _below(folder: Path, recursive: bool, but: Path | None) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise ImageError(
            f"The folder {folder} cannot be looked into: {error.strerror}. Check its permissions."
        ) from error
    for path in entries:
        if path.is_dir() and not is_store(path):
            if recursive and not path.name.startswith(".") and path.resolve() != but:
                yield from _below(path, recursive, but)
        elif not _is_result(path, but):
            yield from _known([path])


def _is_result(path: Path, but: Path | None) -> bool:
    """Whether it was made by an earlier run into the same folder."""
    return but is not None and bool(RESULT.search(path.name)) and path.resolve().is_relative_to(but)


def _known(paths: Iterable[Path]) -> list[Path]:
    endings = kinds()
    return [
        p
        for p in paths
        if not p.name.startswith(".") and (is_store(p) or (p.is_file() and p.name.lower().endswith(endings)))
    ]


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first part of a glob that is a pattern."""
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]) if first else Path()


def _natural(path: Path) -> list[tuple[int, str]]:
    """frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", str(path).lower())]
