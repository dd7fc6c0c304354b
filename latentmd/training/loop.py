"""One optimisation loop for every stage, on Lightning: checkpoints, resume, precision and devices come from there."""

from __future__ import annotations

import csv
import logging
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from latentmd.io.atomic import replacing

LossFunction = Callable[[torch.Generator], dict[str, Tensor]]


class TrainingError(RuntimeError):
    """A stage that cannot give a usable model; the message says what was seen and what to try."""


class Stage(lightning.LightningModule):
    """Minimise the "loss" of `losses(generator)`; all randomness of a step follows from (seed, step, device rank).

    Args:
        name: of the stage, in the log and in checkpoints.
        module: what is optimised.
        losses: generator → named scalars, "loss" among them; it samples its own batch.
        steps: number of optimiser steps.
        learning_rate: peak of a one-cycle schedule.
        seed: base seed.
        average: decay of a running average of the weights, which replaces them at the end; None for no average.
        after_step: called with the step number after each optimiser step.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        losses: LossFunction,
        *,
        steps: int,
        learning_rate: float,
        seed: int,
        average: float | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.module, self.losses = name, module, losses
        self.steps, self.learning_rate, self.seed = steps, learning_rate, seed
        self.after_step = after_step
        self.averaged = None
        if average is not None:
            self.averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(average))

    def training_step(self, batch: Tensor, batch_index: int) -> dict[str, Tensor]:
        """Losses of a step by name; called by Lightning. Random numbers follow from seed, step and process."""
        key = np.random.SeedSequence([self.seed, self.global_step, self.global_rank]).generate_state(1)[0]
        return self.losses(torch.Generator().manual_seed(int(key)))

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
            self.after_step(self.global_step)

    def configure_optimizers(self) -> Any:
        """AdamW at a one-cycle rate; called by Lightning."""
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=1e-5)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps + 1, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def result(self) -> nn.Module:
        """The trained module: the average of its weights where one was kept."""
        return self.module if self.averaged is None else self.averaged.module


class Finish(Callback):
    """Calls `finish_step`. A module's own hook would come after the checkpoint, which then lacks its averages."""

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        """Note the losses of the batch; called by Lightning.

        Args:
            trainer, module: of Lightning.
            outputs: losses of the batch.
            batch, batch_index: the batch and its number.
        """
        module.finish_step(float(outputs["loss"].detach()))


class History(Callback):
    """Rows (stage, step, quantity, value) of the training log, appended to a CSV file as they come.

    Args:
        path: of the CSV file.
        every: steps between rows.
        report: called with (stage, step, steps, losses) for each row.
    """

    def __init__(self, path: Path, every: int, report: Callable[[str, int, int, dict[str, float]], None]) -> None:
        self.path, self.every, self.report = path, every, report

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        """Note the losses of the batch; called by Lightning.

        Args:
            trainer, module: of Lightning.
            outputs: losses of the batch.
            batch, batch_index: the batch and its number.
        """
        step = module.global_step
        if step % self.every and step != module.steps:
            return
        values = {name: float(value.detach()) for name, value in outputs.items()}
        append_rows(self.path, module.name, step, values)
        self.report(module.name, step, module.steps, values)


def append_rows(path: Path, stage: str, step: int, values: dict[str, float]) -> None:
    """Append one row per quantity to the training log.

    Args:
        path: of the log.
        stage, step: that the values belong to.
        values: by the name of the quantity.
    """
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
    report: Callable[[str, int, int, dict[str, float]], None],
    device: str = "auto",
    precision: Any = "32-true",
    devices: int | str = 1,
    resume: bool = False,
) -> nn.Module:
    """Run one stage to its end and return the trained module; with `resume`, from its last checkpoint.

    A finished stage leaves `<name>.pt` (weights only) in the folder, and `resume` loads it instead of training again.

    Args:
        stage: what is optimised.
        folder: for checkpoints and the trained weights.
        log: CSV file that is added to.
        report: called with (stage, step, steps, losses).
        device, precision, devices: as Lightning takes them.
        resume: load a finished stage, or go on from its checkpoint.
    """
    finished = folder / f"{stage.name}.pt"
    if resume and finished.exists():
        stage.module.load_state_dict(torch.load(finished, weights_only=True))
        return stage.module
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its banner and tips
    checkpoint = folder / f"{stage.name}.ckpt"
    every = max(1, stage.steps // 20)
    saver = ModelCheckpoint(
        dirpath=folder, filename=stage.name, every_n_train_steps=every, save_top_k=1, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        max_steps=stage.steps,
        accelerator="cpu" if device == "cpu" else "auto",
        devices=devices,
        precision=precision,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        callbacks=[Finish(), saver, History(log, max(1, stage.steps // 50), report)],
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
        # Batches follow from the step number, so an epoch that is resumed in its middle is the same epoch.
        warnings.filterwarnings("ignore", ".*resuming from a checkpoint that ended before the epoch ended.*")
        steps: Any = DataLoader(torch.arange(stage.steps), batch_size=None)  # type: ignore[arg-type]
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
