"""How a model moves between the cells of its latent: with cells of its own, or with a partition fitted to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.core.paths.steps import FreeSteps, MixtureSteps, Steps

if TYPE_CHECKING:
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
    """k-means cells in the slowest directions (TICA with kinetic distances; Noé & Clementi 2015) of short runs.

    Args:
        runs: latent trajectories of many walkers, shape (frames, walkers, tokens, k).
    """
    from deeptime.clustering import KMeans
    from deeptime.decomposition import TICA

    flat = runs.reshape(*runs.shape[:2], -1).astype(np.float64)
    walkers = [np.ascontiguousarray(flat[:, i]) for i in range(flat.shape[1])]
    found = TICA(lagtime=1, dim=min(_AXES, flat.shape[2]), scaling="kinetic_map").fit(walkers).fetch_model()
    mean = np.concatenate(walkers).mean(axis=0)
    axes = found.transform(np.eye(flat.shape[2])) - found.transform(np.zeros((1, flat.shape[2])))
    projected = (np.concatenate(walkers) - mean) @ axes
    centres = KMeans(_CELLS, fixed_seed=0, max_iter=100).fit(projected).fetch_model().cluster_centers
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
        """Transition matrix over cells, shape (cells, cells); a cell without points keeps its walker.

        Args:
            points: slow axes, shape (points, tokens, k).
            cell: of each point.
            lag: ps.
        """
        ...


class MixtureMoves:
    """Moves of a predictor that is a mixture over cells.

    Args:
        predictor: as `FlowPredictor`.
    """

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
        """Mean of π(cell' | z, lag) over the points z of each cell: rare transitions need no events to be counted.

        Args:
            points: slow axes, shape (points, tokens, k).
            cell: of each point.
            lag: ps.
        """
        z, predictor = torch.from_numpy(np.ascontiguousarray(points)), self.predictor
        with torch.no_grad():
            weights = predictor.log_weights(z, predictor.lag(torch.full((len(z),), lag))).double().exp().numpy()
        matrix = np.eye(weights.shape[1])
        for i in np.unique(cell):
            matrix[i] = weights[cell == i].mean(axis=0)
        return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


class FreeMoves:
    """Moves of a model that can only be asked for steps, such as one of many peptides bound to one of them.

    Args:
        propagator: the model.
        partition: cells fitted to it.
    """

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
        """Counts of one step from each point and, since the points are in equilibrium, of its reverse.

        Args:
            points: slow axes in equilibrium, shape (points, tokens, k).
            cell: of each point.
            lag: ps.
        """
        z = torch.from_numpy(np.ascontiguousarray(points))
        after = self.cell(self.propagator.rollout(z, lag, 1, np.random.default_rng(1))[0]).numpy()
        counts = np.zeros((len(self.partition.centres),) * 2)
        np.add.at(counts, (cell, after), 1.0)
        counts = counts + counts.T
        counts[np.diag_indices_from(counts)] += counts.sum(axis=1) == 0
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def moves_of(propagator: Propagator, partition: Partition | None) -> Moves:
    """Moves of a model: by its own cells, or by a partition where it has none.

    Args:
        propagator: the model.
        partition: fitted to a model without cells.

    Raises:
        ValueError: neither is there.
    """
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
