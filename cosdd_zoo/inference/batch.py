"""Many files: each on its own, so that a bad one stops no other, and a log that tells what was done and repeats it.

The log lies beside the results and is written anew after each file. A run that is resumed skips the files that it
names as done, with the same model, settings and input, and goes on inside of the one that was broken off.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cosdd_zoo.data.beside import beside
from cosdd_zoo.data.images import open_image
from cosdd_zoo.data.pixels import stamp
from cosdd_zoo.errors import ConfigError, CosddError
from cosdd_zoo.inference.denoise import Advance, Denoiser
from cosdd_zoo.version import __version__

LOG = "cosdd-denoise.json"


class Settings(NamedTuple):
    """What a result depends on, beside model and input."""

    samples: int
    direct: bool = False
    uncertainty: bool = False
    float32: bool = False
    axes: str | None = None
    seed: int = 0
    tile_px: int | None = None
    halo_px: int | None = None


class Outcome(NamedTuple):
    """What became of one file."""

    input: str
    status: str  # done, failed, or skipped: it was done before
    output: str = ""  # names of files beside the log
    std: str = ""
    stamp: tuple[int, int] = (0, 0)  # of the input
    seconds: float = 0.0
    n_saturated: int = 0
    n_pixels: int = 0
    error: str = ""


class Log(NamedTuple):
    model: str
    model_sha256: str
    settings: Settings
    files: tuple[Outcome, ...] = ()
    version: str = __version__

    def as_text(self) -> str:
        """JSON."""
        files = [{k: v for k, v in f._asdict().items() if v not in ("", 0.0)} for f in self.files]
        return json.dumps({**self._asdict(), "settings": self.settings._asdict(), "files": files}, indent=2)


def denoise_files(
    denoiser: Denoiser,
    model: Path,
    files: Sequence[Path],
    folder: Path,
    settings: Settings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    fail_fast: bool = False,
    advance: Advance = lambda share: None,
) -> Iterator[Outcome]:
    """Denoises files into a folder, one after another, and yields what became of each. advance: 1 for each file.

    A file that cannot be denoised is an Outcome with its sentence, unless fail_fast: then its CosddError is raised, as
    it is when there is one file only. Raises OutputError when the log cannot be written.
    """
    log = Log(str(model.resolve()), denoiser.digest, settings)
    before = _done_before(folder / LOG, log) if resume else {}
    for path in files:
        known = before.pop(str(path.resolve()), None)
        if known and _still_holds(known, path, folder):
            advance(1.0)
            outcome = known
        else:
            known = None
            outcome = _one(denoiser, path, folder, settings, resume, overwrite, fail_fast or len(files) == 1, advance)
        log = log._replace(files=(*log.files, outcome))
        with beside(folder / LOG, overwrite=True) as part:  # with what was done before and is still to come
            part.write_text(log._replace(files=(*log.files, *before.values())).as_text(), encoding="utf-8")
        yield outcome._replace(status="skipped") if known else outcome


def read_log(path: Path) -> Log:
    """The log of an earlier run. Raises ConfigError when it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(Outcome(**{**f, "stamp": tuple(f.get("stamp", (0, 0)))}) for f in values["files"])
        return Log(values["model"], values["model_sha256"], Settings(**values["settings"]), files, values["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read as the log of a run ({error}): give the {LOG} that `denoise` wrote."
        ) from None


def _one(
    denoiser: Denoiser,
    path: Path,
    folder: Path,
    settings: Settings,
    resume: bool,
    overwrite: bool,
    raises: bool,
    advance: Callable[[float], None],
) -> Outcome:
    begun, done = time.monotonic(), 0.0

    def counted(share: float) -> None:
        nonlocal done
        done += share
        advance(share)

    try:
        image = open_image(path, settings.axes)
        how: dict[str, Any] = settings._asdict()
        count = how.pop("samples")
        how.pop("axes")
        saved = denoiser.denoise_file(image, folder, count, **how, resume=resume, overwrite=overwrite, advance=counted)
    except CosddError as error:
        if raises:
            raise
        advance(1.0 - done)
        return Outcome(str(path.resolve()), "failed", error=str(error))
    return Outcome(
        str(path.resolve()),
        "done",
        saved.path.name,
        saved.std_path.name if saved.std_path else "",
        stamp(path),
        round(time.monotonic() - begun, 3),
        saved.n_saturated,
        saved.n_pixels,
    )


def _done_before(path: Path, log: Log) -> dict[str, Outcome]:
    """The files that an earlier run of the same model and settings finished, by their inputs."""
    if not path.exists():
        return {}
    found = read_log(path)
    if (found.model_sha256, found.settings) != (log.model_sha256, log.settings):
        return {}
    return {f.input: f for f in found.files if f.status == "done"}


def _still_holds(known: Outcome, path: Path, folder: Path) -> bool:
    results = [folder / name for name in (known.output, known.std) if name]
    return all(result.exists() for result in results) and stamp(path) == known.stamp
