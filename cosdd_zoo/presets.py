"""The sizes of network that have a name, and how each is trained: what they change of config's defaults."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "network": {
            "n_features": 32,
            "n_code": 16,
            "n_latents": 8,
            "downsample": (True,) * 4,
            "full_resolution_blocks": False,
            "merge_blocks": False,
            "ar_features": 32,
            "ar_blocks": 2,
            "ar_code_maps": 3,
        },
    },
    "small": {
        "network": {},
        "training": {"batch_size": 4, "accumulate": 4, "crop_px": 256, "ema_decay": 0.999},
    },
    "base": {
        "network": {"downsample": (False,) + (True,) * 7},
        "training": {"batch_size": 4, "accumulate": 4, "crop_px": 256, "ema_decay": 0.999},
    },
    "large": {
        "network": {"n_features": 128, "n_code": 128, "n_latents": 64, "downsample": (False, True) * 7},
        "training": {"batch_size": 4, "accumulate": 4, "crop_px": 256, "ema_decay": 0.999},
    },
}
"""What each preset changes of the defaults. small, base and large are the paper's and its authors' sizes; tiny is ours,
for a CPU."""
