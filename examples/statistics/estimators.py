"""Reversible estimators side by side: Newton's method here, and deeptime's fixed-point iteration.

    OMP_NUM_THREADS=1 python examples/statistics/estimators.py

Counts of a random walk in a double well of 2 or 6 kT, 2,000 lags from every state, and the same with the rows weighted
at random, as a bootstrap sees them. Milliseconds are medians of interleaved repeats in one process; the last column is
the largest difference of a stationary population.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from deeptime.markov.msm import MaximumLikelihoodMSM

from latentmd.analysis.msm import reversible_fluxes


def counts(states: int, barrier: float, rng: np.random.Generator) -> np.ndarray:
    """Transition counts (states, states) of a walk of one or two states at a time."""
    x = np.linspace(-1.5, 1.5, states)
    energy = barrier * (x * x - 1) ** 2
    apart = np.abs(np.subtract.outer(np.arange(states), np.arange(states)))
    matrix = np.exp(-0.5 * np.subtract.outer(energy, energy).T) * (apart > 0) * (apart <= 2)
    matrix *= 0.9 / matrix.sum(axis=1).max()
    np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
    return np.array([rng.multinomial(2000, row) for row in matrix]) + 1.0 * (apart == 1)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of a call and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> None:
    """Print a line for every number of states and barrier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{'states':>6} {'kT':>3} {'Newton':>8} {'weighted':>8} {'deeptime':>9} {'ratio':>6} {'difference':>11}   ms")
    for states in (40, 100, 300):
        for barrier in (2.0, 6.0):
            rng = np.random.default_rng(0)
            found = counts(states, barrier, rng)
            estimator = MaximumLikelihoodMSM(reversible=True, maxerr=1e-8, maxiter=10**7)
            rows = []
            for _ in range(repeats):
                newton, fluxes = seconds(lambda c=found: reversible_fluxes(c))
                weighted = found * rng.exponential(size=(states, 1))
                resampled, _ = seconds(lambda c=weighted: reversible_fluxes(c))
                other, model = seconds(lambda c=found, e=estimator: e.fit_from_counts(c).fetch_model())
                rows.append(
                    (newton, resampled, other, np.abs(model.stationary_distribution - fluxes.sum(axis=1)).max())
                )
            newton, resampled, other, difference = np.median(rows, axis=0)
            print(
                f"{states:6} {barrier:3.0f} {1e3 * newton:8.2f} {1e3 * resampled:8.2f} {1e3 * other:9.2f} "
                f"{other / newton:6.1f} {difference:11.1e}"
            )


if __name__ == "__main__":
    main()
