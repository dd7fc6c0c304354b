"""Parameters of a molecule, out of an OpenMM System."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmd.arrays import Doubles, Floats, Ints

_GAS_CONSTANT = 0.00831446261815324  # kJ/mol/K


class UnsupportedError(ValueError):
    """A System that replicas cannot run; the message names what is in the way."""


@dataclass(frozen=True)
class Terms:
    """Parameters of one molecule without a cutoff; every array has one row per atom or term.

    Attributes:
        mass: (atoms,), amu.
        nonbonded: (atoms, 3): charge in e, sigma in nm, epsilon in kJ/mol.
        exceptions, exception: pairs of atoms (k, 2) with their own charge product, sigma and epsilon (k, 3).
        bonds, bond: atoms (k, 2); length in nm, force constant in kJ/mol/nm^2.
        angles, angle: atoms (k, 3); angle in rad, force constant in kJ/mol/rad^2.
        torsions, torsion: atoms and periodicity (k, 5); phase in rad, force constant in kJ/mol.
        constraints, distance: atoms (k, 2); distance in nm.
        born: (atoms, 3): charge, radius in nm, scale; None without implicit solvent.
        dielectric: of solute and solvent, and the surface tension in kJ/mol/nm^2.
    """

    mass: Floats
    nonbonded: Floats
    exceptions: Ints
    exception: Floats
    bonds: Ints
    bond: Floats
    angles: Ints
    angle: Floats
    torsions: Ints
    torsion: Floats
    constraints: Ints
    distance: Floats
    born: Floats | None = None
    dielectric: tuple[float, float, float] = (1.0, 78.5, 2.25936)

    @property
    def atoms(self) -> int:
        """Number of atoms."""
        return len(self.mass)


def read_terms(system: Any) -> Terms:
    """The parameters of an OpenMM System.

    Args:
        system: harmonic bonds and angles, periodic torsions, one NonbondedForce without cutoff, a GBSAOBCForce without
            cutoff or none; a CMMotionRemover is left out.

    Raises:
        UnsupportedError: the System has a force of another kind, virtual sites, or a periodic box.
    """
    import openmm

    n = system.getNumParticles()
    if any(system.isVirtualSite(i) for i in range(n)):
        raise UnsupportedError("the System has virtual sites; expected plain particles: run it with OpenMM")
    found: dict[str, Any] = {"bonds": _table([], 4, 2), "angles": _table([], 5, 3), "torsions": _table([], 7, 5)}
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            found["bonds"] = _table([force.getBondParameters(k) for k in range(force.getNumBonds())], 4, 2)
        elif isinstance(force, openmm.HarmonicAngleForce):
            found["angles"] = _table([force.getAngleParameters(k) for k in range(force.getNumAngles())], 5, 3)
        elif isinstance(force, openmm.PeriodicTorsionForce):
            found["torsions"] = _table([force.getTorsionParameters(k) for k in range(force.getNumTorsions())], 7, 5)
        elif isinstance(force, openmm.NonbondedForce) and force.getNonbondedMethod() == force.NoCutoff:
            found["nonbonded"] = _table([force.getParticleParameters(i) for i in range(n)], 3, 0)[1]
            exceptions = [force.getExceptionParameters(k) for k in range(force.getNumExceptions())]
            found["exceptions"] = _table(exceptions, 5, 2)
        elif isinstance(force, openmm.GBSAOBCForce) and force.getNonbondedMethod() == force.NoCutoff:
            found["born"] = _table([force.getParticleParameters(i) for i in range(n)], 3, 0)[1]
            surface = float(_plain(force.getSurfaceAreaEnergy()))
            found["dielectric"] = (force.getSoluteDielectric(), force.getSolventDielectric(), surface)
        elif not isinstance(force, openmm.CMMotionRemover):
            raise UnsupportedError(
                f"the System has a {type(force).__name__} that replicas do not know; expected harmonic bonds and "
                "angles, periodic torsions, and a NonbondedForce and a GBSAOBCForce without cutoff: run it with OpenMM"
            )
    if "nonbonded" not in found:
        raise UnsupportedError("the System has no NonbondedForce; expected one without cutoff: run it with OpenMM")
    constraints = [system.getConstraintParameters(k) for k in range(system.getNumConstraints())]
    pairs, distance = _table(constraints, 3, 2)
    mass = np.array([_plain(system.getParticleMass(i)) for i in range(n)])
    if not (mass > 0).all():
        raise UnsupportedError("the System has particles without mass; expected all to move: run it with OpenMM")
    return Terms(
        mass=mass,
        nonbonded=found["nonbonded"],
        exceptions=found["exceptions"][0],
        exception=found["exceptions"][1],
        bonds=found["bonds"][0],
        bond=found["bonds"][1],
        angles=found["angles"][0],
        angle=found["angles"][1],
        torsions=found["torsions"][0],
        torsion=found["torsions"][1],
        constraints=pairs,
        distance=distance[:, 0],
        born=found.get("born"),
        dielectric=found.get("dielectric", (1.0, 78.5, 0.0)),
    )


def _plain(quantity: Any) -> float:
    return float(getattr(quantity, "_value", quantity))


def _table(rows: list[Any], width: int, whole: int) -> tuple[Ints, Doubles]:
    """The first columns as whole numbers, the others as real ones in OpenMM's units."""
    values = np.array([[_plain(value) for value in row] for row in rows], np.float64).reshape(-1, width)
    return values[:, :whole].astype(np.int64), values[:, whole:]


def maxwell_boltzmann(mass: Floats, temperature: float, rng: np.random.Generator) -> Doubles:
    """Maxwell-Boltzmann velocities in nm/ps, shape (atoms, 3)."""
    width = np.sqrt(_GAS_CONSTANT * temperature / np.asarray(mass, np.float64))
    return np.asarray(rng.normal(size=(len(mass), 3)) * width[:, None], np.float64)
