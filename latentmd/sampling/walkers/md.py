"""`latentmd md`: plain full-atom MD of independent walkers, the source of training data, and what it costs here."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latentmd.io.folder import check_folder, record_of
from latentmd.io.progress import Progress, quiet
from latentmd.replicas.choice import unsupported
from latentmd.sampling.models import reference_model
from latentmd.sampling.run.options import WalkerOptions, picoseconds
from latentmd.sampling.run.preparation import Prepared, check_protocol, prepare
from latentmd.sampling.run.processes import Job, cores
from latentmd.sampling.run.stopping import RunResult
from latentmd.sampling.walkers.folder import WALKERS, States, unfinished
from latentmd.sampling.walkers.jobs import MDJob, ReplicaMDJob, replica_rate
from latentmd.sampling.walkers.plan import RolloutPlan, check_times, multiple, processes_for, request_of, share
from latentmd.sampling.walkers.run import execute
from latentmd.systems.builder import build
from latentmd.systems.own_force_field import refuse_force_field
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions, Protocol, Solvent
from latentmd.units import format_time, format_wall

logger = logging.getLogger(__name__)

EQUILIBRATION = WalkerOptions.equilibration  # ps before time zero, where wall time allows it
_REPORT_SECONDS = 0.5  # wall time between reports of a worker
_MOST_FRAMES = 1000  # in a report
_TIMING = 0.3  # seconds
_LANES = 16  # walkers that the replica kernel moves together
_SIMULATED = 0.7  # share of the wall time that is left for MD: the rest prepares, draws and writes
_EQUILIBRATED = 0.05  # share of the affordable time, at most
_FRAMES = 100  # wanted of each walker
_INTERVALS = (100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1)  # ps
_SHORT = 60.0  # seconds of MD that need no announcement


def md(
    pdb: str | Path, *, time: str | float, out: str | Path, walkers: int = 4, save_every: str | float = "1ps",
    temperature: float = 350.0, solvent: Solvent = "implicit", force_field: Sequence[str] = (), friction: float = 1.0,
    timestep: str | float = "4fs", seed: int = 0, processes: int | None = None, overwrite: bool = False,
    resume: bool = False, inputs: InputOptions = DEFAULT_INPUTS, wall: float | None = None, begun: float | None = None,
    progress: Progress | None = None,
) -> RunResult:  # fmt: skip
    """Simulate plain MD and write one trajectory per walker.

    Every walker is minimised, given velocities of its own and equilibrated for 100 ps, and then starts at time zero.
    What a long run will cost here is told before it begins.

    Args:
        pdb: the molecule; with `inputs` also one with its own force field, as `latentmd.systems.builder.build` says.
        time: per walker; text with a unit, or ps.
        out: output folder.
        walkers: independent runs, in parallel over the cores.
        save_every: time between frames.
        temperature: kelvin.
        solvent: "implicit", "vacuum" or "explicit" (constant volume).
        force_field: OpenMM force-field XML files; the default of the solvent where empty.
        friction: of the Langevin thermostat, 1/ps.
        timestep: text with a unit, or ps.
        seed: with the number of the walker, decides all randomness.
        processes: worker processes; one per core where None.
        overwrite: replace an earlier run in `out`.
        resume: go on with the run in `out`, which must have been begun with the same settings; begins where there is
            none.
        inputs: choices where the file leaves one: pH, model number, alternate location, missing residues, ends.
        wall: seconds of wall time over all sessions, after which walkers end where they are; equilibration is shorter
            where they would see little else.
        begun: when the wall time began, of `time.monotonic`; now where None.
        progress: called with (stage, simulated ps, total ps).

    Returns:
        Folder, trajectories, topology, provenance and summary of the run.

    Raises:
        ValueError: a setting or the molecule is wrong.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    options = md_options(
        time=time, out=out, walkers=walkers, save_every=save_every, temperature=temperature, solvent=solvent,
        force_field=force_field, friction=friction, timestep=timestep, seed=seed, processes=processes,
        overwrite=overwrite, resume=resume, inputs=inputs, wall=wall,
        begun=clock.monotonic() if begun is None else begun,
    )  # fmt: skip
    if options.force_field:
        refuse_force_field(Path(pdb), inputs)
    return execute(md_plan(Path(pdb), options), progress or quiet)


def md_options(*, time: str | float, out: str | Path, **others: Any) -> WalkerOptions:
    """Options of walkers from the arguments of `md`, which documents them and their defaults."""
    given: dict[str, Any] = {"save_every": "1ps", "timestep": "4fs", "walkers": 4, "force_field": (), **others}
    interval, timestep = picoseconds(given.pop("save_every")), picoseconds(given.pop("timestep"))
    shared = given | {"force_field": tuple(given["force_field"])}
    return WalkerOptions(
        mode="md", time=picoseconds(time), interval=interval, timestep=timestep, out=Path(out), **shared
    )


def md_protocol(s: WalkerOptions) -> Protocol:
    """The protocol of plain MD; ValueError for temperature, friction or time step that MD cannot have."""
    solvent = s.solvent or "implicit"
    protocol = Protocol(solvent, s.force_field, friction=s.friction, timestep=s.timestep, inputs=s.inputs)
    if s.temperature is not None:
        protocol = replace(protocol, temperature=s.temperature)
    check_protocol(protocol)
    return protocol


@dataclass(frozen=True)
class Cost:
    """Speed of plain MD here: ps per second of all walkers together, how many move at once, and could in that time."""

    rate: float
    at_once: int
    room: int = 0

    @classmethod
    def measured(cls, prepared: Prepared, settings: WalkerOptions, processes: int, replicas: bool) -> Cost:
        """Time one core of the replica kernel, which moves several walkers, or take the timing of OpenMM."""
        timestep = prepared.molecule.protocol.timestep
        if not replicas:
            return cls(prepared.rate * timestep * processes, processes)
        walkers = -(-settings.walkers // processes)
        rate = replica_rate(prepared.molecule, prepared.reference, _TIMING, min(_LANES, walkers))
        return cls(rate * timestep * processes, settings.walkers, -(-walkers // _LANES) * _LANES * processes)

    def affordable(self, wall: float) -> float:
        """Time of each walker that moves, in ps, that so many seconds of wall time pay for."""
        return self.rate * wall * _SIMULATED / self.at_once

    def sentence(self, settings: WalkerOptions) -> str:
        """What the run will cost; empty where it is short."""
        total = settings.walkers * settings.time
        seconds = total / self.rate
        told = (
            f"plain MD of {format_time(total)} ({settings.walkers} walkers of {format_time(settings.time)}) takes "
            f"about {format_wall(seconds)} here, at {86.4 * self.rate:.3g} ns/day"
            + f"; {self.room} walkers would take no longer"
            * (self.room > settings.walkers)
        )
        if settings.wall is not None and settings.wall < seconds:
            made = self.affordable(settings.wall) * min(self.at_once, settings.walkers)
            return (
                f"{told}; it ends after {format_wall(settings.wall)} with about {format_time(float(f'{made:.2g}'))}. "
                "Set other limits with --time and --wall; --resume goes on"
            )
        return told if seconds > _SHORT else ""


def laid_out(settings: WalkerOptions, cost: Cost, timestep: float, begun_with: dict[str, Any] | None) -> WalkerOptions:
    """Settings with closer frames and less equilibration where the wall time would end before there are many frames.

    A resumed run keeps the layout of its first session, whose request is `begun_with`. The time step is in ps.
    """
    if begun_with is not None:
        interval = (begun_with.get("save every") if settings.closer else None) or settings.interval
        equilibration = begun_with.get("equilibration") or settings.equilibration
        return replace(settings, interval=interval, equilibration=equilibration)
    if settings.wall is None:
        return settings
    affordable = cost.affordable(settings.wall)
    steps = max(1, round(min(settings.equilibration, _EQUILIBRATED * affordable) / timestep))
    interval = settings.interval
    if settings.closer:
        fitting = [t for t in _INTERVALS if t <= interval and multiple(t, timestep) and multiple(settings.time, t)]
        interval = next((t for t in fitting if t * _FRAMES <= affordable), fitting[-1] if fitting else interval)
    return replace(settings, interval=interval, equilibration=steps * timestep)


def md_plan(pdb: Path, settings: WalkerOptions, command: str = "md") -> RolloutPlan:
    """Check everything about a run of plain MD, by `latentmd md` or `simulate`; errors as of `md`."""
    begin, protocol = clock.perf_counter(), md_protocol(settings)
    check_times(settings.time, settings.interval, protocol.timestep)
    count = processes_for(settings.walkers, settings.processes)
    check_folder(settings.out, settings.policy, WALKERS)
    prepared = prepare(build(pdb, protocol), pdb, max(1, cores() // count))
    why_not = unsupported(prepared.molecule.system)
    cost = Cost.measured(prepared, settings, count, replicas=not why_not)
    settings = laid_out(settings, cost, protocol.timestep, record_of(settings.out) if settings.resume else None)
    if told := cost.sentence(settings):
        logger.warning("%s", told)
    per_frame = settings.interval / protocol.timestep  # MD steps
    chunk = int(min(_MOST_FRAMES, max(1, _REPORT_SECONDS * prepared.rate / per_frame)))

    def jobs(plan: RolloutPlan, folder: Path, states: States) -> list[Job]:
        left = [walker for (walker,) in unfinished([(w,) for w in range(settings.walkers)], states, settings.frames)]
        kind = MDJob if why_not else ReplicaMDJob
        return [kind(plan.prepared, settings, folder, part, states, chunk=chunk) for part in share(left, count)]

    request = request_of(command, settings, prepared, None)
    request["engine"] = "OpenMM" if why_not else "replicas"  # their states differ, so that both must resume alike
    plan = RolloutPlan(command, settings, prepared=prepared, processes=count, make_jobs=jobs, request=request)
    plan.reference = reference_model(prepared.molecule)
    engine = f"OpenMM: {why_not}" if why_not else "replicas"
    plan.details = {"engine": engine, "equilibration_ps": settings.equilibration}
    if settings.equilibration < EQUILIBRATION:
        plan.notes.append(
            f"walkers were equilibrated for {format_time(round(settings.equilibration, 3))} only, in place of "
            f"{format_time(EQUILIBRATION)}, for want of wall time: leave out the beginning of each"
        )
    plan.wall["preparation"] = clock.perf_counter() - begin
    return plan
