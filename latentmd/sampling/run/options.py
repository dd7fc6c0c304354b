"""What a run is asked for: the options that all runs share, those of walkers, and times as users write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Literal

from latentmd.io.folder import Policy, policy_of
from latentmd.io.progress import Progress
from latentmd.sampling.run.stopping import RunResult
from latentmd.systems.builder import Molecule, Solvent
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions
from latentmd.units import parse_time

Mode = Literal["model", "latent", "chains", "bias", "jumps", "md"]
#: Options that only some modes have, as given; None where not given, times in ps.
Given = Mapping[str, float | str | None]
OF_WALKERS = ("walkers", "save_every", "cycle", "burst", "settle")  # options that only walkers have
OF_JUMPS = ("compare", "whole")  # options that only bias and jumps in explicit water have
DEFAULT_WALL = 600.0  # seconds of exact chains and of plain MD where the user names neither these nor a time


def picoseconds(value: str | float) -> float:
    """A time given as text with a unit, or as a number of ps."""
    return parse_time(value) if isinstance(value, str) else float(value)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every run: walkers, exact chains, paths, and trajectories that are filled in.

    Attributes:
        model: name or path; None for the bundled model that covers the molecule.
        temperature, solvent, force_field: kelvin, kind and OpenMM XML files; None or empty for the model's.
        inputs: choices where the file of the molecule leaves one.
        seed: decides all randomness, with the number of a walker, chain, path or part.
        processes: worker processes on this machine; one per core where None.
        scheduler: address of a Dask scheduler; this machine where None.
        wall: seconds over all sessions, after which a run ends where it is; None for no limit.
        begun: when this session began, of `time.monotonic`.
    """

    out: Path
    overwrite: bool = False
    resume: bool = False
    model: str | None = None
    device: str = "auto"
    temperature: float | None = None
    solvent: Solvent | None = None
    force_field: tuple[str, ...] = ()
    inputs: InputOptions = DEFAULT_INPUTS
    seed: int = 0
    processes: int | None = None
    scheduler: str | None = None
    wall: float | None = None
    begun: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        if self.wall is not None and self.wall <= 0:
            raise ValueError(f"--wall is {self.wall:g} s; expected more than 0")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"--processes is {self.processes}; expected at least 1")
        _ = self.policy  # refuses both options at once

    @property
    def policy(self) -> Policy:
        """What to do with a run in the output folder; OutputError where both options are set."""
        return policy_of(self.resume, self.overwrite)


@dataclass(frozen=True, kw_only=True)
class WalkerOptions(RunOptions):
    """Options of walkers: latent rollouts, alternation with MD, or plain MD. Times in ps.

    Attributes:
        time, interval: per walker, and between frames.
        settle: whether decoded structures are settled by a short run of MD before they are written.
        cycle, burst: length of a cycle of alternation and of the MD at its end; None for the default cycle.
        friction, timestep: of plain MD, 1/ps and ps; a model has its own.
        equilibration: of plain MD before time zero.
        closer: whether frames may lie closer together than `interval` where the wall time would leave few of them.
    """

    mode: Mode
    time: float
    interval: float
    walkers: int
    settle: bool = True
    cycle: float | None = None
    burst: float = 2.0
    friction: float = 1.0
    timestep: float = 0.004
    equilibration: float = 100.0
    closer: bool = False

    @property
    def frames(self) -> int:
        """Frames per walker."""
        return round(self.time / self.interval)


@dataclass(frozen=True)
class Way:
    """A way of sampling, by its name a mode of `simulate`.

    Attributes:
        run: makes the run of the molecule in a file: from the options that all runs share, those that only some have,
            the molecule where it was built already, and progress.
        unused: options without a meaning here.
        folder: what the name of the output folder ends in, where the user gives none.
        told: lines about a finished run.
    """

    run: Callable[[Path, RunOptions, Given, Molecule | None, Progress], RunResult]
    unused: tuple[str, ...] = ()
    folder: str = "latentmd"
    told: Callable[[RunResult], list[str]] = lambda result: [f"wrote {result.folder}/"]
