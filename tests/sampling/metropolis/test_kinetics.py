"""Rates from bursts with known populations: closed forms of a Markov chain, and MD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.analysis.msm import ReversibleModel
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis import kinetics
from latentmd.sampling.metropolis.kinetics import BurstTask, Cells, passages, pick_starts, run_bursts

FLUXES = np.array([[0.30, 0.05, 0.0, 0.0], [0.05, 0.20, 0.004, 0.0], [0.0, 0.004, 0.15, 0.03], [0.0, 0.0, 0.03, 0.182]])
EXACT = ReversibleModel(np.arange(4), FLUXES)
INSIDE = np.array([False, False, True, True])


def _bursts(rng: np.random.Generator, count: int, frames: int) -> list[np.ndarray]:
    """Bursts of the chain, as many from each state."""
    cumulative = np.cumsum(EXACT.matrix, axis=1)
    paths = np.empty((count, frames), dtype=np.int64)
    paths[:, 0] = np.resize(np.arange(4), count)
    for i in range(1, frames):
        paths[:, i] = (rng.random(count)[:, None] > cumulative[paths[:, i - 1]]).sum(axis=1)
    return list(paths)


def test_passage_times_of_a_chain_from_short_bursts() -> None:
    """Bursts of 20 frames, ten times shorter than the passages; starts as many from each state."""
    rng = np.random.default_rng(0)
    found = passages(_bursts(rng, 600, 20), EXACT.stationary, INSIDE, lag=1, interval=0.5, rng=rng)
    assert found is not None
    for value, error, target in ((found.into, found.errors[0], INSIDE), (found.out, found.errors[1], ~INSIDE)):
        times = EXACT.passage_times(np.flatnonzero(target), 0.5)[~target]
        exact = EXACT.stationary[~target] @ times / EXACT.stationary[~target].sum()
        assert exact > 20 * 0.5 and abs(value - exact) < 3 * error and error < 0.25 * exact
    assert found.doubled[0] == pytest.approx(found.into, rel=0.2)


def test_nothing_is_said_where_no_burst_crosses() -> None:
    rng = np.random.default_rng(0)
    paths = [np.array([0, 1, 0, 1, 1, 0]), np.array([2, 3, 2, 3, 3, 2])]
    assert passages(paths, EXACT.stationary, INSIDE, lag=1, interval=0.5, rng=rng) is None


def test_starts_cover_rare_cells() -> None:
    cells = np.array([0] * 980 + [1] * 15 + [2] * 5)
    picked = pick_starts(cells, 60, np.random.default_rng(0))
    assert len(picked) == 60 and np.bincount(cells[picked])[1:].min() >= 10


def test_cells_are_nearest_centres_on_the_circle() -> None:
    rng = np.random.default_rng(0)
    angles = rng.choice([-3.1, 3.1, 0.0], (400, 2)) + 0.01 * rng.standard_normal((400, 2))
    cells = Cells.of(angles, np.array([0]), seed=1)
    labels = cells.of_frames(angles)
    assert labels.shape == (400,) and len(cells.centres) <= 60
    near = np.abs(angles[:, 0]) < 1
    assert not set(labels[near]) & set(labels[~near])
    assert cells.of_frames(np.array([[[np.nan, 0.0]]])).tolist() == [[-1]]


def test_bursts_begin_at_their_starts_and_repeat(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinetics, "LENGTH", 0.6)
    quads = rotatable_torsions(*topology_arrays(alanine.topology))
    x = np.repeat(np.asarray(alanine.positions._value)[None], 3, axis=0)
    task = BurstTask(alanine, quads, x, 5)
    angles = run_bursts(task)
    assert angles.shape == (3, 4, len(quads)) and np.ptp(angles[:, 0], axis=0).max() < 1e-5
    assert np.ptp(angles[:, -1], axis=0).max() > 1e-3
    np.testing.assert_array_equal(run_bursts(task), angles)
