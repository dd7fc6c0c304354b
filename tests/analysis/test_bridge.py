"""Bridges of Markov chains against enumeration of every path, and the laws of fluxes."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from latentmd.analysis.bridge import (
    UnreachableError,
    markov_bridge,
)

STATES, STEPS = 4, 5


def _chain(seed: int = 0, states: int = STATES) -> tuple[np.ndarray, np.ndarray]:
    """A reversible chain from symmetric fluxes, and its stationary vector."""
    flux = np.random.default_rng(seed).random((states, states)) ** 3
    flux = flux + flux.T
    return flux / flux.sum(1, keepdims=True), flux.sum(1) / flux.sum()


def _enumerated(matrix: np.ndarray, start: int, end: int) -> dict[tuple[int, ...], float]:
    weights = {}
    for middle in product(range(len(matrix)), repeat=STEPS - 1):
        path = (start, *middle, end)
        weights[path] = float(np.prod([matrix[i, j] for i, j in pairwise(path)]))
    return weights


def test_probabilities_are_those_of_enumeration() -> None:
    matrix, _ = _chain()
    weights = _enumerated(matrix, 0, 2)
    total = sum(weights.values())
    bridge = markov_bridge(matrix, 2, STEPS)
    assert bridge.log_reach(0) == pytest.approx(np.log(total), abs=1e-12)
    found = bridge.log_probabilities(np.array(list(weights)))
    np.testing.assert_allclose(found, np.log(np.array(list(weights.values())) / total), atol=1e-12)


def test_marginals_are_those_of_enumeration() -> None:
    matrix, _ = _chain(1)
    weights = _enumerated(matrix, 1, 3)
    expected = np.zeros((STEPS + 1, STATES))
    for path, weight in weights.items():
        expected[np.arange(STEPS + 1), path] += weight / sum(weights.values())
    np.testing.assert_allclose(markov_bridge(matrix, 3, STEPS).marginals(1), expected, atol=1e-12)


def test_samples_follow_the_marginals() -> None:
    matrix, _ = _chain(2)
    bridge = markov_bridge(matrix, 2, STEPS)
    paths = bridge.sample(0, 20_000, np.random.default_rng(3))
    assert (paths[:, 0] == 0).all() and (paths[:, -1] == 2).all()
    expected = bridge.marginals(0)
    for t in range(STEPS + 1):
        found = np.bincount(paths[:, t], minlength=STATES) / len(paths)
        error = np.sqrt(expected[t] * (1 - expected[t]) / len(paths))
        assert (np.abs(found - expected[t]) <= 4.5 * error + 1e-12).all()


def test_an_end_may_be_a_set_of_states() -> None:
    matrix, _ = _chain(4)
    both = markov_bridge(matrix, np.array([0.0, 1.0, 0.0, 1.0]), STEPS)
    power = np.linalg.matrix_power(matrix, STEPS)
    assert np.exp(both.log_reach(0)) == pytest.approx(power[0, 1] + power[0, 3])
    assert set(both.sample(0, 200, np.random.default_rng(0))[:, -1]) == {1, 3}


def test_a_long_bridge_does_not_underflow() -> None:
    matrix = np.array([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]])
    bridge = markov_bridge(matrix, 1, 3000)
    assert bridge.log_reach(0) == pytest.approx(np.log(0.5 * (1 - (1 - 2e-9) ** 3000)), rel=1e-6)
    crossing = (np.diff(bridge.sample(0, 400, np.random.default_rng(0))) != 0).argmax(axis=1)
    assert abs(crossing.mean() / 3000 - 0.5) < 4.5 * np.sqrt(1 / 12 / 400)  # a rare jump is uniform in time


def test_an_end_out_of_reach_is_refused() -> None:
    matrix = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    with pytest.raises(UnreachableError, match="take more steps"):
        markov_bridge(matrix, 2, 1).sample(0, 1, np.random.default_rng(0))
    paths = np.array([[0, 1, 2], [0, 2, 2], [0, -1, 2]])
    assert np.isfinite(markov_bridge(matrix, 2, 2).log_probabilities(paths)).tolist() == [True, False, False]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1"):
        markov_bridge(np.ones((2, 2)), 0, 3)
    with pytest.raises(ValueError, match="at least 1"):
        markov_bridge(np.eye(2), 0, 0)
    with pytest.raises(ValueError, match="expected \\(paths, 4\\)"):
        markov_bridge(np.eye(2), 0, 3).log_probabilities(np.zeros((2, 3), dtype=int))
