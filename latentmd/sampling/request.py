"""Requests: the settings of `simulate`, checked once and passed on whole, and the state of a hybrid run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from latentmd.io.folder import Policy, policy_of
from latentmd.sampling.exactness import Level
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions
from latentmd.units import parse_time

if TYPE_CHECKING:
    from latentmd.sampling.engine import MoleculeEngine
    from latentmd.systems.builder import Solvent

Mode = Literal["alternate", "latent", "md", "hybrid"]
MODES: tuple[Mode, ...] = ("alternate", "latent", "md", "hybrid")
#: Called with the name of a stage and, where that can be told, with (done, total) and named numbers.
Report = Callable[..., None]


def no_report(*_: object) -> None:
    """Show nothing."""


def picoseconds(value: str | float) -> float:
    """A time given as text with a unit, or as a number of ps."""
    return parse_time(value) if isinstance(value, str) else float(value)


@dataclass(frozen=True)
class RolloutSettings:
    """Settings of walkers: latent rollouts, alternation with MD, or plain MD. Times in ps.

    Attributes:
        mode: "alternate", "latent" or "md".
        time, interval: per walker, and between frames.
        walkers, seed: independent runs; with the number of a walker, the seed decides all randomness.
        processes: worker processes asked for; one per core where None.
        out, overwrite, resume: output folder, and whether to replace the run in it or to go on with it.
        model: name or path; None for the bundled model that covers the molecule.
        device: of the model.
        temperature, solvent, force_field: kelvin, kind and OpenMM XML files; None or empty for the model's.
        cycle, burst: length of a cycle of alternation and of the MD at its end; None for the default cycle.
        inputs: choices where the file of the molecule leaves one.
    """

    mode: Mode
    time: float
    interval: float
    walkers: int
    seed: int
    processes: int | None
    out: Path
    overwrite: bool
    resume: bool = False
    model: str | None = None
    device: str = "auto"
    temperature: float | None = None
    solvent: Solvent | None = None
    force_field: tuple[str, ...] = ()
    cycle: float | None = None
    burst: float = 2.0
    inputs: InputOptions = DEFAULT_INPUTS

    @property
    def frames(self) -> int:
        """Frames per walker."""
        return round(self.time / self.interval)

    @property
    def policy(self) -> Policy:
        """What to do with a run in the output folder."""
        return policy_of(self.resume, self.overwrite)


@dataclass(frozen=True)
class HybridSettings:
    """Lengths and numbers of the bursts of a hybrid run; times in ps.

    A barrier is crossed within tenths of a ps: a burst that begins on its flank has left it by then, so lag and bursts
    are short, and the start counts. That is right as long as velocities are forgotten within the lag, since starts have
    fresh ones while frames on the way down from a barrier do not; hence the friction, on which populations do not
    depend, but all times do. At 1/ps the same statistics are off by several kT (examples/hybrid/friction.py).

    Attributes:
        interval: between frames.
        burst: length of a burst; the relaxation time is its first part.
        relaxation: first part of a burst, left out of the statistics.
        lag: of the Markov model, at least the memory of velocities, 1 / friction.
        friction: of the bursts, 1/ps.
        starts: bursts per round.
        cells: most cells of the Markov model.
        proposals: share of the starts that the surrogate may propose; 0 is plain adaptive sampling.
        precise: share of the starts that go to cells without a path there and back and, once there are none, where a
            burst lowers the standard errors of the free energies most; the rest goes to the least-visited ones.
        surrogate: whether a surrogate is trained at all.
        hot: whether walkers at high temperature look for other basins first.
        effort: factor on the training steps; 1 takes about half a minute of one core.
        precision: standard error of every state's free energy at which a run is converged, kT.
    """

    interval: float = 0.02
    burst: float = 1.0
    relaxation: float = 0.0
    lag: float = 0.2
    friction: float = 10.0
    starts: int = 256
    cells: int = 240
    proposals: float = 0.5
    precise: float = 0.75
    surrogate: bool = True
    hot: bool = True
    effort: float = 0.3
    precision: float = 0.25


@dataclass(frozen=True)
class HybridBudget:
    """Limits of a hybrid run.

    Attributes:
        time: simulated time of all bursts together, ps.
        wall: wall time over all sessions in seconds; None for no limit.

    Raises:
        ValueError: a limit is not positive.
    """

    time: float
    wall: float | None = None

    def __post_init__(self) -> None:
        if self.time <= 0 or (self.wall is not None and self.wall <= 0):
            raise ValueError(f"the budget is {self.time:g} ps and {self.wall} s; expected positive numbers")

    @property
    def seconds(self) -> float:
        """Limit of wall time, infinite where there is none."""
        return float("inf") if self.wall is None else self.wall


@dataclass(frozen=True)
class HybridRequest:
    """Settings of hybrid sampling.

    Attributes:
        budget: of simulated and wall time.
        out: output folder.
        seed: decides all randomness.
        settings: lengths and numbers of the bursts.
        exactness: level of the result.
        model: name or path of the bundle that proposes structures; None trains one from a first round of MD.
        device: of the model.
        temperature, solvent, force_field: kelvin, kind and OpenMM XML files; None or empty for the model's.
        scheduler: address of a Dask scheduler; this machine where None.
        processes: worker processes on this machine; one per core where None.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        inputs: choices where the file of the molecule leaves one.
    """

    budget: HybridBudget
    out: Path
    seed: int = 0
    settings: HybridSettings = HybridSettings()
    exactness: Level = "reweighted"
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


@dataclass(frozen=True)
class HybridResult:
    """A hybrid run that ended.

    Attributes:
        folder: of the run.
        status: "converged", "budget" or, for structures without statistics, "complete".
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
        """XTC files: one per round of bursts, or the one file of structures or chains."""
        name = self.summary.get("file")
        return [self.folder / name] if name else sorted((self.folder / "bursts").glob("*.xtc"))

    @property
    def page(self) -> Path | None:
        """HTML page of the free energies; None where the run left none."""
        path = self.folder / "free_energy.html"
        return path if path.exists() else None

    def __repr__(self) -> str:
        return f"HybridResult({str(self.folder)!r}, {self.status}, {len(self.trajectories)} trajectories)"


@dataclass
class HybridRun:
    """A checked request of hybrid sampling and what its stages share.

    Attributes:
        folder: of the run.
        engine: unbiased MD of the molecule.
        reference: minimised positions in nm, shape (atoms, 3).
        settings: lengths and numbers of the bursts.
        seed: of the run.
        model: path of the bundle that proposes structures; None where the run trains its own.
        device: of the model.
        report: called with (stage, done, total) before the rounds.
        stop: whether the run was asked to stop.
    """

    folder: Path
    engine: MoleculeEngine
    reference: Any
    settings: HybridSettings
    seed: int
    model: str | None
    device: str = "cpu"
    report: Report = no_report
    stop: Callable[[], bool] = lambda: False
