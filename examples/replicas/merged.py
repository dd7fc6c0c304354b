"""Many copies of a molecule as one OpenMM System: the way to run replicas with OpenMM's own kernels.

All pairs of all copies would be computed without a cutoff, so the copies stand on a grid, further apart than a cutoff
that no molecule reaches across. With a reaction-field dielectric of 1 the forces within a copy are those without a
cutoff, and the energy differs by a constant.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from openmm import unit

from latentmd.arrays import Doubles, Floats
from latentmd.replicas.terms import COULOMB

_DRIFT = 2.0  # nm between cutoff and spacing, for what copies diffuse and grow between two resets
_STRIDE = 2500  # steps between resets of the centroids; a peptide diffuses some 0.6 nm in 10 ps at 1/ps


def merged_system(system: openmm.System, copies: int, cutoff: float) -> openmm.System:
    """A System of many copies of another one, which see each other only within the cutoff.

    Args:
        system: bonds, angles, torsions, a NonbondedForce without cutoff, a GBSAOBCForce or none, constraints.
        copies: how many.
        cutoff: nm, beyond the size of the molecule.

    Raises:
        ValueError: the System has virtual sites or a force of another kind.
    """
    atoms = system.getNumParticles()
    if any(system.isVirtualSite(i) for i in range(atoms)):
        raise ValueError("the System has virtual sites; expected plain particles: run copies one by one")
    out = openmm.System()
    for _ in range(copies):
        for i in range(atoms):
            out.addParticle(system.getParticleMass(i))
    for k in range(copies):
        for c in range(system.getNumConstraints()):
            i, j, distance = system.getConstraintParameters(c)
            out.addConstraint(i + k * atoms, j + k * atoms, distance)
    for force in system.getForces():
        if not isinstance(force, openmm.CMMotionRemover):
            out.addForce(_repeated(force, atoms, copies, cutoff))
    return out


_TERMS = {  # force: number of atoms of a term, its count, its reader, its writer
    openmm.HarmonicBondForce: (2, "getNumBonds", "getBondParameters", "addBond"),
    openmm.HarmonicAngleForce: (3, "getNumAngles", "getAngleParameters", "addAngle"),
    openmm.PeriodicTorsionForce: (4, "getNumTorsions", "getTorsionParameters", "addTorsion"),
}


def _repeated(force: openmm.Force, atoms: int, copies: int, cutoff: float) -> openmm.Force:
    for kind, (size, count, read, write) in _TERMS.items():
        if isinstance(force, kind):
            out = kind()
            terms = [getattr(force, read)(t) for t in range(getattr(force, count)())]
            for k in range(copies):
                for term in terms:
                    getattr(out, write)(*(i + k * atoms for i in term[:size]), *term[size:])
            return out
    if isinstance(force, openmm.NonbondedForce) and force.getNonbondedMethod() == openmm.NonbondedForce.NoCutoff:
        return _repeated_nonbonded(force, atoms, copies, cutoff)
    if isinstance(force, openmm.GBSAOBCForce):
        born = openmm.GBSAOBCForce()
        born.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
        born.setCutoffDistance(cutoff)
        born.setSoluteDielectric(force.getSoluteDielectric())
        born.setSolventDielectric(force.getSolventDielectric())
        born.setSurfaceAreaEnergy(force.getSurfaceAreaEnergy())
        for _ in range(copies):
            for i in range(atoms):
                born.addParticle(*force.getParticleParameters(i))
        return born
    raise ValueError(
        f"{type(force).__name__} cannot be repeated; expected harmonic bonds and angles, periodic torsions, a "
        "NonbondedForce without cutoff and a GBSAOBCForce: run copies one by one"
    )


def _repeated_nonbonded(force: openmm.NonbondedForce, atoms: int, copies: int, cutoff: float) -> openmm.NonbondedForce:
    out = openmm.NonbondedForce()
    out.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    out.setCutoffDistance(cutoff)
    out.setReactionFieldDielectric(1.0)
    exceptions = [force.getExceptionParameters(e) for e in range(force.getNumExceptions())]
    for k in range(copies):
        for i in range(atoms):
            out.addParticle(*force.getParticleParameters(i))
        for i, j, *values in exceptions:
            out.addException(i + k * atoms, j + k * atoms, *values)
    return out


def energy_shift(system: openmm.System, cutoff: float) -> float:
    """What one copy in a merged System has more energy than the molecule without a cutoff, kJ/mol.

    Coulomb's law and the generalised Born energy are shifted to vanish at the cutoff (OpenMM User Guide).
    """
    shift = 0.0
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            charge = np.array([force.getParticleParameters(i)[0]._value for i in range(force.getNumParticles())])
            pairs = np.outer(charge, charge)
            for e in range(force.getNumExceptions()):
                i, j, *_ = force.getExceptionParameters(e)
                pairs[i, j] = pairs[j, i] = 0.0
            shift -= COULOMB / cutoff * float(np.triu(pairs, 1).sum())
        elif isinstance(force, openmm.GBSAOBCForce):
            charge = np.array([force.getParticleParameters(i)[0]._value for i in range(force.getNumParticles())])
            screening = COULOMB * (1 / force.getSoluteDielectric() - 1 / force.getSolventDielectric())
            shift += screening / cutoff * float(np.triu(np.outer(charge, charge), 1).sum())
    return shift


class MergedReplicas:
    """Copies of one molecule in one OpenMM Context, all at one temperature."""

    def __init__(
        self,
        system: openmm.System,
        copies: int,
        *,
        integrator: openmm.Integrator,
        cutoff: float = 3.0,
        platform: str | None = None,
    ) -> None:
        """Build the merged System and its Context.

        Args:
            system: the molecule.
            copies: of it.
            integrator: a new integrator, with temperature and seed set.
            cutoff: nm, beyond the size that the molecule may reach.
            platform: name of an OpenMM platform; OpenMM's choice by default.
        """
        self.atoms, self.copies, self._cutoff = system.getNumParticles(), copies, cutoff
        merged = merged_system(system, copies, cutoff)
        named = [openmm.Platform.getPlatformByName(platform)] if platform else []
        self.context = openmm.Context(merged, copy.copy(integrator), *named)
        side = int(np.ceil(copies ** (1 / 3)))
        grid = np.stack(np.unravel_index(np.arange(copies), (side,) * 3), axis=1) - (side - 1) / 2
        self._places: Doubles = np.asarray(grid * (2 * cutoff + _DRIFT), np.float64)

    def set_positions(self, positions: Sequence[Floats] | Floats) -> None:
        """Set the positions of all copies, shape (copies, atoms, 3), nm.

        Raises:
            ValueError: a molecule reaches further than the cutoff, or the shape does not fit.
        """
        x = np.array(positions, np.float64)
        if x.shape != (self.copies, self.atoms, 3):
            raise ValueError(f"positions have shape {x.shape}; expected {(self.copies, self.atoms, 3)}")
        x -= np.mean(x, axis=1, keepdims=True, dtype=np.float64)
        if 2 * np.linalg.norm(x, axis=2).max() > self._cutoff:
            raise ValueError(
                f"a copy reaches {np.linalg.norm(x, axis=2).max():.2f} nm from its centre; expected at most half "
                f"of the cutoff of {self._cutoff} nm: choose a larger one"
            )
        self.context.setPositions((x + self._places[:, None]).reshape(-1, 3))

    def positions(self) -> Doubles:
        """Positions of all copies about their centroids, shape (copies, atoms, 3), nm."""
        x = self._split(self.context.getState(getPositions=True).getPositions(asNumpy=True))
        return np.asarray(x - x.mean(axis=1, keepdims=True), np.float64)

    def forces(self) -> Doubles:
        """Forces of all copies, shape (copies, atoms, 3), kJ/mol/nm."""
        return self._split(self.context.getState(getForces=True).getForces(asNumpy=True))

    def step(self, steps: int) -> None:
        """Run steps; every 2500 the copies go back to their places on the grid."""
        for begin in range(0, steps, _STRIDE):
            self.context.getIntegrator().step(min(_STRIDE, steps - begin))
            self.set_positions(self.positions())

    def _split(self, quantity: Any) -> Doubles:
        values = np.asarray(quantity.value_in_unit_system(unit.md_unit_system), np.float64)
        return values.reshape(self.copies, self.atoms, 3)
