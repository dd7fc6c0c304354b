"""Output folder of a run of walkers.

request.json         what the run was asked for
topology.pdb         the molecule as simulated
system.xml           its OpenMM System, where it came with its own force field
walker-0000.xtc      frames of a walker
provenance.csv       a line per frame
model.pt             the model bound to the molecule, where it is one of many molecules
state/               where each walker is, for --resume
summary.json, report.png, evaluation.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentmd.io.atomic import write_json
from latentmd.io.folder import Policy, RunFiles, claim_folder
from latentmd.sampling.models import BOUND
from latentmd.systems.protocol import SYSTEM_FILE

STATE = "state"
WALKERS = RunFiles(
    "walkers",
    (
        "topology.pdb",
        SYSTEM_FILE,
        "provenance.csv",
        "summary.json",
        "report.png",
        "evaluation.html",
        "walker-*.xtc",
        BOUND,
        STATE,
    ),
)


class OutputFolder:
    """Folder that a run of walkers writes to; made where it does not exist, and locked until `release`.

    The policy is new, resume or overwrite; a resumed run must share `request`, JSON values. OutputError where the
    folder holds something else or another run, is in use, or cannot be written.
    """

    def __init__(self, path: str | Path, policy: Policy = "new", request: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self._lock = claim_folder(self.path, policy, WALKERS, request or {})

    @property
    def topology(self) -> Path:
        """PDB file of the molecule as simulated."""
        return self.path / "topology.pdb"

    @property
    def provenance(self) -> Path:
        """Table of how each frame was made."""
        return self.path / "provenance.csv"

    def trajectory(self, walker: int) -> Path:
        """Trajectory file of a walker."""
        return trajectory_path(self.path, walker)

    def trajectories(self) -> list[Path]:
        """Trajectory files that exist, by walker."""
        return sorted(self.path.glob("walker-*.xtc"))

    def discard(self) -> None:
        """Remove what a run without a single frame left behind."""
        WALKERS.remove(self.path)
        self.release()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, whole or not at all."""
        write_json(self.path / "summary.json", summary)

    def release(self) -> None:
        """Release the lock of the folder."""
        self._lock.release()

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def trajectory_path(folder: Path, walker: int) -> Path:
    """Trajectory file of a walker in a folder."""
    return folder / f"walker-{walker:04d}.xtc"
