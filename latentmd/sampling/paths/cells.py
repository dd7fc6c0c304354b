"""Markov chain over the cells of a model's latent, and the metastable states it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from latentmd.analysis.bridge import MarkovBridge, markov_bridge
from latentmd.analysis.msm import ReversibleModel, metastable_sets
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.sampling.paths.moves import FreeMoves, Moves, Partition, fit_partition, moves_of, own_cells

if TYPE_CHECKING:
    import torch

    from latentmd.model.propagator import Propagator

_WALKERS, _STEPS, _SETTLING = 40, 20, 4  # rollouts from each cell, their steps, and the first of them left out
_FREE_WALKERS, _FREE_SETTLING, _FREE_STEPS = 600, 10, 12  # the same for a model without cells, settling by long steps
_MOST_STATES = 6
_LEAST_REACH = 1e-6  # least probability of reaching the end: transitions rarer than that were not in training


@dataclass(frozen=True)
class CellChain:
    """Markov chain over the cells of a model.

    Attributes:
        points: slow axes of frames that follow the model, in equilibrium inside their cells, shape (points, tokens, k).
        cell: of each point, shape (points,).
        weight: of each point in equilibrium, sum 1, shape (points,).
        states: metastable state of each cell, from 0, numbered from the most to the least populated, shape (cells,).
        stationary: equilibrium population of each cell, shape (cells,).
        lag: of the chain that populations and states come from, ps.
        partition: the cells, where the model has none of its own.
    """

    points: Floats
    cell: Ints
    weight: Doubles
    states: Ints
    stationary: Doubles
    lag: float
    partition: Partition | None = None

    @property
    def populations(self) -> Doubles:
        """Equilibrium population of each state, shape (states,)."""
        return np.asarray(np.bincount(self.states, weights=self.stationary))

    def members(self, state: int) -> Ints:
        """Cells of a state."""
        return np.flatnonzero(self.states == state)

    def draw(self, state: int, count: int, rng: np.random.Generator) -> Floats:
        """Equilibrium points of a state, shape (count, tokens, k).

        Args:
            state: from 0.
            count: number of points.
            rng: chooses them.
        """
        share = np.where(self.states[self.cell] == state, self.weight, 0.0)
        return np.asarray(self.points[rng.choice(len(share), count, p=share / share.sum())])


def cell_chain(propagator: Propagator) -> CellChain:
    """Fit the chain of a model by rollouts of its shortest step.

    They begin in every cell of a model that has cells of its own, else in equilibrium, which rollouts of the longest
    step find. The seed is fixed: the states of a model, and their numbers, are its own.

    Args:
        propagator: the model.
    """
    lag, rng = propagator.lag_range[0], np.random.default_rng(0)
    predictor, partition = own_cells(propagator), None
    slow = propagator.encode(propagator.molecule()[1][None])
    if predictor is not None:
        tokens = slow.shape[1]
        starts = predictor.centres.repeat_interleave(_WALKERS, 0).reshape(-1, tokens, slow.shape[2])
        frames = propagator.rollout(starts, lag, _STEPS, rng)[_SETTLING:]
    else:
        longest = propagator.lag_range[1]
        starts = propagator.rollout(slow.repeat(_FREE_WALKERS, 1, 1), longest, _FREE_SETTLING, rng)[-1]
        frames = propagator.rollout(starts, lag, _FREE_STEPS, rng)
        partition = _connected(propagator, fit_partition(frames.cpu().numpy()), frames.flatten(0, 1), lag)
    moves, frames = moves_of(propagator, partition), frames.flatten(0, 1)
    points, cell = frames.cpu().numpy(), moves.cell(frames).cpu().numpy()
    matrix = moves.matrix(points, cell, lag)
    visited = np.bincount(cell, minlength=len(matrix)) > 0
    stationary = _stationary(matrix, visited)
    fluxes = stationary[:, None] * matrix
    states = metastable_sets(ReversibleModel(np.arange(len(matrix)), (fluxes + fluxes.T) / 2), _MOST_STATES)
    counts = np.bincount(cell, minlength=len(matrix))
    weight = (stationary / np.maximum(counts, 1))[cell]
    states = _by_population(states, stationary)
    return CellChain(points, cell, weight / weight.sum(), states, stationary=stationary, lag=lag, partition=partition)


def _connected(propagator: Propagator, partition: Partition, frames: torch.Tensor, lag: float) -> Partition:
    """The partition without cells that no rollout joins to the others."""
    moves = FreeMoves(propagator, partition)
    matrix = moves.matrix(frames.cpu().numpy(), moves.cell(frames).cpu().numpy(), lag)
    _, piece = connected_components(matrix > 0, directed=False)
    return partition.only(np.flatnonzero(piece == np.bincount(piece).argmax()))


def _stationary(matrix: Doubles, visited: np.ndarray[Any, Any]) -> Doubles:
    """Left eigenvector of the largest eigenvalue among the cells that rollouts visit; tiny elsewhere."""
    kept = np.flatnonzero(visited)
    inner = matrix[np.ix_(kept, kept)]
    values, vectors = np.linalg.eig((inner / inner.sum(axis=1, keepdims=True)).T)
    leading = np.abs(vectors[:, np.argmax(values.real)].real)
    result = np.full(len(matrix), 1e-12)
    result[kept] = np.maximum(leading / leading.sum(), 1e-12)
    return np.asarray(result / result.sum())


def _by_population(states: Ints, stationary: Doubles) -> Ints:
    order = np.argsort(-np.bincount(states, weights=stationary), kind="stable")
    return np.asarray(np.argsort(order)[states])


def bridge_to(moves: Moves, chain: CellChain, end: Sequence[int] | Ints, lag: float, steps: int) -> MarkovBridge:
    """The chain of cells at a lag, conditioned on being in some cells after a number of steps.

    Args:
        moves: of the model.
        chain: its points.
        end: cells.
        lag: of a step, ps.
        steps: their number.
    """
    matrix = moves.matrix(chain.points, chain.cell, lag)
    weights = np.zeros(len(matrix))
    weights[np.asarray(end)] = 1.0
    return markov_bridge(matrix, weights, steps)


def check_reach(log_probability: float, ends: str, time: str) -> None:
    """Refuse ends that the model does not connect.

    Args:
        log_probability: ln of the probability of the end.
        ends: both, in words.
        time: between them, in words.

    Raises:
        ValueError: the probability is below one in a million.
    """
    if log_probability < np.log(_LEAST_REACH):
        raise ValueError(
            f"the model does not connect {ends} in {time}: it gets there with a probability of "
            f"{np.exp(log_probability):.1g}; give a longer --time, or other ends"
        )
