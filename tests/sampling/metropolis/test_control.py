"""Plain MD beside exact chains: what a tenth buys, and how gains are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.control import (
    REPLICAS,
    PlainMD,
    as_json,
    compare,
    frames_for,
    independent,
    run_plain_md,
)
from latentmd.sampling.metropolis.page import verdict
from latentmd.sampling.metropolis.populations import populations
from latentmd.sampling.metropolis.wells import Turn, Well

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
    task = PlainMD(alanine, quads, np.asarray(alanine.positions._value), 3, 7)
    angles, seconds = run_plain_md(task)
    assert angles.shape == (REPLICAS, 3, len(quads)) and np.isfinite(angles).all() and seconds > 0
    np.testing.assert_array_equal(run_plain_md(task)[0], angles)
