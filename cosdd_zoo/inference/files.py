"""A file in, a denoised file out: window by window, so that memory holds a few, and a killed run goes on where it was.

Reading is a window ahead of computing, and writing one behind. The work of a file is a list of tasks, one for each
window of each group of channels of each item: what they write does not overlap, so that others may do them
(inference.cluster).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cosdd_zoo.data.ahead import Ahead
from cosdd_zoo.data.axes import Array, spatial_axes
from cosdd_zoo.data.canvas import Canvas, Compression, Form, Format
from cosdd_zoo.data.images import ImageFile
from cosdd_zoo.data.results import canvas
from cosdd_zoo.data.writing import forget
from cosdd_zoo.inference.channels import Group, groups_of, kept_channels
from cosdd_zoo.inference.denoise import Denoiser, Piece, check_uncertainty
from cosdd_zoo.inference.estimate import Advance, Estimator
from cosdd_zoo.inference.windows import Bounds, read_window


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
    tolerance: float = 0.0
    """Above 0: as many samples as it takes."""
    channels: str | None = None
    others: str = "copy"
    format: Format = "same"
    compression: Compression = "default"
    strict: bool = False
    """Refuse images that are not of the kind that the model was trained on."""


class Saved(NamedTuple):
    path: Path
    std_path: Path | None
    n_saturated: int
    n_pixels: int
    n_samples: float  # of a window, on average
    divided: bool  # whether memory did not suffice for whole windows


class Task(NamedTuple):
    number: int
    item: int
    bounds: Bounds
    group: Group


class Tasks(NamedTuple):
    """The work of one image."""

    n_items: int
    groups: Sequence[Group]
    cuts: Sequence[Bounds]

    def __len__(self) -> int:
        return self.n_items * len(self.groups) * len(self.cuts)

    def at(self, number: int) -> Task:
        """Items of one group of channels follow one another, so that they may be denoised together."""
        rest, cut = divmod(number, len(self.cuts))
        group, item = divmod(rest, self.n_items)
        return Task(number, item, self.cuts[cut], self.groups[group])


class Work(NamedTuple):
    """What is to be done to one image, and how."""

    image: ImageFile
    settings: Settings
    estimator: Estimator
    tasks: Tasks
    inner: Sequence[int]
    form: Form
    digest: str

    @property
    def n_dims(self) -> int:
        return len(self.inner)


Do = Callable[[Denoiser, Work, Canvas, "Canvas | None", Advance], None]
"""Does the tasks of an image that are missing, and writes them."""


def work_of(denoiser: Denoiser, image: ImageFile, settings: Settings) -> Work:
    """Raises ImageError for an image that does not fit the model, ConfigError for what the model cannot do."""
    check_uncertainty(settings.uncertainty, settings.direct, None if settings.tolerance else settings.samples)
    estimator = denoiser.estimator(settings.samples, settings.direct, settings.seed, settings.tolerance)
    names = denoiser.channel_names
    groups = groups_of(image, denoiser.network.n_channels, settings.channels, settings.others == "drop", names)
    n_dims, groups = denoiser.network.n_dims, denoiser.as_made(groups)
    form = Form(settings.format, settings.compression, None, denoiser.n_out_channels)
    if denoiser.n_out_channels == denoiser.network.n_channels:  # those of the image, and not of another kind
        kept = kept_channels(groups)
        form = form._replace(channels=kept, n_channels=len(kept))
    size = image.item_shape(n_dims)[1:]
    along = dict(zip(image.axes, image.chunks, strict=False))
    chunks = [along.get(a, 0) for a in spatial_axes(n_dims)] if image.chunks else []
    inner, _ = denoiser.windows(list(size), settings.tile_px, settings.halo_px, chunks)
    cuts = denoiser.cuts(size, settings.tile_px, settings.halo_px, chunks)
    how = f"{denoiser.digest} {denoiser.device.type} {settings} {inner}"
    return Work(image, settings, estimator, Tasks(denoiser.n_items(image), groups, cuts), inner, form, how)


def denoise_file(
    denoiser: Denoiser,
    image: ImageFile,
    path: Path,
    settings: Settings,
    *,
    std_path: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    facts: dict[str, Any] | None = None,
    advance: Advance = lambda share: None,
    do: Do | None = None,
    told: bool = True,
) -> Saved:
    """Denoise an image into `path`, window by window; the standard deviation into `std_path`, if that is asked for.

    The result has the input's axes, pixel size and metadata, and its dtype (rounded, saturated) unless float32. resume:
    go on with what an interrupted call of the same settings left; the file is that of an unbroken one. facts: kept with
    an OME-Zarr. do: who does the tasks; here and now by default. told: False leaves the journals to `forget`, until the
    caller has written down that the result is there.

    Raises as `work_of`, and OutputError when the result cannot be written.
    """
    work, denoiser.has_divided = work_of(denoiser, image, settings), False
    how: dict[str, Any] = {"work": work.digest, "resume": resume, "overwrite": overwrite}
    with ExitStack() as stack:
        dtype = np.dtype(np.float32) if settings.float32 or denoiser.is_foreign else image.dtype
        mean = stack.enter_context(canvas(path, image, work.n_dims, dtype, work.form, work.inner, **how))
        std = None
        if std_path is not None:
            form = work.form._replace(same_values=False)
            std = stack.enter_context(canvas(std_path, image, work.n_dims, "float32", form, work.inner, **how))
        (do or _here)(denoiser, work, mean, std, advance)
        journal = mean.journal
        spent = journal.n_samples / max(journal.n_sampled, 1)
        mean.note({**(facts or {}), **({"samples": spent} if spent else {})})
    for one in (path, std_path) if told else ():
        if one is not None:
            forget(one)
    return Saved(path, std_path, journal.n_saturated, journal.n_pixels, spent, denoiser.has_divided)


def write_piece(task: Task, piece: Piece, mean: Canvas, std: Canvas | None) -> None:
    start = [b[0] for b in task.bounds]
    how = task.number, task.item, start
    mean.write(*how, piece.mean, task.group.target, piece.n_samples)
    if std is not None:
        std.write(*how, piece.std, task.group.target)


def compute(denoiser: Denoiser, work: Work, task: Task, x: Array, advance: Advance = lambda share: None) -> Piece:
    """What comes of a window's pixels x [C, *]; themselves if they are copied."""
    if task.group.copied:
        return Piece(x, np.zeros(x.shape, np.float32), 0)  # in the image's own dtype
    return denoiser.piece(x, task.bounds, work.estimator, advance, work.settings.halo_px)


def missing(work: Work, mean: Canvas, std: Canvas | None) -> Iterator[Task]:
    """The tasks that are not done yet."""
    for number in range(len(work.tasks)):
        if not (mean.has(number) and (std is None or std.has(number))):
            yield work.tasks.at(number)


def _here(denoiser: Denoiser, work: Work, mean: Canvas, std: Canvas | None, advance: Advance) -> None:
    share = 1.0 / len(work.tasks)
    for _ in range(len(work.tasks) - sum(1 for _ in missing(work, mean, std))):
        advance(share)
    batches = Ahead(
        [(task, read_window(work.image, task.item, work.n_dims, task.bounds, task.group)) for task in tasks]
        for tasks in _together(denoiser, work, missing(work, mean, std))
    )
    behind: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="writing") as pool:
        for batch in batches:
            tasks = [task for task, _ in batch]
            for task, piece in zip(tasks, _pieces(denoiser, work, batch, advance, share), strict=True):
                behind.append(pool.submit(write_piece, task, piece, mean, std))
            while len(behind) > 1:  # no more than two in memory
                behind.popleft().result()
        for written in behind:
            written.result()


def _pieces(
    denoiser: Denoiser, work: Work, batch: list[tuple[Task, Array]], advance: Advance, share: float
) -> list[Piece]:
    first, x = batch[0]
    if len(batch) == 1:
        piece = compute(denoiser, work, first, x, lambda part: advance(part * share))
        if first.group.copied:
            advance(share)
        return [piece]
    whole, several = share * len(batch), [x for _, x in batch]
    how = work.settings.halo_px
    return denoiser.pieces(several, first.bounds, work.estimator, lambda part: advance(part * whole), how)


def _together(denoiser: Denoiser, work: Work, tasks: Iterator[Task]) -> Iterator[list[Task]]:
    """Tasks in their order, in batches of the same channels where an item is one window: they share their noise too."""
    alone = denoiser.is_foreign or work.settings.tolerance > 0 or len(work.tasks.cuts) > 1
    n = 1 if alone else denoiser.n_at_once(work.inner)
    batch: list[Task] = []
    for task in tasks:
        # by number, so that a run that is gone on with has the same batches; what was torn is done alone
        if batch and (task.number // n != batch[0].number // n or task.group != batch[0].group or task.group.copied):
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch
