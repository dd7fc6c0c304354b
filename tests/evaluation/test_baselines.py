"""Baselines on processes with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis import msm
from latentmd.evaluation import baselines


@pytest.fixture
def hopping_runs():
    rng = np.random.default_rng(0)
    paths = []
    for _ in range(3):
        hops = rng.random(20_000) < 0.05
        paths.append(np.cumsum(hops) % 2)
    return [p[:, None] + rng.normal(0, 0.1, (len(p), 1)) for p in paths], paths


def test_msm_resampling_keeps_timescale_and_frames(hopping_runs):
    runs, paths = hopping_runs
    made = baselines.msm_resampling(runs, paths, 10, [15_000, 999], np.random.default_rng(1))
    assert [len(m) for m in made] == [15_000, 999]
    assert np.isin(made[0][:50, 0], np.concatenate(runs)[:, 0]).all()
    states = [(m[:, 0] > 0.5).astype(int) for m in made]
    scale = msm.fit_reversible(msm.transition_counts(states, 10, 2).sum(axis=0), 10).timescales(10.0, 1)[0]
    assert scale == pytest.approx(-1 / np.log(0.9), rel=0.15)


def test_shuffled_and_persistent_frames(hopping_runs):
    runs, _ = hopping_runs
    rng = np.random.default_rng(2)
    shuffled = baselines.shuffled_frames(runs, 30_000, rng)[0]
    assert abs(np.corrcoef(shuffled[:-1, 0], shuffled[1:, 0])[0, 1]) < 0.03
    still = baselines.persistence(runs, [5, 7], rng)
    assert [len(s) for s in still] == [5, 7] and all(np.ptp(s) == 0 for s in still)


def test_replicate_is_cut_to_the_time_that_was_paid_for(hopping_runs):
    runs, _ = hopping_runs
    assert [len(r) for r in baselines.replicate_md(runs, 50_000.0, 2.0)] == [20_000, 5_000]
    assert [len(r) for r in baselines.replicate_md(runs, 0.1, 2.0)] == [1]


def test_koopman_finds_a_linear_process_and_its_rollouts_decay():
    rng = np.random.default_rng(3)
    exact = np.array([[0.9, 0.1], [-0.1, 0.8]])
    z = np.zeros((50_000, 2))
    for t in range(1, len(z)):
        z[t] = z[t - 1] @ exact + rng.normal(0, 0.1, 2)
    matrix = baselines.koopman_matrix([z], 1)
    np.testing.assert_allclose(matrix, exact, atol=0.02)
    path = baselines.koopman_rollout(matrix, z[:5], 200)
    assert path.shape == (5, 200, 2) and np.abs(path[:, -1]).max() < 1e-6
    np.testing.assert_allclose(path[:, 1], z[:5] @ matrix @ matrix)
    with pytest.raises(ValueError, match="longest has 3"):
        baselines.koopman_matrix([z[:3]], 5)
