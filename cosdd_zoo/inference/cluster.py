"""Denoising on many machines with Dask: a task is a block of an OME-Zarr, or an image that is small or another format.

Workers read the image and write the result themselves, so all must see the same folders; what goes over the network is
the number of a task and the checksum of what came of it. The client keeps few tasks under way at a time, and the
journals, so that its memory and the scheduler's do not grow with the image. Tasks of a lost worker are done by another:
a block that is written twice is the same block, and an image that was begun is gone on with.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cosdd_zoo.data.canvas import Canvas
from cosdd_zoo.data.images import ImageFile, open_image
from cosdd_zoo.data.journal import Block, Journal
from cosdd_zoo.data.zarr_writing import ZarrCanvas, ZarrPlan
from cosdd_zoo.errors import ConfigError, CosddError, OutputError
from cosdd_zoo.inference.batch import Outcome, Run
from cosdd_zoo.inference.denoise import Denoiser
from cosdd_zoo.inference.estimate import Advance
from cosdd_zoo.inference.files import Settings, Work, compute, missing, work_of
from cosdd_zoo.inference.windows import read_window

Load = Callable[[str, str], Denoiser]
"""The model at a path, on a device."""
AHEAD = 3
"""Tasks under way for each thread of a worker: one is computed, the others wait at hand."""
_KEEP_MEMORY = {
    f"distributed.nanny.pre-spawn-environ.{name}": str(2**30)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
}
"""Dask lets workers give back each piece of memory at once, and ask for it anew with the next feature map."""
FEW_TASKS = 16
"""An image of no more is done by one worker."""


class Blocks(NamedTuple):
    """What a worker must know to do tasks of one image; so little that each task brings it along.

    Scattered to a worker it would be lost with that worker, and with it every task that needs it.
    """

    load: Load
    model: str
    device: str
    image: ImageFile
    settings: Settings
    parts: tuple[tuple[int, Path, ZarrPlan], ...]  # 0 for the mean, 1 for the deviation, and where it is written


class Cluster(NamedTuple):
    """Who denoises: see `batch.Doing`."""

    client: Any
    load: Load
    model: Path
    device: str

    def __call__(self, denoiser: Denoiser, runs: Sequence[Run], raises: bool, advance: Advance) -> Iterator[Outcome]:
        large = [run for run in runs if _has_many_blocks(denoiser, run)]
        small = [run for run in runs if run not in large]
        yield from self._images(small, raises, advance)
        for run in large:
            yield run.outcome(denoiser, raises, advance, self._blocks)

    def _images(self, runs: Sequence[Run], raises: bool, advance: Advance) -> Iterator[Outcome]:
        calls = ((_image, (self.load, str(self.model), self.device, run, raises)) for run in runs)
        for outcome in self.results(calls):
            advance(1.0)
            yield outcome

    def _blocks(self, denoiser: Denoiser, work: Work, mean: Canvas, std: Canvas | None, advance: Advance) -> None:
        """The tasks of an image, as `denoise_file` wants them done."""
        share = 1.0 / len(work.tasks)
        for _ in range(len(work.tasks) - sum(1 for _ in missing(work, mean, std))):
            advance(share)
        canvases = {i: canvas for i, canvas in enumerate((mean, std)) if isinstance(canvas, ZarrCanvas)}
        parts = tuple((i, canvas.part, canvas.plan) for i, canvas in canvases.items())
        about = Blocks(self.load, str(self.model), self.device, work.image, work.settings, parts)
        calls = ((_block, (about, task.number)) for task in missing(work, mean, std))
        for number, blocks in self.results(calls):
            for canvas, block in zip(canvases.values(), blocks, strict=True):
                canvas.journal.add(number, block)
            advance(share)

    def results(self, calls: Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]) -> Iterator[Any]:
        """The results of calls, as they come; few are under way at a time."""
        from distributed import CancelledError, KilledWorker, as_completed
        from distributed.comm.core import CommClosedError

        threads = max(1, sum(self.client.nthreads().values()))
        running: Any = as_completed([], with_results=False)
        try:
            for _, (function, arguments) in zip(range(AHEAD * threads), calls, strict=False):
                running.add(self.client.submit(function, *arguments, pure=False, retries=2))
            for future in running:
                yield future.result()
                future.release()
                for function, arguments in _next(calls):
                    running.add(self.client.submit(function, *arguments, pure=False, retries=2))
        except KilledWorker as error:
            raise OutputError(
                f"Workers of the cluster died several times at the same task ({error}): most often they lack memory. "
                "Give smaller --tile-px, or workers with more memory, and go on with --resume."
            ) from error
        except (CancelledError, CommClosedError) as error:  # the latter is an OSError, but no file's
            raise OutputError(
                f"The cluster gave up a task ({error}): its scheduler was stopped, or no longer answers. "
                "Start it again and go on with --resume."
            ) from error
        finally:
            self.client.cancel(list(running.futures))


def _next(calls: Iterator[Any]) -> Iterator[Any]:
    for call in calls:
        yield call
        return


@contextmanager
def connected(where: str, n_workers: int | None) -> Iterator[Any]:
    """A client of a cluster: `local` (processes of this machine), `slurm` (jobs, by Dask's configuration), or the
    address of a scheduler that runs. Raises ConfigError where there is none.
    """
    try:
        import dask.config
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError("--cluster needs Dask: pip install 'cosdd-zoo[cluster]'.") from None
    if where == "local":
        n = n_workers or os.cpu_count() or 1
        with (
            dask.config.set(_KEEP_MEMORY),
            LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client
    elif where == "slurm":
        with _slurm() as cluster, Client(cluster) as client:
            cluster.scale(jobs=n_workers or 1)
            client.wait_for_workers(1)
            yield client
    else:
        try:
            client = Client(where, timeout=20)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"No Dask scheduler answers at {where!r} ({error}). Give local, slurm, or the address that "
                "`dask scheduler` prints, such as tcp://10.0.0.1:8786."
            ) from error
        with client:
            if not client.scheduler_info()["workers"]:
                client.wait_for_workers(1)
            yield client


def _slurm() -> Any:
    import dask.config
    from dask_jobqueue.slurm import SLURMCluster

    missing = [key for key in ("cores", "memory") if not dask.config.get(f"jobqueue.slurm.{key}", None)]
    if missing or not shutil.which("sbatch"):
        why = f"it says nothing of {' and '.join(missing)}" if missing else "there is no sbatch here"
        raise ConfigError(
            f"SLURM cannot be asked for workers: {why}. Describe a job in Dask's configuration, "
            "~/.config/dask/jobqueue.yaml: cores, memory, walltime and queue (docs/cluster.md has an example)."
        )
    return SLURMCluster()


def _has_many_blocks(denoiser: Denoiser, run: Run) -> bool:
    """Whether it is worth more than one worker, and lies in a store, which several may write to."""
    if not run.is_to_a_store:
        return False
    try:
        return len(work_of(denoiser, open_image(run.source.path, run.settings.axes), run.settings).tasks) > FEW_TASKS
    except CosddError:  # whoever does it says what is wrong
        return False


# what workers run


@functools.lru_cache(maxsize=2)
def _model(load: Load, path: str, device: str) -> Denoiser:
    return load(path, device)


def _image(load: Load, model: str, device: str, run: Run, raises: bool) -> Outcome:
    """One image; what an earlier attempt did, on a worker that was lost, is gone on with."""
    return run._replace(resume=True).outcome(_model(load, model, device), raises, lambda share: None)


def _block(about: Blocks, number: int) -> tuple[int, list[Block]]:
    """One task: what is written, and its place in the journal."""
    denoiser = _model(about.load, about.model, about.device)
    work = work_of(denoiser, about.image, about.settings)
    task = work.tasks.at(number)
    x = read_window(work.image, task.item, work.n_dims, task.bounds, task.group)
    piece = compute(denoiser, work, task, x)
    start = [b[0] for b in task.bounds]
    blocks = []
    for i, part, plan in about.parts:
        canvas = ZarrCanvas(part, plan, work.n_dims, Journal(None, "", False))
        blocks.append(canvas.put(task.item, start, (piece.mean, piece.std)[i], task.group.target, piece.n_samples))
    return number, blocks
