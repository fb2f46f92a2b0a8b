"""The sides of the benchmark: ours, the authors' code, and other denoisers, behind one call, `sides.process.measure`.

Each side is one function of one short module (see `interface`) and runs in a process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from sides.interface import Job, Results


class Side(NamedTuple):
    module: str
    function: str
    needs: tuple[str, ...] = ()  # fields of the job beyond the noisy stack; what is not named never reaches its process

    def denoise(self) -> Callable[[Job], Results]:
        function: Callable[[Job], Results] = getattr(importlib.import_module(f"sides.{self.module}"), self.function)
        return function


SIDES = {
    "noisy": Side("plain", "noisy"),
    "gaussian": Side("plain", "gaussian", ("truth",)),
    "bm3d": Side("bm3d_correlated", "denoise"),
    "n2v": Side("careamics_unet", "n2v"),
    "n2v2": Side("careamics_unet", "n2v2"),
    "structn2v": Side("careamics_unet", "structn2v"),
    "hdn": Side("careamics_hdn", "hdn"),
    "hdn36": Side("careamics_hdn", "hdn36"),
    "n2n": Side("careamics_unet", "n2n", ("pairs",)),
    "care": Side("careamics_unet", "care", ("pairs",)),
    "authors": Side("authors_cosdd", "as_published", ("authors_code",)),
    "authors-unshuffled": Side("authors_cosdd", "without_the_shuffle", ("authors_code",)),
    "ours-tiny": Side("ours", "tiny"),
    "ours-tiny-direct": Side("ours", "tiny_direct"),
    "ours-small": Side("ours", "small"),
    "ours-small-direct": Side("ours", "small_direct"),
}
