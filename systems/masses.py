"""Masses of hydrogens and the time step that they allow, of Systems that users bring."""

from __future__ import annotations

import openmm
from openmm import app

from latentmd.systems.errors import MoleculeError
from latentmd.systems.names import WATER
from latentmd.systems.protocol import Protocol

_HEAVY = 2.0  # amu; a hydrogen below it was not made heavier
_FREE, _LIGHT, _LONGEST = 0.001, 0.002, 0.005  # ps: free bonds to hydrogen, constrained ones, heavy hydrogens too


def _masses(system: openmm.System) -> list[float]:
    return [system.getParticleMass(i)._value for i in range(system.getNumParticles())]


def _hydrogens(system: openmm.System, topology: app.Topology) -> list[app.topology.Atom]:
    masses = _masses(system)
    return [a for a in topology.atoms() if a.element is app.element.hydrogen and masses[a.index]]


def _free(system: openmm.System, topology: app.Topology) -> bool:
    """Whether a bond to a hydrogen is not constrained."""
    held = {i for k in range(system.getNumConstraints()) for i in system.getConstraintParameters(k)[:2]}
    return any(atom.index not in held for atom in _hydrogens(system, topology))


def repartition(system: openmm.System, topology: app.Topology, protocol: Protocol) -> list[str]:
    """Make the hydrogens of a solute heavier where the time step needs it; changes `system`.

    The mass comes from the atoms that they are bound to, as OpenMM's `hydrogenMass` takes it, so that the mass of the
    molecule stays. Populations do not depend on masses. Systems with free bonds to hydrogen are left as they are.

    Args:
        system: of the molecule.
        topology: of the molecule, with its bonds.
        protocol: time step, and the mass of a hydrogen.

    Returns:
        Notes on what was changed.
    """
    light = [a for a in _hydrogens(system, topology) if a.residue.name not in WATER]
    light = [a for a in light if system.getParticleMass(a.index)._value < _HEAVY]
    if not light or protocol.timestep <= _LIGHT + 1e-12 or protocol.hydrogen_mass < _HEAVY or _free(system, topology):
        return []
    partner = {a: b for pair in topology.bonds() for a, b in (pair, pair[::-1])}
    changed = _masses(system)
    for atom in light:
        heavy = partner.get(atom)
        if heavy is None or heavy.element is app.element.hydrogen:
            return []
        changed[heavy.index] -= protocol.hydrogen_mass - changed[atom.index]
        changed[atom.index] = protocol.hydrogen_mass
    if min(changed[partner[atom].index] for atom in light) < protocol.hydrogen_mass:
        return []
    for index, mass in enumerate(changed):
        system.setParticleMass(index, mass)
    return [
        f"{len(light)} hydrogens made {protocol.hydrogen_mass:g} amu heavy, their mass taken from the atoms that they "
        f"are bound to, for a time step of {protocol.timestep * 1000:g} fs; populations do not depend on masses"
    ]


def check_timestep(system: openmm.System, topology: app.Topology, protocol: Protocol, file: str) -> None:
    """Refuse a time step that the constraints and masses of a System do not allow.

    Args:
        system: of the molecule.
        topology: of the molecule.
        protocol: time step.
        file: of the System, for the message.

    Raises:
        MoleculeError: with the longest time step.
    """
    solute = [a.index for a in _hydrogens(system, topology) if a.residue.name not in WATER]
    light = any(system.getParticleMass(i)._value < _HEAVY for i in solute)
    longest = _FREE if _free(system, topology) else _LIGHT if light else _LONGEST
    if protocol.timestep > longest + 1e-12:
        why = "does not constrain bonds to hydrogen" if longest == _FREE else "has hydrogens of 1 amu"
        raise MoleculeError(
            f"{file}: {why}, so that a time step of {protocol.timestep * 1000:g} fs is too long; use `latentmd md` "
            f"with --timestep {longest * 1000:g}fs, or write the System with constraints=HBonds and hydrogenMass=3 amu"
        )
