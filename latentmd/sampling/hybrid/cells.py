"""Cells of configuration space: spread over latent and model-free physical coordinates together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.sampling.hybrid.reweighting import count_transitions, fit

_FRAMES_PER_CELL = 20  # least mean number; fewer cells than asked for are made while there is little data
_FEWEST = 2  # least number of slow components
#: A latent direction is kept only if its timescale exceeds this many TICA lags; every extra dimension makes cells
#: coarser.
_OUTLASTS = 2
_SAMPLE = 30_000  # least number of frames that centres are placed on, where there are as many
_SWEEPS = 50  # most iterations of k-means
_NEIGHBOURS = 8  # anchors between which the last coordinate is interpolated
_CLOSE = 1e-12  # added to squared distances, which are divided by
_SHORTEST = 1e-3  # autocorrelation that counts as none
_LONGEST = 10.0  # longest timescale in TICA lags; basins that no burst connects would hide everything else
_CONSTANT = 1e-8  # standard deviation below which a feature is left out


@dataclass(frozen=True)
class Cells:
    """A partition of configuration space by nearest centres.

    Coordinates are time-lagged independent components of all features, each scaled by the square root of half its
    timescale (commute map, Noe, Banisch and Clementi, J. Chem. Theory Comput. 12, 5620, 2016): the slower a direction,
    the finer it is divided. What forgets within a lag of the Markov model needs no cells, but two components are kept
    at least: a bent one alone would put the edge of a basin on a barrier. Timescales count as 10 lags of
    the components at most.
    The components of the physical features come first, then what the latent says beyond them where it outlasts two of
    the components' lags: a surrogate that learned nothing, or the wrong thing, adds directions and cannot merge basins
    that the physical features tell apart.
    Components are the same for every invertible linear change of either.

    The last coordinate is the logarithm of the equilibrium over the sampled density, as a first model with as many
    cells has it: 1 kT counts as much as the distance between neighbouring centres. Short bursts run down the side of a
    barrier without ever being in equilibrium within a cell there; a cell of several kT then makes the climb too easy,
    by a share of it that is proportional to the cell's own height.

    Attributes:
        mean, matrix: slow coordinates = (features - mean) @ matrix; shapes (features,) and (features, dimensions).
        anchors: points of slow coordinates, shape (anchors, dimensions), at which the last coordinate is known.
        heights: its value there, shape (anchors,); between them weighted by inverse squared distance.
        centres: shape (cells, dimensions + 1).
    """

    mean: Floats
    matrix: Floats
    anchors: Floats
    heights: Floats
    centres: Floats

    def coordinates(self, features: Floats) -> Floats:
        """Coordinates (n, dimensions + 1) of features (n, features); a feature that is not finite counts as mean."""
        slow = _slow(features, self.mean, self.matrix)
        return np.column_stack([slow, _interpolated(slow, self.anchors, self.heights)])

    def assign(self, features: Floats) -> Ints:
        """Cell of each row of features (n, features)."""
        return _nearest(self.coordinates(features), self.centres)

    def coarser(self) -> Cells:
        """Every other centre.

        What changes with the partition is not known, so statistics are made with this one too.
        """
        return Cells(self.mean, self.matrix, self.anchors, self.heights, self.centres[::2])

    def __len__(self) -> int:
        return len(self.centres)


def fit_cells(
    features: Sequence[Floats], latent: int, number: int, *, slow_lag: int, lag: int, rng: np.random.Generator
) -> Cells:
    """Cells from bursts (deeptime's TICA and k-means).

    Args:
        features: latent and physical features side by side, (frames, features) per burst.
        latent: how many of the features are latent.
        number: most cells wanted; fewer while there are not twenty frames for each.
        slow_lag: of the time-lagged components, frames; half of what the bursts allow tells slow from fast best.
        lag: of the Markov model, frames.
        rng: random generator, of the first centres.

    Raises:
        ValueError: no burst is longer than the lags, or all features are constant.
    """
    everything = np.concatenate(list(features)).astype(np.float64)
    finite = np.isfinite(everything).all(axis=0)
    spread = np.where(finite, everything, 0.0).std(axis=0)
    used = np.flatnonzero(spread > _CONSTANT)
    if not len(used):
        raise ValueError("all features of the bursts are constant; expected at least one that tells structures apart")
    mean = np.where(finite, everything, 0.0).mean(axis=0)
    standard = [(f[:, used] - mean[used]) / spread[used] for f in features]
    components = np.zeros((len(used), 0))
    for block, shortest in ((used >= latent, lag), (used < latent, _OUTLASTS * slow_lag)):
        components = np.hstack([components, _added(standard, components, block, slow_lag, shortest)])
    matrix = np.zeros((len(mean), components.shape[1]))
    matrix[used] = components / spread[used, None]
    slow = _slow(everything, mean, matrix)
    count = int(np.clip(len(everything) // _FRAMES_PER_CELL, 2, number))
    centres = _centres(slow, count, rng)
    anchors, heights = _heights(slow, centres, [len(f) for f in features], lag)
    augmented = np.column_stack([slow, _interpolated(slow, anchors, heights)])
    return Cells(mean, matrix, anchors, heights, _centres(augmented, count, rng))


def _slow(features: Floats, mean: Floats, matrix: Floats) -> Floats:
    centred = np.nan_to_num(features - mean, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(centred @ matrix)


def _heights(slow: Floats, centres: Floats, lengths: Sequence[int], lag: int) -> tuple[Floats, Floats]:
    """Centres that a first Markov model connects, and ln(equilibrium / sampled density) there, in centre distances."""
    from scipy.spatial import cKDTree

    paths = np.split(_nearest(slow, centres), np.cumsum(lengths)[:-1])
    model = fit(count_transitions(paths, len(centres), lag, 0))
    visits = np.bincount(np.concatenate(paths), minlength=len(centres))[model.active]
    distance = np.median(cKDTree(centres).query(centres, k=2)[0][:, 1])
    return centres[model.active], distance * np.log(model.stationary / visits * visits.sum())


def _interpolated(slow: Floats, anchors: Floats, heights: Floats) -> Floats:
    from scipy.spatial import cKDTree

    distance, index = cKDTree(anchors).query(slow, k=np.arange(1, min(_NEIGHBOURS, len(anchors)) + 1))
    weight = 1.0 / (distance**2 + _CLOSE)
    return np.asarray((weight * heights[index]).sum(axis=1) / weight.sum(axis=1))


def _nearest(points: Floats, centres: Floats) -> Ints:
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(centres).query(points)[1])


def _centres(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """k-means on a sample of the points.

    Not k-centres, which follow outliers: on the Müller-Brown potential they need four times as many cells.
    """
    from deeptime.clustering import KMeans

    sample = points[:: max(1, len(points) // _SAMPLE)]
    number = min(count, len(np.unique(sample, axis=0)))
    clustering = KMeans(number, max_iter=_SWEEPS, tolerance=1e-2, fixed_seed=int(rng.integers(2**31)), n_jobs=1)
    return np.asarray(clustering.fit_fetch(sample).cluster_centers)


def _added(standard: Sequence[Floats], known: Floats, block: Bools, lag: int, shortest: int) -> Floats:
    """Components (features, dimensions) of a block of the features that known components of all do not explain."""
    everything = np.concatenate(list(standard))
    part = np.eye(len(block))[:, block]
    part = part - known @ np.linalg.lstsq(everything @ known, everything @ part, rcond=None)[0]
    part = part[:, (everything @ part).std(axis=0) > _CONSTANT]
    if not part.size:
        return part
    fewest = max(0, _FEWEST - known.shape[1])
    return np.asarray(part @ _components([f @ part for f in standard], lag, shortest, fewest))


def _components(standard: Sequence[Floats], lag: int, shortest: int, fewest: int) -> Floats:
    """Commute map of features, shape (features, dimensions), down to a shortest timescale in frames."""
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
    kept = max(fewest, int(np.sum(timescales * lag >= shortest)))
    return np.asarray((components * np.sqrt(0.5 * timescales))[:, :kept])
