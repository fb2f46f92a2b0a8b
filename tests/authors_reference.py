r"""The networks of the method's authors (krulllab/COSDD, branch main) in our words: what an import must reproduce.

Written from facts of their repository: the names and shapes of the tensors, and what is computed with them. A tensor is
drawn when a network first asks for it, so that one pass makes a whole state_dict. `tests/authors_clone.py` holds these
networks against theirs, wherever there is a clone of theirs.

Letters: B batch, C channels, F features, K mixture components, Z latent channels, * spatial axes in the image's order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

CONVS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Spec:
    """Settings that the networks depend on. Their AR decoder has 64 features in all; a test needs fewer."""

    n_dims: int = 2
    n_channels: int = 1
    axis: str = "x"
    downsample: tuple[bool, ...] = (True, True)  # the finest level first; theirs follow from the crop's size
    n_code: int = 6
    n_mixture: int = 3
    n_ar: int = 8
    scale_initialisation: bool = False
    direct: bool = True

    @property
    def stride(self) -> int:
        return 2 ** sum(self.downsample)

    def settings(self) -> dict[str, Any]:
        """Their training-config.yaml, with some of the settings that matter to a training alone."""
        return {
            "model-name": "test",
            "data": {"paths": "data", "axes": "SYX", "number-dimensions": self.n_dims, "patch-size": None},
            "train-parameters": {
                "batch-size": 4,
                "crop-size": [2 * self.stride] * self.n_dims,
                "use-direct-denoiser": self.direct,
            },
            "hyper-parameters": {
                "noise-direction": self.axis,
                "s-code-channels": self.n_code,
                "number-layers": len(self.downsample),
                "number-gaussians": self.n_mixture,
                "scale-initialisation": self.scale_initialisation,
            },
            "memory": {"precision": "bf16-mixed", "gpu": [0]},
        }


class Ladder(NamedTuple):
    code: Tensor  # [B, F, *]
    bottom_up: list[Tensor]  # [B, F, *_l], the finest first
    kl: list[float]  # of every level but the coarsest, nats an image, the finest first


class Mixtures(NamedTuple):
    log_weight: Tensor  # [B, C, K, *]
    mean: Tensor
    std: Tensor


class Authors:
    """All their networks in eval mode. `weights`: the state_dict of their Lightning module, once all have run."""

    def __init__(self, spec: Spec, seed: int = 0) -> None:
        self.spec, self.weights = spec, OrderedDict[str, Tensor]()
        self.generator = torch.Generator().manual_seed(seed)
        each = [1, spec.n_channels] + [1] * spec.n_dims
        self.weights["data_mean"] = 100.0 + 10.0 * torch.arange(spec.n_channels).float().reshape(each)
        self.weights["data_std"] = 20.0 + torch.arange(spec.n_channels).float().reshape(each)
        x = torch.zeros(1, spec.n_channels, *[2 * spec.stride] * spec.n_dims)
        code = self.ladder(x, self.eps(x)).code
        self.mixtures(x, code)
        self.signal(code)
        if spec.direct:
            self.direct(x)

    def normalised(self, raw: Tensor) -> Tensor:
        return (raw - self.weights["data_mean"]) / self.weights["data_std"]

    def grey(self, y: Tensor) -> Tensor:
        return y * self.weights["data_std"] + self.weights["data_mean"]

    def eps(self, x: Tensor) -> list[Tensor]:
        """Noise for the latents of images like x, the finest level first: [B, Z, *_l]."""
        sizes, drawn = list(x.shape[2:]), []
        for halves in self.spec.downsample:
            sizes = [n // 2 if halves else n for n in sizes]
            drawn.append(torch.randn(len(x), self.spec.n_code // 2, *sizes, generator=self.generator))
        return drawn

    # ---- layers

    def tensor(self, name: str, *shape: int, mean: float = 0.0, std: float | None = None) -> Tensor:
        if name not in self.weights:
            spread = std if std is not None else torch.Size(shape[1:]).numel() ** -0.5
            self.weights[name] = mean + spread * torch.randn(shape, generator=self.generator)
        return self.weights[name]

    def conv(
        self, name: str, x: Tensor, n_out: int, kernel: int = 1, border: str = "constant", stride: int = 1
    ) -> Tensor:
        d = self.spec.n_dims
        weight = self.tensor(f"{name}.weight", n_out, x.size(1), *[kernel] * d)
        if kernel > 1:
            x = F.pad(x, [kernel // 2] * 2 * d, mode=border)
        return CONVS[d](x, weight, self.tensor(f"{name}.bias", n_out, std=0.2), stride=stride)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        n = x.size(1)
        weight, bias = self.tensor(f"{name}.weight", n, mean=1.0, std=0.2), self.tensor(f"{name}.bias", n, std=0.2)
        mean = self.tensor(f"{name}.running_mean", n, std=0.2)
        variance = self.tensor(f"{name}.running_var", n, mean=1.0, std=0.1)
        self.weights[f"{name}.num_batches_tracked"] = torch.tensor(77)
        return F.batch_norm(x, mean, variance, weight, bias)

    def residual(self, name: str, x: Tensor, factor: float, gated: bool = True) -> Tensor:
        n, h = x.size(1), x
        for i in (0, 3):
            h = self.conv(f"{name}.{i + 2}.conv", F.mish(self.batch_norm(f"{name}.{i}", h)), n, 3)
        if gated:
            a, b = pairs(self.conv(f"{name}.6.conv.conv", h, 2 * n))
            h = torch.tanh(a) * torch.sigmoid(b)
        return (x + h) * factor

    def merged(self, name: str, a: Tensor, b: Tensor, factor: float) -> Tensor:
        both = torch.stack([a, b], dim=2).flatten(1, 2)
        return self.residual(f"{name}.layer.1.block", self.conv(f"{name}.layer.0.conv", both, a.size(1)), factor)

    def towards_pixels(self, name: str, x: Tensor, halves: bool, factor: float) -> Tensor:
        if halves:
            x = F.interpolate(x, scale_factor=2, mode=MODES[self.spec.n_dims])
            x = self.conv(f"{name}.pre_conv.1.conv", x, x.size(1))
        return self.residual(f"{name}.res_block.block", x, factor)

    def pyramid(self, part: str, x: Tensor, factor: float) -> list[Tensor]:
        """The bottom-up maps, the finest first."""
        h = F.mish(self.conv(f"{part}.first_bottom_up.0.conv", x, self.spec.n_code, 5, "replicate"))
        h, maps = self.residual(f"{part}.first_bottom_up.2.res_block.block", h, factor, gated=False), []
        for i, halves in enumerate(self.spec.downsample):
            name = f"{part}.bottom_up_layers.{i}.bu_blocks.0"
            if halves:
                h = self.conv(f"{name}.pre_conv.conv", h, h.size(1), 3, "reflect", stride=2)
            h = self.residual(f"{name}.res_block.block", h, factor)
            maps.append(h)
        return maps

    # ---- networks

    def ladder(self, x: Tensor, eps: Sequence[Tensor]) -> Ladder:
        """x normalised [B, C, *], sizes divisible by the stride; eps: the latents' noise, the finest level first."""
        n, z = self.spec.n_code, self.spec.n_code // 2
        factor = n**-0.5 if self.spec.scale_initialisation else 1.0
        maps, kl = self.pyramid("vae", x, factor), []
        above = maps[-1]
        for i in reversed(range(len(maps))):
            name, is_top = f"vae.top_down_layers.{i}", i == len(maps) - 1
            seen = maps[i] if is_top else self.merged(f"{name}.merge", maps[i], above, factor)
            mean, raw = pairs(self.conv(f"{name}.stochastic.conv_in_q.conv", seen, 2 * z, 3, "reflect"))
            std = F.softplus(raw)
            if is_top:
                self.tensor(f"{name}.top_prior_params", 1, 2 * z, *[2] * self.spec.n_dims, std=1.0)
            else:
                p_mean, p_raw = pairs(self.conv(f"{name}.stochastic.conv_in_p.conv", above, 2 * z, 3, "reflect"))
                q, p = torch.distributions.Normal(mean, std), torch.distributions.Normal(p_mean, F.softplus(p_raw))
                kl.insert(0, float(torch.distributions.kl_divergence(q, p).sum()) / len(x))
            h = self.conv(f"{name}.stochastic.conv_out.conv", mean + std * eps[i], n, 3, "reflect")
            h = h if is_top else self.merged(f"{name}.skip_connection_merger", h, above, factor)
            above = self.towards_pixels(f"{name}.deterministic_blocks.0", h, self.spec.downsample[i], factor)
        return Ladder(self.conv("vae.final_top_down.conv", above, n), maps, kl)

    def signal(self, code: Tensor) -> Tensor:
        for i in range(3):
            code = F.relu(self.conv(f"s_decoder.net.{i}.0.conv", code, code.size(1), 3, "reflect"))
        return self.conv("s_decoder.net.3.conv", code, self.spec.n_channels, 3, "reflect")

    def direct(self, x: Tensor) -> Tensor:
        maps = self.pyramid("direct_denoiser", x, 1.0)
        h = maps[-1]
        for i in reversed(range(len(maps))):
            name = f"direct_denoiser.top_down_layers.{i}"
            if i < len(maps) - 1:
                h = self.merged(f"{name}.skip_connection_merger", self.merged(f"{name}.merge", maps[i], h, 1.0), h, 1.0)
            h = self.towards_pixels(f"{name}.blocks.0", h, self.spec.downsample[i], 1.0)
        return self.conv("direct_denoiser.final_top_down.conv", h, self.spec.n_channels)

    def mixtures(self, x: Tensor, code: Tensor) -> Mixtures:
        """p(x_i | x_<i, code) along the noise axis; channels apart."""
        spec = self.spec
        turn = {"y": -2, "z": -3}.get(spec.axis, -1)
        h, code = x.transpose(turn, -1), code.transpose(turn, -1)
        n = -(-spec.n_ar // spec.n_channels) * spec.n_channels
        kernel = 1 if spec.axis == "none" else 5
        for i, dilation in enumerate((1, 1, 2, 1, 2, 1, 1, 1)):
            name = f"ar_decoder.layers.layers.{i + (turn != -1)}"
            line = self.grouped(f"{name}.in_conv.conv.conv", h, n, kernel, dilation, masks=i == 0)
            out = self.grouped(f"{name}.out_conv.conv", F.relu(line + self.conv(f"{name}.s_conv.conv", code, n)), n)
            h = out if i == 0 else h + out
        k = spec.n_mixture
        head, n_out = "ar_decoder.out_conv.conv", 3 * k * spec.n_channels
        # small, since the mixtures of a model that has learned are not narrow
        self.tensor(f"{head}.weight", n_out, n // spec.n_channels, *[1] * spec.n_dims, std=0.05)
        parts = self.grouped(head, h, n_out).transpose(turn, -1)
        weight, mean, raw = parts.unflatten(1, [spec.n_channels, k, 3]).unbind(3)
        return Mixtures(torch.log_softmax(weight, 2), mean, F.softplus(raw))

    def grouped(
        self, name: str, x: Tensor, n_out: int, kernel: int = 1, dilation: int = 1, masks: bool = False
    ) -> Tensor:
        """A causal convolution along the last axis, each channel by itself. Masked: its last tap counts as zero."""
        d, groups = self.spec.n_dims, self.spec.n_channels
        ones = [1] * (d - 1)
        weight = self.tensor(f"{name}.weight", n_out, x.size(1) // groups, *ones, kernel)
        if ".in_conv." in name:
            mask = torch.ones([1, 1, *ones, kernel])
            mask[..., -1] = 0.0 if masks else 1.0
            self.weights[name.replace(".conv.conv", ".kernel_mask")] = mask
            weight = weight * mask
        x = F.pad(x, [dilation * (kernel - 1), 0])
        return CONVS[d](
            x, weight, self.tensor(f"{name}.bias", n_out, std=0.2), dilation=(*ones, dilation), groups=groups
        )


def pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Every second channel from the first on, and from the second on."""
    return x[:, 0::2], x[:, 1::2]


class Files(NamedTuple):
    checkpoint: Path
    settings: Path


def write(folder: Path, authors: Authors, **changed: Any) -> Files:
    """final_model.ckpt and training-config.yaml as a Lightning training leaves them. changed: entries of the first."""
    files = Files(folder / "final_model.ckpt", folder / "training-config.yaml")
    content: dict[str, Any] = {
        "epoch": 12,
        "global_step": 90,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": authors.weights,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 13}}}},
        "callbacks": {"EarlyStopping{'monitor': 'elbo/val'}": {"best_score": torch.tensor(0.5), "patience": 50}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}],
        "hyper_parameters": {"data_mean": authors.weights["data_mean"], "of": folder},  # an object of some class
    }
    torch.save({**content, **changed}, files.checkpoint)
    files.settings.write_text(yaml.dump(authors.spec.settings()))
    return files
