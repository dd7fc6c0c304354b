"""Checks of a molecule against what no molecule can be, before and after anything is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.systems.names import AMINO_ACIDS, CHARGES, STATES
from latentmd.systems.protocol import MoleculeError
from latentmd.systems.residues import Residue, listed

LONGEST_BOND = 0.25  # nm; longer than any bond of the elements that force fields of biomolecules know
_SAME_PLACE = 0.05  # nm; the shortest bond, H-H, is 0.074
_NANOMETRES = 0.03  # nm; a typical bond below it means that the numbers were nm, not angstrom
_TYPICAL = 0.3  # nm; a typical distance of nearest neighbours above it means that they were no angstrom
_SAME_NUMBERS = 0.004  # nm; below it, nearest neighbours are copies of one atom, up to rounding


def check_positions(residues: list[Residue]) -> None:
    """Refuse coordinates that are all alike, in other units than the format's, or that put atoms in one place."""
    from scipy.spatial import cKDTree

    labels = [residue.label(atom.name) for residue in residues for atom in residue.atoms]
    xyz = np.array([atom.position for residue in residues for atom in residue.atoms], dtype=np.float64)
    if len(xyz) < 2:
        return
    if np.ptp(xyz, axis=0).max() < 1e-6:
        raise MoleculeError(f"all {len(xyz)} atoms are at one point; the file holds no coordinates")
    if np.abs(xyz).max() > 1e4:
        worst = int(np.abs(xyz).max(axis=1).argmax())
        raise MoleculeError(f"atom {labels[worst]} is {np.abs(xyz).max():.3g} nm from the origin; correct the file")
    tree = cKDTree(xyz)
    typical = float(np.median(tree.query(xyz, k=2)[0][:, 1]))
    if _SAME_NUMBERS < typical < _NANOMETRES or typical > _TYPICAL:
        raise MoleculeError(
            f"neighbouring atoms are typically {typical:.3f} nm apart, expected 0.1 to 0.15: the coordinates are in "
            "another unit than the format's (angstrom; nm in GRO files), or most atoms are missing"
        )
    pairs = tree.query_pairs(_SAME_PLACE, output_type="ndarray")
    if len(pairs):
        involved = len(np.unique(pairs))
        if involved > 0.8 * len(xyz):
            raise MoleculeError(f"{involved} of {len(xyz)} atoms share a place: the molecule is there twice; keep one")
        i, j = pairs[0]
        gap = float(np.linalg.norm(xyz[i] - xyz[j]))
        raise MoleculeError(f"atoms {labels[i]} and {labels[j]} are {gap:.3f} nm apart; remove or move one of them")


def label(atom: app.topology.Atom) -> str:
    """Such as "A:ALA2:CB"."""
    residue = atom.residue
    return f"{residue.chain.id}:{residue.name}{residue.id}:{atom.name}"


def check_bonds(topology: app.Topology, positions: unit.Quantity | Doubles) -> None:
    """Refuse a bond that is longer than 0.25 nm or shorter than 0.05 nm."""
    xyz = in_nm(positions)
    for first, second in topology.bonds():
        length = float(np.linalg.norm(xyz[first.index] - xyz[second.index]))
        if not _SAME_PLACE <= length <= LONGEST_BOND:
            raise MoleculeError(
                f"the bond {label(first)} to {label(second)} would be {length:.3f} nm long; expected {_SAME_PLACE} to "
                f"{LONGEST_BOND} nm: correct the coordinates, or leave the residue's other atoms out to have them built"
            )


def in_nm(positions: Any) -> Doubles:
    """Positions as a float64 array in nm, [atoms, 3]."""
    values = positions.value_in_unit(unit.nanometer) if unit.is_quantity(positions) else positions
    return np.array(values, dtype=np.float64).reshape(-1, 3)


def named_charge(topology: app.Topology) -> int | None:
    """Net charge, e, of amino acids and caps by names and chain ends (+1 free N, -1 OXT); None of other molecules."""
    total = 0
    bonded = {(atom, other.residue) for bond in topology.bonds() for atom, other in (bond, bond[::-1])}
    outward = {(atom.residue, atom.name) for atom, other in bonded if other is not atom.residue}
    for residue in topology.residues():
        if residue.name in ("ACE", "NME", "NH2", "HOH"):
            continue
        if STATES.get(residue.name, residue.name) not in AMINO_ACIDS:
            return None
        total += CHARGES.get(residue.name, 0)
        names = {atom.name for atom in residue.atoms()}
        total += (residue, "N") not in outward
        total -= "OXT" in names and (residue, "C") not in outward
    return total


def net_charge(system: openmm.System) -> float:
    """Net charge of a System by its NonbondedForces, e."""
    forces = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    charges = (force.getParticleParameters(i)[0]._value for force in forces for i in range(force.getNumParticles()))
    return float(sum(charges))


def check_charge(topology: app.Topology, system: openmm.System) -> None:
    """Refuse a net charge that the names of the residues do not explain."""
    expected, found = named_charge(topology), net_charge(system)
    nonbonded = any(isinstance(force, openmm.NonbondedForce) for force in system.getForces())
    if nonbonded and expected is not None and abs(found - expected) > 0.01:
        names = listed(dict.fromkeys(residue.name for residue in topology.residues()))
        raise MoleculeError(
            f"the net charge would be {found:+.2f} e, the residues ({names}) explain {expected:+d} e: name the "
            "residues by their protonation (ASH, GLH, HIP, LYN, CYM) or leave the hydrogens out"
        )
