"""Plain MD beside exact chains: what a tenth buys, how gains are counted, and rates from bursts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from latentmd.analysis.msm import ReversibleModel
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis import plain_md
from latentmd.sampling.metropolis.page import verdict
from latentmd.sampling.metropolis.plain_md import (
    REPLICAS,
    Cells,
    as_json,
    compare,
    frames_for,
    independent,
    passages,
    pick_starts,
    run_bursts,
    run_plain_md,
)
from latentmd.sampling.metropolis.populations import populations
from latentmd.sampling.metropolis.wells import Turn, Well
from latentmd.sampling.run.clock import Deadline

WELLS = (Well("seen", Turn("torsion 0", 0), 0.0, 180.0), Well("unseen", Turn("torsion 1", 1), 0.0, 180.0))
COST = {"calls": 1000.0, "seconds": 20.0, "control seconds": 1.0}


def test_a_tenth_of_the_energies_decides_the_length() -> None:
    # 16 replicas: 1.6e7 energies / 10 / 16 = 1e5 steps of 4 fs = 400 ps, 10 of them equilibration
    assert frames_for(16_000_000, 1, 0.004) == 390
    assert frames_for(0, 1, 0.004) == 20


def _angles(rng: np.random.Generator, frames: int, flip: float) -> np.ndarray:
    """Two torsions whose signs flip with a probability per frame: (1 - r) / (1 + r) samples a frame, r = 1 - 2 flip."""
    flips = np.cumsum(rng.random((8, frames, 2)) < flip, axis=1)
    return np.where(flips % 2, -1.0, 1.0)


def test_effective_samples_are_extrapolated_to_equal_cost() -> None:
    rng = np.random.default_rng(0)
    chains = populations(_angles(rng, 4000, 0.5), WELLS)
    angles = _angles(rng, 4000, 0.05)
    angles[..., 1] = 1.0
    found = compare(chains, angles, WELLS, cost=COST, timestep=0.004)
    steps = 8 * (4000 + 10) / 0.004
    assert found.by_energies[0] == pytest.approx(8 * 4000 / 19 * 1000 / steps, rel=0.15)
    assert found.by_wall[0] == pytest.approx(8 * 4000 / 19 * 20, rel=0.15)
    assert found.by_energies[1] == found.by_wall[1] == 0
    values = as_json(found, chains)
    assert values["least_at_equal_wall_time"] == {"state": "unseen", "effective_samples": 0.0}
    assert values["simulated_ps"] == 8 * 4000 and "plain MD saw no passage of unseen" in verdict(values)


def test_replicas_that_stay_where_they_began_are_no_samples() -> None:
    """Sixteen replicas, one of which goes there and back once: one passage of a state with a population of one half."""
    angles = np.full((16, 1000, 2), -1.0)
    angles[0, 400:600] = 1.0
    assert independent(angles, WELLS[0], 0.5, 99.0) == pytest.approx(2.0)
    assert independent(angles, WELLS[0], 0.5, 1.5) == 1.5
    assert independent(np.full((16, 1000, 2), -1.0), WELLS[0], 0.02, 16.0) == 0.0


def test_a_verdict_says_where_plain_md_is_better() -> None:
    values = {
        "least_of_chains": {"state": "a", "effective_samples": 10.0},
        "least_at_equal_wall_time": {"state": "b", "effective_samples": 20.0},
    }
    assert "10 effective samples" in verdict(values) and "20 of its own (b)" in verdict(values)
    assert "--mode md is the better choice" in verdict(values)
    values["least_at_equal_wall_time"]["effective_samples"] = 5.0
    assert "better choice" not in verdict(values)
    assert verdict({"least_of_chains": {}, "least_at_equal_wall_time": {}}).startswith("No state to compare")


def test_plain_md_leaves_torsions_and_repeats(alanine: Any) -> None:
    quads = rotatable_torsions(*topology_arrays(alanine.topology))
    start = np.asarray(alanine.positions._value)
    task = partial(run_plain_md, alanine, quads, start, frames=3, deadline=Deadline())
    angles, seconds = task(7)
    assert angles.shape == (REPLICAS, 3, len(quads)) and np.isfinite(angles).all() and seconds > 0
    np.testing.assert_array_equal(task(7)[0], angles)


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
    for (value, error), target in ((found["into"], INSIDE), (found["out"], ~INSIDE)):
        assert value is not None and error is not None
        times = EXACT.passage_times(np.flatnonzero(target), 0.5)[~target]
        exact = EXACT.stationary[~target] @ times / EXACT.stationary[~target].sum()
        assert exact > 20 * 0.5 and abs(value - exact) < 3 * error and error < 0.25 * exact
    assert found["twice_the_lag"][0] == pytest.approx(found["into"][0], rel=0.2)


def test_nothing_is_said_where_no_burst_crosses() -> None:
    rng = np.random.default_rng(0)
    paths = [np.array([0, 1, 0, 1, 1, 0]), np.array([2, 3, 2, 3, 3, 2])]
    found = passages(paths, EXACT.stationary, INSIDE, lag=1, interval=0.5, rng=rng)
    assert found == {"into": [None, None], "out": [None, None], "twice_the_lag": [None, None]}


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
    monkeypatch.setattr(plain_md, "LENGTH", 0.6)
    quads = rotatable_torsions(*topology_arrays(alanine.topology))
    x = np.repeat(np.asarray(alanine.positions._value)[None], 3, axis=0)
    angles = run_bursts(alanine, quads, x, 5, Deadline())
    assert angles.shape == (3, 4, len(quads)) and np.ptp(angles[:, 0], axis=0).max() < 1e-5
    assert np.ptp(angles[:, -1], axis=0).max() > 1e-3
    np.testing.assert_array_equal(run_bursts(alanine, quads, x, 5, Deadline()), angles)
