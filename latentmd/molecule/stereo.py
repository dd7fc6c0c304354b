"""Handedness: which amino acids of a structure are L or D, and whether two structures are the same stereoisomer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentmd.arrays import Doubles, Floats
from latentmd.molecule.checks import chiral_quads, signed_volumes, topology_arrays, torsions

_FLAT = 0.1  # |signed volume| below which a centre has no handedness; 0.77 at a tetrahedral atom


def stereochemistry(topology: Any, positions: Floats) -> dict[int, int]:
    """Handedness of every tetrahedral atom with four different substituents.

    The sign is that of v1 · (v2 × v3) over the bonds to three neighbours, heavy atoms first and by index otherwise, so
    that two structures of one topology are the same stereoisomer where all signs agree. It is no R or S.

    Args:
        topology: mdtraj or OpenMM topology, with bonds.
        positions: nm, [atoms, 3].

    Returns:
        Atom index → +1 or -1, or 0 where the atom is flat.
    """
    symbols, bonds = topology_arrays(topology)
    quads = chiral_quads(symbols, bonds, np.asarray(positions, dtype=np.float64))
    if not len(quads):
        return {}
    volumes = signed_volumes(np.asarray(positions, dtype=np.float64)[None], quads)[0]
    return {
        int(quad[0]): 0 if not abs(volume) > _FLAT else int(np.sign(volume))
        for quad, volume in zip(quads, volumes, strict=True)
    }


def difference(topology: Any, positions: Floats, expected: Mapping[int, int], offset: int = 0) -> str:
    """Why a structure is another stereoisomer than expected; empty where it is the same.

    Args:
        topology: mdtraj or OpenMM topology of the structure.
        positions: nm, [atoms, 3].
        expected: from `stereochemistry` of a structure with the same order of atoms.
        offset: added to the atom indices of `expected`.
    """
    found = stereochemistry(topology, positions)
    atoms = list(topology.atoms() if callable(topology.atoms) else topology.atoms)
    other = [i + offset for i, sign in expected.items() if sign * found.get(i + offset, sign) < 0]
    if not other:
        return ""
    names = ", ".join(f"{atoms[i].residue.name}{atoms[i].residue.index + 1}-{atoms[i].name}" for i in other[:5])
    more = f" and {len(other) - 5} more" if len(other) > 5 else ""
    mirror = " (the mirror image)" if len(other) == len(expected) else ""
    return f"it has the other handedness at {names}{more}{mirror}"


def handedness(topology: Any, positions: Floats) -> dict[int, str]:
    """Whether each amino acid with a side chain is L or D, by the corner N, C, C-beta about its C-alpha.

    Seen from the hydrogen, CO, R and N of an L amino acid go clockwise (the CORN rule).

    Args:
        topology: OpenMM topology.
        positions: nm, [atoms, 3].

    Returns:
        Residue index → "L" or "D"; residues without those atoms, or with a flat C-alpha, are left out.
    """
    xyz = np.asarray(positions, dtype=np.float64)
    hands: dict[int, str] = {}
    for residue in topology.residues():
        atoms = {atom.name: atom.index for atom in residue.atoms()}
        if not all(name in atoms for name in ("N", "CA", "C", "CB")):
            continue
        n, c, cb = (_unit(xyz[atoms[name]] - xyz[atoms["CA"]]) for name in ("N", "C", "CB"))
        volume = float(np.dot(n, np.cross(c, cb)))
        if abs(volume) > _FLAT:
            hands[residue.index] = "L" if volume > 0 else "D"
    return hands


def allo_side_chains(topology: Any, positions: Floats) -> list[int]:
    """Residues, by index, of isoleucine and threonine whose C-beta is not of the handedness that goes with C-alpha.

    In L-isoleucine (2S,3S) and L-threonine (2S,3R), CA · (CG1 or OG1 × CG2) about C-beta is positive.

    Args:
        topology: OpenMM topology.
        positions: nm, [atoms, 3].
    """
    xyz, hands, found = np.asarray(positions, dtype=np.float64), handedness(topology, positions), []
    for residue in topology.residues():
        atoms = {atom.name: atom.index for atom in residue.atoms()}
        names = ("CB", "CA", {"ILE": "CG1", "THR": "OG1"}.get(residue.name, ""), "CG2")
        if residue.index not in hands or not all(name in atoms for name in names):
            continue
        a, b, c = (_unit(xyz[atoms[name]] - xyz[atoms["CB"]]) for name in names[1:])
        volume = float(np.dot(a, np.cross(b, c)))
        if abs(volume) > _FLAT and (volume > 0) != (hands[residue.index] == "L"):
            found.append(int(residue.index))
    return found


def _unit(vector: Doubles) -> Doubles:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def cis_peptides(topology: Any, positions: Floats) -> list[int]:
    """Residues, by index, whose peptide bond to the residue before is cis: |ω| below 90°.

    Args:
        topology: OpenMM topology, with bonds.
        positions: nm, [atoms, 3].
    """
    xyz = np.asarray(positions, dtype=np.float64)
    found = []
    for bond in topology.bonds():
        ends = {atom.name: atom for atom in (bond[0], bond[1])}
        if set(ends) != {"C", "N"} or ends["C"].residue is ends["N"].residue:
            continue
        before, after = ({atom.name: atom.index for atom in ends[name].residue.atoms()} for name in ("C", "N"))
        if "CA" in before and "CA" in after:
            quad = np.array([[before["CA"], before["C"], after["N"], after["CA"]]])
            if abs(float(torsions(xyz[None], quad)[0, 0])) < np.pi / 2:
                found.append(int(ends["N"].residue.index))
    return found
