"""Kinetic metrics that need no Markov model: torsion autocorrelation and first-passage times between core sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latentmd.analysis.statistics import Estimate, lag_sums
from latentmd.arrays import Bools, Floats, Ints

_NEVER = 1e-12  # jumps where none was seen, which keeps the equations regular


def torsion_autocorrelation(series: Sequence[Floats], max_lag: int) -> Floats:
    """Torsion autocorrelation with its baseline removed, scaled to C(0) = 1, of runs (frames,) in radians. C(t) =
    (<cos(phi(s + t) - phi(s))> - |<exp(i phi)>|^2) / (1 - |<exp(i phi)>|^2), averaged over all runs, at lags 0 ...
    max_lag in frames, as far as the longest run reaches; zeros for a torsion that never moves.
    """
    phases = [np.exp(1j * np.asarray(run, dtype=np.float64)) for run in series]
    total, pairs = lag_sums(phases, min(max_lag, max(map(len, phases)) - 1))
    mean = 0.0 + 0.0j
    for phase in phases:
        mean += phase.sum()
    baseline = abs(mean / sum(map(len, phases))) ** 2
    if 1 - baseline < 1e-12:
        return np.zeros_like(total)
    return np.asarray((total / pairs - baseline) / (1 - baseline))


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


def core_path(in_first: Bools, in_second: Bools) -> Ints:
    """Core last visited at every frame (frames,) of one run: 0, 1, or -1 before the first visit (milestoning)."""
    return last_core(np.where(in_first, 0, np.where(in_second, 1, -1)))


def last_core(label: Ints) -> Ints:
    """Core last visited at every frame (frames,), from the core of each frame, -1 where it is in none."""
    last = np.maximum.accumulate(np.where(label >= 0, np.arange(len(label)), -1))
    return np.asarray(np.where(last >= 0, label[np.maximum(last, 0)], -1))


def first_passage_times(cores: Sequence[Ints], interval: float) -> tuple[Estimate, Estimate]:
    """Mean first-passage times (ps) between cores 0 and 1, both ways, from the `core_path` of every run: time in which
    a core was the last visited over transitions out of it, with the chi-square interval of exponential waiting times
    (Garwood, Biometrika 28, 437, 1936).
    """
    results = []
    for source in (0, 1):
        time = interval * sum(float(np.count_nonzero(c[:-1] == source)) for c in cores)
        events = sum(int(np.count_nonzero((c[:-1] == source) & (c[1:] == 1 - source))) for c in cores)
        results.append(_exponential_mean(time, events))
    return results[0], results[1]


class Dwelling(NamedTuple):
    """Mean life times of states (states,), and first-passage times from each to each (states, states), ps; nan where a
    state was never visited, infinite where it was never left, or never for there, with 95 % intervals (low, high).
    """

    lives: Floats
    life_bounds: Floats
    passages: Floats
    passage_bounds: Floats


def dwelling(
    cores: Sequence[Ints], states: int, interval: float, rng: np.random.Generator, draws: int = 1000
) -> Dwelling:
    """Life and passage times of states from the `last_core` of every run, by rates n_ij / T_i of jumps in the time that
    a core was the last visited; intervals from draws of the rates' gamma distributions (a flat prior of leaving).
    """
    jumps, times = np.zeros((states, states)), np.zeros(states)
    for path in cores:
        a, b = path[:-1], path[1:]
        times += interval * np.bincount(a[a >= 0], minlength=states)
        moved = (a >= 0) & (a != b)
        np.add.at(jumps, (a[moved], b[moved]), 1)
    prior = (1 - np.eye(states)) / (states - 1) if states > 1 else np.ones((1, 1))
    drawn = rng.standard_gamma(np.broadcast_to(jumps + prior, (draws, states, states)))
    rates = np.concatenate([jumps[None] + _NEVER * prior, drawn]) / np.maximum(times, interval)[:, None]
    leaving = np.maximum(rates.sum(axis=2), _NEVER / interval)
    passages = np.zeros_like(rates)
    for target in range(states):
        others = np.delete(np.arange(states), target)
        system = leaving[:, others, None] * np.eye(len(others)) - rates[:, others[:, None], others]
        passages[:, others, target] = np.linalg.solve(system, np.ones((*system.shape[:2], 1)))[..., 0]
    found = []
    for values in (1 / leaving, passages):
        value, bounds = values[0], np.quantile(values[1:], (0.025, 0.975), axis=0)
        unseen = value > 1e-3 / _NEVER * interval
        value, bounds[1] = np.where(unseen, np.inf, value), np.where(unseen, np.inf, bounds[1])
        value[times == 0] = bounds[:, times == 0] = np.nan
        found += [value, bounds]
    return Dwelling(*found)


def _exponential_mean(time: float, events: int) -> Estimate:
    from scipy.stats import chi2

    if time <= 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    low = 2 * time / float(chi2.ppf(0.975, 2 * events + 2))
    high = 2 * time / float(chi2.ppf(0.025, 2 * events)) if events else float("inf")
    return Estimate(time / events if events else float("inf"), low, high, events)
