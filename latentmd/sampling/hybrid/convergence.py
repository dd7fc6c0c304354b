"""Convergence of the statistics: criteria, and sentences that say which are not met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.sampling.hybrid.estimates import Bursts, Estimates, Interval, estimate

_UNKNOWN = 3.0  # kT; error of a free energy where a coarser partition leaves the state without a path


@dataclass(frozen=True)
class Criteria:
    """When statistics count as converged.

    Attributes:
        precision: largest standard error of each state's free energy against everything else, kT.
        transitions: least number of bursts that cross into each state, and out of it.
        connected: least share of bursts that end in the connected set of cells.
        new: largest share of cells that only bursts since the last review have visited.
        growth: largest factor by which the slowest timescale may grow when the lag doubles, after one standard error of
            that factor is taken off.
    """

    precision: float = 0.25
    transitions: int = 10
    connected: float = 0.998
    new: float = 0.05
    growth: float = 1.2


@dataclass(frozen=True)
class Review:
    """Statistics at one moment of a run.

    Attributes:
        estimates: populations and free energies with standard errors that include how far they move when the lag and
            the discarded time are doubled, beyond what chance explains, and when other cells are taken.
        moved: that systematic part for each state's free energy, kT.
        missing: what keeps them from being converged, one sentence each; empty where they are.
        crossings: bursts that cross into and out of each state, shape (states, 2).
    """

    estimates: Estimates
    missing: tuple[str, ...]
    crossings: Floats
    moved: Floats

    @property
    def converged(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def review(
    bursts: Bursts,
    lag: int,
    skip: int,
    *,
    criteria: Criteria,
    fresh: int,
    rng: np.random.Generator,
    draws: int = 60,
    other: Sequence[Ints] | None = None,
) -> Review:
    """Estimate everything, at the lag and at twice the lag and discarded time, and say whether it can be trusted.

    A model whose cells are too coarse, or whose bursts remember how they started, changes when both times are doubled,
    or with the cells: such changes enter the standard errors.

    Args:
        bursts: discretised bursts, oldest first.
        lag, skip: frames.
        criteria: of convergence.
        fresh: bursts at the end that are new since the last review.
        rng: random generator.
        draws: from each posterior; a quarter of them at the doubled lag, whose intervals are only compared with.
        other: paths of the same bursts in as many other cells; None where there are none.

    Raises:
        ValueError: bursts are not longer than twice lag and skip together.
    """
    seed = int(rng.integers(2**31))
    single = estimate(bursts, lag, skip, np.random.default_rng(seed), draws=draws)
    double = estimate(bursts, 2 * lag, 2 * skip, np.random.default_rng(seed), draws=max(draws // 4, 10))
    moved = _moved(single, double)
    if other is not None:
        again = estimate(
            replace(bursts, paths=other), lag, skip, np.random.default_rng(seed), draws=max(draws // 4, 10)
        )
        lost = [np.isfinite(a.value) > np.isfinite(b.value) for a, b in zip(single.logits, again.logits, strict=True)]
        shift = np.where(lost, _UNKNOWN, _shift(single, again))
        # Two partitions of equal standing: half their squared difference is the variance of the choice.
        moved = np.hypot(moved, shift / np.sqrt(2.0))
    slopes = [max(p.value * (1 - p.value), 0.0) for p in single.populations]
    estimates = replace(
        single,
        populations=tuple(
            _share(_widened(p, m * d)) for p, m, d in zip(single.populations, moved, slopes, strict=True)
        ),
        logits=tuple(_widened(logit, m) for logit, m in zip(single.logits, moved, strict=True)),
    )
    crossings = _crossings(bursts, lag, skip)
    missing = [
        *_unconnected(bursts, estimates, criteria),
        *_few_crossings(estimates, crossings, criteria),
        *_imprecise(estimates, moved, criteria),
        *_growing(single, double, criteria),
        *_exploring(bursts, skip, fresh, criteria),
    ]
    return Review(estimates, tuple(missing), crossings, moved)


def _moved(single: Estimates, double: Estimates) -> Floats:
    """How far each logit moves on doubling, beyond what chance explains: sqrt(max(0, shift^2 - its variance))."""
    draws = len(double.resampled)
    shift = _shift(single, double)
    with np.errstate(invalid="ignore"):
        chance = np.var(single.resampled[:draws, :-1] - double.resampled[:, :-1], axis=0, ddof=1)
        moved = np.sqrt(np.maximum(shift**2 - chance, 0.0))
    return np.where(np.isfinite(moved), moved, 0.0)


def _shift(one: Estimates, other: Estimates) -> Floats:
    """Difference of the logits in equal draws; zero for a state without population, which has none and is reported."""
    draws = min(len(one.resampled), len(other.resampled))
    with np.errstate(invalid="ignore"):
        shift = (other.resampled[:draws, :-1] - one.resampled[:draws, :-1]).mean(axis=0)
    return np.where(np.isfinite(shift), shift, 0.0)


def _widened(interval: Interval, systematic: float) -> Interval:
    """Interval with an independent error added to its deviation."""
    if not (np.isfinite(interval.deviation) and interval.deviation > 0):
        return interval
    deviation = float(np.hypot(interval.deviation, systematic))
    factor = deviation / interval.deviation
    low, high = (interval.value + factor * (bound - interval.value) for bound in (interval.low, interval.high))
    return Interval(interval.value, low, high, deviation)


def _share(population: Interval) -> Interval:
    """Interval of a population, cut to between 0 and 1."""
    return replace(population, low=max(population.low, 0.0), high=min(population.high, 1.0))


def _crossings(bursts: Bursts, lag: int, skip: int) -> Floats:
    """Bursts with a transition into, and out of, each state within a lag, shape (states, 2)."""
    total = np.zeros((len(bursts.states), 2))
    for flags in bursts.inside:
        now, later = flags[skip : len(flags) - lag], flags[skip + lag :]
        total[:, 0] += (~now & later).any(axis=0)
        total[:, 1] += (now & ~later).any(axis=0)
    return total


def _unconnected(bursts: Bursts, estimates: Estimates, criteria: Criteria) -> list[str]:
    seen = np.any([flags.any(axis=0) for flags in bursts.inside], axis=0)
    found = [f"state {name} was never visited" for name, there in zip(bursts.states, seen, strict=True) if not there]
    found += [
        f"state {name} was visited, but no path leads there and back"
        for name, there, population in zip(bursts.states, seen, estimates.populations, strict=True)
        if there and population.value <= 0
    ]
    if estimates.connected < criteria.connected:
        found.append(
            f"only {estimates.connected:.1%} of the bursts end in cells that transitions connect both ways; "
            "where the others end has no known weight"
        )
    return found


def _few_crossings(estimates: Estimates, crossings: Floats, criteria: Criteria) -> list[str]:
    return [
        f"{name}: {int(into)} bursts cross into it and {int(out)} out of it; {criteria.transitions} each are needed"
        for name, (into, out), population in zip(estimates.states, crossings, estimates.populations, strict=True)
        if population.value > 0 and min(into, out) < criteria.transitions
    ]


def _imprecise(estimates: Estimates, moved: Floats, criteria: Criteria) -> list[str]:
    found = []
    for name, logit, shift in zip(estimates.states, estimates.logits, moved, strict=True):
        if not np.isfinite(logit.value) or logit.deviation <= criteria.precision:
            continue
        note = f" (it moves by {shift:.2f} kT when lag, discarded time or cells change)"
        why = note if shift > logit.deviation / 2 else ""
        found.append(
            f"free energy of {name} has a standard error of {logit.deviation:.2f} kT; {criteria.precision:g} kT is "
            f"wanted{why}"
        )
    return found


def _growing(single: Estimates, double: Estimates, criteria: Criteria) -> list[str]:
    before, after = single.timescales[0].value, double.timescales[0].value
    draws = len(double.resampled)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.log(double.resampled[:, -1] / single.resampled[:draws, -1])
    known = growth[np.isfinite(growth)]
    if len(known) > 1 and np.mean(known) - np.std(known, ddof=1) > np.log(criteria.growth):
        return [
            f"the slowest timescale grows with the lag, from {before:.3g} to {after:.3g} ps when the lag doubles; "
            "longer bursts with a longer lag, or more cells, are needed"
        ]
    return []


def _exploring(bursts: Bursts, skip: int, fresh: int, criteria: Criteria) -> list[str]:
    old = len(bursts.paths) - fresh
    if old <= 0:
        return ["no earlier bursts to compare with"]
    before, now = (
        np.unique(np.concatenate([path[skip:] for path in part])) for part in (bursts.paths[:old], bursts.paths[old:])
    )
    new = len(np.setdiff1d(now, before))
    if new > criteria.new * bursts.cells:
        return [f"{new} of {bursts.cells} cells were found by the last {fresh} bursts; new regions are still appearing"]
    return []
