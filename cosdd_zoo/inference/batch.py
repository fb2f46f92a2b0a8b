"""Many files: each on its own, so that a bad one stops no other, and a log that tells what was done and repeats it.

The log lies beside the results and is written anew after each file. A run that is resumed skips the files that it
names as done, with the same model, settings and input, and goes on inside of the one that was broken off.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cosdd_zoo.data.beside import beside, make_folder
from cosdd_zoo.data.finding import Source
from cosdd_zoo.data.images import open_image
from cosdd_zoo.data.ome_zarr import source_stamp
from cosdd_zoo.data.results import finish_stores, result_path
from cosdd_zoo.data.writing import forget
from cosdd_zoo.errors import ConfigError, CosddError
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.inference.estimate import Advance
from cosdd_zoo.inference.files import Do, Saved, Settings, denoise_file
from cosdd_zoo.version import __version__

LOG = "cosdd-denoise.json"


class Outcome(NamedTuple):
    """What became of one file."""

    input: str
    status: str  # done, failed, or skipped: it was done before
    output: str = ""  # places below the log's folder
    std: str = ""
    stamp: tuple[int, int] = (0, 0)  # of the input
    seconds: float = 0.0
    n_saturated: int = 0
    n_pixels: int = 0
    n_samples: float = 0.0  # of a window, on average
    note: str = ""
    error: str = ""
    holder: str = ""  # the file or store of the input, where that is another
    folder: str = ""  # where it lies below what was named

    @property
    def source(self) -> Source:
        return Source(Path(self.input), Path(self.holder or self.input), Path(self.folder))


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


class Doing(Protocol):
    """Who denoises some images: this process one after another, or a cluster."""

    def __call__(self, denoiser: Denoiser, runs: Sequence[Run], raises: bool, advance: Advance) -> Iterator[Outcome]:
        """Yields what became of each, in any order; see `Run.outcome`."""


def one_after_another(denoiser: Denoiser, runs: Sequence[Run], raises: bool, advance: Advance) -> Iterator[Outcome]:
    for run in runs:
        yield run.outcome(denoiser, raises, advance)


def denoise_files(
    denoiser: Denoiser,
    model: Path,
    sources: Sequence[Source],
    folder: Path,
    settings: Settings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    fail_fast: bool = False,
    advance: Advance = lambda share: None,
    doing: Doing = one_after_another,
) -> Iterator[Outcome]:
    """Denoises images into a folder and yields what became of each. advance: 1 for each image.

    An image that cannot be denoised is an Outcome with its sentence, unless fail_fast: then its CosddError is raised,
    as it is when there is one image only. Raises OutputError when the log cannot be written.
    """
    earlier = read_log(folder / LOG) if resume and (folder / LOG).exists() else None
    log = Log(str(model.resolve()), denoiser.digest, _settled(settings, denoiser, earlier))
    before = _done_before(earlier, log)
    if earlier is None or not _is_same_work(earlier, log):
        _set_aside(folder / LOG)
    known = {s: before[named] for s in sources if (named := str(s.path.resolve())) in before}
    known = {s: outcome for s, outcome in known.items() if _still_holds(outcome, s.path, folder)}
    for outcome in known.values():
        advance(1.0)
        before.pop(outcome.input)
        log = log._replace(files=(*log.files, outcome))
        yield outcome._replace(status="skipped")
    _write(folder, log, before)
    runs = [Run(s, folder, log.settings, resume, overwrite) for s in sources if s not in known]
    try:
        for outcome in doing(denoiser, runs, fail_fast or len(sources) == 1, advance):
            before.pop(outcome.input, None)
            log = log._replace(files=(*log.files, outcome))
            _write(folder, log, before)
            for name in (outcome.output, outcome.std) if outcome.status == "done" else ():
                if name:
                    forget(folder / name)
            yield outcome
    except CosddError:
        if not log.files and not before:  # it tells of nothing
            (folder / LOG).unlink(missing_ok=True)
        raise
    done = {f.input: folder / f.output for f in log.files if f.status == "done"}
    finish_stores(folder, [(s, done[named]) for s in sources if (named := str(s.path.resolve())) in done])


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


class Run(NamedTuple):
    """The denoising of one image."""

    source: Source
    folder: Path
    settings: Settings
    resume: bool
    overwrite: bool

    def outcome(self, denoiser: Denoiser, raises: bool, advance: Advance, do: Do | None = None) -> Outcome:
        """What became of it. Raises a CosddError only where that is asked for."""
        begun, done = time.monotonic(), 0.0

        def counted(share: float) -> None:
            nonlocal done
            done += share
            advance(share)

        try:
            saved = self.save(denoiser, counted, do)
        except CosddError as error:
            if raises:
                raise
            advance(1.0 - done)
            return self.named("failed")._replace(error=str(error))
        return self.named("done")._replace(
            output=str(saved.path.relative_to(self.folder)),
            std=str(saved.std_path.relative_to(self.folder)) if saved.std_path else "",
            stamp=source_stamp(self.source.path),
            seconds=round(time.monotonic() - begun, 3),
            n_saturated=saved.n_saturated,
            n_pixels=saved.n_pixels,
            n_samples=round(saved.n_samples, 2),
            note="memory did not suffice for whole windows, so they were divided" if saved.divided else "",
        )

    def named(self, status: str) -> Outcome:
        """An outcome that says which image it is of."""
        path, holder, folder = self.source
        shared = "" if holder == path else str(holder.resolve())
        return Outcome(self.name, status, holder=shared, folder="" if folder == Path() else str(folder))

    def save(self, denoiser: Denoiser, advance: Advance, do: Do | None) -> Saved:
        settings, place = self.settings, (self.source, self.folder, self.settings.format)
        path = result_path(*place)
        std_path = result_path(*place, "_denoised_std") if settings.uncertainty else None
        for one in (path, std_path):
            if one is not None:
                make_folder(one.parent)
        image = open_image(self.source.path, settings.axes)
        facts = {"model_sha256": denoiser.digest, "settings": settings._asdict()}
        how: dict[str, Any] = {"resume": self.resume, "overwrite": self.overwrite, "facts": facts, "do": do}
        how |= {"std_path": std_path, "advance": advance, "told": False}
        return denoise_file(denoiser, image, path, settings, **how)

    @property
    def name(self) -> str:
        return str(self.source.path.resolve())

    @property
    def is_to_a_store(self) -> bool:
        place = result_path(self.source, self.folder, self.settings.format)
        return any(part.endswith(".zarr") for part in place.relative_to(self.folder).parts)


def _settled(settings: Settings, denoiser: Denoiser, earlier: Log | None) -> Settings:
    """With the tile that memory suffices for now, or did when the run that is gone on with began."""
    if settings.tile_px is not None:
        return settings
    if earlier and earlier.settings._replace(tile_px=None) == settings:
        return earlier.settings
    return settings._replace(tile_px=denoiser.tile_px(settings.halo_px))


def _is_same_work(one: Log, other: Log) -> bool:
    return (one.model_sha256, one.settings) == (other.model_sha256, other.settings)


def _set_aside(path: Path) -> None:
    """Keeps the log of other work in the same folder, under a number."""
    if path.exists():
        number = next(n for n in itertools.count(1) if not path.with_name(f"{path.stem}-{n}.json").exists())
        path.rename(path.with_name(f"{path.stem}-{number}.json"))


def _write(folder: Path, log: Log, before: dict[str, Outcome]) -> None:
    """The log so far, with what was done before and is still to come."""
    with beside(folder / LOG, overwrite=True) as part:
        part.write_text(log._replace(files=(*log.files, *before.values())).as_text(), encoding="utf-8")


def _done_before(earlier: Log | None, log: Log) -> dict[str, Outcome]:
    """The files that an earlier run of the same model and settings finished, by their inputs."""
    if earlier is None or not _is_same_work(earlier, log):
        return {}
    return {f.input: f for f in earlier.files if f.status == "done"}


def _still_holds(known: Outcome, path: Path, folder: Path) -> bool:
    results = [folder / name for name in (known.output, known.std) if name]
    return all(result.exists() for result in results) and source_stamp(path) == known.stamp
