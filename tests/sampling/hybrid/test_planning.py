"""Choosing where bursts start."""

from __future__ import annotations

import numpy as np

from latentmd.sampling.hybrid.planning import draw_cells_by_visits, given_plan, unconnected_cells


def test_least_visited_cells_come_first() -> None:
    """With probabilities in proportion to 1 / visits, a cell visited a tenth as often is ten times as likely first."""
    rng = np.random.default_rng(0)
    first = np.array([draw_cells_by_visits(np.array([100, 10, 0]), 1, rng)[0] for _ in range(4000)])
    assert not (first == 2).any(), "no real frame is there to fall back on"
    np.testing.assert_allclose(np.mean(first == 1), 10 / 11, atol=0.02)


def test_cells_are_not_repeated_while_there_are_enough() -> None:
    chosen = draw_cells_by_visits(np.arange(1, 21), 20, np.random.default_rng(0))
    assert sorted(chosen) == list(range(20))
    assert len(draw_cells_by_visits(np.array([3, 5]), 5, np.random.default_rng(0))) == 5


def test_given_structures_are_taken_in_turn() -> None:
    plan = given_plan(np.array([[1.0], [2.0]]), 5)
    np.testing.assert_array_equal(plan.starts[:, 0], [1, 2, 1, 2, 1])
    assert set(plan.origins) == {"given"}


def test_cells_on_either_side_of_a_missing_way_back_are_wanted() -> None:
    """0 and 1 are connected; bursts slid from 2 into 1 and never came back; 3 was never visited."""
    counts = np.array([[9, 2, 0, 0], [3, 9, 0, 0], [0, 4, 1, 0], [0, 0, 0, 0]], dtype=float)
    wanted = unconnected_cells(counts, np.array([11, 15, 5, 0]), np.array([0, 1]))
    np.testing.assert_array_equal(wanted, [False, True, True, False])
