"""Which device to compute on."""

from __future__ import annotations

import ctypes
import sys

import torch

from cosdd_zoo.errors import ConfigError


def devices() -> list[str]:
    """The devices that are here, the fastest first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, is_there in found.items() if is_there]


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones, on Linux.

    By default every tensor above 128 KB is mapped anew and its pages are zeroed at first touch: for small networks on
    a CPU that costs as much as the arithmetic (figures in benchmarks/results). Elsewhere this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 1 << 26)  # M_TOP_PAD


def return_freed_memory() -> None:
    """What `keep_freed_memory` has kept goes back to the system, for who else needs it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


def found_device(device: str) -> str:
    """auto: CUDA, else MPS, else the CPU. Raises ConfigError when the device asked for is not there."""
    if device == "auto":
        return devices()[0]
    if device not in devices():
        raise ConfigError(f"There is no {device} device here (found: {', '.join(devices())}): use --device auto.")
    return device
