"""Cells of a model's latent, its moves between them as a Markov chain, and the metastable states of that chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

from latentmd.analysis.bridge import MarkovBridge, markov_bridge
from latentmd.analysis.cells import k_means
from latentmd.analysis.msm import ReversibleModel, metastable_sets
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.core.paths.steps import FreeSteps, MixtureSteps, Steps

if TYPE_CHECKING:
    import torch

    from latentmd.model.propagator import Propagator

_PARTS = ("centres", "cell", "log_weights", "context", "flow", "lag")  # of a predictor that is a mixture over cells
_CELLS, _AXES = 40, 4  # of a fitted partition: cells, and most TICA axes that they lie in


@dataclass(frozen=True)
class Partition:
    """Cells of a latent space: the nearest of some centres in a linear projection. Picklable.

    Attributes:
        mean: of the latent, shape (tokens · k,).
        axes: projection, shape (tokens · k, axes).
        centres: shape (cells, axes).
    """

    mean: Floats
    axes: Floats
    centres: Floats

    def cell(self, z: torch.Tensor) -> torch.Tensor:
        """Cell of each point [points, tokens, k]."""
        projected = (z.flatten(1) - torch.from_numpy(self.mean)) @ torch.from_numpy(self.axes)
        return torch.cdist(projected, torch.from_numpy(self.centres)).argmin(dim=1)

    def only(self, cells: Ints) -> Partition:
        """The partition with some of its cells; what lay in the others goes to the nearest of them."""
        return replace(self, centres=self.centres[cells])


def fit_partition(runs: Floats) -> Partition:
    """k-means cells in the slowest directions (TICA with kinetic distances; Noé & Clementi 2015) of short runs
    [frames, walkers, tokens, k].
    """
    from deeptime.decomposition import TICA

    flat = runs.reshape(*runs.shape[:2], -1).astype(np.float64)
    walkers = [np.ascontiguousarray(flat[:, i]) for i in range(flat.shape[1])]
    found = TICA(lagtime=1, dim=min(_AXES, flat.shape[2]), scaling="kinetic_map").fit(walkers).fetch_model()
    mean = np.concatenate(walkers).mean(axis=0)
    axes = found.transform(np.eye(flat.shape[2])) - found.transform(np.zeros((1, flat.shape[2])))
    projected = (np.concatenate(walkers) - mean) @ axes
    centres = k_means(projected, _CELLS, seed=0).cluster_centers
    mean, axes, centres = (np.ascontiguousarray(x, dtype=np.float32) for x in (mean, axes, centres))
    return Partition(mean, axes, centres)


class Moves(Protocol):
    """Moves of a model between cells.

    Attributes:
        spare: particles for each path that a particle filter of these steps needs.
        to_points: whether paths can be pinned to a point, or to cells only.
    """

    spare: float
    to_points: bool

    def cell(self, z: torch.Tensor) -> torch.Tensor:
        """Cell of each point [points, tokens, k]."""
        ...

    def steps(self, lag: float) -> Steps:
        """Steps of a lag in ps, for particle filters."""
        ...

    def matrix(self, points: Floats, cell: Ints, lag: float) -> Doubles:
        """Transition matrix over cells from slow axes [points, tokens, k]; a cell without points keeps its walker."""
        ...


class MixtureMoves:
    """Moves of a predictor that is a mixture over cells, as `FlowPredictor`."""

    spare = 1.25
    to_points = True

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor

    def cell(self, z: torch.Tensor) -> torch.Tensor:
        """Cell of each point [points, tokens, k]."""
        return torch.as_tensor(self.predictor.cell(z))

    def steps(self, lag: float) -> Steps:
        """Steps of a lag in ps, which take a guide."""
        return MixtureSteps(self.predictor, lag)

    def matrix(self, points: Floats, cell: Ints, lag: float) -> Doubles:
        """Mean of π(cell' | z, lag) over the points z of each cell: rare transitions need no events to be counted."""
        z, predictor = torch.from_numpy(np.ascontiguousarray(points)), self.predictor
        with torch.no_grad():
            weights = predictor.log_weights(z, predictor.lag(torch.full((len(z),), lag))).double().exp().numpy()
        matrix = np.eye(weights.shape[1])
        for i in np.unique(cell):
            matrix[i] = weights[cell == i].mean(axis=0)
        return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


class FreeMoves:
    """Moves of a model that can only be asked for steps, such as one of many peptides bound to one of them."""

    spare = 10.0  # particles drawn for each path: steps are not guided, so that few of them reach the end

    def __init__(self, propagator: Propagator, partition: Partition) -> None:
        self.propagator, self.partition = propagator, partition
        self.to_points = propagator.has_density

    def cell(self, z: torch.Tensor) -> torch.Tensor:
        """Cell of each point [points, tokens, k]."""
        return self.partition.cell(z)

    def steps(self, lag: float) -> Steps:
        """Steps of a lag in ps, which guides act on by their weights alone."""
        return FreeSteps(self.propagator.module, self.partition.cell, lag)

    def matrix(self, points: Floats, cell: Ints, lag: float) -> Doubles:
        """Counts of one step from each point and, since the points are in equilibrium, of its reverse."""
        z = torch.from_numpy(np.ascontiguousarray(points))
        after = self.cell(self.propagator.rollout(z, lag, 1, np.random.default_rng(1))[0]).numpy()
        counts = np.zeros((len(self.partition.centres),) * 2)
        np.add.at(counts, (cell, after), 1.0)
        counts = counts + counts.T
        counts[np.diag_indices_from(counts)] += counts.sum(axis=1) == 0
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def moves_of(propagator: Propagator, partition: Partition | None) -> Moves:
    """Moves of a model: by its own cells, or by a partition where it has none; ValueError where neither is there."""
    if partition is not None:
        return FreeMoves(propagator, partition)
    predictor = own_cells(propagator)
    if predictor is None:
        raise ValueError(f"the model {propagator.manifest.name} has no cells of its own; fit a partition first")
    return MixtureMoves(predictor)


def own_cells(propagator: Propagator) -> Any:
    """The predictor of a model that is a mixture over cells; None for another."""
    predictor = getattr(propagator.module, "predictor", None)
    return predictor if predictor is not None and all(hasattr(predictor, part) for part in _PARTS) else None


_WALKERS, _STEPS, _SETTLING = 40, 20, 4  # rollouts from each cell, their steps, and the first of them left out
_FREE_WALKERS, _FREE_SETTLING, _FREE_STEPS = 600, 10, 12  # the same for a model without cells, settling by long steps
_MOST_STATES = 6
_LEAST_REACH = 1e-6  # least probability of reaching the end: transitions rarer than that were not in training


@dataclass(frozen=True)
class CellChain:
    """Markov chain over the cells of a model.

    Attributes:
        points: slow axes of frames that follow the model, in equilibrium inside their cells, shape (points, tokens, k).
        weight: of each point in equilibrium, sum 1.
        states: metastable state of each cell, from 0, numbered from the most to the least populated, shape (cells,).
        stationary: equilibrium population of each cell.
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
        """Equilibrium points of a state, shape (count, tokens, k)."""
        share = np.where(self.states[self.cell] == state, self.weight, 0.0)
        return np.asarray(self.points[rng.choice(len(share), count, p=share / share.sum())])


def cell_chain(propagator: Propagator) -> CellChain:
    """Fit the chain of a model by rollouts of its shortest step.

    They begin in every cell of a model that has cells of its own, else in equilibrium, which rollouts of the longest
    step find. The seed is fixed: the states of a model, and their numbers, are its own.
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
    """The chain of cells at a lag in ps, conditioned on being in some cells after a number of steps."""
    matrix = moves.matrix(chain.points, chain.cell, lag)
    weights = np.zeros(len(matrix))
    weights[np.asarray(end)] = 1.0
    return markov_bridge(matrix, weights, steps)


def check_reach(log_probability: float, ends: str, time: str) -> None:
    """Refuse ends that the model connects with a probability below one in a million; ends and time in words."""
    if log_probability < np.log(_LEAST_REACH):
        raise ValueError(
            f"the model does not connect {ends} in {time}: it gets there with a probability of "
            f"{np.exp(log_probability):.1g}; give a longer --time, or other ends"
        )
