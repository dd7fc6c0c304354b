"""Cells of a model's latent, its moves between them as a Markov chain, and the metastable states of that chain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

from latentmd.analysis.bridge import MarkovBridge, markov_bridge
from latentmd.analysis.msm import ReversibleModel, k_means, metastable_sets
from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.core.paths.steps import FreeSteps, MixtureSteps, Steps
from latentmd.model.propagator import Propagator

_CELLS, _AXES = 40, 4  # of a fitted partition: cells, and most TICA axes that they lie in


@dataclass(frozen=True)
class Partition:
    """Cells of a latent: the nearest of some centres [cells, axes] in a projection [tokens · k, axes]. Picklable."""

    mean: Floats
    axes: Floats
    centres: Floats

    def cell(self, z: torch.Tensor) -> torch.Tensor:
        """Cell of each point [points, tokens, k]."""
        projected = (z.flatten(1) - torch.from_numpy(self.mean)) @ torch.from_numpy(self.axes)
        return torch.cdist(projected, torch.from_numpy(self.centres)).argmin(dim=1)


def fit_partition(runs: Floats) -> Partition:
    """k-means cells of runs [frames, walkers, tokens, k] by TICA with kinetic distances (Noé & Clementi 2015)."""
    from deeptime.decomposition import TICA

    flat = runs.reshape(*runs.shape[:2], -1).astype(np.float64)
    walkers = [np.ascontiguousarray(flat[:, i]) for i in range(flat.shape[1])]
    found = TICA(lagtime=1, dim=min(_AXES, flat.shape[2]), scaling="kinetic_map").fit(walkers).fetch_model()
    mean = np.concatenate(walkers).mean(axis=0)
    axes = found.transform(np.eye(flat.shape[2])) - found.transform(np.zeros((1, flat.shape[2])))
    centres = k_means((np.concatenate(walkers) - mean) @ axes, _CELLS, seed=0).cluster_centers
    mean, axes, centres = (np.ascontiguousarray(x, dtype=np.float32) for x in (mean, axes, centres))
    return Partition(mean, axes, centres)


def steps_of(propagator: Propagator, partition: Partition | None, lag: float) -> Steps:
    """Steps of a lag in ps: by the model's own cells, or by a partition where it has none; ValueError without both."""
    if partition is not None:
        return FreeSteps(propagator.module, partition.cell, lag, len(partition.centres))
    if propagator.mixture is None:
        raise ValueError(f"the model {propagator.manifest.name} has no cells of its own; fit a partition first")
    return MixtureSteps(propagator.mixture, lag)


_WALKERS, _STEPS, _SETTLING = 40, 20, 4  # rollouts from each cell, their steps, and the first of them left out
_FREE_WALKERS, _FREE_SETTLING, _FREE_STEPS = 600, 10, 12  # the same for a model without cells, settling by long steps
_MOST_STATES = 6
_LEAST_REACH = 1e-6  # least probability of reaching the end: transitions rarer than that were not in training


@dataclass(frozen=True)
class CellChain:
    """Markov chain over the cells of a model; its points, frames of the model, are in equilibrium in their cells."""

    points: Floats  # slow axes, shape (points, tokens, k)
    cell: Ints
    weight: Doubles  # of each point in equilibrium, sum 1
    states: Ints  # metastable state of each cell, from 0, numbered from the most to the least populated, shape (cells,)
    stationary: Doubles  # equilibrium population of each cell
    partition: Partition | None = None  # the cells, where the model has none of its own

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
    (lag, longest), rng = propagator.lag_range, np.random.default_rng(0)
    slow, partition = propagator.encode(propagator.molecule()[1][None]), None
    if propagator.mixture is not None:
        starts = propagator.mixture.centres.repeat_interleave(_WALKERS, 0).reshape(-1, *slow.shape[1:])
        frames = propagator.rollout(starts, lag, _STEPS, rng)[_SETTLING:].flatten(0, 1)
    else:
        starts = propagator.rollout(slow.repeat(_FREE_WALKERS, 1, 1), longest, _FREE_SETTLING, rng)[-1]
        runs = propagator.rollout(starts, lag, _FREE_STEPS, rng)
        partition, frames = fit_partition(runs.numpy()), runs.flatten(0, 1)
        steps = steps_of(propagator, partition, lag)  # cells that no rollout joins to the others are left out
        joined = steps.matrix(frames, steps.cell(frames).numpy()) > 0
        piece = connected_components(joined, directed=False)[1]
        partition = replace(partition, centres=partition.centres[piece == np.bincount(piece).argmax()])
    steps = steps_of(propagator, partition, lag)
    cell = steps.cell(frames).numpy()
    matrix = steps.matrix(frames, cell)
    counts = np.bincount(cell, minlength=len(matrix))
    stationary = _stationary(matrix, counts > 0)
    fluxes = stationary[:, None] * matrix
    sets = metastable_sets(ReversibleModel(np.arange(len(matrix)), (fluxes + fluxes.T) / 2), _MOST_STATES)
    order = np.argsort(-np.bincount(sets, weights=stationary), kind="stable")
    weight = (stationary / np.maximum(counts, 1))[cell]
    states = np.asarray(np.argsort(order)[sets])
    return CellChain(frames.numpy(), cell, weight / weight.sum(), states, stationary=stationary, partition=partition)


def _stationary(matrix: Doubles, visited: Bools) -> Doubles:
    """Left eigenvector of the largest eigenvalue among the cells that rollouts visit; tiny elsewhere."""
    kept = np.flatnonzero(visited)
    inner = matrix[np.ix_(kept, kept)]
    values, vectors = np.linalg.eig((inner / inner.sum(axis=1, keepdims=True)).T)
    leading = np.abs(vectors[:, np.argmax(values.real)].real)
    result = np.full(len(matrix), 1e-12)
    result[kept] = np.maximum(leading / leading.sum(), 1e-12)
    return np.asarray(result / result.sum())


def bridge_to(steps: Steps, chain: CellChain, end: Ints, count: int) -> MarkovBridge:
    """The chain of cells, conditioned on being in some of them after a number of steps."""
    matrix = steps.matrix(torch.from_numpy(chain.points), chain.cell)
    weights = np.zeros(len(matrix))
    weights[end] = 1.0
    return markov_bridge(matrix, weights, count)


def check_reach(log_probability: float, ends: str, time: str) -> None:
    """Refuse ends that the model connects with a probability below one in a million; ends and time in words."""
    if log_probability < np.log(_LEAST_REACH):
        raise ValueError(
            f"the model does not connect {ends} in {time}: it gets there with a probability of "
            f"{np.exp(log_probability):.1g}; give a longer --time, or other ends"
        )
