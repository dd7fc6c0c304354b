"""Populations of a biased run: right, with errors that cover, and frames of equal weight."""

from __future__ import annotations

import numpy as np

from latentmd.sampling.jumps.weights import equal_frames, weighted_populations
from latentmd.sampling.metropolis.wells import Turn, Well

TURN = Turn("phi ALA2", 0)
CUTS = (Well("left", TURN, -180, 0, -80), Well("right", TURN, 0, 180, 60))


def _two_states(frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Angles (frames, 1) of a walk between two wells that stays 20 frames on average, and weights of which each well
    has two values by turns: the right one has a share of 0.1 of all weight.
    """
    right = np.cumsum(rng.random(frames) < 0.05) % 2 == 1
    weights = np.where(right, 0.1, 0.9) * np.where(rng.random(frames) < 0.5, 0.2, 1.8)
    return np.deg2rad(np.where(right, 60.0, -80.0))[:, None], weights / weights.mean()


def test_populations_are_right_and_errors_cover() -> None:
    rng, deviations = np.random.default_rng(5), []
    for _ in range(40):
        angles, weights = _two_states(4000, rng)
        found = weighted_populations(angles, CUTS, weights)
        assert np.isclose(found.values.sum(), 1.0)
        deviations.append((found.values[1] - 0.1) / found.errors[1])
    assert abs(np.mean(deviations)) < 0.5 and 0.6 < np.std(deviations) < 1.4, np.std(deviations)


def test_equal_weights_are_counts_and_a_well_never_seen_has_no_share() -> None:
    angles, _ = _two_states(500, np.random.default_rng(0))
    found = weighted_populations(angles, CUTS, np.ones(500))
    assert np.isclose(found.values[1], (angles > 0).mean())
    alone = weighted_populations(np.full((50, 1), -1.4), CUTS, np.full(50, 1.0))
    assert alone.values.tolist() == [1.0, 0.0] and not alone.errors.any()


def test_frames_of_equal_weight_have_the_shares_of_the_weights() -> None:
    assert equal_frames(np.ones(7)).tolist() == list(range(7))
    weights = np.repeat([3.0, 1.0], 500)
    drawn = equal_frames(weights)
    assert len(drawn) == 800 and np.isclose((drawn < 500).mean(), 0.75, atol=2e-3)
    assert (np.diff(drawn) >= 0).all()
