"""Noise as a function of counters: independent streams, the same numbers every time, normal ones."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.core.noise import CounterNoise, noise_generator


def test_the_same_counters_give_the_same_numbers() -> None:
    again = noise_generator(7, 3, 2, 1).standard_normal(9)
    assert np.array_equal(noise_generator(7, 3, 2, 1).standard_normal(9), again)
    assert np.array_equal(
        CounterNoise(7, 3, 2, 1).standard_normal((9,)), CounterNoise(7, 3, 2, 1).standard_normal((9,))
    )


@pytest.mark.parametrize("other", [(8, 3, 2, 1), (7, 4, 2, 1), (7, 3, 3, 1), (7, 3, 2, 2)])
def test_every_counter_counts(other: tuple[int, int, int, int]) -> None:
    assert not np.any(noise_generator(*other).standard_normal(9) == noise_generator(7, 3, 2, 1).standard_normal(9))
    ours, theirs = CounterNoise(7, 3, 2, 1), CounterNoise(*other)
    assert not np.any(ours.standard_normal((9,)) == theirs.standard_normal((9,)))


def test_numbers_are_standard_normal() -> None:
    """100 000 numbers: standard errors 0.003 of the mean, 0.0045 of the variance, 0.015 of the kurtosis."""
    x = CounterNoise(1).standard_normal((100_000,))
    assert abs(x.mean()) < 0.015 and abs(x.var() - 1) < 0.025 and abs((x**4).mean() - 3) < 0.1
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.015


def test_calls_take_whole_blocks() -> None:
    """A first call of 5 numbers takes two blocks of four, so that the next one starts at the ninth."""
    one, two = CounterNoise(1), CounterNoise(1)
    both = one.standard_normal((12,))
    assert np.array_equal(two.standard_normal((5,)), both[:5])
    assert np.array_equal(two.standard_normal((4,)), both[8:])


def test_shape_and_type() -> None:
    x = CounterNoise(1).standard_normal((2, 3), np.float32)
    assert x.shape == (2, 3) and x.dtype == np.float32
