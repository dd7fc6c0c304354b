"""Records of a review on disk: a summary in JSON values and the weight of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats
from latentmd.sampling.hybrid.convergence import Review
from latentmd.sampling.hybrid.estimates import Bursts, Interval
from latentmd.sampling.hybrid.reweighting import frame_weights


def summary(review: Review) -> dict[str, Any]:
    """Populations, free energies (ln(p / (1 - p)), kT), timescales and first-passage times (ps) with 95 % intervals.

    JSON values; a number that is not known is None.
    """
    estimates = review.estimates
    return {
        "missing": list(review.missing),
        "lag_ps": estimates.lag,
        "connected": estimates.connected,
        "populations": {n: _interval(p) for n, p in zip(estimates.states, estimates.populations, strict=True)},
        "logits": {n: _interval(p) for n, p in zip(estimates.states, estimates.logits, strict=True)},
        "timescales_ps": [_interval(t) for t in estimates.timescales],
        "first_passage_ps": {f"{a} -> {b}": _interval(t) for (a, b), t in estimates.passages.items()},
        "crossings": {
            n: {"into": int(into), "out": int(out)}
            for n, (into, out) in zip(estimates.states, review.crossings, strict=True)
        },
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    values = {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "standard_error": interval.deviation,
    }
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def weight_arrays(
    bursts: Bursts, keys: Sequence[tuple[int, int]], origins: Sequence[str], populations: Floats, skip: int
) -> dict[str, NDArray[Any]]:
    """Arrays of weights.npz.

    Args:
        bursts: discretised.
        keys: (round, task) of each.
        origins: of each: "given", "surrogate", or "md: " and the reason.
        populations: of the cells at equilibrium, shape (cells,).
        skip: relaxation time, frames.

    Returns:
        round, task, frame: which frame of which burst, shape (frames,).
        cell: of each frame; weight: its equilibrium weight, summing to 1, zero in a relaxation time and where cells are
        not connected; state: index into `states`, -1 in none. origin: why its burst started where it did. All frames
        are unbiased MD.
    """
    lengths = [len(path) for path in bursts.paths]
    flags = np.concatenate(list(bursts.inside))
    rounds, tasks = np.array(keys).T
    return {
        "round": np.repeat(rounds, lengths),
        "task": np.repeat(tasks, lengths),
        "frame": np.concatenate([np.arange(n) for n in lengths]),
        "cell": np.concatenate(list(bursts.paths)),
        "weight": np.concatenate(frame_weights(bursts.paths, populations, skip)),
        "state": np.where(flags.any(axis=1), flags.argmax(axis=1), -1),
        "origin": np.repeat(np.array(origins), lengths),
        "states": np.array(bursts.states),
        "cell_population": populations,
    }
