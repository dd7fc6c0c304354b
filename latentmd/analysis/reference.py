"""The reference of comparisons: TICA coordinates, k-means centres and a Markov state model of MD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentmd.analysis import msm
from latentmd.analysis.features import EvaluationError, FeatureSpec
from latentmd.analysis.statistics import evenly
from latentmd.arrays import Floats, Ints

CENTRES, MACROSTATES = 100, 10
_FIT_FRAMES = 50_000  # k-means centres are placed on at most this many frames, spread evenly


class ReferenceModel:
    """TICA, k-means and an MSM of features (frames, features) per run, `interval` ps apart; `dense`: not thinned."""

    def __init__(
        self, spec: FeatureSpec, runs: Sequence[Floats], interval: float, lag: float, temperature: float, seed: int,
        dense: Sequence[Floats] | None = None, centres: int = CENTRES,
    ) -> None:  # fmt: skip
        from deeptime.decomposition import TICA

        self.spec, self.runs, self.interval, self.temperature, self.seed = spec, list(runs), interval, temperature, seed
        self.lag = lag_frames(lag, interval)
        check_length("reference", runs, self.lag, interval)
        moving = np.max([np.ptp(run, axis=0) for run in runs], axis=0) > 1e-6
        if not moving.any():
            raise EvaluationError("every frame of the reference is the same structure; nothing can be compared with it")
        coordinates = [spec.coordinates(run) for run in runs]
        estimator = TICA(lagtime=self.lag, scaling="kinetic_map")
        self.tica = estimator.fit_from_timeseries([c for c in coordinates if len(c) > self.lag]).fetch_model()
        explained = np.cumsum(np.square(self.tica.singular_values))
        self.dimension = max(2, int(np.searchsorted(explained, 0.95 * explained[-1])) + 1)
        self.tics = [self._transform(c) for c in coordinates]
        self.dense = self.runs if dense is None else list(dense)
        self.dense_tics = self.tics if dense is None else self.project(self.dense)
        everything = np.concatenate(self.tics)
        picked = everything[evenly(len(everything), _FIT_FRAMES)]
        self.clusters = msm.k_means(picked, min(centres, len(np.unique(picked, axis=0))), seed)
        self.states = int(self.clusters.n_clusters)
        self.paths = [self.discretise(t) for t in self.tics]
        self.counts = msm.transition_counts(self.paths, self.lag, self.states).sum(axis=0)
        self.membership = msm.coarse_grain(self.counts, MACROSTATES)
        self.sets = int(self.membership.max()) + 1

    def _transform(self, coordinates: Floats) -> Floats:
        return np.ascontiguousarray(self.tica.transform(coordinates)[:, : self.dimension], dtype=np.float64)

    def project(self, runs: Sequence[Floats]) -> list[Floats]:
        """TICA coordinates of features, one array per run."""
        return [self._transform(self.spec.coordinates(run)) for run in runs]

    def discretise(self, tics: Floats) -> Ints:
        """Index of the nearest reference centre of every frame."""
        return np.asarray(self.clusters.transform(tics), dtype=np.int64)

    def macrostates(self, paths: Sequence[Ints]) -> Floats:
        """Stationary populations of the macrostates in discretised runs."""
        model = msm.fit_paths(paths, self.lag, self.states)
        sets, stationary = self.membership[model.active], model.stationary
        held = sets >= 0
        return np.bincount(sets[held], weights=stationary[held], minlength=self.sets).astype(np.float64)


def lag_frames(lag: float, interval: float) -> int:
    """Frames in a lag in ps; EvaluationError where it is no multiple of their spacing."""
    frames = round(lag / interval)
    if frames < 1 or abs(frames * interval - lag) > 1e-3 * lag:
        raise EvaluationError(
            f"a lag of {lag:g} ps is no whole number of frames {interval:g} ps apart; "
            f"pass a multiple of {interval:g} ps with --lag"
        )
    return frames


def check_length(name: str, runs: Sequence[Floats], lag: int, interval: float) -> None:
    """Refuse a set whose longest run does not reach beyond twice the lag in frames (EvaluationError)."""
    longest = max(len(run) for run in runs)
    if longest <= 2 * lag:
        raise EvaluationError(
            f"the longest {name} run holds {longest} frames; a lag of {lag * interval:g} ps ({lag} frames) needs more "
            f"than {2 * lag}. Use a longer trajectory or a shorter --lag"
        )
