"""The tensors of a checkpoint of the authors by their names there, each of which must be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cosdd_zoo.errors import CheckpointError

NO_WEIGHTS = (".num_batches_tracked", ".kernel_mask")
"""Ends of the names of their tensors that no output depends on in a trained model, or that are always the same."""
OTHER_BRANCHES = (
    "Networks of branch main alone can be imported; those of WACV_reproducibility and other branches are others: train "
    "with branch main, or denoise with the code that wrote the file."
)


class Tensors:
    """Every tensor can be taken once; what is left over has no place in our networks."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path, self._left = path, dict(tensors)

    def has(self, name: str) -> bool:
        return name in self._left

    def count(self, prefix: str) -> int:
        """How many different numbers follow the prefix."""
        return len({m[1] for m in (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in self._left) if m})

    def shape(self, name: str) -> list[int]:
        """Raises CheckpointError when there is no such tensor."""
        if name not in self._left:
            raise CheckpointError(f"{self.path} holds no {name}. {OTHER_BRANCHES}")
        return list(self._left[name].shape)

    def kernel(self, name: str) -> list[int]:
        """The shape [out, in, *] of a convolution's weight. Raises CheckpointError when there is no such tensor."""
        shape = self.shape(name)
        if not 3 <= len(shape) <= 5 or 0 in shape:
            raise CheckpointError(f"{name} in {self.path} has the shape {shape}: no convolution's. {OTHER_BRANCHES}")
        return shape

    def take(self, name: str, shape: Sequence[int]) -> Tensor:
        """A tensor, float64. Raises CheckpointError when it is missing, of another shape or not finite."""
        found = self.shape(name)
        if found != list(shape):
            raise CheckpointError(
                f"{name} in {self.path} has the shape {found}; the networks of the authors' branch main have "
                f"{list(shape)}. {OTHER_BRANCHES}"
            )
        tensor = self._left.pop(name).double()
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{name} in {self.path} holds values that are not finite: its training has failed. Give a checkpoint "
                f"from before, or train again with fewer number-gaussians."
            )
        return tensor

    def refuse_left_over(self) -> None:
        """Raises CheckpointError when a weight has not been taken."""
        left = [name for name in self._left if not name.endswith(NO_WEIGHTS)]
        if left:
            names = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            raise CheckpointError(f"{self.path} holds {names}, which have no place here. {OTHER_BRANCHES}")
