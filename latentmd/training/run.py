"""What the stages of a training share: the folder, the log, the devices, and whether it is being resumed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from latentmd.io.atomic import write_json
from latentmd.io.folder import FolderLock, RunFiles, claim_folder
from latentmd.training.loop import Report, Stage, run_stage

_TRAINING = RunFiles("training", ("*.pt", "*.ckpt", "*.npz", "training.*", "seconds.json"))


@dataclass
class TrainingRun:
    """What the stages share: where they write, how they report, and how long each took."""

    folder: Path
    log: Path
    report: Report
    device: str
    precision: str
    devices: int | str
    resume: bool
    stages: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, report: Report, *, device: str = "auto", resume: bool = False) -> TrainingRun:
        """A training in single precision on one device, with its log in its folder.

        Args:
            folder: of checkpoints and log.
            report: called with (stage, done, total, losses).
            device: "auto", "cpu" or "cuda".
            resume: go on from the checkpoints in the folder.
        """
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

    def stage(self, stage: Stage) -> torch.nn.Module:
        """Train a stage, or load what it left where a resumed run has finished it; the trained module."""
        loaded = self.resume and (self.folder / f"{stage.name}.pt").exists()
        start = time.perf_counter()
        module = run_stage(
            stage, self.folder, log=self.log, report=self.report, device=self.device, precision=self.precision,
            devices=self.devices, resume=self.resume,
        )  # fmt: skip
        if not loaded:
            self.record(stage.name, time.perf_counter() - start)
        # First weights of the next stage must not depend on whether this one was run or loaded.
        self.stages += 1
        torch.manual_seed(stage.seed + self.stages)
        return module.eval().cpu()


def claim_training(folder: Path, plan: dict[str, Any], resume: bool) -> FolderLock:
    """Make the folder of a training and empty it of another's files; to resume, the plan must be the one it began with.

    Args:
        folder: of checkpoints and log.
        plan: JSON values.
        resume: go on from the checkpoints in the folder.

    Returns:
        The folder's lock, to be released when the training ends.

    Raises:
        OutputError: the checkpoints belong to another plan, another training runs there, or it cannot be written.
    """
    return claim_folder(folder, "resume" if resume else "overwrite", _TRAINING, plan)
