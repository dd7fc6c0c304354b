"""Latent steps that make up a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from latentmd.model.lags import split_time


def test_the_fewest_equal_steps_within_the_range() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        shortest = float(rng.uniform(1, 10))
        longest = shortest * float(rng.uniform(2, 5))
        time = float(rng.uniform(shortest, 20 * longest))
        steps, lag = split_time(time, (shortest, longest))
        assert steps * lag == pytest.approx(time, rel=1e-5) and shortest <= lag <= longest
        assert steps == 1 or time / (steps - 1) > longest * (1 - 1e-6)


def test_rounding_of_units_costs_no_step() -> None:
    assert split_time(100.00001, (10.0, 50.0)) == (2, 50.0)
    assert split_time(9.999999, (10.0, 50.0)) == (1, 10.0)


@pytest.mark.parametrize("time", [0.0, -5.0, 9.0, 75.0, math.nan, math.inf])
def test_impossible_times_say_what_is_possible(time: float) -> None:
    with pytest.raises(ValueError, match=r"its lags are (10|50) to (50|60) ps; expected a multiple"):
        split_time(time, (50.0, 60.0) if time == 75.0 else (10.0, 50.0))
