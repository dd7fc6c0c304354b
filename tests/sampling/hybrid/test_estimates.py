"""Populations, timescales and first-passage times with their intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentmd.sampling.hybrid.estimates import Bursts, _geometric_mean_time, estimate

Chain = Callable[..., Bursts]


def test_numbers_of_a_known_chain(chain: Chain, stationary: np.ndarray) -> None:
    """Timescales from the eigenvalues, first passage by solving for the mean time; half a ps between frames."""
    result = estimate(chain(3000, 30, 0), lag=1, skip=2, rng=np.random.default_rng(0), timescales=2)
    first, rest = result.populations
    assert abs(first.value - stationary[0]) < 3 * first.deviation < 0.05
    assert first.low < first.value < first.high
    np.testing.assert_allclose(first.value + rest.value, 1)
    np.testing.assert_allclose(result.logits[0].value, np.log(first.value / rest.value))
    values = np.sort(np.linalg.eigvals(np.array([[0.95, 0.05, 0], [0.04, 0.9, 0.06], [0, 0.03, 0.97]])).real)[::-1]
    for timescale, value in zip(result.timescales, values[1:], strict=True):
        np.testing.assert_allclose(timescale.value, -0.5 / np.log(value), rtol=0.1)
        assert timescale.low < -0.5 / np.log(value) < timescale.high
    np.testing.assert_allclose(result.passages["first", "rest"].value, 0.5 / 0.05, rtol=0.1)
    assert result.connected == 1
    assert result.lag == 0.5


def test_a_state_never_visited_has_no_population_and_no_passage(chain: Chain) -> None:
    bursts = chain(50, 20, 0)
    inside = [np.column_stack([flags, np.zeros(len(flags), dtype=bool)]) for flags in bursts.inside]
    nowhere = Bursts(bursts.paths, inside, ("first", "rest", "nowhere"), 3, 0.5)
    result = estimate(nowhere, 1, 2, np.random.default_rng(0), draws=10)
    assert result.populations[2].value == 0
    assert result.passages["first", "nowhere"].value == np.inf


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_give_equal_intervals(chain: Chain, seed: int) -> None:
    bursts = chain(60, 20, seed)
    one, two = (estimate(bursts, 1, 2, np.random.default_rng(seed), draws=20) for _ in range(2))
    assert one.populations == two.populations
    assert one.timescales[:2] == two.timescales[:2]


def test_intervals_cover_the_truth(chain: Chain, stationary: np.ndarray) -> None:
    """Two standard errors hold the exact population in at least 54 of 60 sets of bursts (57 expected)."""
    covered = 0
    for seed in range(60):
        result = estimate(chain(100, 20, seed), 1, 2, np.random.default_rng(seed), draws=60)
        first = result.populations[0]
        covered += abs(first.value - stationary[0]) <= 2 * first.deviation
    assert covered >= 54


def test_trials_that_go_on_until_they_succeed_do_not_make_a_climb_too_easy() -> None:
    """Bursts of one step climb with probability 0.1 and are tried until two have; maximum likelihood is 0.27 off."""
    rng, climb, fall = np.random.default_rng(0), 0.1, 0.5
    off, likely = [], []
    for _ in range(150):
        trials = 2 + int(rng.negative_binomial(2, climb))
        down = int(rng.binomial(300, fall))
        steps = [(0, 1)] * 2 + [(0, 0)] * (trials - 2) + [(1, 0)] * down + [(1, 1)] * (300 - down)
        paths = [np.array(step) for step in steps]
        bursts = Bursts(paths, [(p == 1)[:, None] for p in paths], ("up",), 2, 1.0)
        off.append(estimate(bursts, 1, 0, rng, draws=40).logits[0].value - np.log(climb / fall))
        likely.append(np.log(2 / trials / (down / 300)) - np.log(climb / fall))
    assert np.mean(likely) > 0.18
    assert abs(np.mean(off)) < 0.18


def test_a_time_that_a_few_draws_do_not_have_is_that_of_the_others() -> None:
    assert _geometric_mean_time(np.array([2.0, 8.0, np.nan])) == pytest.approx(4.0)
    assert np.isnan(_geometric_mean_time(np.array([2.0, np.nan])))
    assert _geometric_mean_time(np.array([2.0, np.inf, np.inf])) == np.inf
