"""Latent steps that make up a time, without torch."""

from __future__ import annotations

import math

TOLERANCE = 1e-6  # relative, on time steps that went through unit conversions


def split_time(time: float, lag_range: tuple[float, float]) -> tuple[int, float]:
    """The fewest latent steps of equal lag within a range in ps that make up a time: (number of steps, lag in ps).

    ValueError: no number of steps gives a lag within the range.

    Example:
        >>> split_time(250.0, (50.0, 100.0))
        (3, 83.33333333333333)
    """
    shortest, longest = lag_range
    if time > 0 and math.isfinite(time):
        steps = max(1, math.ceil(time / longest * (1 - TOLERANCE)))
        lag = time / steps
        if lag >= shortest * (1 - TOLERANCE):
            return steps, min(max(lag, shortest), longest)
    raise ValueError(
        f"the model cannot make a step of {time:g} ps: its lags are {shortest:g} to {longest:g} ps; "
        f"expected a multiple of a lag in that range, such as {longest:g} ps"
    )
