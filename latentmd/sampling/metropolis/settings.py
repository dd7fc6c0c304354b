"""What exact chains are asked for, what their stages share, and what they leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.arrays import Floats, Ints
from latentmd.io.progress import Progress, quiet
from latentmd.sampling.clock import Budget
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule, Solvent


@dataclass(frozen=True)
class ChainsRequest:
    """Settings of exact chains.

    Attributes:
        out: output folder.
        wall: budget of wall time in seconds, over all sessions of the run; None for no limit.
        seed: decides all randomness.
        precision: standard error of every state's free energy at which a run is converged, kT.
        model: name or path of a model whose structures are the first kernels; None for the bundled model of peptides.
        device: of the model.
        temperature, solvent, force_field: kelvin, kind and OpenMM XML files; None or empty for the model's.
        scheduler: address of a Dask scheduler; this machine where None.
        processes: worker processes on this machine; one per core where None.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        inputs: choices where the file of the molecule leaves one.
        begun: when this session began, of `time.monotonic`.

    Raises:
        ValueError: the budget is not positive.
    """

    out: Path
    wall: float | None = None
    seed: int = 0
    precision: float = 0.25
    model: str | None = None
    device: str = "cpu"
    temperature: float | None = None
    solvent: Solvent | None = None
    force_field: tuple[str, ...] = ()
    scheduler: str | None = None
    processes: int | None = None
    resume: bool = False
    overwrite: bool = False
    inputs: InputOptions = DEFAULT_INPUTS
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.wall is not None and self.wall <= 0:
            raise ValueError(f"--wall is {self.wall:g} s; expected more than 0")


@dataclass
class ChainsRun:
    """A checked request of exact chains and what its stages share.

    Attributes:
        folder: of the run.
        molecule: under the protocol of the run.
        quads: atoms of the torsions about rotatable bonds, shape (torsions, 4).
        reference: minimised positions in nm, shape (atoms, 3).
        request: what was asked for.
        model: path of the model whose structures are the first kernels; None for the bundled model of peptides.
        budget: of wall time.
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
