"""What a user sees of a training: a bar with the time left, the rate and the three losses, on stderr."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cosdd_zoo.training.module import CosddModule
from cosdd_zoo.training.objective import Losses

PARTS = 1000


class ProgressBar(Callback):
    def __init__(self, quiet: bool) -> None:
        self.bar = Progress(
            TextColumn("[bold]train"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False, compact=True),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            disable=quiet,
        )
        self.task: TaskID | None = None
        self.first = (0, 0.0)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.bar.start()
        self.task = self.bar.add_task("", total=PARTS, completed=int(PARTS * pl_module.done()))
        self.first = (pl_module.progress.step, pl_module.progress.seconds)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *args: Any) -> None:
        module: CosddModule = pl_module
        if self.task is not None and module.latest is not None and module.progress.step % 5 == 0:
            steps = module.progress.step - self.first[0]
            rate = steps / max(module.progress.seconds - self.first[1], 1e-9)
            text = f"step {module.progress.step}, {rate:.1f}/s, {describe(module.latest)}"
            self.bar.update(self.task, completed=PARTS * module.done(), description=text)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.bar.stop()

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, exception: BaseException) -> None:
        self.bar.stop()


def describe(values: Losses) -> str:
    """The losses in a line."""
    direct = f" direct {float(values.direct):.4f}" if float(values.direct) else ""
    return f"nll {float(values.nll):.3f} kl {float(values.kl.sum()):.3f} signal {float(values.signal):.3f}{direct}"
