"""Reading ahead: the next batch is read while the one before it is computed with.

For a GPU. Where steps are computed on all of the CPU's cores, a reading thread only takes one of them away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Ahead(Generic[Batch]):
    """The batches of `batches`, in their order, each read in a thread before it is asked for, or when it is.

    What goes wrong while reading is raised where the batch would have come.
    """

    def __init__(self, batches: Iterable[Batch], in_thread: bool = True) -> None:
        self.batches, self.in_thread = batches, in_thread
        self.waited_s = 0.0
        """Seconds in which whoever asks had to wait."""

    def __iter__(self) -> Iterator[Batch]:
        source = iter(self.batches)
        end = object()
        if not self.in_thread:
            while (batch := self._timed(lambda: next(source, end))) is not end:
                yield batch  # type: ignore[misc]  # it is not the end
            return
        with ThreadPoolExecutor(1, thread_name_prefix="reading") as pool:
            coming: Future[Batch | object] = pool.submit(next, source, end)
            while (batch := self._timed(coming.result)) is not end:
                coming = pool.submit(next, source, end)
                yield batch  # type: ignore[misc]

    def _timed(self, read: Callable[[], Batch | object]) -> Batch | object:
        began = time.perf_counter()
        try:
            return read()
        finally:
            self.waited_s += time.perf_counter() - began
