"""Stereoisomers: L and D, cis and trans, and whether two structures are the same isomer of a molecule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentmd.arrays import Doubles, Floats
from latentmd.molecule.checks import chiral_quads, signed_volumes, topology_arrays, torsions
from latentmd.molecule.chemistry import FileTopology, Topology, chemistry
from latentmd.molecule.torsions import isomer_torsions

_FLAT = 0.1  # |signed volume| below which a centre has no handedness; 0.77 at a tetrahedral atom


def stereochemistry(topology: Topology, positions: Floats) -> dict[int, int]:
    """What no simulation turns: hands of tetrahedral atoms with four different substituents, cis and trans of amides.

    Index of the centre, or of the nitrogen of an amide → +1 or -1, or 0 where the atom is flat. The sign of a hand is
    that of v1 · (v2 × v3) over the bonds to three neighbours, heavy atoms first and by index otherwise, that of an
    amide the sign of the cosine of its torsion, so that two structures of one topology are the same stereoisomer where
    all signs agree. They are no R or S, E or Z.
    """
    symbols, bonds = topology_arrays(topology)
    x = np.asarray(positions, dtype=np.float64)
    quads, amides = chiral_quads(symbols, bonds, x), isomer_torsions(symbols, bonds)
    volumes, cosines = signed_volumes(x[None], quads)[0], np.cos(torsions(x[None], amides))[0]
    found = {
        int(quad[0]): 0 if not abs(volume) > _FLAT else int(np.sign(volume))
        for quad, volume in zip(quads, volumes, strict=True)
    }
    nitrogens = [int(k if symbols[k] == "N" else j) for _, j, k, _ in amides]
    return found | {atom: int(np.sign(cosine)) for atom, cosine in zip(nitrogens, cosines, strict=True)}


def difference(topology: FileTopology, positions: Floats, expected: Mapping[int, int], offset: int = 0) -> str:
    """Why a structure [atoms, 3] is another stereoisomer than `expected` of `stereochemistry`; empty where it is not.

    `offset` is added to the atom indices of `expected`.
    """
    found = stereochemistry(topology, positions)
    atoms = list(topology.atoms() if callable(topology.atoms) else topology.atoms)
    other = [i + offset for i, sign in expected.items() if sign * found.get(i + offset, sign) < 0]
    amides = [i for i in other if atoms[i].element.symbol == "N"]
    centres = [i for i in other if i not in amides]
    parts = []
    if centres:
        every = sum(atoms[i + offset].element.symbol != "N" for i in expected) == len(centres)
        mirror = " (the mirror image)" if every and not amides else ""
        parts.append(f"the other handedness at {_labels(atoms, centres)}{mirror}")
    if amides:
        parts.append(f"the amide bond of {_labels(atoms, amides)} turned by half (cis for trans or trans for cis)")
    return f"it has {' and '.join(parts)}" if parts else ""


def _labels(atoms: list[Any], chosen: list[int]) -> str:
    names = ", ".join(f"{atoms[i].residue.name}{atoms[i].residue.index + 1}-{atoms[i].name}" for i in chosen[:5])
    return names + (f" and {len(chosen) - 5} more" if len(chosen) > 5 else "")


def handedness(topology: FileTopology, positions: Floats) -> dict[int, str]:
    """Whether each amino acid with a side chain is "L" or "D", by the corner N, C, C-beta about its C-alpha.

    Seen from the hydrogen, CO, R and N of an L amino acid go clockwise (the CORN rule). Residues without those atoms,
    or with a flat C-alpha, are left out.
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


def allo_side_chains(topology: FileTopology, positions: Floats) -> list[int]:
    """Residues, by index, of isoleucine and threonine whose C-beta is not of the handedness that goes with C-alpha.

    In L-isoleucine (2S,3S) and L-threonine (2S,3R), CA · (CG1 or OG1 × CG2) about C-beta is positive.
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


def cis_peptides(topology: Topology, positions: Floats) -> list[int]:
    """Residues, by index, whose peptide bond to the residue or cap before is cis: |ω| below 90°."""
    record, xyz = chemistry(topology), np.asarray(positions, dtype=np.float64)
    atoms: dict[int, dict[str, int]] = {}
    for i, (residue, name) in enumerate(zip(record.residue_index, record.names, strict=True)):
        atoms.setdefault(residue, {})["CA" if name == "CH3" else name] = i
    found = []
    for pair in record.bonds:
        ends = {record.names[i]: i for i in pair}
        before, after = (record.residue_index[i] for i in (ends.get("C", pair[0]), ends.get("N", pair[0])))
        if set(ends) == {"C", "N"} and before != after and "CA" in atoms[before] and "CA" in atoms[after]:
            quad = np.array([[atoms[before]["CA"], ends["C"], ends["N"], atoms[after]["CA"]]])
            if abs(float(torsions(xyz[None], quad)[0, 0])) < np.pi / 2:
                found.append(int(after))
    return sorted(found)
