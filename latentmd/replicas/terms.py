"""What a small molecule's potential consists of, read from an OpenMM System or refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.units import GAS_CONSTANT

if TYPE_CHECKING:
    import openmm

#: Coulomb constant as OpenMM has it, kJ/mol nm/e^2.
COULOMB = 138.93545764498
#: Offset between a Born radius and the radius that enters the integrals, nm (Onufriev, Bashford and Case 2004).
OFFSET = 0.009


class UnsupportedError(ValueError):
    """A System that the replica engine cannot simulate; the message names the force and what happens instead."""


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


def read_terms(system: openmm.System) -> Terms:
    """Read the potential of a System.

    Args:
        system: particles with mass; harmonic bonds and angles, periodic torsions, a NonbondedForce without cutoff, a
            GBSAOBCForce without cutoff or none, a CMMotionRemover or none.

    Raises:
        UnsupportedError: anything else is in it.
    """
    import openmm

    n = system.getNumParticles()
    masses = [system.getParticleMass(i)._value for i in range(n)]
    if not n or min(masses) <= 0 or any(system.isVirtualSite(i) for i in range(n)):
        _refuse("particles without mass or virtual sites")
    found: dict[str, Any] = {}
    for force in system.getForces():
        if isinstance(force, openmm.CMMotionRemover):
            continue
        for kind, read in _READERS.items():
            if type(force).__name__ == kind and kind not in found:
                found[kind] = read(force)
                break
        else:
            again = " (a second one)" if type(force).__name__ in found else ""
            _refuse(f"{type(force).__name__}{again}")
    constraints = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    charges, exceptions, exception = found.get("NonbondedForce", (np.zeros((n, 3)), _atoms([], 2), np.zeros((0, 3))))
    bonds, bond = found.get("HarmonicBondForce", (_atoms([], 2), np.zeros((0, 2))))
    angles, angle = found.get("HarmonicAngleForce", (_atoms([], 3), np.zeros((0, 2))))
    torsions, torsion = found.get("PeriodicTorsionForce", (_atoms([], 5), np.zeros((0, 2))))
    born, dielectric = found.get("GBSAOBCForce", (None, (1.0, 78.5, 0.0)))
    return Terms(
        mass=np.array(masses),
        nonbonded=charges,
        exceptions=exceptions,
        exception=exception,
        bonds=bonds,
        bond=bond,
        angles=angles,
        angle=angle,
        torsions=torsions,
        torsion=torsion,
        constraints=_atoms([row[:2] for row in constraints], 2),
        distance=np.array([row[2]._value for row in constraints], dtype=np.float64),
        born=born,
        dielectric=dielectric,
    )


def _refuse(what: str) -> None:
    raise UnsupportedError(
        f"the System has {what}; the replica engine knows harmonic bonds and angles, periodic torsions of periodicity "
        "1 to 6, NonbondedForce and GBSAOBCForce without cutoff, and constraints, so that OpenMM simulates one replica "
        "at a time"
    )


def _atoms(rows: list[Any], columns: int) -> Ints:
    return np.array(rows, dtype=np.int32).reshape(-1, columns)


def _values(rows: list[Any], columns: int) -> Floats:
    return np.array([[getattr(x, "_value", x) for x in row] for row in rows], dtype=np.float64).reshape(-1, columns)


def _bonded(force: Any, count: str, read: str, atoms: int) -> tuple[Ints, Floats]:
    rows = [getattr(force, read)(i) for i in range(getattr(force, count)())]
    if force.usesPeriodicBoundaryConditions():
        _refuse(f"a periodic {type(force).__name__}")
    return _atoms([row[:atoms] for row in rows], atoms), _values([row[atoms:] for row in rows], 2)


def _torsion(force: Any) -> tuple[Ints, Floats]:
    atoms, values = _bonded(force, "getNumTorsions", "getTorsionParameters", 5)
    if len(atoms) and (atoms[:, 4].min() < 1 or atoms[:, 4].max() > 6):
        _refuse(f"a torsion of periodicity {int(atoms[:, 4].max())}")
    kept = values[:, 1] != 0
    return atoms[kept], values[kept]


def _nonbonded(force: Any) -> tuple[Floats, Ints, Floats]:
    import openmm

    if force.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff:
        _refuse("a NonbondedForce with a cutoff")
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        _refuse("a NonbondedForce with parameter offsets")
    particles = _values([force.getParticleParameters(i) for i in range(force.getNumParticles())], 3)
    rows = [force.getExceptionParameters(i) for i in range(force.getNumExceptions())]
    return particles, _atoms([row[:2] for row in rows], 2), _values([row[2:] for row in rows], 3)


def _gbsa(force: Any) -> tuple[Floats, tuple[float, float, float]]:
    import openmm

    if force.getNonbondedMethod() != openmm.GBSAOBCForce.NoCutoff:
        _refuse("a GBSAOBCForce with a cutoff")
    surface = force.getSurfaceAreaEnergy()
    rows = _values([force.getParticleParameters(i) for i in range(force.getNumParticles())], 3)
    return rows, (force.getSoluteDielectric(), force.getSolventDielectric(), float(getattr(surface, "_value", surface)))


_READERS = {
    "HarmonicBondForce": lambda force: _bonded(force, "getNumBonds", "getBondParameters", 2),
    "HarmonicAngleForce": lambda force: _bonded(force, "getNumAngles", "getAngleParameters", 3),
    "PeriodicTorsionForce": _torsion,
    "NonbondedForce": _nonbonded,
    "GBSAOBCForce": _gbsa,
}


def maxwell_boltzmann(mass: Floats, temperature: float, rng: np.random.Generator) -> Doubles:
    """Maxwell-Boltzmann velocities in nm/ps, shape (atoms, 3).

    Args:
        mass: shape (atoms,), g/mol.
        temperature: in K.
        rng: of the draws.
    """
    width = np.sqrt(GAS_CONSTANT * temperature / np.asarray(mass, np.float64))
    return np.asarray(rng.normal(size=(len(mass), 3)) * width[:, None], np.float64)
