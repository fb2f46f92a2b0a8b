"""Reading ahead: the next batch is read while the one before it is computed with."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Ahead(Generic[Batch]):
    """The batches of `batches`, in their order, each read in a thread before it is asked for.

    What goes wrong while reading is raised where the batch would have come.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self.waited_s = 0.0
        """Seconds in which whoever asks had to wait."""

    def __iter__(self) -> Iterator[Batch]:
        source = iter(self.batches)
        end = object()
        with ThreadPoolExecutor(1, thread_name_prefix="reading") as pool:
            coming: Future[Batch | object] = pool.submit(next, source, end)
            while True:
                began = time.perf_counter()
                batch = coming.result()
                self.waited_s += time.perf_counter() - began
                if batch is end:
                    return
                coming = pool.submit(next, source, end)
                yield batch  # type: ignore[misc]  # it is not the end
