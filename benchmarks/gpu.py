"""A training step and the mean of 100 samples on a GPU: ours in several ways against the authors', in one run.

    python benchmarks/gpu.py [--authors-code PATH] [--out benchmarks/results/gpu.md] [--minutes 8.5] [--quick]

PATH: a clone of krulllab/COSDD, branch main; without it theirs are left out. Ours are the presets with the direct
denoiser, theirs of the same sizes.
Needs torch, lightning and numpy: what else the two packages import for settings and pictures is stood in for where
it is missing. Ways: float32 (with TF32 products), bf16 (autocast), and bf16 with channels-last tensors and with
torch.compile; theirs bf16, with and without their activation checkpointing. Steps a second after warm-up
and the most memory that tensors took; a way that fails is a row that says why, one that no longer fits into the minutes
a row that says so. --quick: does every way run? Small images, one step, figures that mean nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Generator, Tensor

N_TIMED = 10  # samples of the authors' that are timed; all hundred take as long each
MODES = ("float32", "bf16", "bf16, channels-last", "bf16, compiled", "bf16, channels-last, compiled")
THEIR_MODES = ("bf16", "bf16, checkpointed")


class Scale(NamedTuple):
    seconds: float  # that steps are timed for
    crops: int
    crop_px: int
    image_px: int
    n_samples: int


FULL, QUICK = Scale(8.0, 4, 256, 1024, 100), Scale(0.0, 2, 64, 64, 2)


class Way(NamedTuple):
    size: str  # small or large
    whose: str  # ours or theirs
    mode: str


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--authors-code", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.md")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--sizes", nargs="+", default=["small", "large"], choices=["tiny", "small", "large"])
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES, help="of ours")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    scale = QUICK if given.quick else FULL
    ends = time.monotonic() + 60.0 * given.minutes
    stand_in(given.authors_code)
    report = Report(given.out, torch.device(given.device), scale)
    modes = {"ours": given.modes} | ({"theirs": THEIR_MODES} if given.authors_code else {})
    ways = [Way(size, whose, m) for size in given.sizes for whose in modes for m in modes[whose]]
    compiled = [way for way in ways if "compiled" in way.mode]
    steps_table(report, [way for way in ways if way not in compiled], ends)
    report.add(
        f"\nTheirs is timed for {N_TIMED} samples, and keeps these.\n\n"
        f"| mean of {scale.n_samples}, {scale.image_px}^2 px | seconds | memory, GiB |\n|---|---|---|"
    )
    for way in [Way(given.sizes[0], "ours", "float32"), *(Way(given.sizes[0], whose, "bf16") for whose in modes)]:
        report.add(guarded(lambda way=way: mean_row(way, report.device, scale), "| " + ", ".join(way), 2, ends))
    report.add("\nWhere a step's time goes, ours, bf16:\n")
    report.add(guarded(lambda: profile(Way(given.sizes[0], "ours", "bf16"), report.device, scale), "", 0, ends))
    report.add("\nCompiled; last, since these may take minutes to their first step:\n")
    steps_table(report, compiled, ends)


class Report:
    """A Markdown file that grows, so that what was measured is there whenever the run is cut off."""

    def __init__(self, path: Path, device: torch.device, scale: Scale) -> None:
        self.path, self.device, self.scale = path, device, scale
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        self.add(f"# On a GPU\n\n{name}, torch {torch.__version__}, {scale.crops} crops of {scale.crop_px} px.\n")

    def add(self, text: str) -> None:
        print(text, flush=True)
        with self.path.open("a") as file:
            file.write(text + "\n")


def steps_table(report: Report, ways: list[Way], ends: float) -> None:
    report.add(
        "| size | whose | how | steps a second | memory, GiB | seconds to the first step |\n|---|---|---|---|---|---|"
    )
    for way in ways:
        head = "| " + " | ".join(way)
        report.add(guarded(lambda way=way: step_row(way, report.device, report.scale), head, 3, ends))


def guarded(measure: Callable[[], str], head: str, n_cells: int, ends: float) -> str:
    if time.monotonic() > ends:
        return f"{head} | not measured: the time was over |" + " |" * (n_cells - 1)
    try:
        return f"{head} | {measure()} |" if n_cells else measure()
    except Exception as error:
        return f"{head} | {type(error).__name__}: {' '.join(str(error).split())[:200]} |" + " |" * (n_cells - 1)
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def step_row(way: Way, device: torch.device, scale: Scale) -> str:
    step = stepper(way, device, scale)
    began = time.perf_counter()
    step()
    synchronise(device)
    first_s = time.perf_counter() - began
    for _ in range(3):
        step()
    forget_peak(device)
    n, seconds = timed(step, device, scale.seconds)
    return f"{n / seconds:.2f} | {peak_gib(device):.2f} | {first_s:.1f}"


def mean_row(way: Way, device: torch.device, scale: Scale) -> str:
    x = torch.randn(1, 1, scale.image_px, scale.image_px, device=device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16) if way.mode == "bf16" else nullcontext():
        if way.whose == "ours":
            model = our_model(way.size).to(device).eval()
            model.posterior(x, 2, 0, [0, 0])
            forget_peak(device)
            _, seconds = timed(lambda: model.posterior(x, scale.n_samples, 0, [0, 0]), device, 0.0)
        else:
            hub = their_model(way.size, scale, checkpointed=False).to(device).eval()
            hub.direct_pred = False
            hub.predict_step(x, 0)
            forget_peak(device)
            samples: list[Tensor] = []
            _, seconds = timed(lambda: [samples.append(hub.predict_step(x, 0)) for _ in range(N_TIMED)], device, 0.0)
            seconds *= scale.n_samples / N_TIMED
    return f"{seconds:.1f} | {peak_gib(device):.2f}"


def profile(way: Way, device: torch.device, scale: Scale) -> str:
    step = stepper(way, device, scale)
    for _ in range(3):
        step()
    with torch.profiler.profile() as profiler:
        for _ in range(3):
            step()
        synchronise(device)
    by = f"self_{device.type}_time_total"
    return "```\n" + profiler.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=60) + "\n```"


def timed(act: Callable[[], Any], device: torch.device, at_least_s: float) -> tuple[int, float]:
    """How often it was done, and the seconds; once at least."""
    synchronise(device)
    began = time.perf_counter()
    n = 0
    while n == 0 or time.perf_counter() - began < at_least_s:
        act()
        synchronise(device)
        n += 1
    return n, time.perf_counter() - began


def stepper(way: Way, device: torch.device, scale: Scale) -> Callable[[], None]:
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    x = torch.randn(scale.crops, 1, scale.crop_px, scale.crop_px, device=device)
    return our_stepper(way, x) if way.whose == "ours" else their_stepper(way, x, scale)


def our_stepper(way: Way, x: Tensor) -> Callable[[], None]:
    from cosdd_zoo.training.muon import Muon, shared_out
    from cosdd_zoo.training.objective import Detector, losses

    model = our_model(way.size).to(x.device)
    if "channels-last" in way.mode:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    kernels, others = shared_out(model)
    is_cuda = x.device.type == "cuda"
    optimizers = [Muon(kernels, lr=1e-4), torch.optim.Adamax(others, lr=1e-4, foreach=is_cuda)]
    averaged = [p.detach().clone() for p in model.parameters()]
    one = torch.ones(1, 1, 1, 1, device=x.device)
    detector = Detector(0.01 * one, torch.inf * one, torch.inf * one, "dequantised")
    noise = [Generator(x.device).manual_seed(k) for k in range(len(x))]

    def loss_of(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16) if "bf16" in way.mode else nullcontext():
            return losses(model, x, detector, noise).total

    if "compiled" in way.mode:
        compile_parts(model)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        loss_of(x).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, list(model.parameters()), 0.01)

    return step


def compile_parts(model: Any, **how: Any) -> None:
    """Each part that the losses call, as one graph."""
    encoder = model.encoder
    for part in (encoder.bottom_up, model.ar_decoder, model.signal_decoder, model.direct_denoiser):
        part.compile(**how)
    encoder.top_down = torch.compile(encoder.top_down, **how)


def their_stepper(way: Way, x: Tensor, scale: Scale) -> Callable[[], None]:
    from speed import their_step

    step = their_step(their_model(way.size, scale, "checkpointed" in way.mode).to(x.device), x)

    def in_bf16() -> None:
        with torch.autocast(x.device.type, torch.bfloat16):
            step()

    return in_bf16


def our_model(size: str) -> Any:
    """A preset's network, with a direct denoiser as theirs has one."""
    from cosdd_zoo.config import NetworkConfig
    from cosdd_zoo.networks.build import Cosdd
    from cosdd_zoo.presets import PRESETS
    from cosdd_zoo.scaling import Scaling

    network = NetworkConfig(**{**PRESETS[size]["network"], "direct": True})
    return Cosdd(network, Scaling(*([v] for v in (0.0, 1.0, 0.0, 1.0, 0.0, 1.0))), True)


def their_model(size: str, scale: Scale, checkpointed: bool) -> Any:
    from speed import SMALL, TINY, theirs

    case = {
        "tiny": TINY,
        "small": SMALL._replace(crop_px=scale.crop_px),
        "large": SMALL._replace(n_features=128, n_levels=14, crop_px=scale.crop_px),
    }[size]
    return theirs(case, checkpointed)


def stand_in(authors_code: Path | None) -> None:
    """Both packages on the path, and stand-ins for what they import for settings and pictures where it is missing."""
    sys.path[:0] = [str(path.resolve()) for path in (Path(__file__).parents[1], authors_code) if path]
    if not importlib.util.find_spec("pytorch_lightning"):
        import lightning.pytorch

        sys.modules["pytorch_lightning"] = lightning.pytorch
    if not importlib.util.find_spec("pydantic"):
        sys.modules["pydantic"] = unvalidated()
    pictures = {"matplotlib": ["pyplot"], "sklearn": ["linear_model"], "torchvision": []}
    for package, parts in pictures.items():
        if not importlib.util.find_spec(package):
            for name in [package, *(f"{package}.{p}" for p in parts)]:
                sys.modules[name] = mock.MagicMock(__spec__=ModuleSpec(name, None))  # torch looks for specs


def unvalidated() -> ModuleType:
    """What the settings need of pydantic when nobody checks them: defaults, and values by name."""

    class BaseModel:
        def __init__(self, **values: Any) -> None:
            self.__dict__.update(values)

        def model_copy(self, *, update: dict[str, Any]) -> Any:
            return type(self)(**{**self.__dict__, **update})

    module: Any = ModuleType("pydantic")
    module.BaseModel, module.ConfigDict, module.ValidationError = BaseModel, dict, Exception
    module.Field = lambda default=None, **_: default
    module.model_validator = lambda **_: lambda method: method
    return module


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else float("nan")


if __name__ == "__main__":
    main()
