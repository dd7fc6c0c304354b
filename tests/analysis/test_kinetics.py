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
