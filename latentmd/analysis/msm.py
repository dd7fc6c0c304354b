"""Reversible Markov state models of discretised runs: cells, counts, the model, and what follows from it.

PCCA+ and models of known populations are deeptime's. Written here is what does not fit: counts per block, for
resampling; the estimator, which it repeats hundreds of times (deeptime 0.4.5 iterates to a fixed point, 2 to 22 times
slower for 40 to 300 states; populations differ by 2e-6 at most, see examples/statistics/estimators.py); timescales from
the symmetric eigenproblem, which cannot turn complex by rounding; a Chapman-Kolmogorov test of given sets.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from latentmd.analysis.statistics import split_blocks
from latentmd.arrays import Bools, Floats, Ints

if TYPE_CHECKING:
    from deeptime.clustering import ClusterModel

_TOLERANCE, _BARELY = 1e-9, 1e-8  # over the counts: of the gradient, and between sets that nothing else joins
_CORE = 0.8  # membership of a state in the core of its set


def k_means(
    points: Floats, number: int, seed: int, sweeps: int = 100, tolerance: float = 1e-5, threads: int | None = None
) -> ClusterModel:
    """Centres of points (points, axes) by Lloyd's iteration from k-means++ (deeptime), the same for the same seed."""
    from deeptime.clustering import KMeans

    estimator = KMeans(number, max_iter=sweeps, tolerance=tolerance, fixed_seed=seed, n_jobs=threads)
    return estimator.fit(points).fetch_model()


def transition_counts(paths: Sequence[Ints], lag: int, states: int, block: int | None = None) -> Floats:
    """Sliding-window transition counts (blocks, states, states) at a lag, one matrix per contiguous block of each run.
    Frames of state -1 are left out. No pair spans two runs; one that spans two blocks counts in the first.
    """
    size = block or max(len(p) for p in paths)
    matrices = []
    for run, start, stop in split_blocks([len(p) for p in paths], size):
        path = paths[run]
        origin = path[start : max(0, min(stop, len(path) - lag))]  # none of a run shorter than the lag
        target = path[start + lag : start + lag + len(origin)]
        valid = (origin >= 0) & (target >= 0)
        flat = origin[valid].astype(np.int64) * states + target[valid]
        matrices.append(np.bincount(flat, minlength=states * states).reshape(states, states))
    return np.stack(matrices).astype(np.float64)


def _connected_states(counts: Floats) -> Ints:
    """States of the largest strongly connected set of a count matrix (states, states), sorted."""
    from scipy.sparse.csgraph import connected_components

    _, labels = connected_components(counts > 0, directed=True, connection="strong")
    weights = np.bincount(labels, weights=counts.sum(axis=1))
    return np.flatnonzero(labels == int(np.argmax(weights)))


def reversible_fluxes(counts: Floats) -> Floats:
    """Equilibrium fluxes of the most likely reversible Markov model of a strongly connected count matrix of any scale.

    The likelihood prod_ij (x_ij / x_i)^c_ij over symmetric fluxes x_ij with row sums x_i has its maximum where

        x_ij = (c_ij + c_ji) / (exp(a_i) + exp(a_j)),    exp(a_i) = c_i / x_i                       (Bowman 2009)

    Its row sums are the stationarity condition of the convex function

        f(a) = sum_{i<j} (c_ij + c_ji) ln(exp(a_i) + exp(a_j)) - sum_i (c_i - c_ii) a_i

    so that a trust-region Newton method finds it (f is also the Bradley-Terry likelihood of paired comparisons; its
    minimum exists where the counts are strongly connected: Ford 1957). Fluxes (states, states) sum to 1.
    """
    from scipy import optimize, special

    both, leaving = counts + counts.T, counts.sum(axis=1) - np.diag(counts)
    off, total, n = both - np.diag(np.diag(both)), leaving.sum(), len(counts)

    def value(a: Floats) -> tuple[float, Floats]:  # f and its gradient; the square of the sum fixes the mean at zero
        f = 0.5 * np.sum(off * np.logaddexp.outer(a, a)) - leaving @ a
        gradient = np.sum(off * special.expit(np.subtract.outer(a, a)), axis=1) - leaving
        return float(f / total + 0.5 * (a.sum() / n) ** 2), gradient / total + a.sum() / n**2

    def curvature(a: Floats) -> Floats:
        share = special.expit(np.subtract.outer(a, a))
        weight = off * share * share.T / total
        return np.asarray(np.diag(weight.sum(axis=1)) - weight + 1 / n**2)

    a = optimize.minimize(value, np.zeros(n), jac=True, hess=curvature, method="trust-ncg", tol=_TOLERANCE).x
    for _ in range(3):  # plain Newton steps, since f is known less well than its gradient
        a = a - np.linalg.solve(curvature(a), value(a)[1])
    if not np.max(np.abs(value(a)[1])) <= _TOLERANCE:
        raise ValueError("the reversible estimate does not converge; counts must connect every state with every other")
    fluxes = both / np.add.outer(np.exp(a), np.exp(a))
    return np.asarray(fluxes / fluxes.sum())


@dataclass(frozen=True)
class ReversibleModel:
    """Reversible Markov model of the largest connected set of states, with symmetric fluxes per lag of sum 1."""

    active: Ints
    fluxes: Floats

    @property
    def stationary(self) -> Floats:
        """Equilibrium population of the active states, shape (active,)."""
        return np.asarray(self.fluxes.sum(axis=1))

    @property
    def matrix(self) -> Floats:
        """Transition matrix of the active states, shape (active, active)."""
        return np.asarray(self.fluxes / self.fluxes.sum(axis=1, keepdims=True))

    @property
    def eigenvalues(self) -> Floats:
        """Real eigenvalues of the transition matrix, largest first, shape (active,)."""
        root = np.sqrt(self.stationary)
        return np.asarray(np.linalg.eigvalsh(self.fluxes / np.outer(root, root))[::-1])

    def timescales(self, lag_time: float, number: int) -> Floats:
        """Implied timescales t_i = -lag / ln(lambda_i) in ps, slowest first; nan where there are fewer processes."""
        values = self.eigenvalues[1 : number + 1]
        result = np.full(number, np.nan)
        positive = (values > 0) & (values < 1)
        result[: len(values)][positive] = -lag_time / np.log(values[positive])
        return result

    def passage_times(self, target: Ints, lag_time: float) -> Floats:
        """Mean first-passage times of the active states to some of them: m_i = lag + sum_{j not in target} T_ij m_j."""
        outside = np.setdiff1d(np.arange(len(self.active)), target)
        system = np.eye(len(outside)) - self.matrix[np.ix_(outside, outside)]
        mean = np.zeros(len(self.active))
        mean[outside] = np.linalg.solve(system, np.full(len(outside), lag_time))
        return mean


def fit_reversible(counts: Floats) -> ReversibleModel:
    """Maximum-likelihood reversible model of the largest connected set of counts (states, states)."""
    active = _connected_states(counts)
    fluxes = reversible_fluxes(counts[np.ix_(active, active)]) if len(active) > 1 else np.ones((1, 1))
    return ReversibleModel(active, fluxes)


def fit_paths(paths: Sequence[Ints], lag: int, states: int) -> ReversibleModel:
    """`fit_reversible` of discretised runs (frames,) at a lag in frames."""
    return fit_reversible(transition_counts(paths, lag, states).sum(axis=0))


def fit_with_populations(counts: Floats, populations: Floats) -> ReversibleModel:
    """Maximum-likelihood reversible model of known equilibrium populations (states,), on the largest set of populated
    states that transitions connect either way (Trendelkamp-Schroer and Noé, Phys. Rev. X 6, 011009, 2016).
    """
    from deeptime.markov.msm import MaximumLikelihoodMSM

    if len(counts) != len(populations) or (np.asarray(populations) < 0).any():
        raise ValueError(
            f"{len(populations)} populations for {len(counts)} states; expected one for each, not negative"
        )
    usable = np.flatnonzero((populations > 0) & (counts.sum(axis=1) > 0))
    inner = counts[np.ix_(usable, usable)]
    active = usable[_connected_states(inner + inner.T)]
    if len(active) == 1:
        return ReversibleModel(active, np.ones((1, 1)))
    share = populations[active] / populations[active].sum()
    estimator = MaximumLikelihoodMSM(
        stationary_distribution_constraint=share, connectivity_threshold=0, maxiter=100_000
    )
    matrix = np.asarray(estimator.fit(counts[np.ix_(active, active)]).fetch_model().transition_matrix)
    fluxes = share[:, None] * matrix
    return ReversibleModel(active, np.asarray(0.5 * (fluxes + fluxes.T)))


class ImpliedTimescales(NamedTuple):
    """Timescales and their 95 % intervals in ps, shape (lags, processes), at `lags` in ps; nan where undefined."""

    lags: Floats
    values: Floats
    low: Floats
    high: Floats


def implied_timescales(
    paths: Sequence[Ints], lags: Sequence[int], states: int, interval: float, rng: np.random.Generator,
    number: int = 3, resamples: int = 20,
) -> ImpliedTimescales:  # fmt: skip
    """The slowest implied timescales at several lags in frames, with block-bootstrap intervals of twenty blocks."""
    block = max(sum(len(p) for p in paths) // 20, max(lags) + 1)
    rows = []
    for lag in lags:
        matrices = transition_counts(paths, lag, states, block)
        weights = rng.multinomial(len(matrices), np.full(len(matrices), 1 / len(matrices)), size=resamples)
        counts = [matrices.sum(axis=0), *(np.tensordot(w, matrices, 1) for w in weights)]
        value, *rest = (fit_reversible(c).timescales(lag * interval, number) for c in counts)
        draws = np.array(rest)
        bounds = np.full((2, number), np.nan)
        for process in np.flatnonzero(np.isfinite(draws).any(axis=0)) if len(matrices) > 1 else ():
            bounds[:, process] = np.quantile(draws[np.isfinite(draws[:, process]), process], (0.025, 0.975))
        rows.append((value, *bounds))
    values, low, high = (np.array(column) for column in zip(*rows, strict=True))
    return ImpliedTimescales(np.array(lags) * interval, values, low, high)


class ChapmanKolmogorov(NamedTuple):
    """Staying probability of each set after k lags (k, sets), by the model's k-th power and by the model at k lags."""

    multiples: Ints
    predicted: Floats
    estimated: Floats
    error: float


def chapman_kolmogorov(
    paths: Sequence[Ints], lag: int, membership: Ints, multiples: Sequence[int] = (1, 2, 3, 4)
) -> ChapmanKolmogorov:
    """Compare T(lag)^k with T(k lag), as far as runs reach, on sets of states given as membership (states,)."""
    multiples = [k for k in multiples if k * lag < max(map(len, paths))]
    states, sets = len(membership), int(membership.max()) + 1
    base = fit_paths(paths, lag, states)
    predicted, estimated = [], []
    for k in multiples:
        own, power = fit_paths(paths, k * lag, states), np.linalg.matrix_power(base.matrix, k)
        predicted.append(_staying(power, base.stationary, membership[base.active], sets))
        estimated.append(_staying(own.matrix, own.stationary, membership[own.active], sets))
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
    """Metastable set (`metastable_sets`) of every state of a count matrix, shape (states,); -1 where unconnected."""
    model = fit_reversible(counts)
    result = np.full(len(counts), -1)
    result[model.active] = metastable_sets(model, sets)
    return result


def metastable_sets(model: ReversibleModel, sets: int) -> Ints:
    """PCCA+ sets of the active states (deeptime), largest first: one more than the processes slower than the lag."""
    active = len(model.active)
    if np.count_nonzero(model.eigenvalues > 0) < 2:  # what takes turns is of one set
        return np.zeros(active, dtype=np.int64)
    slow = int(np.count_nonzero(model.eigenvalues > np.exp(-1)))
    rank = _memberships(model, min(sets, active, max(slow, 2))).argmax(axis=1)
    return np.asarray(np.searchsorted(np.unique(rank), rank))  # PCCA+ may leave a set empty


def _memberships(model: ReversibleModel, sets: int) -> Floats:
    """PCCA+ memberships (active, sets) (deeptime), the largest set first."""
    from deeptime.markov.msm import MarkovStateModel

    with warnings.catch_warnings():  # eigenvectors of a reversible matrix are real up to rounding
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        found = np.asarray(MarkovStateModel(model.matrix, model.stationary).pcca(sets).memberships)
    held = np.bincount(found.argmax(axis=1), weights=model.stationary, minlength=sets)
    return found[:, np.argsort(-held)]


def metastable_cores(counts: Floats, most: int = 6, least: float = 0.01) -> tuple[Ints, Bools]:
    """Metastable set of every state of counts (states, states), and whether it belongs to the set's core.

    Of up to `most` sets as many as leave the widest gap between a timescale that is kept and the next; a single one
    where nothing is slower than the lag. A set with less than the share `least` of the counts joins the one that it
    exchanges most with. Counts are read both ways, so that sets that were entered or left once are kept; what no
    transition joins, next to nothing does. Core: PCCA+ membership above 0.8. States without counts are of set -1.
    """
    both = counts + counts.T
    visited = np.flatnonzero(both.any(axis=1))
    fluxes = both[np.ix_(visited, visited)] / both.sum()
    weights = fluxes.sum(axis=1)
    model = ReversibleModel(visited, fluxes + _BARELY * np.outer(weights, weights))
    membership, core = np.full(len(counts), -1), np.zeros(len(counts), dtype=bool)
    membership[visited], core[visited] = 0, True
    times = -1 / np.log(np.clip(model.eigenvalues, _BARELY, 1 - _BARELY))  # in lags
    slow = range(1, min(int(np.count_nonzero(times > 1)), most, len(visited) - 1))
    for k in sorted(slow, key=lambda k: times[k + 1] / times[k]):
        found = _memberships(model, k + 1)
        sets = found.argmax(axis=1)
        indicator = np.eye(k + 1)[sets]
        full = np.flatnonzero(weights @ indicator >= least)
        if len(full) > 1:
            joined = np.argmax((indicator.T @ model.fluxes @ indicator)[:, full], axis=1)
            joined[full] = np.arange(len(full))
            membership[visited], core[visited] = joined[sets], (found.max(axis=1) > _CORE) & np.isin(sets, full)
            break
    return membership, core
