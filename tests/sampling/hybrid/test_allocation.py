"""Starts that make populations certain soonest."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis.msm import ReversibleModel
from latentmd.analysis.reversible import reversible_fluxes
from latentmd.sampling.hybrid.allocation import currents, variance_reduction
from latentmd.sampling.hybrid.planning import draw_cells_by_gain

_ENERGY = np.array([0.0, 1.0, 2.5, 4.0, 3.0, 1.5, 0.5, 1.0])  # kT
_LEFT = np.arange(8) < 4


def _chain() -> ReversibleModel:
    """Metropolis moves between neighbours."""
    weight = np.exp(-_ENERGY) / np.exp(-_ENERGY).sum()
    fluxes = np.zeros((8, 8))
    for i in range(7):
        fluxes[i, i + 1] = fluxes[i + 1, i] = 0.3 * min(weight[i], weight[i + 1])
    return ReversibleModel(np.arange(8), fluxes + np.diag(weight - fluxes.sum(axis=1)), 1)


def _derivatives(model: ReversibleModel) -> np.ndarray:
    population = model.stationary[_LEFT].sum()
    return model.stationary * np.where(_LEFT, 1 / population, -1 / (1 - population))


@pytest.mark.parametrize("lags", [[2000] * 8, [300, 300, 2000, 4000, 4000, 2000, 300, 300]])
def test_the_variance_is_that_of_repeated_estimates(lags: list[int]) -> None:
    model, rng = _chain(), np.random.default_rng(0)
    variance, _ = currents(model, np.array(lags, dtype=float), _derivatives(model)[None])
    logits = []
    for _ in range(1500):
        counts = np.array([rng.multinomial(n, row) for n, row in zip(lags, model.matrix, strict=True)], dtype=float)
        population = reversible_fluxes(counts).sum(axis=1)[_LEFT].sum()
        logits.append(np.log(population / (1 - population)))
    assert variance[0] == pytest.approx(np.var(logits), rel=0.15)


def test_what_a_lag_is_worth_is_the_derivative_of_the_variance() -> None:
    model = _chain()
    lags, shares = np.array([300.0, 500, 200, 100, 80, 300, 900, 500]), np.column_stack([_LEFT, ~_LEFT]).astype(float)
    gains = variance_reduction(model, lags, shares, 1)
    derivatives = _derivatives(model)[None]
    for cell in range(8):
        step = np.where(np.arange(8) == cell, 0.01, 0.0)
        low, high = (currents(model, lags + sign * step, derivatives)[0][0] for sign in (-1, 1))
        assert gains[cell] == pytest.approx(2 * (low - high) / 0.02, rel=1e-4), "two states, each the other's negative"


def test_equally_visited_cells_are_worth_most_below_a_steep_climb() -> None:
    shares = np.column_stack([_LEFT, ~_LEFT]).astype(float)
    gains = variance_reduction(_chain(), np.full(8, 1000.0), shares, 1)
    assert set(np.argsort(gains)[-3:]) == {1, 2, 5}, "the steepest climbs"
    later = variance_reduction(_chain(), np.full(8, 1000.0), shares, 5)
    assert np.ptp(np.log(later)) < np.ptp(np.log(gains)), "a longer burst visits its neighbours too"


def test_a_state_that_is_all_or_nothing_is_worth_nothing() -> None:
    np.testing.assert_array_equal(variance_reduction(_chain(), np.full(8, 10.0), np.ones((8, 1)), 3), 0.0)
    np.testing.assert_array_equal(variance_reduction(_chain(), np.full(8, 10.0), np.zeros((8, 1)), 3), 0.0)


def test_starts_are_drawn_in_proportion_to_their_worth() -> None:
    chosen = draw_cells_by_gain(np.array([0.0, 3.0, 1.0]), 4000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(chosen) / 4000, [0, 0.75, 0.25], atol=0.03)
