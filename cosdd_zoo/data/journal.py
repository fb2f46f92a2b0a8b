"""What of a result has been written, block by block, so that a killed run goes on where it was.

The first line names the work, each further one a block: its number, place, checksum, and how many pixels were
saturated. A line is written only after its block is on the disk. Whoever goes on reads each block back and keeps those
whose checksum agrees: a torn one, or one that only looked written, is done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    item: int
    start: tuple[int, ...]  # px, along *
    size: tuple[int, ...]
    crc: int  # of its bytes in the file
    n_saturated: int


class Journal:
    """The journal of one result. key: what the work depends on; a journal of other work is not gone on with. Without a
    path it is kept in memory alone.
    """

    def __init__(self, path: Path | None, key: str, resume: bool) -> None:
        self.path, self.key = path, key
        self.blocks: dict[int, Block] = _read(path, key) if resume and path else {}

    def keep(self, holds: Callable[[Block], bool]) -> None:
        """Forgets the blocks that do not hold, and begins the file anew with the others."""
        self.blocks = {number: block for number, block in self.blocks.items() if holds(block)}
        if self.path is None:
            return
        with self.path.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"key": self.key}) + "\n")
            for number, block in self.blocks.items():
                file.write(json.dumps([number, *block]) + "\n")
            _settle(file.fileno(), file.flush)

    def add(self, number: int, block: Block) -> None:
        """Writes down a block that is on the disk."""
        self.blocks[number] = block
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([number, *block]) + "\n")
            _settle(file.fileno(), file.flush)

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _settle(number: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(number)


def _read(path: Path, key: str) -> dict[int, Block]:
    """The blocks of an earlier run of the same work; a last line that was torn is left out."""
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(head) != {"key": key}:
            return {}
    except (OSError, ValueError):
        return {}
    found: dict[int, Block] = {}
    for line in lines:
        try:
            number, item, start, size, crc, n_saturated = json.loads(line)
            found[int(number)] = Block(int(item), _tuple(start), _tuple(size), int(crc), int(n_saturated))
        except (ValueError, TypeError):
            continue
    return found


def _tuple(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)
