"""Walkers that a model moves: latent rollouts alone, or latent steps and MD by turns."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from latentmd.io.folder import check_folder
from latentmd.io.progress import Progress
from latentmd.replicas.choice import unsupported
from latentmd.sampling import models
from latentmd.sampling.run.options import DEFAULT_WALL, OF_JUMPS, Given, Mode, RunOptions, WalkerOptions, Way
from latentmd.sampling.run.preparation import Prepared, molecule_under, prepare
from latentmd.sampling.run.processes import Job, cores
from latentmd.sampling.run.stopping import RunResult
from latentmd.sampling.walkers.energies import energy_range
from latentmd.sampling.walkers.folder import WALKERS, States, unfinished
from latentmd.sampling.walkers.md import md_plan
from latentmd.sampling.walkers.plan import (
    RolloutPlan,
    batches,
    check_times,
    cycle_length,
    processes_for,
    request_of,
    share,
)
from latentmd.sampling.walkers.run import execute
from latentmd.systems.molecule import Molecule
from latentmd.systems.protocol import Protocol
from latentmd.systems.sanity import in_nm

_WALKERS, _TIME, _SAVE_EVERY = 16, 10_000.0, 100.0  # where the user says nothing; times in ps


def walker_options(run: RunOptions, mode: Mode, given: Given) -> WalkerOptions:
    """Options of walkers, with the defaults of `simulate` where nothing was given."""
    found = {
        "interval" if name == "save_every" else name: value
        for name, value in given.items()
        if name != "out" and value is not None
    }
    defaults: Given = {"time": _TIME, "interval": _SAVE_EVERY, "walkers": _WALKERS}
    endless = mode == "md" and given["time"] is None and run.wall is None
    shared = vars(replace(run, wall=DEFAULT_WALL if endless else run.wall))
    return WalkerOptions(
        **{**shared, **defaults, **found}, mode=mode, closer=mode == "md" and given["save_every"] is None
    )


def _simulate(
    mode: Mode, pdb: Path, run: RunOptions, given: Given, built: Molecule | None, report: Progress
) -> RunResult:
    return execute(simulate_plan(pdb, walker_options(run, mode, given), built), report)


def _told(result: RunResult) -> list[str]:
    from latentmd.sampling.walkers.page import told  # loads matplotlib

    return told(result)


MODEL = Way(partial(_simulate, "model"), ("scheduler", *OF_JUMPS), told=_told)
LATENT = Way(partial(_simulate, "latent"), ("scheduler", *OF_JUMPS), told=_told)
MD = Way(partial(_simulate, "md"), ("scheduler", "settle", *OF_JUMPS), told=_told)


def simulate_plan(pdb: Path, s: WalkerOptions, built: Molecule | None = None) -> RolloutPlan:
    """Check everything about a run of walkers in any mode; the molecule may have been built already.

    ValueError for a setting, molecule or model that is wrong or does not fit the others, OutputError for the folder.
    """
    begin = clock.perf_counter()
    if s.mode == "md":
        if s.model is not None:
            raise ValueError("--mode md uses no model; leave out --model, or choose --mode model or latent")
        return md_plan(pdb, s, "simulate")
    count = processes_for(s.walkers, s.processes)
    check_folder(s.out, s.policy, WALKERS)
    molecule, model = _molecule_and_model(pdb, s, built)
    models.check_conditions(s, model)
    check_times(s.time, s.interval, molecule.protocol.timestep)
    cycle = cycle_length(s, model.manifest, molecule.protocol.timestep)
    prepared = Prepared(molecule, pdb, in_nm(molecule.positions), platform="none", threads=1, rate=0.0)
    if not models.moves_alone(model):
        prepared = prepare(molecule, pdb, max(1, cores() // count))
    request = request_of("simulate", s, prepared, model)
    why_not = unsupported(molecule.system)
    if s.mode == "model":
        request["engine"] = "one by one" if why_not else "replicas"  # their noise differs: both must resume alike
    jobs = partial(_jobs, cycle=cycle, alone=bool(why_not) and s.mode == "model")
    plan = RolloutPlan("simulate", s, prepared=prepared, processes=count, make_jobs=jobs, request=request, model=model)
    plan.reference, plan.details = model.reference, {"device": s.device, "settle": s.settle}
    if s.mode == "model":
        engine = f"OpenMM: {why_not}" if why_not else "replicas"
        plan.details |= {"cycle_ps": cycle, "burst_ps": s.burst, "engine": engine}
    plan.wall["preparation"] = clock.perf_counter() - begin
    return plan


def _jobs(plan: RolloutPlan, folder: Path, states: States, *, cycle: float, alone: bool) -> list[Job]:
    """Jobs of latent rollouts, or of alternation with MD by OpenMM (alone, one by one) or by the replica engine."""
    from latentmd.sampling.walkers.moved import AlternateJob, LatentJob  # loads torch

    assert plan.model is not None
    s, used = plan.settings, plan.model.bind(plan.prepared, folder)
    plan.energies = None if models.moves_alone(used) else energy_range(plan.prepared, s, folder, used)
    shared: dict[str, Any] = {"states": states, "energies": plan.energies, "model": used.name}
    job: Callable[..., Job] = LatentJob
    if s.mode == "model":
        job, shared["cycle"] = AlternateJob, cycle
    return [
        job(plan.prepared, s, folder, [walker for group in part for walker in group], batches=tuple(part), **shared)
        for part in share(unfinished(batches(s.walkers, alone), states, s.frames), plan.processes)
    ]


def _molecule_and_model(pdb: Path, s: WalkerOptions, built: Molecule | None) -> tuple[Molecule, models.Model]:
    """The molecule under the model's protocol, and the model given or the bundled one that covers it.

    Of a model that knows no force field, the solute in the file, which MD cannot move.
    """
    model = None if s.model is None else models.given_model(s.model)
    if isinstance(model, models.OneMolecule) and models.moves_alone(model):
        if s.mode != "latent":
            raise ValueError(
                f"--mode {s.mode} needs MD of the solute, and the force field that {model.manifest.called} was trained "
                "in is not known or has explicit water; leave the option out for latent steps alone"
            )
        return models.solute_molecule(pdb, model.manifest, s.inputs.select), model
    if s.solvent == "explicit":
        raise ValueError(
            "a model moves the molecule alone and cannot move the water around it, so latent steps in explicit solvent "
            "would overlap with it; use --mode md (or latentmd md) with --solvent explicit, or implicit solvent"
        )
    if model is not None:
        molecule = molecule_under(Protocol.of(model.manifest, s.inputs), pdb, built)
        model.check(molecule, pdb)
        return molecule, model
    molecule = molecule_under(Protocol(s.solvent or "implicit", s.force_field, inputs=s.inputs), pdb, built)
    model = models.bundled_model(molecule, pdb, s.temperature)
    return molecule_under(Protocol.of(model.manifest, s.inputs), pdb, molecule), model
