"""Symmetry of a molecule: turns about bonds that change nothing, and whether it equals its mirror image."""

from __future__ import annotations

from itertools import islice

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.molecule.bonds import bond_graph, equivalence_classes, neighbour_lists
from latentmd.molecule.checks import signed_volumes

_FLAT_ELEMENTS = ("B", "C", "N")  # three neighbours: flat, or pyramids that invert as fast as they turn
_PYRAMID = 0.3  # |signed volume| above which an atom with three neighbours is no flat one
_MOST = 2000  # ways to map a molecule onto itself that are tried


def symmetric_turns(symbols: list[str], bonds: Ints, quads: Ints) -> tuple[Ints, dict[int, list[int]]]:
    """How many turns (1, 2, 3 or 6) about each torsion's bond give the same molecule, equivalent atoms exchanged.

    Half a turn does so about a bond to a flat atom with two equivalent neighbours (phenyl, carboxylate, nitro, NH2 of
    an amidine), a third of one about a bond to an atom with three (tert-butyl, sulfonate, CF3), a sixth where both ends
    are so. Bonds in rings have none. And twins, of the torsions that end in one of two equivalent neighbours of a
    nitrogen, by index: the atoms of the torsion with the other one. The nitrogen may be a pyramid, and its two hands
    are the same then.
    """
    import networkx

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
    with four neighbours, at most one a hydrogen, must be mapped onto one of the other hand, and so must pyramids, which
    need not invert. Hydrogens of CH2, CH3, NH2 and NH3 may always be exchanged.
    """
    from networkx.algorithms.isomorphism import GraphMatcher, categorical_node_match

    around = neighbour_lists(len(symbols), bonds)
    classes = equivalence_classes(symbols, bonds.tolist())
    near = [sorted(atoms, key=lambda i: (symbols[i] == "H", i)) for atoms in around]
    corners = np.array([[c, *near[c][:3]] for c in range(len(symbols)) if len(near[c]) > 2], dtype=np.int64)
    corners = corners.reshape(-1, 4)
    volumes = signed_volumes(positions[None], corners)[0]
    handed = [_has_hand(symbols, near[c], symbols[c], volume) for c, volume in zip(corners[:, 0], volumes, strict=True)]
    corners, hands = corners[handed], np.sign(volumes[handed])
    if any(_stays(int(c), classes, around) for c in corners[:, 0]):
        return None
    graph = bond_graph(len(symbols), bonds)
    heavy = graph.subgraph([i for i, symbol in enumerate(symbols) if symbol != "H"]).copy()
    for i in heavy:
        heavy.nodes[i]["kind"] = classes[i]
    matches = GraphMatcher(heavy, heavy, categorical_node_match("kind", None)).isomorphisms_iter()
    for match in islice(matches, _MOST):
        image = _with_hydrogens(match, symbols, around)
        if (np.sign(signed_volumes(positions[None], np.array(image)[corners])[0]) == -hands).all():
            return image
    return None


def _has_hand(symbols: list[str], near: list[int], symbol: str, volume: float) -> bool:
    """Whether an atom with these neighbours keeps its hand: at most one hydrogen, and four neighbours or a pyramid."""
    pyramid = symbol in ("N", "P", "S") and abs(volume) > _PYRAMID
    return sum(symbols[i] == "H" for i in near) <= 1 and (len(near) == 4 or pyramid)


def _stays(centre: int, classes: list[int], around: list[list[int]]) -> bool:
    """Whether an atom and all its neighbours are mapped onto themselves whatever the map, so that it keeps its hand."""
    near = [classes[i] for i in around[centre]]
    return classes.count(classes[centre]) == 1 and len(set(near)) == len(near)


def _with_hydrogens(found: dict[int, int], symbols: list[str], around: list[list[int]]) -> list[int]:
    """Complete a map of heavy atoms: hydrogens follow their neighbour, in order of index."""
    image = list(range(len(symbols)))
    for atom, other in found.items():
        image[atom] = other
        ours, theirs = ([i for i in around[a] if symbols[i] == "H"] for a in (atom, other))
        for hydrogen, partner in zip(ours, theirs, strict=True):
            image[hydrogen] = partner
    return image
