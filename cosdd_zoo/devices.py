"""Which device to compute on."""

from __future__ import annotations

import torch

from cosdd_zoo.errors import ConfigError


def devices() -> list[str]:
    """The devices that are here, the fastest first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, is_there in found.items() if is_there]


def found_device(device: str) -> str:
    """auto: CUDA, else MPS, else the CPU. Raises ConfigError when the device asked for is not there."""
    if device == "auto":
        return devices()[0]
    if device not in devices():
        raise ConfigError(f"There is no {device} device here (found: {', '.join(devices())}): use --device auto.")
    return device
