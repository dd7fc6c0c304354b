"""Torsions of a bond graph that describe its shape: those about bonds that can turn, and those of amides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import networkx
import numpy as np

from latentmd.arrays import Ints
from latentmd.molecule.bonds import bond_graph, neighbour_lists

if TYPE_CHECKING:
    from openmm import app


def rotatable_torsions(symbols: list[str], bonds: Ints, rotors: bool = False) -> Ints:
    """One torsion i-j-k-l about every bond j-k between atoms that both have other neighbours, shape (torsions, 4).

    The outer atoms are heavy ones where there are any, the chain rather than an end such as a carbonyl oxygen, then
    nitrogen, carbonyl carbon and what is next to one, so that a peptide's torsions are its φ, ψ, ω and χ in any order
    of its atoms; else the first in the file. Turns of three hydrogens are left out but for `rotors`.
    """
    around = neighbour_lists(len(symbols), bonds)
    oxo = _carbonyls(symbols, around)
    near = [2 * (i in oxo) or int(bool(oxo & set(around[i]))) for i in range(len(symbols))]
    ranks = [(symbols[i] == "H", len(around[i]) == 1, symbols[i] != "N", -near[i], i) for i in range(len(symbols))]
    found = []
    for j, k in sorted((min(a, b), max(a, b)) for a, b in bonds.tolist()):
        left, right = ([i for i in around[a] if i != b] for a, b in ((j, k), (k, j)))
        rotor = any(len(side) == 3 and all(symbols[i] == "H" for i in side) for side in (left, right))
        if left and right and (rotors or not rotor):
            found.append((min(left, key=ranks.__getitem__), j, k, min(right, key=ranks.__getitem__)))
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def amide_torsions(symbols: list[str], bonds: Ints) -> Ints:
    """One torsion about every bond between a carbonyl carbon and a nitrogen, shape (amides, 4)."""
    carbonyl = _carbonyls(symbols, neighbour_lists(len(symbols), bonds))
    quads = rotatable_torsions(symbols, bonds)
    kept = [q for q in quads.tolist() if any(a in carbonyl and symbols[b] == "N" for a, b in (q[1:3], q[2:0:-1]))]
    return np.array(kept, dtype=np.int64).reshape(-1, 4)


def _carbonyls(symbols: list[str], around: Sequence[Collection[int]]) -> set[int]:
    oxygens = {i for i, near in enumerate(around) if symbols[i] == "O" and len(near) == 1}
    return {i for i, near in enumerate(around) if symbols[i] == "C" and len(near) == 3 and oxygens & set(near)}


def isomer_torsions(symbols: list[str], bonds: Ints) -> Ints:
    """The torsions of amides that are cis or trans, shape (amides, 4): a half-turn of NH2 exchanges what is alike."""
    around = neighbour_lists(len(symbols), bonds)
    light = [sum(symbols[j] in ("H", "D") for j in near) for near in around]
    alike = {i for i, symbol in enumerate(symbols) if symbol == "N" and light[i] > 1}
    kept = [quad for quad in amide_torsions(symbols, bonds).tolist() if not alike & set(quad[1:3])]
    return np.array(kept, dtype=np.int64).reshape(-1, 4)


def acyclic_torsions(quads: Ints, bonds: Ints, atoms: int) -> tuple[Ints, tuple[Ints, ...]]:
    """The torsions (torsions, 4) whose bond is in no ring, and the atoms on the far side of each."""
    graph = bond_graph(atoms, bonds)
    bridges = {frozenset(bond) for bond in networkx.bridges(graph)}
    kept = [quad for quad in quads.tolist() if frozenset(quad[1:3]) in bridges]
    sides = []
    for _, near, far, _ in kept:
        graph.remove_edge(near, far)
        sides.append(np.array(sorted(networkx.node_connected_component(graph, far)), dtype=np.int64))
        graph.add_edge(near, far)
    return np.array(kept, dtype=np.int64).reshape(-1, 4), tuple(sides)


def torsion_name(topology: app.Topology, quad: Sequence[int]) -> str:
    """Name such as "phi ALA2" or "chi1 LEU3", or of the atoms, such as "C4-C5-C6-C7"."""
    every = list(topology.atoms())
    for atoms in ([every[i] for i in quad], [every[i] for i in reversed(quad)]):
        names = tuple(atom.name for atom in atoms)
        label, position = _BACKBONE.get(names) or _side_chain(names) or ("", 0)
        if label:
            residue = atoms[position].residue
            return f"{label} {residue.name}{residue.id}"
    return "-".join(every[i].name for i in quad)


_BACKBONE = {("C", "N", "CA", "C"): ("phi", 1), ("N", "CA", "C", "N"): ("psi", 1), ("CA", "C", "N", "CA"): ("omega", 2)}
_LETTERS = "ABGDEZH"  # how far an atom is from the backbone


def _side_chain(names: tuple[str, ...]) -> tuple[str, int] | None:
    """(label, position of an atom of the residue) of a side-chain torsion, None for another one."""
    if any(len(name) < 2 for name in names[1:3]) or names[1] == "CH3":
        return None
    first = "N" if names[0] == "N" else names[0][1:2]
    place = 0 if first == "N" else _LETTERS.find(first) + 1
    expected = _LETTERS[place : place + 2]
    if names[1][1] + names[2][1] != expected or (place > 0 and first == ""):
        return None
    return f"chi{place + 1}", 1
