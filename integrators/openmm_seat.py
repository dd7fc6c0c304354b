"""The latent force of a System: the one that an earlier integrator added, or a new one in a force group of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import openmm

from latentmd.integrators.openmm_provider import PARAMETERS, WORD, LatentProvider
from latentmd.integrators.openmm_selection import Selection
from latentmd.model.peptide_file import model_sha256

FORCE_NAME = "LatentProposal"

#: Providers of the forces that this process made, by the kind and the address of the C++ object, which owns them.
_providers: WeakValueDictionary[tuple[str, int], LatentProvider] = WeakValueDictionary()


@dataclass(frozen=True)
class Seat:
    """Where an integrator finds its proposals.

    Attributes:
        provider: answers for the model.
        group: force group of the latent force.
        failure_group: of the force that raises its failures; `group` where it raises them itself.
    """

    provider: LatentProvider
    group: int
    failure_group: int


def seat_of(system: openmm.System, kind: str, source: str | Path, selection: Selection, device: str) -> Seat:
    """The latent force of a model in a System: an earlier integrator's for the same atoms and model, or a new one."""
    if kind not in ("python", "torchforce"):
        raise ValueError(f"provider is {kind!r}; expected 'python' or 'torchforce'")
    wanted = (model_sha256(source), selection, device if kind == "python" else "cpu")
    for force in system.getForces():
        known = _providers.get((kind, int(force.this)))
        if known is not None and (known.sha256, known.selection, known.device) == wanted:
            group = force.getForceGroup()
            return Seat(known, group, group if kind == "python" else _failure_group(system, selection))
    if kind == "torchforce" and selection.molecule:
        raise ValueError("TorchForce needs the file of a bound model: `latentmd bind MOLECULE.pdb --out bound.pt`")
    if kind == "torchforce":
        from latentmd.integrators.torchforce_provider import torch_force

        provider, force = torch_force(source, selection)
    else:
        provider = LatentProvider(source, selection, device)
        force = _python_force(provider, selection)
    _providers[kind, int(force.this)] = provider
    group = _add(system, force, FORCE_NAME)
    return Seat(provider, group, group if kind == "python" else _failure_group(system, selection))


def _python_force(provider: LatentProvider, selection: Selection) -> openmm.PythonForce:
    force = openmm.PythonForce(provider, dict.fromkeys((*PARAMETERS, WORD), 0.0))
    if selection.atoms != tuple(range(selection.n_particles)):
        force.setParticles(list(selection.atoms))
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    return force


def _failure_group(system: openmm.System, selection: Selection) -> int:
    """Group of the force that raises the failures of a System's TorchForces, added where it is missing."""
    from latentmd.integrators.torchforce_provider import failure_force

    name = f"{FORCE_NAME}Failure"
    for force in system.getForces():
        if force.getName() == name:
            return int(force.getForceGroup())
    return _add(system, failure_force(selection), name)


def _add(system: openmm.System, force: openmm.Force, name: str) -> int:
    """Add a force in the highest free group; returns the group."""
    used = {force.getForceGroup() for force in system.getForces()}
    free = [group for group in range(31, -1, -1) if group not in used]
    if not free:
        raise ValueError("all 32 force groups of the System are in use; free one for the latent force")
    force.setForceGroup(free[0])
    force.setName(name)
    system.addForce(force)
    return free[0]
