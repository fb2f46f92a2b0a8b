"""The one file that says torch.jit: a model as a scripted module that any libtorch from 1.13.1 on runs.

The graph takes raw grey values and returns raw grey values, pads and crops inside, bounds its own memory by windows,
and draws no random number: what it returns for an image is a function of the image alone. It is scripted, in eval mode,
on the CPU, and not frozen, so that its parameters can be moved to a device after loading.

JDLL (Fiji, Icy) and bioimageio.core lengthen an image by its mirror image before they run a model, by the halo on each
side, and cut it off afterwards. That would move the image on the grid of the samples' noise and change its borders. So
sides that mirror what lies next to them, pixel by pixel, are taken off first: the result is that of the bare image.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from cosdd_zoo.inference.tiling import n_windows, window
from cosdd_zoo.networks.build import Cosdd

ScriptModule: TypeAlias = torch.jit.ScriptModule


class Portable(Cosdd):
    """What every portable graph shares: the encoder, the signal decoder, and the loop over windows.

    x [B, C, *] float32, raw grey values -> [B, C', *] float32, raw grey values.
    """

    def __init__(self, model: Cosdd, inner_px: list[int], halo_px: list[int]) -> None:
        nn.Module.__init__(self)
        self.normalise = model.normalise
        self.noise_dim, self.stride = model.noise_dim, model.stride
        self.inner_px, self.halo_px = inner_px, halo_px
        self.mirror_px = [0] * len(inner_px)
        """The halo that the package states, along *; 0 until it is known."""

    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for item in x.float().split(1):
            margins = self.margins(item)
            for axis, m in enumerate(margins):
                item = item.narrow(axis + 2, m[0], item.size(axis + 2) - m[0] - m[1])
            parts.append(mirrored(self.image(item), margins))
        return torch.cat(parts)

    def margins(self, x: Tensor) -> list[list[int]]:
        """Along each of *, how many pixels at its beginning and at its end only mirror those next to them."""
        found: list[list[int]] = []
        for axis, px in enumerate(self.mirror_px):
            begin = is_mirrored(x, axis + 2, 0, px, px)
            n = x.size(axis + 2)
            end = is_mirrored(x, axis + 2, n - px, n - 2 * px, px) if n - begin >= 2 * px else 0
            found.append([begin, end])
        return found

    def image(self, x: Tensor) -> Tensor:
        """One image x [1, C, *] in as many windows as it needs: [1, C', *]."""
        size = list(x.shape[2:])
        first = self.piece(x, window(0, size, self.inner_px, self.halo_px))
        return first if n_windows(size, self.inner_px) == 1 else self.windowed(x, first)

    def windowed(self, x: Tensor, first: Tensor) -> Tensor:
        """All windows of one image, x [1, C, *], of which the first is computed: [1, C', *]."""
        size = list(x.shape[2:])
        whole = x.new_zeros([1, first.size(1)] + size)
        for index in range(n_windows(size, self.inner_px)):
            bounds = window(index, size, self.inner_px, self.halo_px)
            target = whole
            for axis, b in enumerate(bounds):
                target = target.narrow(axis + 2, b[0], b[1] - b[0])
            target.copy_(first if index == 0 else self.piece(x, bounds))
        return whole

    def piece(self, x: Tensor, bounds: list[list[int]]) -> Tensor:
        """The inner pixels of one window of x: [1, C', inner sizes]."""
        origin: list[int] = []
        for axis, b in enumerate(bounds):
            x = x.narrow(axis + 2, b[2], b[3] - b[2])
            origin.append(b[2])
        y = self.denoise(x, origin)
        for axis, b in enumerate(bounds):
            y = y.narrow(axis + 2, b[0] - b[2], b[1] - b[0])
        return y

    def denoise(self, x: Tensor, origin: list[int]) -> Tensor:
        return x


def is_mirrored(x: Tensor, dim: int, edge: int, inner: int, n_px: int) -> int:
    """n_px where the strip that starts at `edge` is the mirror image of the one next to it, at `inner`; otherwise 0.

    A strip of one value says nothing: the black margin of an image is its own.
    """
    if n_px == 0 or x.is_meta or x.size(dim) < 2 * n_px:
        return 0
    strip = x.narrow(dim, edge, n_px)
    if not torch.equal(strip, x.narrow(dim, inner, n_px).flip([dim])):
        return 0
    return n_px if bool((strip != strip.flatten()[0]).any()) else 0


def mirrored(y: Tensor, margins: list[list[int]]) -> Tensor:
    """y with as many of its own pixels mirrored beyond each side."""
    for axis, m in enumerate(margins):
        if m[0] + m[1] > 0:
            begin = y.narrow(axis + 2, 0, m[0]).flip([axis + 2])
            end = y.narrow(axis + 2, y.size(axis + 2) - m[1], m[1]).flip([axis + 2])
            y = torch.cat([begin, y, end], dim=axis + 2)
    return y


class PortableMean(Portable):
    """The mean of n_samples posterior samples, and on request their standard deviation as further channels."""

    def __init__(
        self, model: Cosdd, inner_px: list[int], halo_px: list[int], n_samples: int, seed: int, uncertainty: bool
    ) -> None:
        super().__init__(model, inner_px, halo_px)
        self.encoder = model.encoder
        self.signal_decoder = model.signal_decoder
        self.n_samples, self.seed, self.uncertainty = n_samples, seed, uncertainty

    def denoise(self, x: Tensor, origin: list[int]) -> Tensor:
        result = self.posterior(x, self.n_samples, self.seed, origin)
        return torch.cat([result.mean, result.std], dim=1) if self.uncertainty else result.mean


class PortableDirect(Portable):
    """The direct denoiser's prediction: one pass."""

    def __init__(self, model: Cosdd, inner_px: list[int], halo_px: list[int]) -> None:
        super().__init__(model, inner_px, halo_px)
        self.direct_denoiser = model.direct_denoiser

    def denoise(self, x: Tensor, origin: list[int]) -> Tensor:
        return self.direct(x)


def script(module: nn.Module) -> "torch.jit.ScriptModule":
    """The module scripted in eval mode on the CPU."""
    with _no_deprecation():
        scripted: torch.jit.ScriptModule = torch.jit.script(module.cpu().eval())
    return scripted


def state_halo(module: "torch.jit.ScriptModule", halo_px: Sequence[int]) -> None:
    """Tells a graph of ours by how much programs lengthen images, in place; others are left alone."""
    if hasattr(module, "mirror_px"):
        module.mirror_px = list(halo_px)


def load_script(weights: bytes, device: str = "cpu") -> "torch.jit.ScriptModule":
    """A TorchScript archive from memory. Raises RuntimeError when it is none."""
    with _no_deprecation():
        module: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(weights), map_location=device)
    return module


def moved_to(module: "torch.jit.ScriptModule", device: str) -> "torch.jit.ScriptModule":
    """The module with its parameters and buffers on a device, in place, as `.to(device)`, which raises for "meta"."""
    for part in module.modules():
        held: Any = part._c
        for name, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            held.setattr(name, tensor.detach().to(device))
    return module


def op_names(module: "torch.jit.ScriptModule") -> list[str]:
    """The operators that the module's graph refers to, e.g. aten::conv2d."""
    with _no_deprecation():
        return list(torch.jit.export_opnames(module))


@contextmanager
def _no_deprecation() -> Iterator[None]:
    """torch.jit warns of its deprecation; it is the format that Fiji, ilastik and QuPath read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        yield
