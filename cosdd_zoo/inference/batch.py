"""Many files: each on its own, so that a bad one stops no other, and a log that tells what was done and repeats it.

The log lies beside the results and is written anew after each file. A run that is resumed skips the files that it
names as done, with the same model, settings and input, and goes on inside of the one that was broken off.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cosdd_zoo.data.beside import make_folder
from cosdd_zoo.data.canvas import Format
from cosdd_zoo.data.finding import Source
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.data.ome_zarr import source_stamp
from cosdd_zoo.data.results import finish_stores, is_a_store, result_path
from cosdd_zoo.data.writing import forget
from cosdd_zoo.errors import ConfigError, CosddError, ImageError, OutputError
from cosdd_zoo.inference.channels import groups_of
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.inference.estimate import Advance
from cosdd_zoo.inference.files import Do, Saved, Settings, denoise_file
from cosdd_zoo.version import __version__

LOG = "cosdd-denoise.json"
DIVIDED = "memory did not suffice for whole windows, so they were divided"


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


class Judge(Protocol):
    """Says in how far an image is not of the kind that the model was trained on (noise.profile)."""

    def __call__(self, image: ImageFile, channels: Sequence[int], engine: Any = None) -> list[str]:
        """A sentence for each way; channels: those that the model's stand for; engine: the model."""


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
    judge: Judge | None = None,
) -> Iterator[Outcome]:
    """Denoises images into a folder and yields what became of each. advance: 1 for each image.

    judge: its sentences become an image's note, or, where the settings are strict, the reason to refuse it.

    An image that cannot be denoised is an Outcome with its sentence, unless fail_fast: then its CosddError is raised,
    as it is when there is one image only. Raises OutputError when the log cannot be written.
    """
    earlier = _earlier(folder, denoiser, settings) if resume else None
    log = Log(str(model.resolve()), denoiser.digest, _settled(settings, denoiser, earlier))
    before = {f.input: f for f in earlier.files if f.status == "done"} if earlier else {}
    book = _Book(folder, log, before, earlier is not None)
    todo: list[Run] = []
    try:
        for s, problem in _with_places(sources, folder, settings.format):
            run = Run(s, folder, log.settings, resume, overwrite, judge)
            known = before.get(run.name)
            if problem:
                if fail_fast:
                    raise ConfigError(problem)
                advance(1.0)
                yield book.kept(run.named("failed")._replace(error=problem))
            elif known and _still_holds(known, s.path, folder):
                advance(1.0)
                yield book.kept(known)._replace(status="skipped")
            else:
                todo.append(run)
        book.write()
        for outcome in doing(denoiser, todo, fail_fast or len(sources) == 1, advance):
            yield book.kept(outcome)
    except CosddError:
        book.close_if_empty()
        raise
    finally:
        done = {f.input: f for f in book.log.files if f.status == "done"}
        both = [(s, done[named]) for s in sources if (named := str(s.path.resolve())) in done]
        finish_stores(folder, [(s, folder / name) for s, f in both for name in (f.output, f.std) if name])


class _Book:
    """The log on the disk. One of other work in the same folder is kept, under a number, once there is news."""

    def __init__(self, folder: Path, log: Log, before: dict[str, Outcome], is_ours: bool) -> None:
        self.path, self.log, self.before = folder / LOG, log, dict(before)
        self.is_ours = is_ours or not self.path.exists()

    def kept(self, outcome: Outcome) -> Outcome:
        """Writes down what became of an image; then the journals of its results are no longer needed."""
        self.before.pop(outcome.input, None)
        self.log = self.log._replace(files=(*self.log.files, outcome))
        if outcome.status == "done" and not self.is_ours:
            self._set_aside()
            self.is_ours = True
        self.write()
        for name in (outcome.output, outcome.std) if outcome.status == "done" else ():
            if name:
                forget(self.path.parent / name)
        return outcome

    def write(self) -> None:
        """The log so far, with what was done before and is still to come. Raises OutputError where it cannot be."""
        if not self.is_ours:
            return
        text = self.log._replace(files=(*self.log.files, *self.before.values())).as_text()
        part = self.path.with_name(f".{LOG}.{os.getpid()}.part")  # others may be writing into the same folder
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(
                f"{self.path} was not written: {error.strerror or error}. Choose another place."
            ) from error

    def close_if_empty(self) -> None:
        """Removes a log that tells of nothing."""
        if self.is_ours and not self.log.files and not self.before:
            self.path.unlink(missing_ok=True)

    def _set_aside(self) -> None:
        number = next(n for n in itertools.count(1) if not self.path.with_name(f"{self.path.stem}-{n}.json").exists())
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(self.path.with_name(f"{self.path.stem}-{number}.json"))


def _with_places(sources: Sequence[Source], folder: Path, format: Format) -> Iterator[tuple[Source, str]]:
    """Each image, and what is wrong with its place: another image's result has it already."""
    taken: dict[Path, Source] = {}
    for source in sources:
        path = result_path(source, folder, format)
        other = taken.setdefault(path, source)
        problem = (
            f"its result would be {path}, as that of {other.path} is. Denoise one of them into another folder, or give "
            "the folder above both with --recursive."
        )
        yield source, "" if other is source else problem


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
    judge: Judge | None = None

    def outcome(self, denoiser: Denoiser, raises: bool, advance: Advance, do: Do | None = None) -> Outcome:
        """What became of it. Raises a CosddError only where that is asked for."""
        begun, done = time.monotonic(), 0.0

        def counted(share: float) -> None:
            nonlocal done
            done += share
            advance(share)

        try:
            notes = self.judged(denoiser)
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
            note="; ".join([*notes, *([DIVIDED] if saved.divided else [])]),
        )

    def named(self, status: str) -> Outcome:
        """An outcome that says which image it is of."""
        path, holder, folder = self.source
        shared = "" if holder == path else str(holder.resolve())
        return Outcome(self.name, status, holder=shared, folder="" if folder == Path() else str(folder))

    def judged(self, denoiser: Denoiser) -> list[str]:
        """In how far the image is of another kind. Raises ImageError for that, if the settings are strict."""
        if self.judge is None:
            return []
        image = open_image(self.source.path, self.settings.axes)
        names, how = denoiser.channel_names, (self.settings.channels, self.settings.others == "drop")
        groups = [g for g in groups_of(image, denoiser.network.n_channels, *how, names) if not g.copied]
        found = list(
            dict.fromkeys(said for group in groups for said in self.judge(image, group.source, denoiser.engine))
        )
        if not found:
            return []
        said = f"{image.name} is not of the kind that the model was trained on: {'; '.join(found)}"
        if self.settings.strict:
            raise ImageError(f"{said}. Denoise it with another model, or without --strict.")
        return [said]

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
        return self.settings.format == "ome-zarr" or (self.settings.format == "same" and is_a_store(self.source.holder))


def _earlier(folder: Path, denoiser: Denoiser, settings: Settings) -> Log | None:
    """The log of an earlier run of the same model and settings, the newest one."""
    logs = [path for path in (folder / LOG, *folder.glob(f"{Path(LOG).stem}-*.json")) if path.exists()]
    for path in sorted(logs, key=lambda p: (p.name != LOG, -p.stat().st_mtime_ns)):
        log = read_log(path)
        of_log = log.settings if settings.tile_px is not None else log.settings._replace(tile_px=None)
        if log.model_sha256 == denoiser.digest and of_log == settings:
            return log
    return None


def _settled(settings: Settings, denoiser: Denoiser, earlier: Log | None) -> Settings:
    """With the tile that memory suffices for now, or did when the run that is gone on with began."""
    if settings.tile_px is not None:
        return settings
    return earlier.settings if earlier else settings._replace(tile_px=denoiser.tile_px(settings.halo_px))


def _still_holds(known: Outcome, path: Path, folder: Path) -> bool:
    results = [folder / name for name in (known.output, known.std) if name]
    return all(result.exists() for result in results) and source_stamp(path) == known.stamp
