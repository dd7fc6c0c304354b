"""Choice of torsions, and frames drawn by weight."""

from __future__ import annotations

import numpy as np

from latentmd.sampling.metropolis.surfaces import WeightedFrames, surface_figures, torsion_pairs

FRAMES = WeightedFrames(
    torsions=np.random.default_rng(1).uniform(-3, 3, (100, 2)),
    names=("phi ALA2", "psi ALA2"),
    pairs=((0, 1),),
    weight=np.where(np.arange(100) < 40, 1 / 40, 0.0),
    place=np.column_stack([np.zeros(100, dtype=int), np.arange(100)]),
)


def test_phi_and_psi_come_first_else_what_moves_most() -> None:
    weight = np.full(100, 0.01)
    moving = np.random.default_rng(0).uniform(-3, 3, (100, 3)) * np.array([0.01, 1.0, 0.5])
    assert torsion_pairs(("psi ALA2", "chi", "phi ALA2"), moving, weight) == ((2, 0),)
    assert torsion_pairs(("a", "b", "c"), moving, weight) == ((1, 2),)
    assert torsion_pairs(("a",), moving[:, :1], weight) == ()


def test_frames_are_drawn_by_weight() -> None:
    trajectory = np.arange(100.0)[:, None, None] * np.ones((1, 2, 3))
    drawn = FRAMES.drawn([trajectory], 7)
    assert drawn.shape == (7, 2, 3) and drawn.max() < 40
    assert len(FRAMES.drawn([trajectory], 1000)) == 40


def test_a_surface_for_each_pair() -> None:
    ((image, caption),) = surface_figures(FRAMES, 300.0)
    assert image.startswith(b"\x89PNG") and "φ ALA2 and ψ ALA2" in caption
