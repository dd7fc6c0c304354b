"""Relaxation of many decoded structures at once: onto the constraints, and down to energies that MD shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import openmm

from latentmd.arrays import Bools, Doubles, Ints
from latentmd.molecule.checks import StructureTemplate, torsions
from latentmd.replicas.choice import replica_engine
from latentmd.systems.builder import Molecule
from latentmd.units import GAS_CONSTANT

MAX_FORCE = 1e4  # kJ/mol/nm; thermal forces of a molecule at rest in its bonds stay below about half of it
_ITERATIONS, _ROUNDS = 10, 5  # of the minimiser between looks at the energy, and such rounds
_BLOCK = 2000  # structures at once
_SETTLE, _TIMESTEP, _FRICTION = 0.2, 0.002, 10.0  # ps of dynamics, ps of a step, 1/ps
_WIDTH = np.deg2rad(2.0)  # how far torsions that are held swing


class RelaxedFrames(NamedTuple):
    """Structures [frames, atoms, 3] in nm after relaxation, their energies in kJ/mol, and which were minimised."""

    positions: Doubles
    energies: Doubles
    minimised: Bools


def relax(molecule: Molecule, positions: Doubles, limits: tuple[float, float] | None) -> RelaxedFrames:
    """Put structures [frames, atoms, 3] on the constraints of a System; minimise those whose energy MD does not show.

    A minimum is as far from the canonical distribution as a strained structure is, so that minimisation ends once the
    energy is below the median of MD. `limits`: that median and MD's upper limit, kJ/mol; structures are judged by their
    forces where they are not known.
    """
    parts = [_relaxed(molecule, positions[i : i + _BLOCK], limits) for i in range(0, len(positions), _BLOCK)]
    return RelaxedFrames(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _relaxed(molecule: Molecule, positions: Doubles, limits: tuple[float, float] | None) -> RelaxedFrames:
    engine = replica_engine(molecule.system, positions, temperature=molecule.protocol.temperature)
    engine.constrain()
    x, energies = np.array(engine.positions), np.array(engine.energies())
    if limits is None:
        strained = np.linalg.norm(engine.forces(), axis=2).max(axis=1) > MAX_FORCE
    else:
        strained = ~(energies <= limits[1])  # not a number is strained, too
    left = np.flatnonzero(strained)
    for _ in range(_ROUNDS):
        if not len(left):
            break
        part = replica_engine(molecule.system, x[left], temperature=molecule.protocol.temperature)
        part.minimize(_ITERATIONS)
        x[left], energies[left] = part.positions, part.energies()
        left = left[~(energies[left] <= limits[0])] if limits is not None else left
    return RelaxedFrames(x, energies, strained)


def settle(molecule: Molecule, positions: Doubles, quads: Ints, seed: int) -> tuple[Doubles, Doubles]:
    """Let everything but some torsions take 0.2 ps of Langevin dynamics, to be distributed as the force field has it.

    What is fast comes from a decoder whose distribution is slightly off; the torsions of `quads` [torsions, 4], which a
    model of the dynamics has drawn, are held by springs that let them swing by two degrees. Gives positions
    [frames, atoms, 3] in nm and energies in kJ/mol; frames whose dynamics broke are as they were.
    """
    settled, energies, temperature = np.array(positions), np.empty(len(positions)), molecule.protocol.temperature
    for first in range(0, len(positions), _BLOCK):
        x = positions[first : first + _BLOCK]
        rows = range(first, first + len(x))
        engine = replica_engine(molecule.system, x, temperature=temperature, seed=seed, numbers=rows, restraints=quads)
        if len(quads):
            engine.hold(torsions(x, quads), GAS_CONSTANT * temperature / _WIDTH**2)
        before = engine.energies()
        engine.draw_velocities()
        engine.langevin(round(_SETTLE / _TIMESTEP), timestep=_TIMESTEP, friction=_FRICTION)
        broken = engine.broken()
        settled[rows] = np.where(broken[:, None, None], x, engine.positions)
        energies[rows] = np.where(broken, before, engine.energies())
    return settled, energies


def bonded_system(template: StructureTemplate, masses: Doubles, temperature: float) -> openmm.System:
    """OpenMM System of bonds and angles alone, as wide at a temperature in K as those of a template; masses in amu.

    What closes a joint where no force field is known. Amides and planar groups are held by the angles around them.
    """
    heat, system = GAS_CONSTANT * temperature, openmm.System()
    for mass in masses:
        system.addParticle(mass)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for (i, j), mean, width in zip(template.bonds.tolist(), template.bond_mean, template.bond_deviation, strict=True):
        bonds.addBond(i, j, mean, heat / width**2)
    for triple, mean, width in zip(
        template.angles.tolist(), template.angle_mean, template.angle_deviation, strict=True
    ):
        angles.addAngle(*triple, mean, heat / width**2)
    system.addForce(bonds)
    system.addForce(angles)
    return system
