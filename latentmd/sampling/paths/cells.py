"""Markov chain over the cells of a model's latent, and the metastable states it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentmd.analysis.bridge import MarkovBridge, markov_bridge
from latentmd.analysis.msm import ReversibleModel, metastable_sets
from latentmd.arrays import Doubles, Floats, Ints

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_WALKERS, _STEPS, _SETTLING = 40, 20, 4  # rollouts from each cell, their steps, and the first of them left out
_MOST_STATES = 6
_PARTS = ("centres", "cell", "log_weights", "context", "flow", "lag")
_LEAST_REACH = 1e-6  # probability of the end below which a path is no event that a model was trained to know


@dataclass(frozen=True)
class CellChain:
    """Markov chain over the cells in which a model's predictor arrives.

    Attributes:
        points: slow axes of frames that follow the model, in equilibrium inside their cells, shape (points, tokens, k).
        cell: of each point, shape (points,).
        weight: of each point in equilibrium, sum 1, shape (points,).
        states: metastable state of each cell, from 0, numbered from the most to the least populated, shape (cells,).
        stationary: equilibrium population of each cell, shape (cells,).
        lag: of the chain that populations and states come from, ps.
    """

    points: Floats
    cell: Ints
    weight: Doubles
    states: Ints
    stationary: Doubles
    lag: float

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


def predictor_of(propagator: Propagator, name: str) -> Any:
    """The predictor of a model, which must be a mixture over cells.

    Args:
        propagator: the model.
        name: of the model, for the message.

    Raises:
        ValueError: it is of another kind.
    """
    predictor = getattr(propagator.module, "predictor", None)
    if predictor is None or not all(hasattr(predictor, part) for part in _PARTS):
        raise ValueError(
            f"the predictor of the model {name} has no cells; paths need the predictor that `latentmd train` makes by "
            "default"
        )
    return predictor


def cell_matrix(predictor: Any, points: Floats, cell: Ints, lag: float) -> Doubles:
    """Transition matrix over cells: the mean of π(cell' | z, lag) over the points z of each cell.

    The predictor's own weights are averaged, so that rare transitions need no events to be counted.

    Args:
        predictor: with cells.
        points: slow axes, shape (points, tokens, k).
        cell: of each point.
        lag: ps.

    Returns:
        Shape (cells, cells); a cell without points keeps its walker.
    """
    z = torch.from_numpy(np.ascontiguousarray(points))
    with torch.no_grad():
        weights = predictor.log_weights(z, predictor.lag(torch.full((len(z),), lag))).double().exp().numpy()
    cells = weights.shape[1]
    matrix = np.eye(cells)
    for i in np.unique(cell):
        matrix[i] = weights[cell == i].mean(axis=0)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def cell_chain(propagator: Propagator, name: str) -> CellChain:
    """Fit the chain of a model by rollouts of its shortest step from every cell.

    The seed is fixed: the states of a model, and their numbers, are its own.

    Args:
        propagator: the model.
        name: of the model, for messages.

    Raises:
        ValueError: the model has no cells.
    """
    predictor = predictor_of(propagator, name)
    lag, rng = propagator.lag_range[0], np.random.default_rng(0)
    tokens = propagator.encode(propagator.manifest.molecule()[1][None]).shape[1]
    starts = predictor.centres.repeat_interleave(_WALKERS, 0).reshape(-1, tokens, predictor.centres.shape[1] // tokens)
    frames = propagator.rollout(starts, lag, _STEPS, rng)[_SETTLING:].flatten(0, 1)
    points, cell = frames.cpu().numpy(), predictor.cell(frames).cpu().numpy()
    matrix = cell_matrix(predictor, points, cell, lag)
    visited = np.bincount(cell, minlength=len(matrix)) > 0
    stationary = _stationary(matrix, visited)
    fluxes = stationary[:, None] * matrix
    states = metastable_sets(ReversibleModel(np.arange(len(matrix)), (fluxes + fluxes.T) / 2), _MOST_STATES)
    counts = np.bincount(cell, minlength=len(matrix))
    weight = (stationary / np.maximum(counts, 1))[cell]
    return CellChain(
        points, cell, weight / weight.sum(), _by_population(states, stationary), stationary=stationary, lag=lag
    )


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


def bridge_to(predictor: Any, chain: CellChain, end: Sequence[int] | Ints, lag: float, steps: int) -> MarkovBridge:
    """The chain of cells at a lag, conditioned on being in some cells after a number of steps.

    Args:
        predictor: with cells.
        chain: its points.
        end: cells.
        lag: of a step, ps.
        steps: their number.
    """
    matrix = cell_matrix(predictor, chain.points, chain.cell, lag)
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
