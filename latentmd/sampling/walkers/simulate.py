"""Walkers that a model moves: latent rollouts alone, or latent steps and OpenMM MD by turns."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.sampling.models import Model, bundled_model, check_conditions, given_model, protocol_of
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Prepared, molecule_under, prepare
from latentmd.sampling.run.processes import Job, cores
from latentmd.sampling.walkers.cycle import cycle_length
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
    """Check everything about a run of walkers in any mode.

    Args:
        pdb: the molecule.
        s: settings of the walkers.
        built: the molecule, where it was built already.

    Raises:
        ValueError: a setting, the molecule or the model is wrong, or they do not fit together.
        OutputError: the folder cannot be used.
    """
    from latentmd.io.folder import check_folder
    from latentmd.replicas.choice import unsupported

    begin = clock.perf_counter()
    if s.mode == "md":
        return _plain_md(pdb, s)
    count = processes_for(s.walkers, s.processes)
    check_folder(s.out, s.policy, WALKERS)
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
    details: dict[str, Any] = {"device": s.device}
    details["settle"] = s.settle
    if s.mode == "model":
        details |= {"cycle_ps": cycle, "burst_ps": s.burst}

    def jobs(ready: Prepared, folder: Path, states: States) -> list[Job]:
        used = model.bind(ready, folder)
        plan.energies = energy_range(ready, s, folder, used)
        shared = {"states": states, "model": used.name, "energies": plan.energies}
        if s.mode == "model":
            return _alternating((ready, s, folder), shared | {"cycle": cycle}, count)
        return _latent((ready, s, folder), shared, count)

    request = request_of("simulate", s, prepared, model)
    if s.mode == "model":
        why_not = unsupported(molecule.system)
        request["engine"] = "OpenMM" if why_not else "replicas"  # their states differ, so that both must resume alike
        details["engine"] = f"OpenMM: {why_not}" if why_not else "replicas"
    plan = RolloutPlan(
        "simulate",
        s,
        prepared=prepared,
        processes=count,
        make_jobs=jobs,
        request=request,
        model=model,
        reference=model.reference,
        details=details,
    )
    plan.wall["preparation"] = clock.perf_counter() - begin
    return plan


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


def _alternating(run: tuple[Prepared, WalkerOptions, Path], shared: dict[str, Any], count: int) -> list[Job]:
    """Jobs of alternation: walkers in batches with the replica engine, or one after another with OpenMM."""
    from latentmd.replicas.choice import unsupported
    from latentmd.sampling.walkers.alternation import AlternateJob
    from latentmd.sampling.walkers.replica_alternation import ReplicaAlternateJob

    settings, states = run[1], shared["states"]
    if not unsupported(run[0].molecule.system):
        parts = _batches(settings, states, count)
        return [ReplicaAlternateJob(*run, _flat(part), batches=part, **shared) for part in parts]
    left = [walker for (walker,) in unfinished([(w,) for w in range(settings.walkers)], states, settings.frames)]
    return [AlternateJob(*run, part, **shared) for part in share(left, count)]


def _latent(run: tuple[Prepared, WalkerOptions, Path], shared: dict[str, Any], count: int) -> list[Job]:
    """Jobs of latent rollouts."""
    from latentmd.sampling.walkers.latent import LatentJob

    parts = _batches(run[1], shared["states"], count)
    return [LatentJob(*run, _flat(part), batches=part, **shared) for part in parts]


def _batches(s: WalkerOptions, states: States, count: int) -> list[tuple[tuple[int, ...], ...]]:
    """Unfinished batches by process; they depend on the number of walkers, and not on that of processes."""
    size = max(_WALKERS_PER_BATCH, -(-s.walkers // _MOST_BATCHES))
    batches = [tuple(range(first, min(first + size, s.walkers))) for first in range(0, s.walkers, size)]
    left = unfinished(batches, states, s.frames)
    return [tuple(left[first::count]) for first in range(min(count, len(left)))]


def _flat(batches: tuple[tuple[int, ...], ...]) -> list[int]:
    return [walker for batch in batches for walker in batch]
