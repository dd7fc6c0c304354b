"""Stereoisomers: L and D, cis and trans, whether two structures are the same isomer, and symmetry of a molecule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

import networkx
import numpy as np
from networkx.algorithms.isomorphism import GraphMatcher, categorical_node_match

from latentmd.arrays import Floats, Ints
from latentmd.molecule.bonds import bond_graph, equivalence_classes, neighbour_lists
from latentmd.molecule.checks import chiral_quads, signed_volumes, topology_arrays, torsions
from latentmd.molecule.chemistry import FileTopology, Topology, chemistry, parts_of
from latentmd.molecule.torsions import isomer_torsions

if TYPE_CHECKING:
    from openmm import app

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
    signs = np.where(np.abs(volumes) > _FLAT, np.sign(volumes), 0)
    found = {int(quad[0]): int(sign) for quad, sign in zip(quads, signs, strict=True)}
    nitrogens = [int(k if symbols[k] == "N" else j) for _, j, k, _ in amides]
    return found | {atom: int(np.sign(cosine)) for atom, cosine in zip(nitrogens, cosines, strict=True)}


def difference(topology: FileTopology, positions: Floats, expected: Mapping[int, int], offset: int = 0) -> str:
    """Why a structure [atoms, 3] is another isomer than `expected` (atoms by `offset`); empty where it is not."""
    found = stereochemistry(topology, positions)
    atoms = parts_of(topology)[0]
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


def _labels(atoms: list[app.topology.Atom], chosen: list[int]) -> str:
    names = ", ".join(f"{atoms[i].residue.name}{atoms[i].residue.index + 1}-{atoms[i].name}" for i in chosen[:5])
    return names + (f" and {len(chosen) - 5} more" if len(chosen) > 5 else "")


def handedness(topology: FileTopology, positions: Floats) -> dict[int, str]:
    """ "L" or "D" of amino acids by N, C, C-beta about C-alpha (CORN rule), without flat or partial ones."""
    volumes = _corners(topology, positions, lambda _: ("CA", "N", "C", "CB"))
    return {residue: "L" if volume > 0 else "D" for residue, volume in volumes.items()}


def allo_side_chains(topology: FileTopology, positions: Floats) -> list[int]:
    """ILE and THR, by index, of the wrong C-beta; of L ones CA · (CG1 or OG1 × CG2) about C-beta is positive."""
    hands, third = handedness(topology, positions), {"ILE": "CG1", "THR": "OG1"}
    volumes = _corners(topology, positions, lambda name: ("CB", "CA", third.get(name, ""), "CG2"))
    return [i for i, volume in volumes.items() if i in hands and (volume > 0) != (hands[i] == "L")]


def _corners(
    topology: FileTopology, positions: Floats, names: Callable[[str], tuple[str, str, str, str]]
) -> dict[int, float]:
    """Signed volume, by index of the residue, of a centre and three neighbours that `names` says, where not flat."""
    quads = {}
    for residue in topology.residues():
        atoms, corner = {atom.name: atom.index for atom in residue.atoms()}, names(residue.name)
        if atoms.keys() >= set(corner):
            quads[int(residue.index)] = [atoms[name] for name in corner]
    rows = np.array(list(quads.values()), dtype=np.int64).reshape(-1, 4)
    with np.errstate(invalid="ignore", divide="ignore"):
        volumes = signed_volumes(np.asarray(positions, dtype=np.float64)[None], rows)[0]
    return {i: float(volume) for i, volume in zip(quads, volumes, strict=True) if abs(volume) > _FLAT}


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


_FLAT_ELEMENTS = ("B", "C", "N")  # three neighbours: flat, or pyramids that invert as fast as they turn
_PYRAMID = 0.3  # |signed volume| above which an atom with three neighbours is no flat one
_MOST = 2000  # ways to map a molecule onto itself that are tried


def symmetric_turns(symbols: list[str], bonds: Ints, quads: Ints) -> tuple[Ints, dict[int, list[int]]]:
    """How many turns (1, 2, 3 or 6) about each torsion's bond give the same molecule, equivalent atoms exchanged.

    Half a turn does so about a bond to a flat atom with two equivalent neighbours (phenyl, carboxylate, nitro, NH2 of
    an amidine), a third of one about a bond to an atom with three (tert-butyl, sulfonate, CF3), a sixth where both ends
    are so. Bonds in rings have none. And twins, by index of the torsions that end in one of two equivalent neighbours
    of a nitrogen, whose two hands are the same: the atoms of the torsion with the other one.
    """
    around = neighbour_lists(len(symbols), bonds)
    classes = equivalence_classes(symbols, bonds.tolist())
    bridges = {frozenset(bond) for bond in networkx.bridges(bond_graph(len(symbols), bonds))}
    turns, twins = np.ones(len(quads), dtype=np.int64), {}
    for index, quad in enumerate(quads.tolist()):
        if frozenset(quad[1:3]) not in bridges:
            continue
        for end, here, there in ((0, quad[1], quad[2]), (3, quad[2], quad[1])):
            others = [i for i in around[here] if i != there]
            if len({classes[i] for i in others}) > 1 or len(others) not in (2, 3):
                continue
            if len(others) == 2 and symbols[here] not in _FLAT_ELEMENTS:
                continue
            turns[index] = np.lcm(turns[index], len(others))
            if len(others) == 2 and symbols[here] == "N":
                twins[index] = list(quad)
                twins[index][end] = next(i for i in others if i != quad[end])
    return turns, twins


def mirror_image(symbols: list[str], bonds: Ints, positions: Floats) -> list[int] | None:
    """Atom that takes the place of each atom in the mirror image; None for a molecule that differs from its image.

    The mirror image of an achiral molecule is the same stereoisomer once equivalent atoms are exchanged: every atom
    with four neighbours, at most one a hydrogen, must be mapped onto one of the other hand, and so must pyramids, but
    for amines, which invert unless all their bonds are in rings. Hydrogens of CH2, CH3, NH2 and NH3 may always be
    exchanged. Without any such atom every atom takes its own place.
    """
    around = neighbour_lists(len(symbols), bonds)
    classes = equivalence_classes(symbols, bonds.tolist())
    near = [sorted(atoms, key=lambda i: (symbols[i] == "H", i)) for atoms in around]
    corners = np.array([[c, *near[c][:3]] for c in range(len(symbols)) if len(near[c]) > 2], dtype=np.int64)
    corners = corners.reshape(-1, 4)
    volumes = signed_volumes(positions[None], corners)[0]
    graph = bond_graph(len(symbols), bonds)
    inverts = {i for bond in networkx.bridges(graph) for i in bond if symbols[i] == "N"}
    handed = [
        sum(symbols[i] == "H" for i in near[c]) <= 1
        and (len(near[c]) == 4 or (symbols[c] in ("N", "P", "S") and c not in inverts and abs(volume) > _PYRAMID))
        for c, volume in zip(corners[:, 0], volumes, strict=True)
    ]
    corners, hands = corners[handed], np.sign(volumes[handed])
    if not len(corners):
        return list(range(len(symbols)))
    for centre in corners[:, 0]:  # one that is mapped onto itself with all its neighbours keeps its hand
        kinds = [classes[i] for i in around[centre]]
        if classes.count(classes[centre]) == 1 and len(set(kinds)) == len(kinds):
            return None
    heavy = graph.subgraph([i for i, symbol in enumerate(symbols) if symbol != "H"]).copy()
    for i in heavy:
        heavy.nodes[i]["kind"] = classes[i]
    matches = GraphMatcher(heavy, heavy, categorical_node_match("kind", None)).isomorphisms_iter()
    for match in islice(matches, _MOST):
        image = _with_hydrogens(match, symbols, around)
        if (np.sign(signed_volumes(positions[None], np.array(image)[corners])[0]) == -hands).all():
            return image
    return None


def _with_hydrogens(found: dict[int, int], symbols: list[str], around: list[list[int]]) -> list[int]:
    """Complete a map of heavy atoms: hydrogens follow their neighbour, in order of index."""
    image = list(range(len(symbols)))
    for atom, other in found.items():
        image[atom] = other
        ours, theirs = ([i for i in around[a] if symbols[i] == "H"] for a in (atom, other))
        for hydrogen, partner in zip(ours, theirs, strict=True):
            image[hydrogen] = partner
    return image
