"""Cells of configuration space: spread over latent and model-free physical coordinates together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.hybrid.protocols import Floats, Ints

_FRAMES_PER_CELL = 20  # fewer cells than asked for while there is little data
_VARIANCE = 0.95  # share kept
_SLOWEST = 0.8  # share of the variance in the slowest coordinates
_SHORTEST = 1e-3  # autocorrelation that counts as none
_LONGEST = 50.0  # lags; basins that no burst connects would hide everything else
_CONSTANT = 1e-8  # deviation below which a feature is left out


@dataclass(frozen=True)
class Cells:
    """A partition of configuration space by nearest centres.

    Coordinates are time-lagged independent components of all features, each scaled by the square root of half its
    timescale (commute map, Noe, Banisch and Clementi, J. Chem. Theory Comput. 12, 5620, 2016), down to 95 % of the
    variance: the slower a direction, the finer it is divided. Timescales count as 50 lags at most.
    Components are the same for every invertible linear change of the features, and what is slow in the physical
    features stays slow beside any latent: a surrogate that learned nothing, or the wrong thing, adds directions and
    cannot merge basins that the physical features tell apart.

    Attributes:
        mean, matrix: coordinates = (features - mean) @ matrix; shapes (features,) and (features, dimensions).
        centres: shape (cells, dimensions).
        timescales: of the coordinates, slowest first, in lags; half of each is its variance; shape (dimensions,).
    """

    mean: Floats
    matrix: Floats
    centres: Floats
    timescales: Floats

    def coordinates(self, features: Floats) -> Floats:
        """Slow coordinates (n, dimensions) of features (n, features); a feature that is not finite counts as mean."""
        centred = np.nan_to_num(features - self.mean, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(centred @ self.matrix)

    def assign(self, features: Floats) -> Ints:
        """Cell of each row of features (n, features)."""
        from scipy.spatial import cKDTree

        return np.asarray(cKDTree(self.centres).query(self.coordinates(features))[1])

    def slowest(self) -> Cells:
        """Every other centre, seen in the slowest coordinates alone, those with four fifths of the variance.

        What changes with the partition is not known, so statistics are made with this coarser one too.
        """
        kept = int(np.searchsorted(np.cumsum(self.timescales) / self.timescales.sum(), _SLOWEST)) + 1
        return Cells(self.mean, self.matrix[:, :kept], self.centres[::2, :kept], self.timescales[:kept])

    def __len__(self) -> int:
        return len(self.centres)


def fit_cells(features: Sequence[Floats], number: int, lag: int, rng: np.random.Generator) -> Cells:
    """Cells from bursts (deeptime's TICA, greedy k-centres).

    Args:
        features: latent and physical features side by side, (frames, features) per burst.
        number: most cells wanted; fewer while there are not twenty frames for each.
        lag: of the time-lagged components, frames; half of what the bursts allow tells slow from fast best.
        rng: random generator, of the first centre.

    Raises:
        ValueError: no burst is longer than the lag, or all features are constant.
    """
    everything = np.concatenate(list(features)).astype(np.float64)
    finite = np.isfinite(everything).all(axis=0)
    spread = np.where(finite, everything, 0.0).std(axis=0)
    used = np.flatnonzero(spread > _CONSTANT)
    if not len(used):
        raise ValueError("all features of the bursts are constant; expected at least one that tells structures apart")
    mean = np.where(finite, everything, 0.0).mean(axis=0)
    components, timescales = _components([(f[:, used] - mean[used]) / spread[used] for f in features], lag)
    matrix = np.zeros((len(mean), components.shape[1]))
    matrix[used] = components / spread[used, None]
    unsplit = Cells(mean, matrix, np.zeros((1, matrix.shape[1])), timescales)
    points = unsplit.coordinates(everything)
    count = min(int(np.clip(len(everything) // _FRAMES_PER_CELL, 2, number)), len(np.unique(points, axis=0)))
    # Centres spread over all that was visited: a barrier of few frames is resolved in steps as fine as a basin's floor,
    # which k-means, whose centres crowd where frames do, would not do.
    return Cells(mean, matrix, points[furthest_first(points, count, int(rng.integers(len(points))))], timescales)


def furthest_first(points: Floats, count: int, first: int = 0) -> list[int]:
    """Indices of `count` of the points (n, k), each as far from those before it as can be.

    The greedy solution of the k-centre problem (Gonzalez, Theor. Comput. Sci. 38, 293, 1985).

    Example:
        >>> furthest_first(np.array([[0.0], [1.0], [5.0], [2.0]]), 3)
        [0, 2, 3]
    """
    chosen = [first]
    nearest = np.sum((points - points[first]) ** 2, axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        np.minimum(nearest, np.sum((points - points[chosen[-1]]) ** 2, axis=1), out=nearest)
    return chosen


def _components(standard: Sequence[Floats], lag: int) -> tuple[Floats, Floats]:
    """Commute map of standardised features, shape (features, dimensions), and its timescales in lags (dimensions,)."""
    from deeptime.decomposition import TICA

    long_enough = [f for f in standard if len(f) > lag]
    if not long_enough:
        raise ValueError(f"no burst is longer than the lag of {lag} frames; make bursts longer")
    now, later = (np.concatenate(part) for part in ([f[:-lag] for f in long_enough], [f[lag:] for f in long_enough]))
    model = TICA(scaling=None, var_cutoff=1.0).fit((now, later)).fetch_model()
    size = now.shape[1]
    components = np.asarray(model.transform(np.eye(size)) - model.transform(np.zeros((1, size))))
    correlation = np.clip(model.singular_values, _SHORTEST, None)
    timescales = -1.0 / np.log(np.minimum(correlation, np.exp(-1.0 / _LONGEST)))  # lags
    share = np.cumsum(timescales) / timescales.sum()
    kept = int(np.searchsorted(share, _VARIANCE)) + 1
    return np.asarray((components * np.sqrt(0.5 * timescales))[:, :kept]), timescales[:kept]
