"""Cells of a space: k-means centres that frames are assigned to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentmd.arrays import Floats

if TYPE_CHECKING:
    from deeptime.clustering import ClusterModel


def k_means(
    points: Floats, number: int, seed: int, sweeps: int = 100, tolerance: float = 1e-5, threads: int | None = None
) -> ClusterModel:
    """Centres of Voronoi cells by Lloyd's iteration from k-means++ (deeptime), which gives the same for the same seed.

    Args:
        points: shape (points, axes), double precision.
        number: of cells.
        seed: of the first centres.
        sweeps: most iterations.
        tolerance: relative change of the inertia at which it stops.
        threads: of processors; all where None.
    """
    from deeptime.clustering import KMeans

    estimator = KMeans(number, max_iter=sweeps, tolerance=tolerance, fixed_seed=seed, n_jobs=threads)
    return estimator.fit(points).fetch_model()
