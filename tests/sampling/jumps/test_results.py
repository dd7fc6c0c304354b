"""Populations of a biased run with errors that cover, frames of equal weight, and what is said of a run."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.integrators.torsion_jumps import Jump
from latentmd.sampling.jumps.results import block_counts, equal_frames, jump_lines, weighted_populations
from latentmd.sampling.metropolis.wells import Turn, Well


def _jump(work: float, accepted: bool) -> Jump:
    how = {"log_ratio": 0.0, "log_acceptance": min(0.0, -work / 2.5), "accepted": accepted}
    return Jump(0, 1.0, "ALA2", (0.0,), (1.0,), end=(1.0,), length=5.0, work=work, **how)


def test_counts_of_a_block_are_in_kt_and_failed_jumps_count_as_refused() -> None:
    counts = block_counts([_jump(5.0, True), _jump(2.5, False), _jump(np.inf, False)], kt=2.5)["ALA2"]
    assert (counts["tried"], counts["accepted"], counts["length (ps)"]) == (3, 1, 5.0)
    assert (counts["tenth of work (kT)"], counts["median work (kT)"]) == (1.0, 2.0)
    assert counts["mean acceptance"] == pytest.approx((np.exp(-2) + np.exp(-1)) / 3)


@pytest.mark.parametrize(("ours", "better"), [(20.0, True), (3.0, False), (None, True)])
def test_the_lines_say_which_is_better(ours: float | None, better: bool) -> None:
    blocks = block_counts([_jump(5.0, True)], kt=2.5)
    summary = {"mode": "jumps", "frames": 7, "simulated_ps": 30.0, "effective_samples": ours, "blocks": blocks}
    said = jump_lines({**summary, "plain_md": {"effective_samples": 7.0}})
    assert "30 ps of force calls" in said[0] and said[1] == "jumps of ALA2: 1 of 1 accepted, 5 ps each"
    assert ("--mode md is the better choice" in said[2]) is not better
    assert len(jump_lines({**summary, "plain_md": None})) == 2


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
