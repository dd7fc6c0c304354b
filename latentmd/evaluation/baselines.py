"""Simple baselines that a surrogate must beat; all are made of training frames."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from latentmd.arrays import Floats, Ints


def shuffled_frames(runs: Sequence[Floats], frames: int, rng: np.random.Generator) -> list[Floats]:
    """Training frames in random order: the right equilibrium of the training data, and no kinetics.

    Args:
        runs: training features per run, (frames, features).
        frames: how many to draw, with replacement.
        rng: random generator.
    """
    everything = np.concatenate(list(runs))
    return [everything[rng.integers(0, len(everything), frames)]]


def persistence(runs: Sequence[Floats], lengths: Sequence[int], rng: np.random.Generator) -> list[Floats]:
    """Each walker stays at one random training frame: "nothing moves".

    Args:
        runs: training features, (frames, features) per run.
        lengths: frames of each walker.
        rng: random generator.
    """
    everything = np.concatenate(list(runs))
    starts = everything[rng.integers(0, len(everything), len(lengths))]
    return [np.repeat(start[None], length, axis=0) for start, length in zip(starts, lengths, strict=True)]


def msm_resampling(
    runs: Sequence[Floats], paths: Sequence[Ints], lag: int, lengths: Sequence[int], rng: np.random.Generator
) -> list[Floats]:
    """Trajectories of a Markov state model of the training data, shown as training frames.

    Each step picks, among all training frames of the current state, one at random and follows the training run for
    one lag; the state at its end is the next. That draws from the maximum-likelihood transition matrix and keeps the
    frames between, so that the spacing stays that of the training data. A strong baseline for one small molecule.

    Args:
        runs: training features per run, (frames, features).
        paths: state of each training frame, one array per run.
        lag: frames per step of the model.
        lengths: frames of each walker to generate.
        rng: random generator.
    """
    usable = [(r, p) for r, p in zip(runs, paths, strict=True) if len(p) > lag]
    offsets = np.cumsum([0, *[len(p) for _, p in usable]])
    frames = np.concatenate([r for r, _ in usable])
    states = np.concatenate([p for _, p in usable])
    starts = np.concatenate([np.arange(a, b - lag) for a, b in itertools.pairwise(offsets)])
    order = starts[np.argsort(states[starts], kind="stable")]
    bounds = np.searchsorted(states[order], np.arange(states.max() + 2))
    results = []
    for length in lengths:
        segments: list[Ints] = []
        state = int(states[rng.choice(starts)])
        for _ in range(-(-length // lag)):
            low, high = bounds[state], bounds[state + 1]
            # A state only seen within a lag of a run's end leads nowhere; the chain starts again from equilibrium.
            begin = int(order[rng.integers(low, high)]) if high > low else int(rng.choice(starts))
            segments.append(np.arange(begin, begin + lag))
            state = int(states[begin + lag])
        results.append(frames[np.concatenate(segments)[:length]])
    return results


def replicate_md(runs: Sequence[Floats], simulated: float, interval: float) -> list[Floats]:
    """The first frames of independent MD that the surrogate's wall time would have paid for.

    Args:
        runs: features of independent MD, (frames, features) per run.
        simulated: picoseconds of MD that fit into the wall time.
        interval: ps between frames.

    Returns:
        As many frames, run after run; at least one, and no more than there are.
    """
    left = max(1, round(simulated / interval))
    result = []
    for run in runs:
        if left <= 0:
            break
        result.append(run[:left])
        left -= len(run)
    return result


def koopman_matrix(runs: Sequence[Floats], lag: int) -> Floats:
    """Least-squares linear propagator K of latents, z(t + lag) = z(t) K, from runs of shape (frames, axes)."""
    usable = [np.asarray(run, dtype=np.float64) for run in runs if len(run) > lag]
    if not usable:
        raise ValueError(f"a lag of {lag} frames needs a run longer than that; the longest has {max(map(len, runs))}")
    x, y = np.concatenate([r[:-lag] for r in usable]), np.concatenate([r[lag:] for r in usable])
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0])


def koopman_rollout(matrix: Floats, starts: Floats, steps: int) -> Floats:
    """Deterministic linear rollout of latents: the conditional mean, whose variance dies out.

    Args:
        matrix: shape (axes, axes), from `koopman_matrix`.
        starts: latents of each walker, shape (walkers, axes).
        steps: lags to go.

    Returns:
        Latents after each step, shape (walkers, steps, axes).
    """
    result = np.empty((len(starts), steps, matrix.shape[0]))
    z = np.asarray(starts, dtype=np.float64)
    for step in range(steps):
        z = z @ matrix
        result[:, step] = z
    return result


def nearest_frames(bank: Floats, queries: Floats) -> Ints:
    """Index of the nearest bank row of every query row: the decoder of latents that have none of their own.

    Args:
        bank: coordinates of training frames, shape (frames, axes).
        queries: shape (samples, axes).
    """
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(bank).query(queries)[1], dtype=np.int64)
