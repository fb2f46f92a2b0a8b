"""How large a piece may be: by the memory that is free, and what to do where it was not enough after all."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from cosdd_zoo.devices import return_freed_memory

MAP_BYTES = 2**28
"""A feature map of a window's size should not take more memory than this: larger windows are not faster."""
MAPS_AT_ONCE = 12
"""Peak memory of a pass, in feature maps of the window's size (benchmarks/results)."""
SHARE = 0.5
"""Of the free memory: others need some too."""

_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "could not create a primitive",  # oneDNN, which runs the convolutions of CPUs
    "could not create a memory",
)
_CGROUP = Path("/sys/fs/cgroup")


def map_bytes(device: torch.device) -> int:
    """How large a feature map may be on a device, from the memory that is free there now."""
    return max(2**20, min(MAP_BYTES, int(free_bytes(device) * SHARE / MAPS_AT_ONCE)))


def free_bytes(device: torch.device) -> int:
    """Memory of a device that is free, or of this machine or container."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + held)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return min(int(psutil.virtual_memory().available), _free_in_container())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice: each device, and scripted code, says it in its own way."""
    said = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in said for words in _WORDS)
    )


def give_back(device: torch.device) -> None:
    """Returns what torch holds without need."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "cpu":
        return_freed_memory()


def _free_in_container() -> int:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        return max(0, int(limit) - used)
    except (OSError, ValueError):  # no container, or "max"
        return 2**62
