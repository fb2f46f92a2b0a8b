"""What of a result has been written, block by block, so that a killed run goes on where it was.

The first line names the work, each further one a block: its number, place, checksum, and how many pixels were
saturated. A line is written only after its block is on the disk. Whoever goes on reads each block back and keeps those
whose checksum agrees: a torn one, or one that only looked written, is done again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO


class Block(NamedTuple):
    item: int
    channels: tuple[int, ...]
    start: tuple[int, ...]  # px, along *
    size: tuple[int, ...]
    crc: int  # of its pixels as they are stored
    n_saturated: int
    n_samples: float = 0  # drawn for it

    @property
    def n_pixels(self) -> int:
        return len(self.channels) * math.prod(self.size)


class Journal:
    """The journal of one result. key: what the work depends on; a journal of other work is not gone on with. Without a
    path it is kept in memory alone. Of a block it holds no more than that it is done: there may be millions.
    """

    def __init__(self, path: Path | None, key: str, resume: bool) -> None:
        self.path, self.key, self.resume = path, key, resume and path is not None and _is_of(path, key)
        self.done: set[int] = set()
        self.n_pixels = self.n_saturated = self.n_sampled = 0
        self.n_samples = 0.0

    def keep(self, holds: Callable[[Block], bool]) -> None:
        """Takes over the blocks of an earlier run that hold, and begins the file anew with them."""
        if self.path is None:
            return
        fresh = self.path.with_name(f"{self.path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"key": self.key}) + "\n")
            for number, block in _blocks(self.path) if self.resume else ():
                if number not in self.done and holds(block):
                    self._count(number, block)
                    file.write(_line(number, block))
            _settle(file)
        os.replace(fresh, self.path)

    def add(self, number: int, block: Block) -> None:
        """Writes down a block that is on the disk. One that was there already, and was done again, changes nothing."""
        if number in self.done:
            return
        self._count(number, block)
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(number, block))
            _settle(file)

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _count(self, number: int, block: Block) -> None:
        self.done.add(number)
        self.n_pixels += block.n_pixels
        self.n_saturated += block.n_saturated
        self.n_samples += block.n_samples
        self.n_sampled += block.n_samples > 0


def _line(number: int, block: Block) -> str:
    return json.dumps([number, *block]) + "\n"


def _settle(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _is_of(path: Path, key: str) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return bool(json.loads(file.readline()) == {"key": key})
    except (OSError, ValueError):
        return False


def _blocks(path: Path) -> Iterator[tuple[int, Block]]:
    """The blocks of a journal, in order; a last line that was torn is left out."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline()
        for line in file:
            try:
                number, item, channels, start, size, *counts = json.loads(line)
                chosen, first, extent = (tuple(map(int, part)) for part in (channels, start, size))
                crc, n_saturated, n_samples = counts
                yield int(number), Block(int(item), chosen, first, extent, int(crc), int(n_saturated), float(n_samples))
            except (ValueError, TypeError):
                continue
