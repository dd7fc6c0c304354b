"""What is said about statistics that cannot be trusted yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from latentmd.sampling.hybrid.convergence import Criteria, Review, review
from latentmd.sampling.hybrid.estimates import Bursts

Chain = Callable[..., Bursts]


def _review(bursts: Bursts, criteria: Criteria | None = None, fresh: int = 10, lag: int = 1) -> Review:
    return review(bursts, lag, 1, criteria=criteria or Criteria(), fresh=fresh, rng=np.random.default_rng(0), draws=40)


def test_many_bursts_of_a_markov_chain_have_converged(chain: Chain, stationary: np.ndarray) -> None:
    result = _review(chain(1000, 20, 0))
    assert result.missing == ()
    assert result.converged
    first = result.estimates.populations[0]
    assert abs(first.value - stationary[0]) <= 3 * first.deviation


def test_few_crossings_and_wide_intervals_are_named(chain: Chain) -> None:
    result = _review(chain(20, 12, 0), Criteria(transitions=1000, precision=0.01))
    assert not result.converged
    text = " ".join(result.missing)
    assert "bursts cross into it" in text
    assert "standard error of" in text


def test_a_state_never_visited_is_named(chain: Chain) -> None:
    bursts = chain(300, 20, 0)
    inside = [np.column_stack([flags, np.zeros(len(flags), dtype=bool)]) for flags in bursts.inside]
    result = _review(replace(bursts, inside=inside, states=("first", "rest", "beyond")))
    assert "state beyond was never visited" in result.missing


def test_states_that_nothing_connects_are_named() -> None:
    """Half of the bursts stay in cells 0 and 1, half in cells 2 and 3."""
    rng = np.random.default_rng(0)
    paths = [rng.integers(2, size=20) + 2 * (i % 2) for i in range(100)]
    bursts = Bursts(paths, [np.column_stack([p < 2, p >= 2]) for p in paths], ("a", "b"), 4, 1.0)
    text = " ".join(_review(bursts).missing)
    assert "was visited, but no path leads there and back" in text
    assert "50.0% of the bursts end in cells that transitions connect" in text


def test_a_timescale_that_grows_with_the_lag_is_named() -> None:
    """Cells that ignore a slow hidden switch: a two-state path whose jumps mostly return at once."""
    rng = np.random.default_rng(0)
    paths = []
    for _ in range(600):
        slow = np.cumsum(rng.random(60) < 0.02) + rng.integers(2)
        blur = rng.random(60) < 0.25
        paths.append(((slow + blur) % 2).astype(np.int64))
    bursts = Bursts(paths, [np.column_stack([p == 0, p == 1]) for p in paths], ("a", "b"), 2, 1.0)
    assert any("grows with the lag" in sentence for sentence in _review(bursts).missing)


def test_new_cells_mean_that_exploration_goes_on(chain: Chain) -> None:
    bursts = chain(300, 20, 0)
    newest = [np.full(20, 3) for _ in range(5)]
    paths = [*bursts.paths, *newest]
    inside = [*bursts.inside, *[np.column_stack([p == 0, p != 0]) for p in newest]]
    result = _review(replace(bursts, paths=paths, inside=inside, cells=4), fresh=5)
    assert any("1 of 4 cells were found by the last 5 bursts" in sentence for sentence in result.missing)


def test_what_moves_on_doubling_is_part_of_the_error() -> None:
    """Bursts that lean to cell 0 for their first five frames: populations shift when more frames are discarded."""
    rng = np.random.default_rng(1)
    lean = np.where(np.arange(10) < 5, 0.9, 0.5)
    paths = [(rng.random(10) > lean).astype(np.int64) for _ in range(400)]
    bursts = Bursts(paths, [np.column_stack([p == 0, p == 1]) for p in paths], ("a", "b"), 2, 1.0)
    result = _review(bursts)
    logit, population = result.estimates.logits[0], result.estimates.populations[0]
    assert 0.2 < result.moved[0] < logit.deviation
    assert abs(population.value - 0.5) < 2.5 * population.deviation


@pytest.mark.parametrize("frames", [5, 6])
def test_bursts_too_short_to_double_are_refused(chain: Chain, frames: int) -> None:
    with pytest.raises(ValueError, match="needs more than"):
        review(chain(20, frames, 0), 2, 1, criteria=Criteria(), fresh=5, rng=np.random.default_rng(0))
