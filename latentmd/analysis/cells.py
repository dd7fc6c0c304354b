"""Cells of a space: k-means centres that frames are assigned to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentmd.arrays import Floats

if TYPE_CHECKING:
    from deeptime.clustering import ClusterModel


def k_means(
    points: Floats, number: int, seed: int, sweeps: int = 100, tolerance: float = 1e-5, threads: int | None = None
) -> ClusterModel:
    """Centres of Voronoi cells of points (points, axes) in double precision, by Lloyd's iteration from k-means++
    (deeptime) to a relative change of the inertia; the same for the same seed, on all threads where None.
    """
    from deeptime.clustering import KMeans

    estimator = KMeans(number, max_iter=sweeps, tolerance=tolerance, fixed_seed=seed, n_jobs=threads)
    return estimator.fit(points).fetch_model()
