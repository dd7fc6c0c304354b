"""Weights from bursts that started out of equilibrium."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentmd.sampling.hybrid.estimates import Bursts
from latentmd.sampling.hybrid.reweighting import (
    bayesian,
    bootstrap,
    connected_share,
    count_transitions,
    fit,
    frame_weights,
    state_visits,
)

Chain = Callable[..., Bursts]


def test_counts_stay_inside_bursts_and_after_the_relaxation_time() -> None:
    paths = [np.array([2, 0, 1, 1]), np.array([2, 1, 0])]
    counts = count_transitions(paths, 3, lag=1, skip=1)
    np.testing.assert_array_equal(counts.matrix(), [[0, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(counts.matrix(np.array([0.0, 2.0])), [[0, 0, 0], [2, 0, 0], [0, 0, 0]])


def test_bursts_too_short_for_the_lag_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 4 frames; a lag of 3 after 2 discarded frames needs more than 5"):
        count_transitions([np.zeros(4, dtype=int)], 1, lag=3, skip=2)


@pytest.mark.parametrize("starts", [(0.9, 0.1, 0.0), (0.0, 0.0, 1.0)])
def test_starts_do_not_bias_the_populations(
    chain: Chain, stationary: np.ndarray, starts: tuple[float, float, float]
) -> None:
    """Raw occupancies are off by a fifth; weights are not, within four standard deviations of their scatter."""
    bursts = chain(10_000, 20, 0, starts)
    raw = np.bincount(np.concatenate(bursts.paths), minlength=3) / (10_000 * 20)
    assert np.abs(raw - stationary).max() > 0.2
    model = fit(count_transitions(bursts.paths, 3, 1, 2))
    np.testing.assert_allclose(model.stationary, stationary, atol=0.04)


def test_frame_weights_are_population_over_visits(chain: Chain) -> None:
    bursts = chain(200, 20, 1)
    model = fit(count_transitions(bursts.paths, 3, 1, 4))
    weights = frame_weights(bursts.paths, model.populations(3), 4)
    assert all(not row[:4].any() for row in weights)
    flat, cells = np.concatenate(weights), np.concatenate(bursts.paths)
    np.testing.assert_allclose(np.bincount(cells, weights=flat, minlength=3), model.populations(3))
    for cell in range(3):
        assert len(np.unique(flat[(cells == cell) & (flat > 0)])) == 1


def test_a_cell_that_is_not_connected_weighs_nothing() -> None:
    paths = [np.array([0, 1, 0, 1, 1, 0]), np.array([2, 2, 2, 2, 2])]
    model = fit(count_transitions(paths, 3, 1, 0))
    np.testing.assert_array_equal(model.active, [0, 1])
    weights = frame_weights(paths, model.populations(3), 0)
    assert not weights[1].any()
    np.testing.assert_allclose(weights[0].sum(), 1)


def test_one_cell_alone_is_a_model() -> None:
    counts = count_transitions([np.zeros(5, dtype=int)], 1, 1, 0)
    model = fit(counts)
    np.testing.assert_array_equal(model.matrix, [[1.0]])
    rng = np.random.default_rng(0)
    assert len(bootstrap(counts, model, 3, rng)) == len(bayesian(counts, model, 3, rng)) == 3


@pytest.mark.parametrize("sampler", ["bootstrap", "bayesian"])
def test_posteriors_are_as_wide_as_the_estimate_scatters(chain: Chain, sampler: str) -> None:
    """Within a factor of 1.5, on bursts of a true Markov chain; and equal seeds give equal draws."""
    estimates = [fit(count_transitions(chain(150, 20, seed).paths, 3, 1, 2)).stationary[0] for seed in range(60)]
    bursts = chain(150, 20, 1000)
    counts = count_transitions(bursts.paths, 3, 1, 2)
    model = fit(counts)

    def draws() -> np.ndarray:
        rng = np.random.default_rng(5)
        if sampler == "bayesian":
            return np.array([m.stationary[0] for m in bayesian(counts, model, 200, rng)])
        return np.array([m.stationary[0] for _, m in bootstrap(counts, model, 200, rng)])

    assert 1 / 1.5 < draws().std() / np.std(estimates) < 1.5
    np.testing.assert_array_equal(draws(), draws())


def test_state_visits_count_frames_by_burst_cell_and_state() -> None:
    paths = [np.array([0, 1, 1]), np.array([1, 0, 0])]
    inside = [np.array([[True], [True], [False]]), np.array([[False], [False], [True]])]
    visits = state_visits(paths, inside, 2, skip=1).toarray().reshape(2, 2, 2)
    np.testing.assert_array_equal(visits[0], [[0, 0], [1, 2]])
    np.testing.assert_array_equal(visits[1], [[1, 2], [0, 0]])


def test_bursts_that_end_where_no_way_leads_are_not_connected() -> None:
    """One passes through a cell of its own on the way down, which does not count; one stays in such a cell."""
    paths = [np.array([0, 1, 0, 1, 1, 0]), np.array([2, 1, 0, 1]), np.array([3, 3, 3, 3])]
    model = fit(count_transitions(paths, 4, 1, 0))
    assert connected_share(paths, model.active) == pytest.approx(2 / 3)
