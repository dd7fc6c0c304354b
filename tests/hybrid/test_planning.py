"""Choosing where bursts start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.hybrid.cells import fit_cells
from latentmd.hybrid.dataset import Dataset
from latentmd.hybrid.planning import Planner, choose_cells, given_plan
from latentmd.hybrid.protocols import Serial
from latentmd.hybrid.settings import Settings
from latentmd.hybrid.state import Store
from latentmd.hybrid.toy import ToyEngine, double_well
from latentmd.hybrid.toy_explorer import LatentExplorer


def test_least_visited_cells_come_first() -> None:
    """With probabilities in proportion to 1 / visits, a cell visited a tenth as often is ten times as likely first."""
    rng = np.random.default_rng(0)
    first = np.array([choose_cells(np.array([100, 10, 0]), 1, rng)[0] for _ in range(4000)])
    assert not (first == 2).any(), "no real frame is there to fall back on"
    np.testing.assert_allclose(np.mean(first == 1), 10 / 11, atol=0.02)


def test_cells_are_not_repeated_while_there_are_enough() -> None:
    chosen = choose_cells(np.arange(1, 21), 20, np.random.default_rng(0))
    assert sorted(chosen) == list(range(20))
    assert len(choose_cells(np.array([3, 5]), 5, np.random.default_rng(0))) == 5


def test_given_structures_are_taken_in_turn() -> None:
    plan = given_plan(np.array([[1.0], [2.0]]), 5)
    np.testing.assert_array_equal(plan.starts[:, 0], [1, 2, 1, 2, 1])
    assert set(plan.origins) == {"given"}


@pytest.mark.parametrize("named", [True, False])
def test_a_gap_between_basins_draws_starts_to_both_of_its_sides(tmp_path: Path, named: bool) -> None:
    """No burst crosses a barrier of 12 kT; the innermost cells on either side are worth most."""
    landscape = double_well(12.0)
    engine, settings = ToyEngine(landscape, 5), Settings(starts=16, relaxation=0, lag=4, frames=30)
    states = landscape.states if named else None
    dataset = Dataset(Store(tmp_path, {}), engine, LatentExplorer(1, 4, 0), states, 0)
    for task in range(60):
        dataset.add((0, task), "given", engine.burst(np.array([(-1.0, 1.0)[task % 2]]), 30, task))
    x, rng = np.concatenate(dataset.physical)[:, 0], np.random.default_rng(0)
    cells = fit_cells(dataset.features(), 12, 15, 4, rng)
    gains = Planner(dataset, cells, settings, Serial())._gains()
    where = cells.assign(np.concatenate(dataset.features()))
    left = max(x[where == c].mean() for c in set(where[x < 0]))
    right = min(x[where == c].mean() for c in set(where[x > 0]))
    worth_most = sorted(x[where == c].mean() for c in np.argsort(gains)[-2:])
    np.testing.assert_allclose(worth_most, [left, right])
