r"""Muon (Jordan et al. 2024): steps of the same size in every direction of a kernel.

    m <- mu m + (1 - mu) g,   u = mu m + (1 - mu) g             momentum, Nesterov's: a kernel as [out, in * taps]
    W <- W - rate sqrt(max(1, out / (in * taps))) O(u)          O(U S V^T) = U V^T about, by Newton and Schulz:
    X_0 = u / |u|,   X_k+1 = a X_k + (b A + c A^2) X_k,   A = X_k X_k^T

A grouped convolution is as many kernels as it has groups: each is a step of its own, whatever the others' gradients.

Gradients of kernels are of low rank: an optimiser that scales each number by itself learns the few large directions and
leaves the others, in which the fine structure is, for last (figures in benchmarks/results).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

A, B, C = 3.4445, -4.7750, 2.0315
"""Jordan's coefficients: singular values of 0.01 to 1 come to 0.7 to 1.2 in ITERATIONS."""
ITERATIONS = 5
MIN_SIDE = 4
"""A kernel with fewer outputs, or fewer inputs, has too few directions."""


def is_kernel(parameter: Tensor, n_parts: int = 1) -> bool:
    """Whether Muon is made for it: weights of a convolution of so many groups, but not of a few maps."""
    return parameter.dim() > 2 and min(len(parameter) // n_parts, parameter[0].numel()) >= MIN_SIDE


def shared_out(model: nn.Module) -> tuple[list[dict[str, Any]], list[Parameter]]:
    """What a model learns: Muon's groups of kernels, by the convolutions' groups, and the parameters of no kernel."""
    kernels: dict[int, list[Parameter]] = defaultdict(list, {1: []})
    for module in model.modules():
        weight, n_parts = getattr(module, "weight", None), getattr(module, "groups", 1)
        if isinstance(weight, Parameter) and weight.requires_grad and is_kernel(weight, n_parts):
            kernels[n_parts].append(weight)
    taken = {id(weight) for weights in kernels.values() for weight in weights}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    return [{"params": weights, "parts": n_parts} for n_parts, weights in sorted(kernels.items())], others


class Muon(torch.optim.Optimizer):
    """params: groups of kernels [out, in, *], each of "parts" independent ones. lr: the spectral norm of a step."""

    def __init__(self, params: Iterable[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "parts": 1})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[len(p) // group["parts"], p[0].numel()].append(p)
            for (n_out, n_in), kernels in alike.items():
                u = [self._momentum(p, group["momentum"]).reshape(-1, n_out, n_in) for p in kernels]
                directions = orthogonal(torch.cat(u)).split(group["parts"])
                size = group["lr"] * math.sqrt(max(1.0, n_out / n_in))
                for p, direction in zip(kernels, directions, strict=True):
                    p.sub_(direction.reshape(p.shape), alpha=size)

    def _momentum(self, p: Parameter, momentum: float) -> Tensor:
        """u [out, in, *]."""
        assert p.grad is not None
        m = self.state[p].setdefault("momentum", torch.zeros_like(p))
        m.lerp_(p.grad, 1.0 - momentum)
        return p.grad.lerp(m, momentum)


def orthogonal(u: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows or columns, whichever are fewer, about: [N, out, in] -> the same."""
    is_tall = u.size(1) > u.size(2)
    x = u.mT if is_tall else u
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        a = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=B, alpha=C), x, beta=A)
    return x.mT if is_tall else x
