"""Walkers that a model moves: latent rollouts alone, or latent steps and OpenMM MD by turns."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.sampling.models import Model, OneMolecule, bundled_model, check_conditions, given_model, protocol_of
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import molecule_under, prepare
from latentmd.sampling.run.processes import Job, cores
from latentmd.sampling.walkers.alternation import cycle_length
from latentmd.sampling.walkers.energies import energy_range
from latentmd.sampling.walkers.folder import WALKERS
from latentmd.sampling.walkers.md import md_plan
from latentmd.sampling.walkers.plan import RolloutPlan, check_times, processes_for, request_of, share
from latentmd.sampling.walkers.resume import States, unfinished

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule

_WALKERS_PER_BATCH = 8  # least number of walkers in a batch of a latent rollout
_MOST_BATCHES = 16


def simulate_plan(pdb: Path, s: WalkerOptions, built: Molecule | None = None) -> RolloutPlan:
    """Check everything about a run of walkers in any mode; the molecule may have been built already.

    ValueError for a setting, molecule or model that is wrong or does not fit the others, OutputError for the folder.
    """
    from latentmd.io.folder import check_folder
    from latentmd.replicas.choice import unsupported

    begin = clock.perf_counter()
    if s.mode == "md":
        return _plain_md(pdb, s)
    count = processes_for(s.walkers, s.processes)
    check_folder(s.out, s.policy, WALKERS)
    given = None if s.model is None else given_model(s.model)
    if isinstance(given, OneMolecule) and not given.manifest.of_force_field:
        from latentmd.sampling.walkers.solute_rollouts import solute_plan

        return solute_plan(pdb, s, given)
    if s.solvent == "explicit":
        raise ValueError(
            "a model moves the molecule alone and cannot move the water around it, so latent steps in explicit solvent "
            "would overlap with it; use --mode md (or latentmd md) with --solvent explicit, or implicit solvent"
        )
    molecule, model = _molecule_and_model(pdb, s, built)
    model.check(molecule, pdb)
    check_conditions(s, model)
    check_times(s.time, s.interval, molecule.protocol.timestep)
    cycle = cycle_length(s, model.manifest, molecule.protocol.timestep)
    prepared = prepare(molecule, pdb, max(1, cores() // count))
    details: dict[str, Any] = {"device": s.device, "settle": s.settle}
    request = request_of("simulate", s, prepared, model)
    why_not = unsupported(molecule.system)
    if s.mode == "model":
        details |= {"cycle_ps": cycle, "burst_ps": s.burst, "engine": f"OpenMM: {why_not}" if why_not else "replicas"}
        request["engine"] = "OpenMM" if why_not else "replicas"  # their states differ, so that both must resume alike
    plan = RolloutPlan(
        "simulate",
        s,
        prepared=prepared,
        processes=count,
        request=request,
        model=model,
        reference=model.reference,
        make_jobs=partial(_jobs, cycle=cycle, alone=bool(why_not) and s.mode == "model"),
        details=details,
    )
    plan.wall["preparation"] = clock.perf_counter() - begin
    return plan


def _jobs(plan: RolloutPlan, folder: Path, states: States, *, cycle: float, alone: bool) -> list[Job]:
    """Jobs of latent rollouts, or of alternation with MD by OpenMM (alone, one by one) or by the replica engine."""
    assert plan.model is not None
    s, used = plan.settings, plan.model.bind(plan.prepared, folder)
    plan.energies = energy_range(plan.prepared, s, folder, used)
    groups = unfinished(_groups(s, alone), states, s.frames)
    shared = {"states": states, "energies": plan.energies, "model": used.name}
    if s.mode == "model":
        shared["cycle"] = cycle
    job = _job_type(s.mode, alone)
    return [
        job(plan.prepared, s, folder, [walker for group in part for walker in group], batches=tuple(part), **shared)
        for part in share(groups, plan.processes)
    ]


def _molecule_and_model(pdb: Path, s: WalkerOptions, built: Molecule | None) -> tuple[Molecule, Model]:
    """The molecule under the model's protocol, and the model given or the bundled one that covers it."""
    from latentmd.systems.builder import Protocol

    if s.model is not None:
        model = given_model(s.model)
        return molecule_under(protocol_of(model.manifest, s.inputs), pdb, built), model
    molecule = molecule_under(Protocol(s.solvent or "implicit", s.force_field, inputs=s.inputs), pdb, built)
    model = bundled_model(molecule, pdb, s.temperature)
    return molecule_under(protocol_of(model.manifest, s.inputs), pdb, molecule), model


def _plain_md(pdb: Path, s: WalkerOptions) -> RolloutPlan:
    if s.model is not None:
        raise ValueError("--mode md uses no model; leave out --model, or choose --mode model or latent")
    return md_plan(pdb, s, "simulate")


def _groups(s: WalkerOptions, alone: bool) -> list[tuple[int, ...]]:
    """Walkers that are moved together; they depend on the number of walkers, and not on that of processes."""
    size = 1 if alone else max(_WALKERS_PER_BATCH, -(-s.walkers // _MOST_BATCHES))
    return [tuple(range(first, min(first + size, s.walkers))) for first in range(0, s.walkers, size)]


def _job_type(mode: str, alone: bool) -> Callable[..., Job]:
    """Kind of the jobs: latent rollouts, or alternation with MD by OpenMM or by the replica engine."""
    if mode == "latent":
        from latentmd.sampling.walkers.latent import LatentJob

        return LatentJob
    if alone:
        from latentmd.sampling.walkers.openmm_alternation import AlternateJob

        return AlternateJob
    from latentmd.sampling.walkers.moved_batch import ReplicaAlternateJob

    return ReplicaAlternateJob
