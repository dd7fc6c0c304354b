"""Equilibrium statistics from short unbiased bursts that started anywhere.

Transitions are counted inside bursts only, after each burst's relaxation time; a reversible Markov state model of the
counts gives the equilibrium population pi of each cell, and every frame of cell i gets the weight pi_i / n_i. Where
bursts started changes how precise the result is, not what it converges to (Prinz et al., J. Chem. Phys. 134, 174105,
2011); what bias is left, of cells too coarse or starts not yet forgotten, `convergence` tests for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmd.analysis.msm import ReversibleModel, fit_reversible
from latentmd.analysis.reversible import reversible_fluxes
from latentmd.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class Counts:
    """Transition counts of each burst.

    Attributes:
        transitions: sparse, shape (bursts, cells * cells), flat index origin * cells + target; pairs one lag apart.
        cells: number of cells.
        lag: frames.
    """

    transitions: Any
    cells: int
    lag: int

    def matrix(self, weights: Floats | None = None) -> Floats:
        """Transition counts (cells, cells), each burst counted `weights` times, shape (bursts,)."""
        row = np.ones(self.transitions.shape[0]) if weights is None else weights
        return np.asarray(self.transitions.T @ row).reshape(self.cells, self.cells)


def count_transitions(paths: Sequence[Ints], cells: int, lag: int, skip: int) -> Counts:
    """Sliding-window transition counts of every burst.

    Args:
        paths: cell of each frame, one array (frames,) per burst.
        cells: number of cells.
        lag: frames.
        skip: first frames of each burst left out, its relaxation time.

    Raises:
        ValueError: no burst is longer than skip + lag.
    """
    from scipy.sparse import csr_array

    if not any(len(path) > skip + lag for path in paths):
        longest = max((len(path) for path in paths), default=0)
        raise ValueError(
            f"bursts have at most {longest} frames; a lag of {lag} after {skip} discarded frames needs more than "
            f"{skip + lag}"
        )
    flat = [path[skip : len(path) - lag] * cells + path[skip + lag :] for path in paths]
    rows = np.repeat(np.arange(len(paths)), [len(f) for f in flat])
    values = np.ones(len(rows))
    return Counts(csr_array((values, (rows, np.concatenate(flat))), (len(paths), cells * cells)), cells, lag)


def fit(counts: Counts) -> ReversibleModel:
    """Maximum-likelihood reversible model of the largest connected set of cells."""
    return fit_reversible(counts.matrix(), counts.lag)


def connected_share(paths: Sequence[Ints], active: Ints) -> float:
    """Share of the bursts that end in connected cells.

    Cells that they only pass through, high up on a barrier, have hardly any weight.

    Args:
        paths: cell of each frame, one array (frames,) per burst.
        active: connected cells.
    """
    return float(np.isin([path[-1] for path in paths], active).mean())


def bootstrap(
    counts: Counts, model: ReversibleModel, draws: int, rng: np.random.Generator
) -> list[tuple[Floats, ReversibleModel]]:
    """Bayesian bootstrap over bursts (Rubin 1981): each counts an independent exponential number of times.

    Honest about correlation within bursts and about cells that are not quite Markovian, and, unlike the ordinary
    bootstrap, connected in every draw.

    Args:
        counts: per burst.
        model: from `fit`, whose connected set is kept.
        draws: how many.
        rng: random generator.

    Returns:
        Weights of the bursts (bursts,) and the model with them, for each draw.
    """
    block = np.ix_(model.active, model.active)
    weights = rng.exponential(size=(draws, counts.transitions.shape[0]))
    if len(model.active) == 1:
        return [(row, model) for row in weights]
    models = [ReversibleModel(model.active, reversible_fluxes(counts.matrix(w)[block]), model.lag) for w in weights]
    return list(zip(weights, models, strict=True))


def bayesian(counts: Counts, model: ReversibleModel, draws: int, rng: np.random.Generator) -> list[ReversibleModel]:
    """Models from the reversible posterior of deeptime (Trendelkamp-Schroer et al., J. Chem. Phys. 143, 174101, 2015).

    Effective counts are the sliding counts over the lag. Arguments as for `bootstrap`.

    Args:
        counts: transition counts of the bursts.
        model: the maximum-likelihood model.
        draws: number of models.
        rng: of the draws.
    """
    # The sampler behind deeptime's BayesianMSM, which has no way to pass a seed.
    from deeptime.markov.tools.estimation.dense.tmat_sampling.sampler_rev import SamplerRev

    if len(model.active) == 1:
        return [model] * draws
    effective = counts.matrix()[np.ix_(model.active, model.active)] / counts.lag
    sampler = SamplerRev(effective, model.matrix, seed=int(rng.integers(2**31)))
    sweeps = int(np.ceil(np.sqrt(len(effective))))
    samples = (sampler.sample(sweeps, return_statdist=True) for _ in range(draws))
    return [ReversibleModel(model.active, stationary[:, None] * matrix, model.lag) for matrix, stationary in samples]


def frame_weights(paths: Sequence[Ints], populations: Floats, skip: int) -> list[Floats]:
    """Equilibrium weight w = pi_i / n_i of every frame of every burst, summing to 1 over all of them.

    Frames of a relaxation time and of cells that are not connected get zero.

    Args:
        paths: cell of each frame of each burst.
        populations: of the cells, shape (cells,).
        skip: first frames of each burst left out, its relaxation time.
    """
    visits = np.bincount(np.concatenate([path[skip:] for path in paths]), minlength=len(populations))
    per_frame = populations / np.maximum(visits, 1)
    total = float(per_frame @ visits)
    weights: list[Floats] = [per_frame[path] / total for path in paths]
    for row in weights:
        row[:skip] = 0.0
    return weights


def state_visits(paths: Sequence[Ints], inside: Sequence[Bools], cells: int, skip: int) -> Any:
    """Frames of every burst in each cell and state, sparse (bursts, cells * (states + 1)); last column: any state.

    Args:
        paths: cell of each frame of each burst.
        inside: whether each frame is in each state, (frames, states) per burst.
        cells, skip: as for `count_transitions`.
    """
    from scipy.sparse import csr_array

    columns = inside[0].shape[1] + 1
    rows, flat = [], []
    for burst, (path, flags) in enumerate(zip(paths, inside, strict=True)):
        frames, states = np.nonzero(np.column_stack([flags[skip:], np.ones(len(flags[skip:]), dtype=bool)]))
        rows.append(np.full(len(frames), burst))
        flat.append(path[skip:][frames] * columns + states)
    index = (np.concatenate(rows), np.concatenate(flat))
    return csr_array((np.ones(len(index[0])), index), (len(paths), cells * columns))


def state_shares(visits: Any, cells: int, weights: Floats | None = None) -> Floats:
    """Share of each cell's frames that lie in each state, shape (cells, states); zero for an unvisited cell.

    Args:
        visits: from `state_visits`.
        cells: number of cells.
        weights: how many times each burst counts, shape (bursts,); once where None.
    """
    row = np.ones(visits.shape[0]) if weights is None else weights
    table = np.asarray(visits.T @ row).reshape(cells, -1)
    return np.asarray(table[:, :-1] / np.maximum(table[:, -1:], 1e-300))
