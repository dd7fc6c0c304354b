"""What exact chains are asked for, what their stages share, and what they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.arrays import Floats, Ints
from latentmd.io.progress import Progress, quiet
from latentmd.sampling.run.clock import Budget
from latentmd.sampling.run.options import RunOptions

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule


@dataclass(frozen=True, kw_only=True)
class ChainsRequest(RunOptions):
    """Options of exact chains, converged where every state's free energy has a standard error of `precision` kT."""

    precision: float = 0.25
    device: str = "cpu"


@dataclass
class ChainsRun:
    """A checked request of exact chains and what its stages share.

    Attributes:
        quads: atoms of the torsions about rotatable bonds, shape (torsions, 4).
        reference: minimised positions in nm, shape (atoms, 3).
        model: path of the model whose structures are the first kernels; None for the bundled model of peptides.
        report: called with the name of a stage and, where that can be told, (done, total) and named numbers.
        stop: whether the run was asked to stop.
    """

    folder: Path
    molecule: Molecule
    quads: Ints
    reference: Floats
    request: ChainsRequest
    model: str | None
    budget: Budget
    report: Progress = quiet
    stop: Callable[[], bool] = lambda: False

    @property
    def seed(self) -> int:
        """Decides all randomness."""
        return self.request.seed


@dataclass(frozen=True)
class ChainsResult:
    """Exact chains that ended.

    Attributes:
        folder: of the run.
        status: "converged" or "budget".
        summary: the content of summary.json.
    """

    folder: Path
    status: str
    summary: dict[str, Any]

    @property
    def topology(self) -> Path:
        """PDB file of the molecule as simulated."""
        return self.folder / "topology.pdb"

    @property
    def trajectories(self) -> list[Path]:
        """The XTC file of the frames."""
        return [self.folder / self.summary["file"]]

    @property
    def page(self) -> Path:
        """HTML page of the free energies."""
        return self.folder / "free_energy.html"

    def __repr__(self) -> str:
        return f"ChainsResult({str(self.folder)!r}, {self.status}, {self.summary['frames']} frames)"
