"""What exact chains are asked for, what their stages share, and how wall time is shared out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from latentmd.arrays import Floats, Ints
from latentmd.io.progress import Progress, quiet
from latentmd.sampling.run.clock import Budget, Deadline
from latentmd.sampling.run.options import RunOptions
from latentmd.systems.builder import Molecule

_PILOT = 0.3  # most of what is left when the pilot begins
_BESIDE = 0.1  # most of the whole for plain MD beside the chains, and again for the rates
_SAFETY = 1.3  # of an estimate by a rate, on a machine that others use too
_LEAST, _MOST = 1.5, 0.3  # seconds, and share of the whole, for files, page and the end of the process
_SEGMENT, _GROWTH = 5.0, 0.01  # seconds of a segment at least, and its share of what is spent
# Seconds over those of the preparation, which loads modules too: of files and page, of torch and a model, of deeptime.
_PICTURES, _MODEL, _DEEPTIME = 1.3, 1.0, 2.5


@dataclass(frozen=True, kw_only=True)
class ChainsRequest(RunOptions):
    """Options of exact chains, converged where every state's free energy has a standard error of `precision` kT."""

    precision: float = 0.25
    device: str = "cpu"


@dataclass
class ChainsRun:
    """A checked request of exact chains and what its stages share."""

    folder: Path
    molecule: Molecule
    quads: Ints  # atoms of the torsions about rotatable bonds, shape (torsions, 4)
    reference: Floats  # minimised positions in nm, shape (atoms, 3)
    request: ChainsRequest
    model: str | None  # name of that which draws the first kernels; None for the bundled one of peptides
    budget: Budget
    report: Progress = quiet  # called with a stage and, where that can be told, (done, total) and named numbers
    stop: Callable[[], bool] = lambda: False

    @property
    def seed(self) -> int:
        """Decides all randomness."""
        return self.request.seed


@dataclass
class Schedule:
    """Deadlines of the phases of a run, by rates measured in it, with a reserve for what follows."""

    budget: Budget
    bursts: float  # energies of each task for rates
    energies: float = 0.0  # of each task for plain MD beside the chains
    rate: float = 0.0  # energies per second of a task, as measured last
    preparation: float = field(init=False)  # seconds

    def __post_init__(self) -> None:
        self.preparation = self.budget.session

    @property
    def pictures(self) -> float:
        """Seconds for files and page, much the same kind of work as the preparation."""
        return min(max(_LEAST, _PICTURES * self.preparation), _MOST * self.budget.seconds)

    def pilot(self) -> Deadline:
        """When the pilot has to be over."""
        return Deadline(_PILOT * self.budget.deadline.left)

    def loads_model(self) -> bool:
        """Whether the pilot has time for the first guess of a model."""
        return 3 * _MODEL * self.preparation < self.pilot().left

    def segment(self) -> Deadline:
        """When the next segment has to be over."""
        return Deadline(min(self.chains().left, max(_SEGMENT, _GROWTH * self.budget.spent)))

    def chains(self) -> Deadline:
        """When the chains have to be over."""
        return self._before(self.pictures + self._rates() + self._seconds(self.energies))

    def control(self) -> Deadline:
        """When plain MD beside the chains has to be over."""
        return self._before(self.pictures + self._rates())

    def rates(self) -> Deadline:
        """When the bursts for rates have to be over, and the times of all states counted; at once without time."""
        found = self._before(self.pictures)
        return found if found.left > _DEEPTIME * self.preparation else Deadline(0.0)

    def _before(self, seconds: float) -> Deadline:
        return self.budget.deadline.earlier(seconds) if self.budget.seconds < float("inf") else Deadline()

    def _rates(self) -> float:
        return min(_BESIDE * self.budget.seconds, self._seconds(self.bursts) + _DEEPTIME * self.preparation)

    def _seconds(self, energies: float) -> float:
        """Seconds that a phase gets for so many energies of each task."""
        most = _BESIDE * self.budget.seconds
        return min(most, _SAFETY * energies / self.rate) if self.rate else most
