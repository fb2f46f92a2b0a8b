"""Muon's steps have the same size in every direction of a kernel, whatever the size of its gradient."""

import math

import pytest
import torch
from models import quick, scaling
from torch import Tensor
from torch.nn import Parameter

from cosdd_zoo.networks.build import Cosdd
from cosdd_zoo.training.muon import Muon, is_kernel, orthogonal, shared_out


def kernel(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stepped(p: Tensor, *gradients: Tensor, lr: float = 0.1, momentum: float = 0.95) -> Tensor:
    """What the steps add to a kernel [out, in, *]."""
    parameter = Parameter(p.clone())
    optimizer = Muon([{"params": [parameter]}], lr=lr, momentum=momentum)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach() - p


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (32, 32)])
def test_singular_values_become_about_one_and_directions_stay(shape: tuple[int, int]) -> None:
    u = kernel(*shape) * torch.logspace(0, -1, shape[1])  # of a condition number that gradients have
    found = orthogonal(u[None])[0]
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(u, full_matrices=False)
    turned = left.T @ found @ right.T  # diagonal where the singular vectors are the same
    assert float((turned - torch.diag(torch.diagonal(turned))).norm()) < 1e-3 * float(turned.norm())


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_step_has_the_rates_size_whatever_the_gradients(scale: float) -> None:
    moved = stepped(kernel(16, 8, 3, 3), scale * kernel(16, 8, 3, 3, seed=1), lr=0.1).flatten(1)
    assert float(torch.linalg.matrix_norm(moved, 2)) == pytest.approx(0.1, rel=0.3)


def test_a_step_goes_against_the_gradient() -> None:
    gradient = kernel(16, 8, 3, 3)
    assert float((stepped(kernel(16, 8, 3, 3, seed=1), gradient) * gradient).sum()) < 0


def test_kernels_with_more_outputs_than_inputs_move_further() -> None:
    tall, wide = stepped(kernel(64, 4, 1), kernel(64, 4, 1)), stepped(kernel(4, 64, 1), kernel(4, 64, 1))
    norms = [float(torch.linalg.matrix_norm(m.flatten(1), 2)) for m in (tall, wide)]
    assert norms[0] / norms[1] == pytest.approx(math.sqrt(64 / 4), rel=0.2)


def test_momentum_remembers_earlier_gradients() -> None:
    first, second = kernel(8, 8, 1), kernel(8, 8, 1, seed=1)
    start = torch.zeros(8, 8, 1)
    alone = stepped(start, second)
    after = stepped(start, first, second) - stepped(start, first)
    assert not torch.allclose(after, alone, atol=1e-3)
    memoryless = stepped(start, first, second, momentum=0.0) - stepped(start, first, momentum=0.0)
    assert torch.allclose(memoryless, stepped(start, second, momentum=0.0), atol=1e-6)


def test_kernels_of_one_shape_do_not_mix() -> None:
    kernels = [Parameter(torch.zeros(8, 8, 1)) for _ in range(2)]
    optimizer = Muon([{"params": kernels}], lr=0.1)
    for k, p in enumerate(kernels):
        p.grad = kernel(8, 8, 1, seed=k)
    optimizer.step()
    for k, p in enumerate(kernels):
        assert torch.allclose(p, stepped(torch.zeros(8, 8, 1), kernel(8, 8, 1, seed=k)), atol=1e-6)


def test_the_groups_of_a_convolution_step_apart() -> None:
    start, gradient = torch.zeros(32, 8, 5), kernel(32, 8, 5)
    parameter = Parameter(start.clone())
    optimizer = Muon([{"params": [parameter], "parts": 2}], lr=0.1)
    parameter.grad = torch.cat([gradient[:16], 1e3 * gradient[16:]])
    optimizer.step()
    alone = [stepped(start[:16], half) for half in gradient.split(16)]
    torch.testing.assert_close(parameter.detach(), torch.cat(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_every_parameter_that_learns_has_one_optimiser(n_channels: int) -> None:
    model = Cosdd(quick(n_channels=n_channels, direct=True).network, scaling(n_channels), True)
    model.signal_decoder.requires_grad_(False)
    kernels, others = shared_out(model)
    shared = [id(p) for group in kernels for p in group["params"]] + [id(p) for p in others]
    assert sorted(shared) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert {group["parts"] for group in kernels if group["params"]} == {1, n_channels}


def test_what_has_few_maps_is_no_kernel() -> None:
    shapes = {(16, 8, 3, 3): True, (16, 1, 5, 5): True, (1, 16, 3, 3): False, (16, 1, 1): False, (16,): False}
    assert {shape: is_kernel(torch.zeros(shape)) for shape in shapes} == shapes
