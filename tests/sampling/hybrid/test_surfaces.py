"""Names and choice of torsions, and frames drawn by weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmd.sampling.hybrid.surfaces import WeightedFrames, torsion_name, torsion_pairs, torsion_words


def frames() -> WeightedFrames:
    """Two states of one moving torsion; a second torsion stands still."""
    state = np.repeat([0, 1, -1], [40, 50, 10])
    angles = np.column_stack([np.where(state == 0, -1.0, 2.0), np.full(100, 0.5)])
    return WeightedFrames(
        torsions=angles, names=("phi ALA2", "still"), pairs=((0, 1),), slow=np.zeros((100, 0)),
        weight=np.where(state >= 0, 1 / 90, 0.0), state=state, states=("one", "two"),
        place=np.column_stack([np.zeros(100, dtype=int), np.arange(100)]),
    )  # fmt: skip


def test_backbone_torsions_have_their_names(alanine: Any) -> None:
    atoms = {(atom.residue.name, atom.name): atom.index for atom in alanine.topology.atoms()}
    quad = [atoms["ACE", "C"], atoms["ALA", "N"], atoms["ALA", "CA"], atoms["ALA", "C"]]
    assert torsion_name(alanine.topology, quad) == torsion_name(alanine.topology, quad[::-1]) == "phi ALA2"
    other = [atoms["ACE", "CH3"], atoms["ACE", "C"], atoms["ALA", "N"], atoms["ALA", "CA"]]
    assert torsion_name(alanine.topology, other) == "CH3-C-N-CA"


def test_phi_and_psi_come_first_else_what_moves_most() -> None:
    weight = np.full(100, 0.01)
    moving = np.random.default_rng(0).uniform(-3, 3, (100, 3)) * np.array([0.01, 1.0, 0.5])
    assert torsion_pairs(("psi ALA2", "chi", "phi ALA2"), moving, weight) == ((2, 0),)
    assert torsion_pairs(("a", "b", "c"), moving, weight) == ((1, 2),)
    assert torsion_pairs(("a",), moving[:, :1], weight) == ()


def test_a_state_is_described_by_torsions_that_move() -> None:
    assert torsion_words(frames(), 0) == "phi ALA2 -57°" and torsion_words(frames(), 1) == "phi ALA2 115°"


def test_frames_are_drawn_from_their_state() -> None:
    trajectory = np.arange(100.0)[:, None, None] * np.ones((1, 2, 3))
    drawn = frames().drawn_by_state([trajectory], 7)
    assert [(name, len(positions)) for name, positions, _ in drawn] == [("one", 7), ("two", 7)]
    assert drawn[0][1].max() < 40 <= drawn[1][1].min() and drawn[1][1].max() < 90
