"""One optimisation loop for every stage, on Lightning: checkpoints, resume, precision and devices come from there."""

from __future__ import annotations

import csv
import logging
import math
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from latentmd.io.atomic import replacing
from latentmd.io.progress import Progress

LossFunction = Callable[[torch.Generator], dict[str, Tensor]]
#: Called with (stage, done, total, losses); amounts are steps, or seconds of a stage that ends by wall time.

_ROWS, _ROW_SECONDS = 50, 30.0  # of the log, for each stage, and the longest time from one to the next
_TIMED_STEPS, _TIMED_SECONDS = 4, 2.0  # of a forecast, whichever comes first; never under three steps
_CHECKPOINTS = 20  # of a stage that ends after so many steps
_CHECKPOINT_SECONDS = 20  # between those of a stage that ends by wall time
_ENDLESS = 10**9  # steps


class TrainingError(RuntimeError):
    """A stage that cannot give a usable model; the message says what was seen and what to try."""


@dataclass(frozen=True)
class Optimisation:
    """How a stage is optimised: AdamW, to its peak `learning_rate` and back, by so many steps or seconds of wall time.

    `seed` decides all randomness; `average` is the decay of a running average of the weights, which replaces them at
    the end, or None.
    """

    learning_rate: float
    seed: int
    steps: int = _ENDLESS
    seconds: float = math.inf
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    average: float | None = None


class Stage(lightning.LightningModule):
    """Minimise the "loss" of `losses(generator)`; all randomness of a step follows from (seed, step, device rank).

    It ends after a number of steps or after some wall time, whichever comes first; interrupted runs count. `losses`
    samples its own batch and returns named scalars; `after_step` is called with (step, share of the stage done).
    """

    def __init__(
        self, name: str, module: nn.Module, losses: LossFunction, how: Optimisation,
        after_step: Callable[[int, float], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.module, self.losses = name, module, losses
        self.how, self.steps, self.seconds, self.seed = how, how.steps, how.seconds, how.seed
        self.after_step = after_step
        self.earlier, self.began = 0.0, time.monotonic()
        self.averaged = None
        if how.average is not None:
            self.averaged = AveragedModel(module, multi_avg_fn=partial(_average, how.average))

    @property
    def timed(self) -> bool:
        """Whether the stage ends by wall time."""
        return self.seconds < math.inf

    @property
    def spent(self) -> float:
        """Seconds of wall time, those of interrupted runs counted."""
        return self.earlier + time.monotonic() - self.began

    @property
    def share(self) -> float:
        """Share of the stage that is done."""
        return max(self.global_step / self.steps, self.spent / self.seconds)

    def training_step(self, batch: Any, batch_index: int) -> dict[str, Tensor]:
        """Losses of a step by name; called by Lightning. Random numbers follow from seed, step and process."""
        keys = np.random.SeedSequence([self.seed, self.global_step, self.global_rank]).generate_state(2)
        torch.manual_seed(int(keys[1]))  # of dropout
        return self.losses(torch.Generator().manual_seed(int(keys[0])))

    def finish_step(self, loss: float) -> None:
        """Refuse a broken loss, update the average, and do what the stage asked for after each step."""
        if not np.isfinite(loss):
            raise TrainingError(
                f"stage {self.name}: the loss became {loss} at step {self.global_step}; "
                "lower its learning_rate or check the trajectories for broken frames"
            )
        if self.averaged is not None:
            self.averaged.update_parameters(self.module)
        if self.after_step is not None:
            self.after_step(self.global_step, self.share)

    def configure_optimizers(self) -> Any:
        """AdamW at a one-cycle rate of steps, or at `rise_and_fall` of wall time; called by Lightning."""
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=self.how.learning_rate, weight_decay=self.how.weight_decay, betas=self.how.betas
        )
        schedule: Any
        if self.timed:
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: rise_and_fall(self.share))
        else:
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, self.how.learning_rate, total_steps=self.steps + 1, pct_start=0.1
            )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Start the clock; called by Lightning."""
        self.began = time.monotonic()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the wall time; called by Lightning."""
        checkpoint["seconds"] = self.spent

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the wall time of interrupted runs; called by Lightning."""
        self.earlier = checkpoint["seconds"]

    def forecast(self, device: torch.device) -> float:
        """Seconds that all steps will take, from a few without an optimiser; changes the gradients alone."""
        self.module.to(device).train()
        spent: list[float] = []
        while len(spent) < 3 or (len(spent) < _TIMED_STEPS and sum(spent) < _TIMED_SECONDS):
            begin = time.monotonic()
            self.losses(torch.Generator().manual_seed(len(spent)))["loss"].backward()
            spent.append(time.monotonic() - begin)
        return self.steps * float(np.median(spent[1:]))

    def result(self) -> nn.Module:
        """The trained module: the average of its weights where one was kept."""
        return self.module if self.averaged is None else self.averaged.module


def rise_and_fall(share: float, warm: float = 0.03) -> float:
    """Learning rate over its peak at a share of the stage: a linear rise up to `warm`, half a cosine to a hundredth."""
    if share < warm:
        return (share + 1e-3) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warm) / (1 - warm))))


@torch.no_grad()
def _average(decay: float, averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
    """Update a running average whose memory grows with the steps, so that the first weights are soon forgotten."""
    torch._foreach_lerp_(averaged, current, 1 - min(decay, 1 - 1 / (1 + int(count) / 10)))


class Finish(Callback):
    """Calls `finish_step`, and ends a stage whose time is over.

    A module's own hook would come after the checkpoint, which then lacks its averages.
    """

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        """Note the losses of the batch; called by Lightning."""
        module.finish_step(float(outputs["loss"].detach()))
        if module.share >= 1:
            trainer.should_stop = True


class History(Callback):
    """Rows (stage, step, quantity, value) of the training log, appended to a CSV file as they come, and reported."""

    def __init__(self, path: Path, report: Progress) -> None:
        self.path, self.report, self.rows = path, report, 0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Count the rows of an interrupted run; called by Lightning."""
        self.rows, self.last = int(_ROWS * module.share), time.monotonic()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        """Note the losses of the batch; called by Lightning."""
        due = int(_ROWS * module.share)
        if due == self.rows and module.global_step > 1 and time.monotonic() < self.last + _ROW_SECONDS:
            return
        self.rows, self.last = due, time.monotonic()
        values = {name: float(value.detach()) for name, value in outputs.items()}
        append_rows(self.path, module.name, module.global_step, values)
        amount = (module.spent, module.seconds) if module.timed else (module.global_step, module.steps)
        self.report(module.name, *amount, values)


def append_rows(path: Path, stage: str, step: int, values: dict[str, float]) -> None:
    """Append one row per quantity to the training log."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        if new:
            writer.writerow(["stage", "step", "quantity", "value"])
        writer.writerows([stage, step, name, f"{value:.6g}"] for name, value in values.items())


def run_stage(
    stage: Stage,
    folder: Path,
    *,
    log: Path,
    report: Progress,
    device: str = "auto",
    precision: Any = "32-true",
    devices: int | str = 1,
    resume: bool = False,
) -> nn.Module:
    """Run one stage to its end and return the trained module; with `resume`, from its last checkpoint.

    A finished stage leaves `<name>.pt` (weights only) in the folder, and `resume` loads it instead of training again.
    Rows go to the CSV file `log` and to `report`; device, precision and devices are as Lightning takes them.
    """
    finished = folder / f"{stage.name}.pt"
    if resume and finished.exists():
        stage.module.load_state_dict(torch.load(finished, weights_only=True))
        return stage.module
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its banner and tips
    checkpoint = folder / f"{stage.name}.ckpt"
    when: dict[str, Any] = {"every_n_train_steps": max(1, stage.steps // _CHECKPOINTS)}
    if stage.timed:
        when = {"train_time_interval": timedelta(seconds=_CHECKPOINT_SECONDS)}
    saver = ModelCheckpoint(dirpath=folder, filename=stage.name, save_top_k=1, enable_version_counter=False, **when)
    trainer = lightning.Trainer(
        max_steps=stage.steps,
        accelerator="cpu" if device == "cpu" else "auto",
        devices=devices,
        precision=precision,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        callbacks=[Finish(), saver, History(log, report)],
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
        # Batches follow from the step number, so an epoch that is resumed in its middle is the same epoch.
        warnings.filterwarnings("ignore", ".*resuming from a checkpoint that ended before the epoch ended.*")
        steps: Any = DataLoader(range(stage.steps), batch_size=None)  # type: ignore[arg-type]
        start = str(checkpoint) if resume and checkpoint.exists() else None
        stage.train()
        answer = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(stage, steps, ckpt_path=start, weights_only=False if start else None)
        except SystemExit as stop:  # Lightning's answer to Ctrl-C, which also silences later ones
            signal.signal(signal.SIGINT, answer)
            raise KeyboardInterrupt from stop
    module = stage.result()
    with replacing(finished) as temporary:
        torch.save(module.state_dict(), temporary)
    checkpoint.unlink(missing_ok=True)
    return module
