"""`latentmd md`: plain full-atom MD of independent walkers, the source of training data."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.io.progress import Progress, quiet
from latentmd.sampling.force_fields import refuse_force_field
from latentmd.sampling.models import reference_model
from latentmd.sampling.run.options import WalkerOptions, picoseconds
from latentmd.sampling.run.preparation import check_protocol, prepare
from latentmd.sampling.run.processes import Job, cores
from latentmd.sampling.walkers.folder import WALKERS
from latentmd.sampling.walkers.plan import RolloutPlan, check_times, processes_for, request_of, share
from latentmd.sampling.walkers.resume import States, unfinished
from latentmd.sampling.walkers.run import RunResult, execute
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions
from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.systems.builder import Protocol, Solvent

logger = logging.getLogger(__name__)

EQUILIBRATION = WalkerOptions.equilibration  # ps before time zero, where wall time allows it
_REPORT_SECONDS = 0.5  # wall time between reports of a worker
_MOST_FRAMES = 1000  # in a report


def md(
    pdb: str | Path,
    *,
    time: str | float,
    out: str | Path,
    walkers: int = 4,
    save_every: str | float = "1ps",
    temperature: float = 350.0,
    solvent: Solvent = "implicit",
    force_field: Sequence[str] = (),
    friction: float = 1.0,
    timestep: str | float = "4fs",
    seed: int = 0,
    processes: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    inputs: InputOptions = DEFAULT_INPUTS,
    wall: float | None = None,
    begun: float | None = None,
    progress: Progress | None = None,
) -> RunResult:
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
    refuse_force_field(Path(pdb), inputs, options.force_field)
    return execute(md_plan(Path(pdb), options), progress or quiet)


def md_options(
    *,
    time: str | float,
    out: str | Path,
    save_every: str | float = "1ps",
    timestep: str | float = "4fs",
    force_field: Sequence[str] = (),
    walkers: int = 4,
    **others: Any,
) -> WalkerOptions:
    """Options of walkers from the arguments of `md`, which documents them; the others have the same names there."""
    return WalkerOptions(
        mode="md",
        time=picoseconds(time),
        interval=picoseconds(save_every),
        timestep=picoseconds(timestep),
        out=Path(out),
        force_field=tuple(force_field),
        walkers=walkers,
        **others,
    )


def md_protocol(options: WalkerOptions) -> Protocol:
    """The protocol of plain MD; ValueError for temperature, friction or time step that MD cannot have."""
    from latentmd.systems.builder import Protocol

    protocol = Protocol(
        options.solvent or "implicit", options.force_field, friction=options.friction, timestep=options.timestep,
        inputs=options.inputs,
    )  # fmt: skip
    if options.temperature is not None:
        protocol = replace(protocol, temperature=options.temperature)
    check_protocol(protocol)
    return protocol


def md_plan(pdb: Path, settings: WalkerOptions, command: str = "md") -> RolloutPlan:
    """Check everything about a run of plain MD, by `latentmd md` or `simulate`; errors as of `md`."""
    from latentmd.io.folder import check_folder, record_of
    from latentmd.replicas.choice import unsupported
    from latentmd.sampling.walkers.cost import Cost, laid_out
    from latentmd.sampling.walkers.jobs import MDJob
    from latentmd.sampling.walkers.replica_md import ReplicaMDJob
    from latentmd.systems.builder import build

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
    plan = RolloutPlan(
        command,
        settings,
        prepared=prepared,
        processes=count,
        make_jobs=jobs,
        request=request,
        reference=reference_model(prepared.molecule),
    )
    plan.details |= {"engine": f"OpenMM: {why_not}" if why_not else "replicas"}
    plan.details |= {"equilibration_ps": settings.equilibration}
    if settings.equilibration < EQUILIBRATION:
        plan.notes.append(
            f"walkers were equilibrated for {format_time(round(settings.equilibration, 3))} only, in place of "
            f"{format_time(EQUILIBRATION)}, for want of wall time: leave out the beginning of each"
        )
    plan.wall["preparation"] = clock.perf_counter() - begin
    return plan
