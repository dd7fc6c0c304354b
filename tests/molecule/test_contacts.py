"""Clashes: least distances, which pairs count, and agreement of both ways to find them."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from latentmd.molecule import contacts as module
from latentmd.molecule.contacts import CLASH_DISTANCE, HYDROGEN_CLASH, Contacts


def _chain(symbols: str) -> Contacts:
    return Contacts.of(symbols, np.array([(i, i + 1) for i in range(len(symbols) - 1)]))


def _line(symbols: str, apart: dict[int, float]) -> np.ndarray:
    """A chain whose atoms are 1 nm from each other, but for some, that are near the first."""
    x = np.arange(len(symbols))[:, None] * np.array([1.0, 0, 0])
    for atom, distance in apart.items():
        x[atom] = [0.0, distance, 0.0]
    return x[None]


def test_pairs_of_hydrogens_count_beyond_three_bonds_and_heavy_ones_beyond_two() -> None:
    for symbols, atom, distance, clashes in (
        ("HCCCH", 4, 0.04, 1), ("HCCCH", 4, HYDROGEN_CLASH + 1e-6, 0), ("HCCH", 3, 0.04, 0),
        ("HCCCO", 4, HYDROGEN_CLASH - 1e-6, 1), ("CCCC", 3, CLASH_DISTANCE - 1e-6, 1), ("CCCC", 3, 0.21, 0),
        ("CCC", 2, 0.04, 0), ("DCCCD", 4, 0.04, 1),
    ):  # fmt: skip
        assert _chain(symbols).clashes(_line(symbols, {atom: distance})).tolist() == [clashes], symbols


def test_virtual_sites_may_be_anywhere() -> None:
    made = Contacts.of(["O", "VS", "C"], np.zeros((0, 2), dtype=np.int64))
    assert made.clashes(np.zeros((1, 3, 3))).tolist() == [1]


def test_all_pairs_and_tree_agree_with_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    count = 60
    symbols = rng.choice(["C", "H", "O"], count).tolist()
    graph = networkx.gnm_random_graph(count, 70, seed=1)
    made = Contacts.of(symbols, np.array(graph.edges))
    frames = rng.uniform(0, 0.9, (3, count, 3))
    steps = dict(networkx.all_pairs_shortest_path_length(graph))

    def clash(x: np.ndarray, i: int, j: int) -> bool:
        heavy = "H" not in (symbols[i], symbols[j])
        apart = steps[i].get(j, count) > (2 if heavy else 3)
        return apart and float(np.linalg.norm(x[i] - x[j])) < (CLASH_DISTANCE if heavy else HYDROGEN_CLASH)

    expected = [sum(clash(x, i, j) for i in range(count) for j in range(i + 1, count)) for x in frames]
    assert min(expected) > 0
    assert made.clashes(frames).tolist() == expected
    monkeypatch.setattr(module, "_BRUTE_FORCE_ATOMS", 10)
    assert made.clashes(frames).tolist() == expected
