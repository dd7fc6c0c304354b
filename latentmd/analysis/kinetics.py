"""Kinetic metrics that need no Markov model: torsion autocorrelation and first-passage times between core sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats, Ints


def torsion_autocorrelation(series: Sequence[Floats], max_lag: int) -> Floats:
    """Torsion autocorrelation with its baseline removed, scaled to C(0) = 1, of runs (frames,) in radians.

    C(t) = (<cos(phi(s + t) - phi(s))> - |<exp(i phi)>|^2) / (1 - |<exp(i phi)>|^2), averaged over all runs, at lags 0
    ... max_lag in frames, as far as the longest run reaches; zeros for a torsion that never moves.
    """
    max_lag = min(max_lag, max(len(s) for s in series) - 1)
    total, pairs, mean = np.zeros(max_lag + 1), np.zeros(max_lag + 1), 0.0 + 0.0j
    for run in series:
        phase = np.exp(1j * np.asarray(run, dtype=np.float64))
        size = 1 << int(np.ceil(np.log2(2 * len(phase))))
        raw = np.fft.ifft(np.abs(np.fft.fft(phase, size)) ** 2).real
        lags = min(max_lag + 1, len(phase))
        total[:lags] += raw[:lags]
        pairs[:lags] += len(phase) - np.arange(lags)
        mean += phase.sum()
    baseline = abs(mean / sum(len(s) for s in series)) ** 2
    if 1 - baseline < 1e-12:
        return np.zeros(max_lag + 1)
    return np.asarray((total / np.maximum(pairs, 1) - baseline) / (1 - baseline))


def decorrelation_time(correlation: Floats, interval: float) -> float:
    """Time at which an autocorrelation (lags 0, 1, 2, ... frames) first falls to 1/e; infinity where never."""
    below = np.flatnonzero(correlation <= np.exp(-1))
    if not len(below):
        return float("inf")
    after = int(below[0])
    if after == 0:
        return 0.0
    high, low = correlation[after - 1], correlation[after]
    return float(interval * (after - 1 + (high - np.exp(-1)) / (high - low)))


@dataclass(frozen=True)
class FirstPassage:
    """Mean first-passage time between core sets in ps with its exact 95 % interval for exponential waiting times, and
    the transitions seen; value and high are infinity without any.
    """

    value: float
    low: float
    high: float
    events: int


def core_path(in_first: NDArray[np.bool_], in_second: NDArray[np.bool_]) -> Ints:
    """Core last visited at every frame (frames,) of one run: 0, 1, or -1 before the first visit (milestoning)."""
    label = np.where(in_first, 0, np.where(in_second, 1, -1))
    last = np.maximum.accumulate(np.where(label >= 0, np.arange(len(label)), -1))
    return np.asarray(np.where(last >= 0, label[np.maximum(last, 0)], -1))


def first_passage_times(cores: Sequence[Ints], interval: float) -> tuple[FirstPassage, FirstPassage]:
    """Mean first-passage times between two cores, 0 to 1 and 1 to 0, from the `core_path` of every run.

    MFPT = (time during which the core was the last one visited) / (transitions out of it), the maximum-likelihood
    estimate for exponential waiting times; its interval follows from the chi-square distribution of the waiting time
    (Garwood, Biometrika 28, 437, 1936).
    """
    results = []
    for source in (0, 1):
        time = interval * sum(float(np.count_nonzero(c[:-1] == source)) for c in cores)
        events = sum(int(np.count_nonzero((c[:-1] == source) & (c[1:] == 1 - source))) for c in cores)
        results.append(_exponential_mean(time, events))
    return results[0], results[1]


def _exponential_mean(time: float, events: int) -> FirstPassage:
    from scipy.stats import chi2

    if time <= 0:
        return FirstPassage(float("nan"), float("nan"), float("nan"), 0)
    low = 2 * time / float(chi2.ppf(0.975, 2 * events + 2))
    high = 2 * time / float(chi2.ppf(0.025, 2 * events)) if events else float("inf")
    return FirstPassage(time / events if events else float("inf"), low, high, events)
