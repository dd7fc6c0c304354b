"""A small molecule's potential as read from an OpenMM System or refused by name, and its tables for the CUDA kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm

from latentmd.arrays import Floats, Ints

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
    """Read the potential of a System; UnsupportedError where it has anything that the kernels do not know."""

    n = system.getNumParticles()
    masses = [system.getParticleMass(i)._value for i in range(n)]
    if not n or min(masses) <= 0 or any(system.isVirtualSite(i) for i in range(n)):
        _refuse("particles without mass or virtual sites")
    found: dict[str, Any] = {}
    for force in system.getForces():
        kind = type(force).__name__
        if kind in found or kind not in (*_READERS, "CMMotionRemover"):
            _refuse(f"{kind} (a second one)" if kind in found else kind)
        if kind in _READERS:
            found[kind] = _READERS[kind](force)
    none: dict[str, Any] = {
        "NonbondedForce": (np.zeros((n, 3)), _atoms([], 2), _values([], 3)),
        "HarmonicBondForce": (_atoms([], 2), _values([], 2)),
        "HarmonicAngleForce": (_atoms([], 3), _values([], 2)),
        "PeriodicTorsionForce": (_atoms([], 5), _values([], 2)),
    }
    parts = [part for kind in none for part in found.get(kind, none[kind])]
    rows = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    parts += [_atoms([row[:2] for row in rows], 2), np.array([row[2]._value for row in rows], dtype=np.float64)]
    return Terms(np.array(masses), *parts, *found.get("GBSAOBCForce", (None, (1.0, 78.5, 0.0))))


def _refuse(what: str) -> None:
    raise UnsupportedError(
        f"the System has {what}; the replica engine knows harmonic bonds and angles, periodic torsions of periodicity "
        "1 to 6, NonbondedForce and GBSAOBCForce without cutoff, and constraints, so that OpenMM simulates one replica "
        "at a time"
    )


def _atoms(rows: Sequence[Sequence[float]], columns: int) -> Ints:
    return np.array(rows, dtype=np.int32).reshape(-1, columns)


def _values(rows: Sequence[Sequence[float]], columns: int) -> Floats:
    return np.array([[getattr(x, "_value", x) for x in row] for row in rows], dtype=np.float64).reshape(-1, columns)


def _bonded(force: openmm.Force, count: str, read: str, atoms: int) -> tuple[Ints, Floats]:
    rows = [getattr(force, read)(i) for i in range(getattr(force, count)())]
    if force.usesPeriodicBoundaryConditions():
        _refuse(f"a periodic {type(force).__name__}")
    return _atoms([row[:atoms] for row in rows], atoms), _values([row[atoms:] for row in rows], 2)


def _torsion(force: openmm.PeriodicTorsionForce) -> tuple[Ints, Floats]:
    atoms, values = _bonded(force, "getNumTorsions", "getTorsionParameters", 5)
    if len(atoms) and (atoms[:, 4].min() < 1 or atoms[:, 4].max() > 6):
        _refuse(f"a torsion of periodicity {int(atoms[:, 4].max())}")
    kept = values[:, 1] != 0
    return atoms[kept], values[kept]


def _nonbonded(force: openmm.NonbondedForce) -> tuple[Floats, Ints, Floats]:
    if force.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff:
        _refuse("a NonbondedForce with a cutoff")
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        _refuse("a NonbondedForce with parameter offsets")
    particles = _values([force.getParticleParameters(i) for i in range(force.getNumParticles())], 3)
    rows = [force.getExceptionParameters(i) for i in range(force.getNumExceptions())]
    return particles, _atoms([row[:2] for row in rows], 2), _values([row[2:] for row in rows], 3)


def _gbsa(force: openmm.GBSAOBCForce) -> tuple[Floats, tuple[float, float, float]]:
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


def fourier(terms: Terms) -> dict[tuple[int, ...], list[tuple[int, float, float, float]]]:
    """Torsions about the same four atoms as one series, of which each term is n, k cos(phase), k sin(phase) and k."""
    series: dict[tuple[int, ...], list[tuple[int, float, float, float]]] = {}
    for (*atoms, n), (phase, k) in zip(np.asarray(terms.torsions).tolist(), np.asarray(terms.torsion), strict=True):
        series.setdefault(tuple(atoms), []).append((n, k * np.cos(phase), k * np.sin(phase), k))
    return series


MAX_ATOMS = 256  # indices of atoms are bytes


def tables(terms: Terms) -> dict[str, Floats | Ints]:
    """Tables as `dynamics.cu` has them; UnsupportedError above 256 atoms or for other constraints than of hydrogens."""
    n = terms.atoms
    if n > MAX_ATOMS:
        raise UnsupportedError(f"the molecule has {n} atoms; expected at most {MAX_ATOMS}: use OpenMM for larger ones")
    charge, sigma, epsilon = np.asarray(terms.nonbonded, np.float64).T
    solute, solvent, _ = terms.dielectric
    born = np.zeros((n, 3)) if terms.born is None else np.asarray(terms.born, np.float64)
    offset_radius = np.where(born[:, 1] > 0, born[:, 1] - OFFSET, 1.0)
    screening = np.sqrt(COULOMB * (1 / solute - 1 / solvent))
    torsion, coefficient = _torsions(terms)
    cluster, distance = _clusters(terms)
    bond, angle = _packed(terms.bonds, terms.bond), _packed(terms.angles, terms.angle)
    exception = _exceptions(terms)
    head = np.zeros((1, 16), np.int32)  # atoms, and counts and first rows of what follows
    head[0, [0, 2, 4, 6, 9, 11]] = n, len(bond), len(angle), len(torsion), len(exception), len(cluster)
    head[0, 13] = terms.born is not None
    head[0, 14] = np.float32(4 * np.pi * terms.dielectric[2]).view(np.int32)
    return {
        "molecules": head,
        "atom_a": _rows(np.sqrt(COULOMB) * charge, sigma / 2, 2 * np.sqrt(epsilon), screening * born[:, 0]),
        "atom_b": _rows(offset_radius, born[:, 2] * offset_radius, born[:, 1], 1 / np.asarray(terms.mass, np.float64)),
        "mask": _mask(n, terms.exceptions),
        **{"bond": bond, "angle": angle, "torsion": torsion, "coefficient": coefficient},
        **{"exception": exception, "cluster": cluster, "distance": distance},
    }


def _rows(*columns: Floats) -> Floats:
    """Four columns side by side in single precision."""
    return np.stack(columns, axis=1).astype(np.float32)


def _bytes(atoms: Ints) -> Ints:
    """Up to four indices of atoms in one 32-bit word."""
    words = np.zeros((len(atoms), 4), np.uint8)
    words[:, : atoms.shape[1]] = atoms
    return words.view("<u4")[:, 0].astype(np.uint32)


def _packed(atoms: Ints, values: Floats) -> Floats:
    """Rows of four floats of which the first holds the atoms, bit for bit."""
    out = np.zeros((len(atoms), 4), np.float32)
    if len(atoms):
        out[:, 0] = _bytes(np.asarray(atoms)).view(np.float32)
        out[:, 1 : 1 + values.shape[1]] = values
    return out


def _exceptions(terms: Terms) -> Floats:
    values = np.array(terms.exception, np.float64).reshape(-1, 3)
    values[:, 0] *= COULOMB
    values[:, 2] *= 4
    here = (values[:, 0] != 0) | (values[:, 2] != 0)
    return _packed(np.asarray(terms.exceptions).reshape(-1, 2)[here], values[here])


def _mask(atoms: int, pairs: Ints) -> Ints:
    """Bits of the partners without Lennard-Jones and Coulomb terms, the atom itself among them."""
    out = np.zeros((atoms, MAX_ATOMS), np.bool_)
    out[np.arange(atoms), np.arange(atoms)] = True
    for i, j in np.asarray(pairs).reshape(-1, 2):
        out[i, j] = out[j, i] = True
    bits = np.packbits(out, axis=1, bitorder="little")
    return np.ascontiguousarray(bits).view("<u4").astype(np.uint32)


def _torsions(terms: Terms) -> tuple[Ints, Floats]:
    """Terms about the same four atoms become one Fourier series."""
    series = fourier(terms)
    rows = np.zeros((len(series), 4), np.int32)
    coefficients: list[tuple[int, float, float, float]] = []
    for row, (atoms, entries) in zip(rows, series.items(), strict=True):
        row[0] = _bytes(np.array([atoms])).view(np.int32)[0]
        row[1:3] = len(coefficients), len(entries)
        coefficients += sorted(entries)
    return rows, np.array(coefficients, np.float32).reshape(-1, 4)


def _clusters(terms: Terms) -> tuple[Ints, Floats]:
    """Constraints as stars: one centre and up to four atoms that hang on nothing else."""
    pairs = np.asarray(terms.constraints).reshape(-1, 2).astype(int)
    degree = np.bincount(pairs.ravel(), minlength=terms.atoms)
    stars: dict[int, list[tuple[int, float]]] = {}
    for (i, j), length in zip(pairs.tolist(), np.asarray(terms.distance, np.float64), strict=True):
        lighter, heavier = (i, j) if (degree[i], terms.mass[i]) < (degree[j], terms.mass[j]) else (j, i)
        stars.setdefault(heavier, []).append((lighter, float(length)))
    leaves = [leaf for star in stars.values() for leaf, _ in star]
    if len(set(leaves)) < len(leaves) or set(leaves) & set(stars) or any(len(star) > 4 for star in stars.values()):
        raise UnsupportedError(
            "the constraints form rings, chains or stars of more than four; expected those of single hydrogens to "
            "one atom (app.HBonds without water)"
        )
    cluster, distance = np.zeros((len(stars), 4), np.int32), np.ones((len(stars), 4), np.float32)
    for k, (centre, star) in enumerate(stars.items()):
        atoms = np.array([[centre, *(leaf for leaf, _ in star)]])
        cluster[k, 0] = _bytes(atoms[:, :4]).view(np.int32)[0]
        cluster[k, 1] = (atoms[0, 4] if len(star) == 4 else 0) | len(star) << 8
        distance[k, : len(star)] = [length for _, length in star]
    return cluster, distance
