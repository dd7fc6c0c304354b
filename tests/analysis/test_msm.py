"""Markov models against chains with known answers, and against deeptime."""

from __future__ import annotations

import numpy as np
import pytest
from deeptime.markov.msm import MaximumLikelihoodMSM

from latentmd.analysis import msm

P, Q = 0.02, 0.05  # of the two-state chain: probability per step of leaving state 0 and state 1
LAMBDA = 1 - P - Q


@pytest.fixture
def three_state_matrix():
    """Reversible chain on a line 0 - 1 - 2."""
    return np.array([[0.9, 0.1, 0.0], [0.05, 0.85, 0.1], [0.0, 0.02, 0.98]]), np.array([1, 2, 10]) / 13


def test_implied_timescale_of_a_two_state_chain(two_state_chain):
    rng = np.random.default_rng(1)
    result = msm.implied_timescales(two_state_chain, [1, 5, 10], 2, 2.0, rng, number=1)
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
    np.testing.assert_allclose(msm.fit_reversible(counts).timescales(1.0, 2), model.timescales(), rtol=1e-6)


def test_chapman_kolmogorov_holds_for_a_markov_chain_and_fails_for_a_memory(two_state_chain):
    markov = msm.chapman_kolmogorov(two_state_chain, 5, np.array([0, 1]))
    exact = Q / (P + Q) + P / (P + Q) * LAMBDA ** (5 * markov.multiples)
    np.testing.assert_allclose(markov.predicted[:, 0], exact, atol=0.01)
    assert markov.error < 0.01
    slow = [np.repeat(path[:2000], 50) for path in two_state_chain]
    noisy = [np.where(np.random.default_rng(2).random(len(s)) < 0.3, 1 - s, s) for s in slow]
    assert msm.chapman_kolmogorov(noisy, 1, np.array([0, 1])).error > 0.05


def test_msm_first_passage_of_a_line(three_state_matrix):
    matrix, stationary = three_state_matrix
    model = msm.ReversibleModel(np.arange(3), stationary[:, None] * matrix)
    got = model.passage_times(np.array([2]), 1.0)
    # m1 = 1 + .05 m0 + .85 m1, m0 = 1 + .9 m0 + .1 m1
    expected = np.linalg.solve([[0.1, -0.1], [-0.05, 0.15]], [1, 1])[0]
    assert got[0] == pytest.approx(expected, abs=1e-9) and got[2] == 0


def test_counts_stay_inside_runs_and_add_up_over_blocks(two_state_chain):
    whole = msm.transition_counts(two_state_chain, 7, 2).sum(axis=0)
    blocked = msm.transition_counts(two_state_chain, 7, 2, block=10_000).sum(axis=0)
    np.testing.assert_array_equal(whole, blocked)
    assert whole.sum() == 4 * (100_000 - 7)


def test_a_run_shorter_than_the_lag_has_no_counts():
    paths = [np.array([0, 1, 0, 1, 1]), np.arange(100) % 2]
    np.testing.assert_array_equal(msm.transition_counts(paths, 8, 2).sum(0), np.diag([46.0, 46.0]))


def test_unconnected_states_are_left_out():
    counts = np.zeros((4, 4))
    counts[:2, :2] = [[90, 10], [10, 90]]
    counts[3, 3] = 5
    model = msm.fit_reversible(counts)
    assert model.active.tolist() == [0, 1]
    np.testing.assert_allclose(model.stationary, 0.5, atol=1e-6)
    assert msm.coarse_grain(counts, 2)[2:].tolist() == [-1, -1]


def test_two_states_that_take_turns_are_one_set():
    assert msm.coarse_grain(np.array([[0.0, 1.0], [1.0, 0.0]]), 2).tolist() == [0, 0]


def test_sets_are_the_wells_of_a_chain():
    """Two pairs of states that mix fast inside and slowly across."""
    counts = np.array([[900, 98, 2, 0], [98, 900, 0, 2], [2, 0, 450, 48], [0, 2, 48, 450.0]])
    sets = msm.coarse_grain(counts, 2)
    assert sets[0] == sets[1] == 0 and sets[2] == sets[3] == 1


def test_passage_times_are_those_of_deeptime(three_state_matrix):
    from deeptime.markov.tools.analysis import mfpt

    matrix, stationary = three_state_matrix
    model = msm.ReversibleModel(np.arange(3), stationary[:, None] * matrix)
    np.testing.assert_allclose(model.passage_times(np.array([2]), 4.0), 4.0 * mfpt(matrix, [2]), rtol=1e-9)


def test_passage_to_a_set_that_nothing_leads_to_is_an_error():
    apart = msm.ReversibleModel(np.arange(2), np.diag([0.5, 0.5]))
    with pytest.raises(np.linalg.LinAlgError):
        apart.passage_times(np.array([1]), 1.0)


def test_one_connected_state_has_no_timescale():
    model = msm.fit_reversible(np.diag([3.0, 1.0]))
    assert model.active.tolist() == [0] and np.isnan(model.timescales(1.0, 2)).all()


def test_known_populations_give_the_most_likely_exchange_of_two_states() -> None:
    """With pi given, one number is left, the flux x: the maximum of sum c_ij ln T_ij is found by a fine grid."""
    counts, populations = np.array([[80.0, 20.0], [4.0, 96.0]]), np.array([0.2, 0.8])
    x = np.linspace(1e-5, 0.2 - 1e-5, 200_001)
    likelihood = 80 * np.log(1 - x / 0.2) + 20 * np.log(x / 0.2) + 4 * np.log(x / 0.8) + 96 * np.log(1 - x / 0.8)
    found = msm.fit_with_populations(counts, populations)
    assert found.fluxes[0, 1] == pytest.approx(x[np.argmax(likelihood)], abs=2e-6)
    np.testing.assert_allclose(found.stationary, populations, atol=1e-9)


def test_known_populations_recover_a_chain_from_downhill_transitions_alone() -> None:
    """Three states in a row; transitions from the right to the middle were not seen."""
    populations = np.array([0.5, 0.1, 0.4])
    fluxes = np.array([[0.48, 0.02, 0.0], [0.02, 0.05, 0.03], [0.0, 0.03, 0.37]])
    matrix = fluxes / populations[:, None]
    counts = 1e6 * matrix
    counts[2] = [0.0, 0.0, 1e-3]  # nothing is known of how often the right is left
    found = msm.fit_with_populations(counts, populations)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-4)
    exact = msm.ReversibleModel(np.arange(3), fluxes)
    np.testing.assert_allclose(found.timescales(1.0, 2), exact.timescales(1.0, 2), rtol=1e-3)


def test_starts_do_not_bias_a_model_with_known_populations() -> None:
    fluxes = np.array([[0.70, 0.01], [0.01, 0.28]])
    populations, rng = fluxes.sum(axis=1), np.random.default_rng(0)
    matrix = fluxes / populations[:, None]
    counts = np.array([rng.multinomial(500, matrix[0]), rng.multinomial(20000, matrix[1])], dtype=float)
    found = msm.fit_with_populations(counts, populations)
    assert found.fluxes[0, 1] == pytest.approx(0.01, rel=0.1)


def test_states_that_nothing_connects_are_left_out() -> None:
    counts = np.diag([5.0, 5.0, 5.0, 0.0])
    counts[0, 1] = 2.0
    found = msm.fit_with_populations(counts, np.array([0.2, 0.2, 0.3, 0.3]))
    assert found.active.tolist() == [0, 1]
    np.testing.assert_allclose(found.stationary, [0.5, 0.5])
    with pytest.raises(ValueError, match="3 populations for 4 states"):
        msm.fit_with_populations(counts, np.ones(3))


def _random_counts(states: int, rng: np.random.Generator) -> np.ndarray:
    potential = rng.normal(size=states)
    near = np.abs(np.subtract.outer(np.arange(states), np.arange(states))) <= 2
    rates = near * np.exp(-0.5 * np.subtract.outer(potential, potential).T)
    return rng.poisson(5 * rates) + np.eye(states, k=1) + np.eye(states, k=-1)


@pytest.mark.parametrize("states", [2, 7, 30])
def test_equals_deeptime(states: int) -> None:
    counts = _random_counts(states, np.random.default_rng(states))
    model = MaximumLikelihoodMSM(reversible=True, maxerr=1e-8).fit_from_counts(counts).fetch_model()
    matrix, stationary = model.transition_matrix, model.stationary_distribution
    fluxes = msm.reversible_fluxes(counts)
    np.testing.assert_allclose(fluxes, fluxes.T)
    np.testing.assert_allclose(fluxes.sum(), 1)
    np.testing.assert_allclose(fluxes.sum(axis=1), stationary, atol=1e-6)
    np.testing.assert_allclose(fluxes / fluxes.sum(axis=1, keepdims=True), matrix, atol=1e-5)


def test_two_states_in_closed_form() -> None:
    """Every two-state chain is reversible, so the estimate is the row-normalised count matrix."""
    fluxes = msm.reversible_fluxes(np.array([[90.0, 10.0], [5.0, 15.0]]))
    np.testing.assert_allclose(fluxes / fluxes.sum(axis=1, keepdims=True), [[0.9, 0.1], [0.25, 0.75]])


def test_metastable_counts_converge() -> None:
    """Two blocks joined by one transition each way among a million."""
    counts = np.full((6, 6), 1e6)
    counts[:3, 3:] = counts[3:, :3] = 0
    counts[2, 3] = counts[3, 2] = 1
    fluxes = msm.reversible_fluxes(counts)
    np.testing.assert_allclose(fluxes[:3, 3:].sum(), 1 / counts.sum(), rtol=1e-4)


def test_clusters_get_a_centre_each_and_a_seed_repeats() -> None:
    rng = np.random.default_rng(0)
    places = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    points = np.concatenate([place + rng.normal(0, 0.1, (200, 2)) for place in places])
    found = msm.k_means(points, 3, seed=1)
    assert np.abs(np.sort(found.cluster_centers, axis=0) - np.sort(places, axis=0)).max() < 0.05
    assert (np.bincount(found.transform(points)) == 200).all()
    np.testing.assert_array_equal(msm.k_means(points, 3, seed=1).cluster_centers, found.cluster_centers)


def _blocks(weights: list[float], between: float) -> np.ndarray:
    """Counts of blocks of three states each that exchange fast inside and seldom with the next block."""
    counts = np.kron(np.diag(weights), np.full((3, 3), 1e4))
    for k in range(len(weights) - 1):
        counts[3 * k + 2, 3 * k + 3] = counts[3 * k + 3, 3 * k + 2] = between
    return counts


def test_metastable_cores_are_the_blocks_the_fullest_first() -> None:
    sets, core = msm.metastable_cores(_blocks([1.0, 3.0, 2.0], 20.0))
    assert sets.tolist() == [2, 2, 2, 0, 0, 0, 1, 1, 1] and core.all()


def test_a_rare_set_joins_the_one_that_it_exchanges_with() -> None:
    counts = _blocks([1.0, 0.7, 0.002], 20.0)
    counts[5, 6] = counts[6, 5] = 0.01  # the slowest process is that of the rare set
    sets, core = msm.metastable_cores(counts)
    assert sets.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1] and core[:6].all() and not core[6:].any()
    assert msm.metastable_cores(counts, least=1e-4)[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_sets_that_were_entered_once_or_never_are_states_of_their_own() -> None:
    counts = _blocks([1.0, 1.0, 1.0], 0.0)
    counts[2, 3] = 1.0  # and never back
    sets, _ = msm.metastable_cores(np.pad(counts, ((0, 1), (0, 1))))
    assert sorted(np.bincount(sets[:9]).tolist()) == [3, 3, 3] and sets[9] == -1


def test_nothing_slower_than_the_lag_is_one_set() -> None:
    assert not msm.metastable_cores(np.full((6, 6), 10.0))[0].any()
    assert msm.metastable_cores(np.array([[5.0]]))[0].tolist() == [0]
