"""A file appears only when complete: it is written beside its place and renamed into it."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosdd_zoo.errors import OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def beside(path: Path, overwrite: bool = False, keep: Callable[[BaseException], bool] | None = None) -> Iterator[Path]:
    """Yields where to write; the body's end renames it to `path`, its failure removes it, unless `keep` says otherwise.

    Raises OutputError if `path` is there already, or the disk refuses.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        raise OutputError(f"{path} is there already. Choose another place, or move it away first.")
    part = path.with_name(f".{path.name}.part")
    kept = False
    try:
        yield part
        _settle(part)
        os.replace(part, path)
    except OSError as exc:
        kept = keep is not None and keep(exc)
        # an input that cannot be read names itself; a failing write names the output, or nothing
        if exc.filename not in (None, str(part), str(path), part, path):
            raise
        raise OutputError(_sentence(path, exc)) from exc
    except BaseException as exc:
        kept = keep is not None and keep(exc)
        raise
    finally:
        if not kept:
            _remove(part)


def make_folder(path: Path) -> None:
    """Make a folder for results, with its parents, unless it is there. Raises OutputError when it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}): choose another folder with -o.") from None


def _settle(part: Path) -> None:
    """Network disks report that they are full as late as here."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(part: Path) -> None:
    try:
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
