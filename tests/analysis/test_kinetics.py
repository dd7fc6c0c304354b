"""Kinetic metrics against Markov chains and diffusions with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis import kinetics

P, Q = 0.02, 0.05  # two-state chain: probability per step of leaving state 0 and state 1
LAMBDA = 1 - P - Q


@pytest.fixture(scope="module")
def two_state_chain():
    rng = np.random.default_rng(0)
    runs = []
    for start in (0, 1, 0, 0):
        draws = rng.random(100_000)
        path = np.empty(100_000, dtype=np.int64)
        state = start
        for t, u in enumerate(draws):
            path[t] = state
            if u < (P if state == 0 else Q):
                state = 1 - state
        runs.append(path)
    return runs


@pytest.fixture
def three_state_matrix():
    """Reversible chain on a line 0 - 1 - 2."""
    return np.array([[0.9, 0.1, 0.0], [0.05, 0.85, 0.1], [0.0, 0.02, 0.98]]), np.array([1, 2, 10]) / 13


def test_implied_timescale_of_a_two_state_chain(two_state_chain):
    rng = np.random.default_rng(1)
    result = kinetics.implied_timescales(two_state_chain, [1, 5, 10], 2, 2.0, rng, number=1)
    exact = -2.0 / np.log(LAMBDA)
    np.testing.assert_allclose(result.lags, [2, 10, 20])
    np.testing.assert_allclose(result.values[:, 0], exact, rtol=0.06)
    assert np.all(result.low[:, 0] < exact * 1.05) and np.all(result.high[:, 0] > exact * 0.95)
    assert np.all(result.low <= result.values) and np.all(result.values <= result.high)


def test_timescales_agree_with_deeptime(three_state_matrix):
    from deeptime.markov.msm import MaximumLikelihoodMSM

    matrix, stationary = three_state_matrix
    counts = 1e6 * stationary[:, None] * matrix + 40 * np.eye(3)
    model = MaximumLikelihoodMSM(reversible=True, lagtime=1).fit_from_counts(counts).fetch_model()
    np.testing.assert_allclose(kinetics.timescales(counts, 1.0, 2), model.timescales(), rtol=1e-6)


def test_chapman_kolmogorov_holds_for_a_markov_chain_and_fails_for_a_memory(two_state_chain):
    markov = kinetics.chapman_kolmogorov(two_state_chain, 5, np.array([0, 1]))
    exact = Q / (P + Q) + P / (P + Q) * LAMBDA ** (5 * markov.multiples)
    np.testing.assert_allclose(markov.predicted[:, 0], exact, atol=0.01)
    assert markov.error < 0.01
    slow = [np.repeat(path[:2000], 50) for path in two_state_chain]
    noisy = [np.where(np.random.default_rng(2).random(len(s)) < 0.3, 1 - s, s) for s in slow]
    assert kinetics.chapman_kolmogorov(noisy, 1, np.array([0, 1])).error > 0.05


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


def test_msm_first_passage_and_flux_of_a_line(three_state_matrix):
    matrix, stationary = three_state_matrix
    got = kinetics.msm_first_passage(matrix, stationary, np.array([0]), np.array([2]), 1.0)
    # m1 = 1 + .05 m0 + .85 m1, m0 = 1 + .9 m0 + .1 m1
    expected = np.linalg.solve([[0.1, -0.1], [-0.05, 0.15]], [1, 1])[0]
    assert got == pytest.approx(expected, abs=1e-9)
    flux = kinetics.reactive_flux(matrix, stationary, np.array([0, 1, 2]), 3)
    np.testing.assert_allclose(flux, flux.T, atol=1e-12)
    assert flux[0, 1] == pytest.approx(0.1 / 13)


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


def test_counts_stay_inside_runs_and_add_up_over_blocks(two_state_chain):
    whole = kinetics.transition_counts(two_state_chain, 7, 2).sum(axis=0)
    blocked = kinetics.transition_counts(two_state_chain, 7, 2, block=10_000).sum(axis=0)
    np.testing.assert_array_equal(whole, blocked)
    assert whole.sum() == 4 * (100_000 - 7)


def test_unconnected_states_are_left_out():
    counts = np.zeros((4, 4))
    counts[:2, :2] = [[90, 10], [10, 90]]
    counts[3, 3] = 5
    _, stationary, states = kinetics.reversible_msm(counts)
    assert states.tolist() == [0, 1]
    np.testing.assert_allclose(stationary, 0.5, atol=1e-6)
    assert kinetics.coarse_grain(counts, 2)[2:].tolist() == [-1, -1]


def test_a_lag_longer_than_the_runs_is_refused(two_state_chain):
    with pytest.raises(ValueError, match="longest has 30"):
        kinetics.implied_timescales([c[:30] for c in two_state_chain], [30], 2, 1.0, np.random.default_rng(0))


def test_sets_are_the_wells_of_a_chain():
    """Two pairs of states that mix fast inside and slowly across."""
    counts = np.array([[900, 98, 2, 0], [98, 900, 0, 2], [2, 0, 450, 48], [0, 2, 48, 450.0]])
    sets = kinetics.coarse_grain(counts, 2)
    assert sets[0] == sets[1] == 0 and sets[2] == sets[3] == 1
