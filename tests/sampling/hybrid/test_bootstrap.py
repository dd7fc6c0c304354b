"""Starting structures spread over configuration space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.contracts import Burst
from latentmd.sampling.hybrid.bootstrap import BootstrapError, furthest_first, good_bursts
from latentmd.sampling.hybrid.store import Store


def test_furthest_first_spreads() -> None:
    points = np.random.default_rng(0).uniform(size=(200, 2))
    chosen = points[furthest_first(points, 20)]
    gaps = np.linalg.norm(chosen[:, None] - chosen[None], axis=2) + 9 * np.eye(20)
    cover = np.linalg.norm(points[:, None] - chosen[None], axis=2).min(axis=1)
    assert gaps.min() >= cover.max()  # what makes greedy k-centre a two-approximation


def test_too_few_bursts_to_train_on(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    store.write_burst(0, 0, Burst(np.zeros((3, 2, 3)), np.zeros(3)))
    store.write_burst(0, 1, "exploded")
    with pytest.raises(BootstrapError, match="1 of 2 first simulations failed: exploded"):
        good_bursts(store, 0, 2)
    store.write_burst(0, 2, Burst(np.ones((3, 2, 3)), np.zeros(3)))
    assert [burst.positions.max() for burst in good_bursts(store, 0, 3)] == [0.0, 1.0]
