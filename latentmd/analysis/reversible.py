"""Reversible maximum-likelihood transition matrices by Newton's method, fast enough to resample.

deeptime 0.4.5 has a fixed-point iteration, which needs thousands of sweeps where states are metastable, and a bootstrap
repeats it hundreds of times. For 40 to 300 states Newton's method is 7 to 130 times faster, and the two populations
differ by 2e-6 at most (`python examples/statistics/estimators.py`, one core).
"""

from __future__ import annotations

import numpy as np

from latentmd.arrays import Floats

_TOLERANCE = 1e-9  # of the gradient against the counts
_MOST_STEPS = 200
_LONGEST_STEP = 4.0  # of a, a logarithm
_RIDGE = 1e-12  # of the Hessian's mean diagonal


def reversible_fluxes(counts: Floats) -> Floats:
    """Equilibrium fluxes of the most likely reversible Markov model of a strongly connected count matrix.

    The likelihood prod_ij (x_ij / x_i)^c_ij over symmetric fluxes x_ij with row sums x_i has its maximum where

        x_ij = (c_ij + c_ji) / (exp(a_i) + exp(a_j)),    exp(a_i) = c_i / x_i                       (Bowman 2009)

    Its row sums are the stationarity condition of the convex function

        f(a) = sum_{i<j} (c_ij + c_ji) ln(exp(a_i) + exp(a_j)) - sum_i (c_i - c_ii) a_i

    so that Newton's method finds it (f is also the Bradley-Terry likelihood of paired comparisons; its minimum exists
    where the counts are strongly connected: Ford 1957).

    Args:
        counts: shape (states, states), strongly connected, any scale.

    Returns:
        Symmetric fluxes, shape (states, states), summing to 1: row sums are the stationary vector, and dividing the
        rows by them gives the transition matrix.

    Raises:
        ValueError: the iteration does not converge.
    """
    both = counts + counts.T
    leaving = counts.sum(axis=1) - np.diag(counts)
    a = np.zeros(len(counts))
    value, gradient, hessian = _expand(a, both, leaving)
    for _ in range(_MOST_STEPS):
        if np.max(np.abs(gradient)) <= _TOLERANCE * leaving.sum():
            raw = both / np.add.outer(np.exp(a), np.exp(a))
            return np.asarray(raw / raw.sum())
        # The constant vector changes nothing; adding it to the Hessian fixes the mean of the step at zero. The ridge
        # keeps the matrix regular where two parts hang together by next to nothing, as in some draws of a bootstrap.
        size = float(np.mean(np.diag(hessian)))
        step = np.linalg.solve(hessian + size / len(a) + _RIDGE * size * np.eye(len(a)), -gradient)
        # Where the Hessian has all but vanished a full step would leave the region where it can come back.
        step *= min(1.0, _LONGEST_STEP / float(np.max(np.abs(step))))
        slope, scale = float(gradient @ step), 1.0
        while True:
            trial = a + scale * step
            new = _expand(trial, both, leaving)
            if new[0] <= value + 1e-4 * scale * slope + 1e-12 * abs(value) or scale < 1e-6:
                break
            scale /= 2
        a, (value, gradient, hessian) = trial, new
    raise ValueError("the reversible estimate does not converge; counts must connect every state with every other")


def _expand(a: Floats, both: Floats, leaving: Floats) -> tuple[float, Floats, Floats]:
    """Value, gradient and Hessian of f."""
    difference = np.subtract.outer(a, a)
    share = 0.5 * (1 + np.tanh(0.5 * difference))  # exp(a_i) / (exp(a_i) + exp(a_j))
    off = both - np.diag(np.diag(both))
    value = 0.5 * float(np.sum(off * np.logaddexp.outer(a, a))) - float(leaving @ a)
    gradient = np.sum(off * share, axis=1) - leaving
    weight = off * share * share.T
    return value, gradient, np.diag(weight.sum(axis=1)) - weight
