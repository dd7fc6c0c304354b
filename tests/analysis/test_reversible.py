"""The Newton solution of the reversible likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from deeptime.markov.msm import MaximumLikelihoodMSM

from latentmd.analysis.reversible import reversible_fluxes


def _counts(states: int, rng: np.random.Generator) -> np.ndarray:
    potential = rng.normal(size=states)
    near = np.abs(np.subtract.outer(np.arange(states), np.arange(states))) <= 2
    rates = near * np.exp(-0.5 * np.subtract.outer(potential, potential).T)
    return rng.poisson(5 * rates) + np.eye(states, k=1) + np.eye(states, k=-1)


@pytest.mark.parametrize("states", [2, 7, 30])
def test_equals_deeptime(states: int) -> None:
    counts = _counts(states, np.random.default_rng(states))
    model = MaximumLikelihoodMSM(reversible=True, maxerr=1e-8).fit_from_counts(counts).fetch_model()
    matrix, stationary = model.transition_matrix, model.stationary_distribution
    fluxes = reversible_fluxes(counts)
    np.testing.assert_allclose(fluxes, fluxes.T)
    np.testing.assert_allclose(fluxes.sum(), 1)
    np.testing.assert_allclose(fluxes.sum(axis=1), stationary, atol=1e-6)
    np.testing.assert_allclose(fluxes / fluxes.sum(axis=1, keepdims=True), matrix, atol=1e-5)


def test_two_states_in_closed_form() -> None:
    """Every two-state chain is reversible, so the estimate is the row-normalised count matrix."""
    fluxes = reversible_fluxes(np.array([[90.0, 10.0], [5.0, 15.0]]))
    np.testing.assert_allclose(fluxes / fluxes.sum(axis=1, keepdims=True), [[0.9, 0.1], [0.25, 0.75]])


def test_metastable_counts_converge() -> None:
    """Two blocks joined by one transition each way among a million."""
    counts = np.full((6, 6), 1e6)
    counts[:3, 3:] = counts[3:, :3] = 0
    counts[2, 3] = counts[3, 2] = 1
    fluxes = reversible_fluxes(counts)
    np.testing.assert_allclose(fluxes[:3, 3:].sum(), 1 / counts.sum(), rtol=1e-4)
