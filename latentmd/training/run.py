"""What the stages of a training share: the folder, the log, the devices, and whether it is being resumed."""

from __future__ import annotations

import csv
import json
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from latentmd.io.atomic import write_json
from latentmd.io.folder import FolderLock, RunFiles, claim_folder
from latentmd.io.progress import Progress
from latentmd.report.figures import panels, png
from latentmd.training.loop import Stage, run_stage
from latentmd.units import format_wall

logger = logging.getLogger(__name__)

_RANK = ("rank", "std_min", "std_mean")  # of a latent, which a title states


def read_log(path: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Stage → quantity → (step, value) in the order of steps; a step that a resumed run repeated counts once."""
    curves: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            curves[row["stage"]][row["quantity"]][int(row["step"])] = float(row["value"])
    return {
        stage: {name: sorted(values.items()) for name, values in quantities.items()}
        for stage, quantities in curves.items()
    }


def plot_training(log: Path) -> bytes:
    """Draw the training log as PNG, a panel for each stage; that of the JEPA states its rank and deviations."""
    curves = read_log(log)
    made, axes = panels(len(curves), 4)
    for axis, (stage, quantities) in zip(axes, curves.items(), strict=True):
        for name, values in quantities.items():
            if name not in _RANK and len(values) > 1 and any(value for _, value in values):
                axis.plot(*zip(*values, strict=True), label=name, lw=1)
        title = stage
        if "rank" in quantities:
            rank, least, mean = (quantities[name][-1][1] for name in _RANK)
            title += f": effective rank {rank:.1f},\naxis deviation {least:.2g} to {mean:.2g} (mean)"
        axis.set(title=title, xlabel="step")
        axis.set_yscale("symlog", linthresh=1e-3)
        if axis.lines:
            axis.legend(fontsize=6, frameon=False)
    return png(made)


_TRAINING = RunFiles("training", ("*.pt", "*.ckpt", "*.npz", "training.*", "seconds.json"))


@dataclass
class TrainingRun:
    """What the stages share: where they write, how they report, and how long each took."""

    folder: Path
    log: Path
    report: Progress
    device: str
    precision: str
    devices: int | str
    resume: bool
    stages: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    forecast: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, report: Progress, *, device: str = "auto", resume: bool = False) -> TrainingRun:
        """A training in single precision on one device, with its log in its folder."""
        return cls(folder, folder / "training.csv", report, device, precision="32-true", devices=1, resume=resume)

    @property
    def torch_device(self) -> torch.device:
        """The device that the stages run on."""
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(found if self.device == "auto" else self.device)

    def record(self, name: str, seconds: float) -> None:
        """Keep the wall time in seconds of a finished part beside the checkpoints, for a run that is resumed."""
        path = self.folder / "seconds.json"
        if self.resume and path.exists():
            self.seconds = json.loads(path.read_text(encoding="utf-8")) | self.seconds
        self.seconds[name] = round(seconds, 1)
        write_json(path, self.seconds, indent=1)

    def finished(self, name: str) -> bool:
        """Whether a run that is resumed has finished a stage."""
        return self.resume and (self.folder / f"{name}.pt").exists()

    def say_forecast(self, forecast: dict[str, float]) -> None:
        """Say how long each stage and all of them will take, in seconds of wall time."""
        self.forecast = forecast
        if not forecast:
            return
        parts = ", ".join(f"{name} {format_wall(seconds)}" for name, seconds in forecast.items())
        logger.warning("training takes some %s on this machine: %s", format_wall(sum(forecast.values())), parts)

    def say_left(self, name: str) -> None:
        """Say what is left after a stage, at the pace so far."""
        done = self.forecast.keys() & self.seconds.keys()
        took, thought = (sum(times[part] for part in done) for times in (self.seconds, self.forecast))
        left = sum(self.forecast.values()) - thought
        if done and left > 0:
            some = format_wall(left * took / thought)
            logger.warning("%s took %s; some %s left", name, format_wall(self.seconds[name]), some)

    def stage(self, stage: Stage) -> torch.nn.Module:
        """Train a stage, or load what it left where a resumed run has finished it; the trained module."""
        loaded = self.finished(stage.name)
        module = run_stage(
            stage, self.folder, log=self.log, report=self.report, device=self.device, precision=self.precision,
            devices=self.devices, resume=self.resume,
        )  # fmt: skip
        if not loaded:
            self.record(stage.name, stage.spent)
            self.say_left(stage.name)
        # First weights of the next stage must not depend on whether this one was run or loaded.
        self.stages += 1
        torch.manual_seed(stage.seed + self.stages)
        return module.eval().cpu()


def training_folder(out: Path) -> Path:
    """Folder of the checkpoints and the log of a model file."""
    return out.with_name(out.stem + "-training")


def claim_training(folder: Path, plan: dict[str, Any], resume: bool) -> FolderLock:
    """Lock the folder of a training and empty it of another's files; to resume, the plan must be the one it began with.

    OutputError: it is of another plan, another training runs there, or it cannot be written.
    """
    return claim_folder(folder, "resume" if resume else "overwrite", _TRAINING, plan)
