"""A file appears only when complete: it is written beside its place and renamed into it."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cosdd_zoo.data.ome_zarr import is_store
from cosdd_zoo.errors import OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass
class Result:
    """A file or folder on its way: written at `part`; renamed from `finished`, which is the same unless said."""

    part: Path
    finished: Path


@contextmanager
def beside(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yields where to write; the body's end renames it to `path`, its failure removes it.

    Raises OutputError if `path` is there already, or the disk refuses.
    """
    with result_beside(path, overwrite) as result:
        yield result.part


@contextmanager
def result_beside(
    path: Path, overwrite: bool = False, keep: Callable[[BaseException], bool] | None = None
) -> Iterator[Result]:
    """As `beside`, for files and folders that may be gone on with: a failure removes nothing where `keep` says so.

    Raises OutputError if `path` is there already, or the disk refuses.
    """
    if (path.is_dir() and not (overwrite and is_store(path))) or (path.exists() and not overwrite):
        raise OutputError(f"{path} is there already. Choose another place, or move it away first.")
    part = part_of(path)
    result = Result(part, part)
    kept = False
    try:
        yield result
        _settle(result.finished)
        _rename(result.finished, path)
    except OSError as exc:
        kept = keep is not None and keep(exc)
        # an input that cannot be read names itself; a failing write names the output, or nothing
        if exc.filename is not None and not str(exc.filename).startswith((str(part), str(path))):
            raise
        raise OutputError(_sentence(path, exc)) from exc
    except BaseException as exc:
        kept = keep is not None and keep(exc)
        raise
    finally:
        if result.finished != part:
            _remove(result.finished)
        if not kept:
            _remove(part)


def part_of(path: Path) -> Path:
    """Where a result is written before it gets its name."""
    return path.with_name(f".{path.name}.part")


def _rename(finished: Path, path: Path) -> None:
    if not path.is_dir():
        os.replace(finished, path)
        return
    old = path.with_name(f".{path.name}.old")
    _remove(old)
    os.replace(path, old)
    os.replace(finished, path)
    _remove(old)


def refuse_what_is_there(folder: Path, names: Sequence[str]) -> None:
    """Raises OutputError where a folder holds some of these files already."""
    if taken := [name for name in names if (folder / name).exists()]:
        raise OutputError(f"{folder} holds {', '.join(taken)} already: choose another -o, or use --overwrite.")


def write_together(folder: Path, texts: Mapping[str, str], overwrite: bool) -> None:
    """Texts as files of a folder, which get their names once all are written. Raises OutputError as `beside` does."""
    make_folder(folder)
    with ExitStack() as stack:
        for name, text in texts.items():
            stack.enter_context(beside(folder / name, overwrite)).write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Make a folder for results, with its parents, unless it is there. Raises OutputError when it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}): choose another folder with -o.") from None


def _settle(part: Path) -> None:
    """Network disks report that they are full as late as here."""
    if part.is_dir():
        return
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(part: Path) -> None:
    try:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    except OSError:  # a folder that could not be written to has no part in it
        return


def _sentence(path: Path, exc: OSError) -> str:
    folder = path.parent
    if exc.errno in _FULL:
        return f"The disk of {folder} is full, so {path.name} was not written. Free some space, or choose another disk."
    if exc.errno in _FORBIDDEN:
        return f"{folder} cannot be written to, so {path.name} was not. Choose another folder, or ask for the rights."
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"There is no folder {folder} for {path.name}. Create it first."
    return f"{path} was not written: {exc.strerror or exc}. Choose another place."
