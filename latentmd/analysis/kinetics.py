"""Kinetic metrics: torsion autocorrelation, implied timescales, Chapman-Kolmogorov test, first-passage times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.analysis.statistics import split_blocks
from latentmd.arrays import Floats, Ints


def torsion_autocorrelation(series: Sequence[Floats], max_lag: int) -> Floats:
    """Torsion autocorrelation with its baseline removed, scaled to C(0) = 1.

    C(t) = (<cos(phi(s + t) - phi(s))> - |<exp(i phi)>|^2) / (1 - |<exp(i phi)>|^2), averaged over all runs.

    Args:
        series: runs of one torsion in radians, each of shape (frames,).
        max_lag: largest lag in frames; cut to the longest run less one.

    Returns:
        C at lags 0 ... max_lag; zeros for a torsion that never moves.
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
    """Time at which an autocorrelation first falls to 1/e, interpolated linearly; infinity where it never does.

    Args:
        correlation: values at lags 0, 1, 2, ... frames.
        interval: time between frames, in the unit of the result.
    """
    below = np.flatnonzero(correlation <= np.exp(-1))
    if not len(below):
        return float("inf")
    after = int(below[0])
    if after == 0:
        return 0.0
    high, low = correlation[after - 1], correlation[after]
    return float(interval * (after - 1 + (high - np.exp(-1)) / (high - low)))


def transition_counts(paths: Sequence[Ints], lag: int, states: int, block: int | None = None) -> Floats:
    """Sliding-window transition counts at a lag, one matrix per contiguous block of each run.

    Args:
        paths: state index per frame, one array per run; -1 marks a frame in no state, whose pairs are left out.
        lag: frames.
        states: number of states.
        block: frames per block; each run is one block where None.

    Returns:
        Counts, shape (blocks, states, states). No pair spans two runs; one that spans two blocks counts in the first.
    """
    size = block or max(len(p) for p in paths)
    matrices = []
    for run, start, stop in split_blocks([len(p) for p in paths], size):
        path = paths[run]
        origin = path[start : min(stop, len(path) - lag)]
        target = path[start + lag : start + lag + len(origin)]
        valid = (origin >= 0) & (target >= 0)
        flat = origin[valid].astype(np.int64) * states + target[valid]
        matrices.append(np.bincount(flat, minlength=states * states).reshape(states, states))
    return np.stack(matrices).astype(np.float64)


def connected_states(counts: Floats) -> Ints:
    """States of the largest strongly connected set of a count matrix, sorted."""
    from scipy.sparse.csgraph import connected_components

    _, labels = connected_components(counts > 0, directed=True, connection="strong")
    weights = np.bincount(labels, weights=counts.sum(axis=1))
    return np.flatnonzero(labels == int(np.argmax(weights)))


def reversible_msm(counts: Floats) -> tuple[Floats, Floats, Ints]:
    """Maximum-likelihood reversible Markov state model of a count matrix (deeptime).

    Returns:
        (transition matrix, stationary vector, states): the model of the largest connected set and the states it keeps.
    """
    from deeptime.markov.msm import MaximumLikelihoodMSM

    states = connected_states(counts)
    if len(states) == 1:
        return np.ones((1, 1)), np.ones(1), states
    model = (
        MaximumLikelihoodMSM(reversible=True, maxerr=1e-8).fit_from_counts(counts[np.ix_(states, states)]).fetch_model()
    )
    return np.asarray(model.transition_matrix), np.asarray(model.stationary_distribution), states


def _reversible_eigenvalues(matrix: Floats, stationary: Floats) -> Floats:
    root = np.sqrt(np.maximum(stationary, 1e-300))
    symmetric = root[:, None] * matrix / root[None, :]
    return np.asarray(np.linalg.eigvalsh(0.5 * (symmetric + symmetric.T))[::-1])


def timescales(counts: Floats, lag_time: float, number: int) -> Floats:
    """Implied timescales t_i = -lag / ln(lambda_i) of the reversible model of a count matrix, slowest first.

    Args:
        counts: shape (states, states).
        lag_time: lag in ps, the unit of the result.
        number: how many; nan where the model has fewer positive eigenvalues.
    """
    matrix, stationary, _ = reversible_msm(counts)
    values = _reversible_eigenvalues(matrix, stationary)[1 : number + 1]
    result = np.full(number, np.nan)
    positive = (values > 0) & (values < 1)
    result[: len(values)][positive] = -lag_time / np.log(values[positive])
    return result


@dataclass(frozen=True)
class ImpliedTimescales:
    """Implied timescales at several lags.

    Attributes:
        lags: ps, shape (lags,).
        values, low, high: timescales and their 95 % interval in ps, shape (lags, processes); nan where undefined.
    """

    lags: Floats
    values: Floats
    low: Floats
    high: Floats


def implied_timescales(
    paths: Sequence[Ints], lags: Sequence[int], states: int, interval: float, rng: np.random.Generator,
    number: int = 3, resamples: int = 20, block: int | None = None,
) -> ImpliedTimescales:  # fmt: skip
    """Implied timescales at several lags with block-bootstrap intervals.

    Args:
        paths: state index per frame, one array per run.
        lags: frames.
        states: number of states.
        interval: ps between frames.
        rng: random generator of the resampling.
        number: slowest processes reported.
        resamples: bootstrap resamples.
        block: frames per resampled block; a twentieth of all frames where None, never across runs.

    Raises:
        ValueError: no run is longer than the largest lag.
    """
    if max(len(p) for p in paths) <= max(lags):
        raise ValueError(
            f"a lag of {max(lags)} frames needs runs longer than that; the longest has {max(len(p) for p in paths)}"
        )
    block = block or max(sum(len(p) for p in paths) // 20, max(lags) + 1)
    rows = []
    for lag in lags:
        matrices = transition_counts(paths, lag, states, block)
        value = timescales(matrices.sum(axis=0), lag * interval, number)
        weights = rng.multinomial(len(matrices), np.full(len(matrices), 1 / len(matrices)), size=resamples)
        draws = np.array([timescales(np.tensordot(w, matrices, 1), lag * interval, number) for w in weights])
        scattered = len(matrices) > 1 and np.isfinite(draws).any(axis=0)
        low, high = (_quantile(draws, q, scattered) for q in (0.025, 0.975))
        rows.append((value, low, high))
    values, low, high = (np.array(column) for column in zip(*rows, strict=True))
    return ImpliedTimescales(np.array(lags) * interval, values, low, high)


def _quantile(draws: Floats, q: float, usable: Any) -> Floats:
    result = np.full(draws.shape[1], np.nan)
    for i in np.flatnonzero(np.broadcast_to(usable, draws.shape[1:])):
        result[i] = np.quantile(draws[np.isfinite(draws[:, i]), i], q)
    return result


@dataclass(frozen=True)
class ChapmanKolmogorov:
    """Chapman-Kolmogorov test on a few sets of states.

    Attributes:
        multiples: k, shape (k,).
        predicted, estimated: staying probability of each set after k lags, shape (k, sets): from the model at one
            lag to the k-th power, and from the model estimated at k lags.
        error: largest absolute difference.
    """

    multiples: Ints
    predicted: Floats
    estimated: Floats
    error: float


def chapman_kolmogorov(
    paths: Sequence[Ints], lag: int, membership: Ints, multiples: Sequence[int] = (1, 2, 3, 4)
) -> ChapmanKolmogorov:
    """Compare T(lag)^k with T(k lag): the probability of being in a set k lags after starting there at equilibrium.

    Args:
        paths: state index per frame, one array per run.
        lag: frames.
        membership: set of each state, shape (states,), values 0 ... sets - 1 (for example from `coarse_grain`).
        multiples: powers k; those that no run is long enough for are left out.

    Raises:
        ValueError: no run is longer than the lag.
    """
    longest = max(len(p) for p in paths)
    if longest <= lag:
        raise ValueError(f"a lag of {lag} frames needs a run longer than that; the longest has {longest}")
    multiples = [k for k in multiples if k * lag < longest]
    states, sets = len(membership), int(membership.max()) + 1
    base, base_pi, base_states = reversible_msm(transition_counts(paths, lag, states).sum(axis=0))
    predicted, estimated = [], []
    for k in multiples:
        own = reversible_msm(transition_counts(paths, k * lag, states).sum(axis=0))
        power = np.linalg.matrix_power(base, k)
        predicted.append(_staying(power, base_pi, membership[base_states], sets))
        estimated.append(_staying(own[0], own[1], membership[own[2]], sets))
    p, e = np.array(predicted), np.array(estimated)
    return ChapmanKolmogorov(np.array(multiples), p, e, float(np.nanmax(np.abs(p - e))))


def _staying(matrix: Floats, stationary: Floats, membership: Ints, sets: int) -> Floats:
    result = np.full(sets, np.nan)
    for s in range(sets):
        weight = np.where(membership == s, stationary, 0.0)
        if weight.sum() > 0:
            result[s] = (weight @ matrix)[membership == s].sum() / weight.sum()
    return result


def coarse_grain(counts: Floats, sets: int) -> Ints:
    """`metastable_sets` of the reversible model of a count matrix; unconnected states join no set and get -1."""
    matrix, stationary, states = reversible_msm(counts)
    result = np.full(len(counts), -1)
    result[states] = metastable_sets(matrix, stationary, sets)
    return result


def metastable_sets(matrix: Floats, stationary: Floats, sets: int) -> Ints:
    """PCCA+ sets of the states of a reversible Markov model (deeptime).

    Args:
        matrix, stationary: transition matrix (states, states) and stationary vector.
        sets: most sets wanted. One more than the processes slower than the lag are made, at least two: PCCA+ splits
            noise beyond that.

    Returns:
        Set of each state, shape (states,), numbered from the most to the least populated.
    """
    from deeptime.markov.msm import MarkovStateModel

    if len(matrix) < 2:
        return np.zeros(len(matrix), dtype=np.int64)
    slow = int(np.count_nonzero(_reversible_eigenvalues(matrix, stationary) > np.exp(-1)))
    sets = min(sets, len(matrix), max(slow, 2))
    assignment = np.asarray(MarkovStateModel(matrix, stationary).pcca(sets).assignments)
    mass = np.bincount(assignment, weights=stationary, minlength=sets)
    order = np.argsort(-mass)
    rank = np.empty(sets, dtype=np.int64)
    rank[order] = np.arange(sets)
    occupied = np.unique(rank[assignment])  # PCCA+ may leave a set empty
    return np.asarray(np.searchsorted(occupied, rank[assignment]))


@dataclass(frozen=True)
class FirstPassage:
    """Mean first-passage time from one core set to another.

    Attributes:
        value: ps; infinity where no transition was seen.
        low, high: exact 95 % interval for exponential waiting times, ps; high is infinity without transitions.
        events: transitions seen.
    """

    value: float
    low: float
    high: float
    events: int


def core_path(in_first: NDArray[np.bool_], in_second: NDArray[np.bool_]) -> Ints:
    """Core last visited at every frame: 0, 1, or -1 before the first visit (milestoning of one run)."""
    label = np.where(in_first, 0, np.where(in_second, 1, -1))
    last = np.maximum.accumulate(np.where(label >= 0, np.arange(len(label)), -1))
    return np.asarray(np.where(last >= 0, label[np.maximum(last, 0)], -1))


def first_passage_times(cores: Sequence[Ints], interval: float) -> tuple[FirstPassage, FirstPassage]:
    """Mean first-passage times between two cores, 0 to 1 and 1 to 0.

    MFPT = (time during which the core was the last one visited) / (transitions out of it), the maximum-likelihood
    estimate for exponential waiting times; its interval follows from the chi-square distribution of the waiting time
    (Garwood, Biometrika 28, 437, 1936).

    Args:
        cores: `core_path` of every run.
        interval: ps between frames.
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


def msm_passage_times(matrix: Floats, target: Ints, lag_time: float) -> Floats:
    """Mean first-passage times to a set of states in a Markov model from every state, shape (states,).

    Solves m_i = lag + sum_{j not in target} T_ij m_j; zero in the target.

    Args:
        matrix: transition matrix (states, states).
        target: state indices.
        lag_time: ps, the unit of the result.
    """
    outside = np.setdiff1d(np.arange(len(matrix)), target)
    system = np.eye(len(outside)) - matrix[np.ix_(outside, outside)]
    mean = np.zeros(len(matrix))
    mean[outside] = np.linalg.solve(system, np.full(len(outside), lag_time))
    return mean


def msm_first_passage(matrix: Floats, stationary: Floats, source: Ints, target: Ints, lag_time: float) -> float:
    """Mean first-passage time from a set of states, at equilibrium there, to another, disjoint one.

    Arguments as for `msm_passage_times`, with the stationary vector (states,) and the indices of the source.
    """
    times = msm_passage_times(matrix, target, lag_time)
    return float(np.average(times[source], weights=stationary[source]))


def reactive_flux(matrix: Floats, stationary: Floats, membership: Ints, sets: int) -> Floats:
    """Equilibrium flux between sets per lag: F_ab = sum_{i in a, j in b} pi_i T_ij, shape (sets, sets), no diagonal."""
    indicator = np.eye(sets)[membership]
    flux = indicator.T @ (stationary[:, None] * matrix) @ indicator
    return np.asarray(flux - np.diag(np.diag(flux)))
