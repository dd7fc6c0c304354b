"""Plain MD beside exact chains: what a tenth buys, and how gains are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.control import REPLICAS, PlainMD, as_json, compare, frames_for, run_plain_md
from latentmd.sampling.metropolis.page import verdict
from latentmd.sampling.metropolis.populations import populations
from latentmd.sampling.metropolis.wells import Well

WELLS = (Well("seen", 0, 0.0, 180.0), Well("unseen", 1, 0.0, 180.0))
COST = {"calls": 1000.0, "seconds": 20.0, "control seconds": 1.0}


def test_a_tenth_of_the_energies_decides_the_length() -> None:
    # 16 replicas: 1.6e7 energies / 10 / 16 = 1e5 steps of 4 fs = 400 ps, 10 of them equilibration
    assert frames_for(16_000_000, 1, 0.004) == 390
    assert frames_for(0, 1, 0.004) == 20


def _angles(rng: np.random.Generator, frames: int, hold: int) -> np.ndarray:
    """Independent signs of two torsions, each kept for some frames."""
    signs = np.where(rng.random((8, frames // hold, 2)) < 0.5, -1.0, 1.0)
    return np.repeat(signs, hold, axis=1)


def test_gains_are_ratios_of_effective_samples_at_equal_cost() -> None:
    rng = np.random.default_rng(0)
    chains = populations(_angles(rng, 4000, 1), WELLS)
    angles = _angles(rng, 4000, 20)
    angles[..., 1] = 1.0
    found = compare(chains, angles, WELLS, cost=COST, timestep=0.004)
    steps = 8 * (4000 + 10) / 0.004
    assert found.by_energies[0] == pytest.approx(20 * steps / 1000, rel=0.15)
    assert found.by_wall[0] == pytest.approx(20 / 20, rel=0.15)
    assert np.isinf(found.by_energies[1]) and np.isinf(found.by_wall[1])
    values = as_json(found, chains)
    assert values["never_visited"] == ["unseen"] and values["simulated_ps"] == 8 * 4000
    assert "has not seen both sides of 1 states" in verdict(values)


def test_a_verdict_says_where_plain_md_is_better() -> None:
    values = {"never_visited": [], "gain_at_equal_wall_time": {"least": 0.5, "median": 4.0}}
    assert "2.0 times as many effective samples" in verdict(values) and "--mode md" in verdict(values)
    values["gain_at_equal_wall_time"] = {"least": 3.0, "median": 4.0}
    assert "3.0 times fewer" in verdict(values)


def test_plain_md_leaves_torsions_and_repeats(alanine: Any) -> None:
    quads = rotatable_torsions(*topology_arrays(alanine.topology))
    task = PlainMD(alanine, quads, np.asarray(alanine.positions._value), 3, 7)
    angles, seconds = run_plain_md(task)
    assert angles.shape == (REPLICAS, 3, len(quads)) and np.isfinite(angles).all() and seconds > 0
    np.testing.assert_array_equal(run_plain_md(task)[0], angles)
