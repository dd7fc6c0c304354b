"""Moves of a few torsions: they change nothing else, and their ratios of densities are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import acyclic_torsions, amide_torsions, rotatable_torsions
from latentmd.sampling.metropolis.blocks import Block, BlockMove, TorsionKernels, Torsions, blocks_of


@pytest.fixture(scope="module")
def bonded(alanine: Any) -> Torsions:
    symbols, bonds = topology_arrays(alanine.topology)
    return Torsions(*acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(symbols)))


def _amides(alanine: Any, bonded: Torsions) -> np.ndarray:
    symbols, bonds = topology_arrays(alanine.topology)
    amides = {tuple(quad) for quad in amide_torsions(symbols, bonds).tolist()}
    return np.array([i for i, quad in enumerate(bonded.quads.tolist()) if tuple(quad) in amides])


def test_turns_change_the_named_torsions_and_no_length_or_angle(alanine: Any, bonded: Torsions) -> None:
    start = np.repeat(np.asarray(alanine.positions._value)[None], 4, axis=0)
    _, bonds = topology_arrays(alanine.topology)
    around = {i: [int(b[1 - k]) for b in bonds for k in (0, 1) if b[k] == i] for i in range(start.shape[1])}
    near = np.array([(i, k) for j in around for i in around[j] for k in around[j] if i < k] + bonds.tolist())
    turns = np.random.default_rng(0).uniform(-3, 3, (4, 2))
    moved = bonded.turned(start, (1, 2), turns)
    change = np.angle(np.exp(1j * (bonded.angles(moved) - bonded.angles(start))))
    np.testing.assert_allclose(np.cos(change[:, [1, 2]] - turns), 1.0, atol=1e-10)
    np.testing.assert_allclose(np.delete(change, [1, 2], axis=1), 0.0, atol=1e-7)

    def lengths(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, near[:, 0]] - x[:, near[:, 1]], axis=2)

    np.testing.assert_allclose(lengths(moved), lengths(start), atol=1e-12)


def test_blocks_of_alanine_dipeptide(alanine: Any, bonded: Torsions) -> None:
    """φ, ψ, and the two methyl-side bonds are free; the amides are not drawn but rotate against their neighbours."""
    amides = _amides(alanine, bonded)
    blocks = blocks_of(bonded.quads, amides, amides[:1])
    assert len(amides) == 2
    drawn = [block.torsions for block in blocks if block.kind == "draw"]
    assert not any(set(block) & set(amides.tolist()) for block in drawn)
    free = sorted(set(range(len(bonded.quads))) - set(amides.tolist()))
    assert [(i,) for i in free] == drawn[: len(free)]
    assert [block.torsions for block in blocks if block.kind == "flip"] == [(int(amides[0]),)]
    shared = [block for block in drawn if len(block) == 2]
    assert len(shared) == len(set(shared))


@pytest.mark.parametrize("kind", ["counter-rotation", "flip"])
def test_symmetric_moves_have_no_ratio(alanine: Any, bonded: Torsions, kind: Any) -> None:
    start = np.repeat(np.asarray(alanine.positions._value)[None], 500, axis=0)
    which = (0, 2) if kind == "counter-rotation" else (0,)
    move = BlockMove(Block(kind, which), bonded)
    moved, ratio, _ = move.propose(start, np.zeros(500, dtype=int), np.random.default_rng(0))
    change = np.angle(np.exp(1j * (bonded.angles(moved) - bonded.angles(start))))[:, list(which)]
    assert not ratio.any()
    if kind == "counter-rotation":
        np.testing.assert_allclose(np.cos(change.sum(axis=1)), 1.0, atol=1e-10)
        assert abs(change[:, 0].mean()) < 0.1
    else:
        assert (np.cos(change) < -0.5).all()


def test_the_ratio_is_that_of_the_densities(alanine: Any, bonded: Torsions) -> None:
    start = np.repeat(np.asarray(alanine.positions._value)[None], 6, axis=0)
    kernels = TorsionKernels(np.random.default_rng(3).uniform(-3, 3, (2, 5, 2)), 0.4)
    move = BlockMove(Block("draw", (1, 2)), bonded, kernels)
    groups = np.array([0, 1, 0, 1, 0, 1])
    moved, ratio, _ = move.propose(start, groups, np.random.default_rng(1))
    old, new = (bonded.angles(x)[:, [1, 2]] for x in (start, moved))
    expected = kernels.log_density(old, groups) - kernels.log_density(new, groups)
    np.testing.assert_allclose(ratio, expected, atol=1e-8)
