"""Walks over bond graphs whose answers are known: butane, cyclopropane with a tail, two molecules."""

from __future__ import annotations

import numpy as np

from latentmd.molecule import bonds

CHAIN = [(0, 1), (1, 2), (2, 3)]
RING = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4)]


def test_neighbours_and_parts() -> None:
    assert bonds.neighbour_lists(4, [(2, 1), (0, 1), (3, 2)]) == [[1], [0, 2], [1, 3], [2]]
    assert bonds.components(6, [(5, 0), (1, 4), (4, 3)]) == [[0, 5], [1, 3, 4], [2]]


def test_a_spanning_tree_reaches_every_atom_once_parents_first() -> None:
    tree = bonds.spanning_tree(5, RING, root=4)
    assert tree == [(3, 4), (2, 3), (0, 2), (1, 2)]
    assert bonds.eccentricity(5, RING, 4) == 3


def test_separations_are_cut() -> None:
    assert bonds.separations(5, CHAIN, 3).tolist() == [
        [0, 1, 2, 3, 3], [1, 0, 1, 2, 3], [2, 1, 0, 1, 3], [3, 2, 1, 0, 3], [3, 3, 3, 3, 0],
    ]  # fmt: skip


def test_equivalent_atoms_share_a_class() -> None:
    classes = bonds.equivalence_classes(["C"] * 4, CHAIN)
    assert classes[0] == classes[3] != classes[1] == classes[2]
    assert len(set(bonds.equivalence_classes(["C", "C", "C", "O"], CHAIN))) == 4


def test_a_cut_molecule_becomes_whole() -> None:
    box = np.array([[2.0, 0, 0], [0.5, 2.0, 0], [0, 0, 3.0]])
    x = np.cumsum(np.full((4, 3), 0.1), axis=0)
    cut = x + np.array([[0, 0, 0], [1, 0, 0], [0, -1, 2], [3, 1, 0]]) @ box
    tree = bonds.spanning_tree(4, CHAIN)
    np.testing.assert_allclose(bonds.make_whole(cut, tree, box), x, atol=1e-12)
    kept = bonds.make_whole(cut, tree, box, (False, False, False))
    assert np.array_equal(kept, cut)
