"""Populations, timescales and mean first-passage times of a reversible model, with Bayesian intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.analysis.msm import ReversibleModel
from latentmd.arrays import Bools, Floats, Ints
from latentmd.sampling.hybrid.reweighting import (
    bayesian,
    bootstrap,
    connected_share,
    count_transitions,
    fit,
    state_shares,
    state_visits,
)


@dataclass(frozen=True)
class Interval:
    """A number with its uncertainty.

    Attributes:
        value: mean of the posterior on a logarithmic scale (see `estimate`).
        low, high: 95 % credible interval.
        deviation: standard deviation of the posterior.
    """

    value: float
    low: float
    high: float
    deviation: float


@dataclass(frozen=True)
class Estimates:
    """Populations, timescales and first-passage times estimated from bursts.

    Attributes:
        lag: of the model, ps.
        states: names.
        populations: equilibrium population of each state.
        logits: ln(p / (1 - p)) of each state: minus its free energy against everything else, in kT.
        timescales: slowest implied timescales in ps, slowest first.
        passages: mean first-passage time in ps from one state to another, by names; infinite where no path is known.
        connected: share of the bursts that end in the connected set of cells.
        cells: equilibrium population of each cell, zero where not connected, shape (cells,).
        resampled: logits and the slowest timescale in each draw of the bootstrap, shape (draws, states + 1); with
            equal bursts and an equally seeded generator, draws at two lags weight the bursts alike and can be compared.
    """

    lag: float
    states: tuple[str, ...]
    populations: tuple[Interval, ...]
    logits: tuple[Interval, ...]
    timescales: tuple[Interval, ...]
    passages: dict[tuple[str, str], Interval]
    connected: float
    cells: Floats
    resampled: Floats


@dataclass(frozen=True)
class Bursts:
    """Discretised bursts.

    Attributes:
        paths: cell of each frame, one array per burst, relaxation time included.
        inside: whether each frame is in each state, (frames, states) per burst; states do not overlap.
        states: names.
        cells: number of cells.
        interval: ps between frames.
    """

    paths: Sequence[Ints]
    inside: Sequence[Bools]
    states: tuple[str, ...]
    cells: int
    interval: float


def estimate(
    bursts: Bursts, lag: int, skip: int, rng: np.random.Generator, *, draws: int = 100, timescales: int = 3
) -> Estimates:
    """Equilibrium populations, timescales and first-passage times with their intervals.

    Two posteriors are drawn, the Bayesian bootstrap over bursts and deeptime's reversible posterior; the wider interval
    of the two is reported for each number, since either alone can be too narrow: the bootstrap where few bursts cross,
    the other where frames within a burst are correlated.

    Values are means of logarithms over the bootstrap: of times, and of the populations of cells, whose sums are those
    of states. Bursts are sent where transitions are few until there are some; a probability estimated as k successes in
    n such trials is too large by a factor of about exp(1 / 2k), and a climb over a barrier is the product of many.
    Under that rule (inverse sampling: Haldane, Biometrika 33, 222, 1945) the mean of psi(k) - psi(n) is the logarithm
    of the probability, and exponential weights of the bursts give it.

    Args:
        bursts: discretised bursts.
        lag: frames.
        skip: first frames of each burst left out, its relaxation time.
        rng: random generator.
        draws: from each posterior.
        timescales: how many.

    Raises:
        ValueError: the bursts are too short for lag and skip.
    """
    counts = count_transitions(bursts.paths, bursts.cells, lag, skip)
    visits = state_visits(bursts.paths, bursts.inside, bursts.cells, skip)
    model = fit(counts)
    shares = state_shares(visits, bursts.cells)
    members = [np.flatnonzero(shares[model.active, s] > 0.5) for s in range(len(bursts.states))]
    pairs = [(a, b) for b in range(len(members)) for a in range(len(members)) if a != b]
    lag_time = lag * bursts.interval

    def numbers(draw: ReversibleModel, fractions: Floats) -> Floats:
        populations = np.clip(draw.stationary @ fractions[draw.active], 0.0, 1.0)
        with np.errstate(divide="ignore"):
            logits = np.log(populations) - np.log1p(-populations)
        passages = [_passages(draw, members, target, lag_time) for target in range(len(members))]
        return np.concatenate([populations, logits, draw.timescales(lag_time, timescales), *passages])

    n = len(bursts.states)
    resampled = bootstrap(counts, model, draws, rng)
    boot = np.array([numbers(draw, state_shares(visits, bursts.cells, weights)) for weights, draw in resampled])
    bayes = np.array([numbers(draw, shares) for draw in bayesian(counts, model, draws, rng)])
    cells = np.zeros(bursts.cells)
    cells[model.active] = _geometric_mean(np.array([draw.stationary for _, draw in resampled]))
    populations = np.clip(cells @ shares, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        logits = np.log(populations) - np.log1p(-populations)
    times = [_geometric_mean_time(draws) for draws in boot[:, 2 * n :].T]
    intervals = [_wider_interval(v, boot[:, i], bayes[:, i]) for i, v in enumerate([*populations, *logits, *times])]
    return Estimates(
        lag=lag_time,
        states=bursts.states,
        populations=tuple(intervals[:n]),
        logits=tuple(intervals[n : 2 * n]),
        timescales=tuple(intervals[2 * n : 2 * n + timescales]),
        passages={
            (bursts.states[a], bursts.states[b]): interval
            for (a, b), interval in zip(pairs, intervals[2 * n + timescales :], strict=True)
        },
        connected=connected_share(bursts.paths, model.active),
        cells=cells,
        resampled=boot[:, n : 2 * n + 1],
    )


def _geometric_mean(stationary: Floats) -> Floats:
    """Geometric mean of populations (draws, cells), summing to 1."""
    logarithm = np.log(np.maximum(stationary, np.finfo(float).tiny)).mean(axis=0)
    raw = np.exp(logarithm - logarithm.max())
    return np.asarray(raw / raw.sum())


def _geometric_mean_time(draws: Floats) -> float:
    """Geometric mean of times over the draws (draws,) in which there is one; infinite or nan where most have none."""
    known = draws[np.isfinite(draws)]
    if 2 * len(known) > len(draws):
        return float(np.exp(np.log(known).mean()))
    return float("nan") if np.isnan(draws).any() else float("inf")


def _passages(model: ReversibleModel, members: Sequence[Ints], target: int, lag_time: float) -> Floats:
    """Mean first-passage times to one state from each of the others in turn, shape (states - 1,)."""
    sources = [s for s in range(len(members)) if s != target]
    if not len(members[target]):
        return np.full(len(sources), np.inf)
    try:
        times = model.passage_times(members[target], lag_time)
    except np.linalg.LinAlgError:  # a draw whose flux between parts of the model is zero within rounding
        return np.full(len(sources), np.inf)
    weights = [model.stationary[members[s]] for s in sources]
    return np.array(
        [
            np.average(times[members[s]], weights=w) if w.sum() > 0 else np.inf
            for s, w in zip(sources, weights, strict=True)
        ]
    )


def _wider_interval(value: float, *posteriors: Floats) -> Interval:
    """Interval of whichever posterior is wider; nan where a number is not defined in any draw."""
    spans = []
    for draws in posteriors:
        known = draws[~np.isnan(draws)]
        if len(known) > 1:
            low = np.quantile(known, 0.025, method="lower")
            high = np.quantile(known, 0.975, method="higher")
            spread = float(np.std(known, ddof=1)) if np.isfinite(known).all() else float("inf")
            spans.append((spread, float(low), float(high)))
    if not spans or np.isnan(value):
        return Interval(float(value), float("nan"), float("nan"), float("nan"))
    widest = max(spans)
    return Interval(float(value), widest[1], widest[2], widest[0])
