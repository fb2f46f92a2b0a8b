"""Holds tests/authors_reference.py against the authors' own networks, from a clone of krulllab/COSDD, branch main.

    python tests/authors_clone.py CLONE

A program by itself, since modules of theirs are called as ours. Prints the largest difference of every output, and
fails when one is above 1e-4 or their networks do not take the reference's weights.
"""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from authors_reference import Authors, Spec
from torch import Tensor

SPECS = [
    Spec(axis="x", n_ar=64),
    Spec(axis="y", n_ar=64, n_channels=2, downsample=(False, True, False, True), scale_initialisation=True),
    Spec(axis="none", n_ar=64, n_channels=3, n_mixture=2),
    Spec(axis="x", n_ar=64, n_dims=1, downsample=(True,), direct=False),
    Spec(axis="z", n_ar=64, n_dims=3, n_channels=2),
    Spec(axis="y", n_ar=64, n_dims=3, scale_initialisation=True),
]


def main(clone: str) -> None:
    sys.path[:] = [str(Path(clone).absolute()), *(p for p in sys.path if Path(p) != Path(__file__).parent)]
    warnings.simplefilter("ignore")
    worst = 0.0
    for spec in SPECS:
        for name, difference in differences(spec):
            print(f"{spec.axis} {spec.n_dims}-D {name}: {difference:.1e}")
            worst = max(worst, difference)
    raise SystemExit(worst > 1e-4)


@torch.no_grad()
def differences(spec: Spec) -> Iterator[tuple[str, float]]:
    ours = Authors(spec)
    hub = theirs(spec, ours)
    x = torch.randn(2, spec.n_channels, *[16, 12, 20][-spec.n_dims :], generator=ours.generator)
    eps = ours.eps(x)
    expected = ours.ladder(x, eps)
    with drawn(eps[::-1]):
        found = hub.vae(x)
    yield "bottom-up", furthest(hub.vae.bottomup_pass(x), expected.bottom_up)
    yield "code", furthest([found["s_code"]], [expected.code])
    q, p = (found[name][::-1][:-1] for name in ("q_list", "p_list"))  # their coarsest prior knows one image size alone
    kl = [float(hub.vae.kl_divergence([a], [b])) / len(x) for a, b in zip(q, p, strict=True)]
    yield "KL, relative", max((abs(a / b - 1) for a, b in zip(kl, expected.kl, strict=True)), default=0.0)
    yield "signal", furthest([hub.s_decoder(expected.code)], [ours.signal(expected.code)])
    parameters = hub.ar_decoder.extract_params(hub.ar_decoder(x, expected.code))
    yield "mixture", furthest([p.movedim(-1, 2) for p in parameters], ours.mixtures(x, expected.code))
    if spec.direct:
        yield "direct", furthest([hub.direct_denoiser(x)], [ours.direct(x)])


def theirs(spec: Spec, ours: Authors) -> Any:
    """Their module with the reference's weights, by every name."""
    from models.get_models import get_models
    from models.hub import Hub

    settings = spec.settings()
    settings["train-parameters"]["direct-denoiser-loss"] = "MSE"
    parts = get_models(settings, spec.n_channels)
    mean, std = ours.weights["data_mean"].clone(), ours.weights["data_std"].clone()
    hub = Hub(*parts, data_mean=mean, data_std=std, checkpointed=False)
    hub.load_state_dict(ours.weights)
    return hub.eval()


def drawn(eps: list[Tensor]) -> Any:
    """Their latents' noise, the coarsest level first, is what we say."""
    left = iter(eps)
    return mock.patch.object(torch.Tensor, "normal_", lambda self: self.copy_(next(left)))


def furthest(found: Any, expected: Any) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


if __name__ == "__main__":
    main(sys.argv[1])
