"""Latent rollouts of a solute whose force field is not known: its model alone moves it, and no engine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from latentmd.arrays import Doubles
from latentmd.sampling.models import check_conditions
from latentmd.sampling.run.preparation import Prepared
from latentmd.sampling.walkers.alternation import cycle_length
from latentmd.sampling.walkers.latent import LatentJob
from latentmd.sampling.walkers.plan import RolloutPlan, check_times, processes_for, request_of, share
from latentmd.sampling.walkers.resume import States, unfinished
from latentmd.systems.molecule import Molecule
from latentmd.systems.protocol import Protocol, Solvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentmd.model.manifest import Manifest
    from latentmd.sampling.models import OneMolecule
    from latentmd.sampling.run.options import WalkerOptions
    from latentmd.sampling.run.processes import Job

_GROUPS = 16  # most groups of walkers that move together
_TOGETHER = 8  # fewest walkers of a group


def solute_plan(source: Path, s: WalkerOptions, model: OneMolecule) -> RolloutPlan:
    """Check everything about latent rollouts of a solute, from the structure in a file.

    Raises:
        ValueError: a setting that needs MD, or a molecule that the model does not cover.
    """
    manifest = model.manifest
    if s.mode != "latent":
        raise ValueError(
            f"--mode {s.mode} needs MD of the solute, and the force field that {manifest.called} was trained in is not"
            " known or has explicit water; leave the option out for latent steps alone"
        )
    check_conditions(s, model)
    check_times(s.time, s.interval, manifest.timestep)
    cycle_length(s, manifest, manifest.timestep)
    molecule = solute_molecule(source, manifest)
    start: Doubles = np.array(molecule.positions._value, dtype=np.float64)
    prepared = Prepared(molecule, source, start, platform="none", threads=1, rate=0.0)
    return RolloutPlan(
        "simulate",
        replace(s, settle=False),
        prepared=prepared,
        processes=processes_for(s.walkers, s.processes),
        request=request_of("simulate", s, prepared, model),
        model=model,
        reference=manifest,
        make_jobs=partial(_jobs, model=model.name),
        details={"device": s.device, "settle": False},
    )


def solute_molecule(source: Path, manifest: Manifest) -> Molecule:
    """The solute in a file, without water and ions, with a System of its masses alone.

    Raises:
        ValueError: the file holds another molecule.
    """
    import openmm
    from openmm import unit

    from latentmd.io.solute import read_solute
    from latentmd.io.trajectory import TrajectoryReader

    system, solute = read_solute(source, [])
    positions = next(iter(TrajectoryReader(source, system))).positions[0, solute.atoms]
    answer = manifest.covers(solute.topology, positions)
    if not answer:
        raise ValueError(f"{manifest.called} does not cover the molecule in {source}: {answer.reason}")
    topology, others = solute.topology.to_openmm(), solute.left_out
    notes = (f"{others} of {source.name} were left out: the model is of the solute alone",) * bool(others)
    masses = openmm.System()
    for atom in topology.atoms():
        masses.addParticle(atom.element.mass)
    protocol = Protocol(
        cast("Solvent", manifest.solvent),
        tuple(manifest.force_field) or ("not known",),
        temperature=manifest.temperature,
        friction=manifest.friction,
        timestep=manifest.timestep,
    )
    quantity = np.asarray(positions, dtype=np.float64) * unit.nanometer
    return Molecule(topology, masses, quantity, protocol, notes=notes)


def _jobs(plan: RolloutPlan, folder: Path, states: States, *, model: str) -> Sequence[Job]:
    s = plan.settings
    size = max(_TOGETHER, -(-s.walkers // _GROUPS))
    groups = [tuple(range(first, min(first + size, s.walkers))) for first in range(0, s.walkers, size)]
    shared: dict[str, Any] = {"states": states, "model": model, "engine": False}
    return [
        LatentJob(
            plan.prepared, s, folder, [walker for group in part for walker in group], batches=tuple(part), **shared
        )
        for part in share(unfinished(groups, states, s.frames), plan.processes)
    ]
