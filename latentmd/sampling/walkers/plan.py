"""Plan of a run of walkers: everything checked, nothing written yet; and how latent steps and MD fit into a cycle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from latentmd.model.manifest import Manifest, split_time
from latentmd.model.peptide_file import PeptideManifest
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.models import Model
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Prepared
from latentmd.sampling.run.processes import Job, cores
from latentmd.sampling.walkers.folder import States
from latentmd.units import format_time

_WALKERS_PER_BATCH = 8  # least number of walkers in a batch of a latent rollout
_MOST_BATCHES = 16
Walkers = TypeVar("Walkers", int, tuple[int, ...])


@dataclass
class RolloutPlan:
    """A validated run of walkers by `latentmd md` or `simulate` that has written nothing yet.

    Attributes:
        make_jobs: the jobs, given this plan, the folder to write to and where walkers are already.
        request: JSON values that a resumed run must share.
        model: that moves the molecule; None for plain MD.
        energies: that MD of the molecule shows, known once the jobs are made; None for plain MD.
        reference: manifest whose training data the report shows beside the run, if any covers the molecule.
        details, notes: further settings for summary.json, and sentences for it and the page.
        alone: held while jobs are made and figures are drawn, so that runs in threads of one process take turns.
    """

    command: str
    settings: WalkerOptions
    prepared: Prepared
    processes: int
    make_jobs: Callable[[RolloutPlan, Path, States], Sequence[Job]]
    request: dict[str, Any]
    model: Model | None = None
    energies: EnergyRange | None = None
    reference: Manifest | None = None
    details: dict[str, Any] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    alone: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def __post_init__(self) -> None:
        self.notes = [*self.prepared.molecule.notes, *self.notes]


def check_times(time: float, interval: float, timestep: float) -> None:
    """Refuse, with ValueError, a run whose frames do not fall on steps or that ends between frames. Times in ps."""
    if not multiple(interval, timestep):
        raise ValueError(
            f"--save-every is {format_time(interval)}; expected a multiple of the time step, {format_time(timestep)}"
        )
    if not multiple(time, interval):
        fitting = format_time(interval * max(1, round(time / interval)))
        raise ValueError(
            f"--time is {format_time(time)}; expected a multiple of --save-every, {format_time(interval)}: "
            f"try {fitting}"
        )


def multiple(value: float, unit: float) -> bool:
    """Whether a time is a whole number of others, up to rounding."""
    count = round(value / unit)
    return count >= 1 and abs(count * unit - value) <= 1e-6 * unit


def processes_for(walkers: int, asked: int | None) -> int:
    """Number of worker processes: one per core at most, and no more than walkers; ValueError for less than one."""
    if walkers < 1:
        raise ValueError(f"--walkers is {walkers}; expected at least 1")
    if asked is not None and asked < 1:
        raise ValueError(f"--processes is {asked}; expected at least 1")
    return min(walkers, asked or cores())


def share(walkers: Sequence[Walkers], processes: int) -> list[list[Walkers]]:
    """Deal walkers, or groups of them, out to processes.

    Example:
        >>> share(range(5), 2)
        [[0, 2, 4], [1, 3]]
    """
    return [list(walkers[first::processes]) for first in range(min(len(walkers), processes))]


def batches(walkers: int, alone: bool = False) -> list[tuple[int, ...]]:
    """Walkers that are moved together; they depend on the number of walkers, and not on that of processes."""
    size = 1 if alone else max(_WALKERS_PER_BATCH, -(-walkers // _MOST_BATCHES))
    return [tuple(range(first, min(first + size, walkers))) for first in range(0, walkers, size)]


def request_of(command: str, settings: WalkerOptions, prepared: Prepared, model: Model | None) -> dict[str, Any]:
    """What a resumed run must share with its first session, as JSON values; the number of processes may change."""
    usual = settings.equilibration == WalkerOptions.equilibration
    atoms = [(atom.name, atom.residue.name, atom.residue.index) for atom in prepared.molecule.topology.atoms()]
    s = settings
    return {
        "command": command, "mode": s.mode, "time": s.time, "save every": s.interval, "walkers": s.walkers,
        "seed": s.seed, "device": None if model is None else s.device,
        "molecule": hashlib.sha256(repr(atoms).encode() + prepared.source.read_bytes()).hexdigest(),
        "model": None if model is None else model.sha256, "protocol": asdict(prepared.molecule.protocol),
        "cycle": settings.cycle if settings.mode == "model" else None,
        "burst": settings.burst if settings.mode == "model" else None,
        **({} if settings.settle or model is None else {"settle": False}),
        **({} if usual else {"equilibration": settings.equilibration}),
    }  # fmt: skip


_CYCLE = 1000.0  # default length of a cycle, ps


@dataclass(frozen=True)
class Segment:
    """Part of a cycle, of so many ps; a frame may be saved at its end."""

    kind: Literal["latent", "md"]
    duration: float
    save: bool


def cycle_plan(length: float, burst: float, interval: float) -> list[Segment]:
    """Segments of one cycle: latent steps, the last of them shortened so that MD ends the cycle exactly. Times in ps.

    Example:
        >>> [(s.kind, s.duration) for s in cycle_plan(300.0, 2.0, 100.0)]
        [('latent', 100.0), ('latent', 100.0), ('latent', 98.0), ('md', 2.0)]
    """
    plan, now, turn = [], 0.0, length - burst
    for frame in range(1, round(length / interval) + 1):
        end = frame * interval
        if now < turn - 1e-9:
            step = min(end, turn)
            plan.append(Segment("latent", step - now, step > end - 1e-9))
            now = step
        if now < end - 1e-9:
            plan.append(Segment("md", end - now, True))
            now = end
    return plan


def cycle_length(s: WalkerOptions, manifest: Manifest | PeptideManifest, timestep: float) -> float:
    """Length of a cycle in ps: as asked for, or about 1 ns; the time step of the MD is in ps too.

    ValueError where the model has no step of a length that the cycle needs, or the MD in it is no number of time steps.
    """
    lags = f"{format_time(manifest.lag[0])} to {format_time(manifest.lag[1])}"
    try:
        split_time(s.interval, manifest.lag)
    except ValueError as error:
        raise ValueError(
            f"--save-every is {format_time(s.interval)}; the model's steps are {lags}: expected a multiple of a step "
            f"in that range, such as {format_time(manifest.lag[1])}"
        ) from error
    if s.mode == "latent":
        return s.interval
    cycle = s.cycle if s.cycle is not None else s.interval * max(1, round(min(_CYCLE, s.time) / s.interval))
    if not multiple(cycle, s.interval):
        raise ValueError(
            f"--cycle is {format_time(cycle)}; expected a multiple of --save-every, {format_time(s.interval)}"
        )
    if not timestep <= s.burst < cycle:
        raise ValueError(f"--burst is {format_time(s.burst)}; expected less than the cycle, {format_time(cycle)}")
    if not multiple(s.burst, timestep):
        raise ValueError(
            f"--burst is {format_time(s.burst)}; expected a multiple of the time step, {format_time(timestep)}"
        )
    for segment in cycle_plan(cycle, s.burst, s.interval):
        if segment.kind == "latent":
            try:
                split_time(segment.duration, manifest.lag)
            except ValueError as error:
                raise ValueError(
                    f"with --burst {format_time(s.burst)} the last latent step of a cycle would be "
                    f"{format_time(segment.duration)}; the model's steps are {lags}: change --burst"
                ) from error
    return cycle
