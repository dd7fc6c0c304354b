"""Kinetic metrics against Markov chains and diffusions with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis import kinetics

P, Q = 0.02, 0.05  # two-state chain: probability per step of leaving state 0 and state 1


def test_first_passage_times_of_a_two_state_chain(two_state_chain):
    cores = [kinetics.core_path(path == 0, path == 1) for path in two_state_chain]
    forth, back = kinetics.first_passage_times(cores, 2.0)
    for result, exact in ((forth, 2.0 / P), (back, 2.0 / Q)):
        assert result.value == pytest.approx(exact, rel=3 / np.sqrt(result.events))
        assert result.low < result.value < result.high


def test_first_passage_without_transitions_gives_a_lower_bound():
    core = kinetics.core_path(np.ones(1001, bool), np.zeros(1001, bool))
    forth, back = kinetics.first_passage_times([core], 1.0)
    assert forth.value == np.inf and forth.high == np.inf and forth.events == 0
    assert forth.low == pytest.approx(1000 / -np.log(0.025), rel=1e-6)
    assert np.isnan(back.value)


def test_first_passage_interval_covers_at_its_level():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        waits = rng.exponential(10.0, 200)
        events = int(np.searchsorted(np.cumsum(waits), 80.0))
        result = kinetics._exponential_mean(80.0, events)
        covered += result.low <= 10.0 <= result.high
    assert 0.93 <= covered / 400 <= 1.0


def test_core_path_remembers_the_last_core():
    first = np.array([0, 0, 1, 0, 0, 0, 1, 0], bool)
    second = np.array([0, 0, 0, 0, 1, 0, 0, 0], bool)
    assert kinetics.core_path(first, second).tolist() == [-1, -1, 0, 0, 1, 1, 0, 0]


def test_torsion_autocorrelation_of_an_angular_diffusion():
    """For phi = normal OU: C(t) = (exp(-s^2 (1 - rho^t)) - exp(-s^2)) / (1 - exp(-s^2))."""
    rng = np.random.default_rng(4)
    rho, sigma, runs = 0.95, 0.8, []
    for _ in range(4):
        x = np.empty(60_000)
        x[0] = rng.normal() * sigma
        noise = rng.normal(size=60_000) * sigma * np.sqrt(1 - rho**2)
        for t in range(1, 60_000):
            x[t] = rho * x[t - 1] + noise[t]
        runs.append(x)
    got = kinetics.torsion_autocorrelation(runs, 60)
    t = np.arange(61)
    exact = (np.exp(-(sigma**2) * (1 - rho**t)) - np.exp(-(sigma**2))) / (1 - np.exp(-(sigma**2)))
    np.testing.assert_allclose(got, exact, atol=0.03)
    exact_time = np.interp(-np.exp(-1), -exact, t)
    assert kinetics.decorrelation_time(got, 2.0) == pytest.approx(2 * exact_time, rel=0.06)
    assert kinetics.torsion_autocorrelation([np.ones(10)], 3).tolist() == [0, 0, 0, 0]


def test_dwelling_of_a_three_state_chain() -> None:
    """Life times 1 / sum k and passages by m_i = (1 + sum_j k_ij m_j) / sum k of the chain that made the runs."""
    matrix = np.array([[0.96, 0.03, 0.01], [0.05, 0.94, 0.01], [0.0, 0.02, 0.98]])
    rng, paths = np.random.default_rng(6), []
    for start in (0, 1, 2, 0):
        path, draws = np.full(30_000, start), rng.random(30_000)
        for t in range(1, len(path)):
            path[t] = np.searchsorted(np.cumsum(matrix[path[t - 1]]), draws[t])
        paths.append(path)
    found = kinetics.dwelling(paths, 3, 2.0, rng)
    np.testing.assert_allclose(found.lives, 2.0 / (1 - np.diag(matrix)), rtol=0.08)
    assert (found.life_bounds[0] < found.lives).all() and (found.lives < found.life_bounds[1]).all()
    for target in range(3):
        others = [k for k in range(3) if k != target]
        exact = np.linalg.solve(np.eye(2) - matrix[np.ix_(others, others)], [2.0, 2.0])
        np.testing.assert_allclose(found.passages[others, target], exact, rtol=0.1)
        low, high = found.passage_bounds[:, others, target]
        assert (low < exact).all() and (exact < high).all()


def test_two_states_dwell_as_long_as_their_first_passages(two_state_chain) -> None:
    forth, back = kinetics.first_passage_times(two_state_chain, 2.0)
    found = kinetics.dwelling(two_state_chain, 2, 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(found.lives, [forth.value, back.value])
    np.testing.assert_allclose(found.passages, [[0, forth.value], [back.value, 0]])
    np.testing.assert_allclose(found.life_bounds[:, 0], [forth.low, forth.high], rtol=0.01)


def test_what_was_never_left_has_a_lower_bound_and_what_was_never_seen_none() -> None:
    still = [kinetics.last_core(np.array([-1] + 500 * [0] + 500 * [-1]))]
    found = kinetics.dwelling(still, 3, 1.0, np.random.default_rng(0))
    assert found.lives[0] == np.inf and found.life_bounds[0, 0] == pytest.approx(999 / -np.log(0.025), rel=0.1)
    assert np.isnan(found.lives[1:]).all() and np.isnan(found.passages[1]).all()
    assert (found.passages[0, 1:] == np.inf).all() and found.passage_bounds[1, 0, 1] == np.inf
    alone = kinetics.dwelling(still, 1, 1.0, np.random.default_rng(0))
    assert alone.lives[0] == np.inf and alone.life_bounds[0, 0] == pytest.approx(found.life_bounds[0, 0], rel=0.1)
