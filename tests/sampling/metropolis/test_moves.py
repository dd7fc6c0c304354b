"""Moves of all torsions at once: they change nothing else, and their density is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.moves import TorsionMove, acyclic_torsions


@pytest.fixture(scope="module")
def move(alanine: Any) -> TorsionMove:
    symbols, bonds = topology_arrays(alanine.topology)
    quads, sides = acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(symbols))
    centres = np.random.default_rng(0).uniform(-np.pi, np.pi, (30, len(quads)))
    return TorsionMove(quads, sides, centres, 0.3)


def test_turned_torsions_are_those_asked_for_and_nothing_else_changes(move: TorsionMove, alanine: Any) -> None:
    start = np.asarray(alanine.positions._value)
    _, bonds = topology_arrays(alanine.topology)
    around = {i: [int(b[1 - k]) for b in bonds for k in (0, 1) if b[k] == i] for i in range(len(start))}
    near = np.array([(i, k) for j in around for i in around[j] for k in around[j] if i < k] + bonds.tolist())
    before = np.linalg.norm(start[near[:, 0]] - start[near[:, 1]], axis=1)
    for angles in move.centres[:5]:
        moved = move.with_torsions(start, angles)
        np.testing.assert_allclose(np.cos(torsions(moved[None], move.quads)[0] - angles), 1.0, atol=1e-10)
        after = np.linalg.norm(moved[near[:, 0]] - moved[near[:, 1]], axis=1)
        np.testing.assert_allclose(after, before, atol=1e-12)  # of bonds, and across angles
    np.testing.assert_allclose(move.with_torsions(start, move.angles(start)), start, atol=1e-12)


def test_the_density_is_that_of_the_draws(move: TorsionMove) -> None:
    """It sums to 1 over a grid, and the mean logarithm of draws is its entropy on that grid."""
    one = TorsionMove(move.quads[:1], move.sides[:1], move.centres[:4, :1], 0.2)
    grid = np.linspace(-np.pi, np.pi, 2000, endpoint=False)
    density = np.exp([one.log_density(np.array([t])) for t in grid])
    assert density.mean() * 2 * np.pi == pytest.approx(1.0, abs=1e-9)
    rng = np.random.default_rng(1)
    drawn = np.mean([one.log_density(one.draw(rng)) for _ in range(4000)])
    assert drawn == pytest.approx((density * np.log(density)).mean() * 2 * np.pi, abs=0.05)


def test_bonds_of_a_ring_do_not_turn() -> None:
    """Ethylbenzene without hydrogens but two: of all bonds only those that leave the ring turn."""
    symbols = ["C"] * 8 + ["H", "H"]
    bonds = np.array([(i, (i + 1) % 6) for i in range(6)] + [(0, 6), (6, 7), (6, 8), (7, 9)])
    quads, sides = acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(symbols))
    assert {tuple(sorted(q[1:3])) for q in quads.tolist()} == {(0, 6), (6, 7)}
    assert {frozenset(side.tolist()) for side in sides} == {frozenset({6, 7, 8, 9}), frozenset({7, 9})}
