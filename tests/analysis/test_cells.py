"""Centres of cells."""

from __future__ import annotations

import numpy as np

from latentmd.analysis.cells import k_means


def test_clusters_get_a_centre_each_and_a_seed_repeats() -> None:
    rng = np.random.default_rng(0)
    places = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    points = np.concatenate([place + rng.normal(0, 0.1, (200, 2)) for place in places])
    found = k_means(points, 3, seed=1)
    assert np.abs(np.sort(found.cluster_centers, axis=0) - np.sort(places, axis=0)).max() < 0.05
    assert (np.bincount(found.transform(points)) == 200).all()
    np.testing.assert_array_equal(k_means(points, 3, seed=1).cluster_centers, found.cluster_centers)
