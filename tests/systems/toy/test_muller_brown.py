"""Müller–Brown: minima and saddle as published."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.double_well import DoubleWell
from latentmd.systems.toy.muller_brown import MullerBrown

ALL = [
    DoubleWell(),
    DoubleWell(inertia=False, timestep=0.002),
    MullerBrown(),
    MullerBrown(inertia=False, timestep=2e-4),
]


def test_muller_brown_has_its_published_minima_and_saddle() -> None:
    world = MullerBrown()
    for point, value in [((-0.558, 1.442), -146.700), ((0.623, 0.028), -108.167), ((-0.050, 0.467), -80.768),
                         ((-0.822, 0.624), -40.665)]:  # fmt: skip
        q = np.array(point)
        assert float(world.potential(q)) == pytest.approx(value, abs=0.01)
        assert np.linalg.norm(world.gradient(q)) < 2.0
    middles, _ = world.grid()
    assert world.potential(middles).min() >= world._minimum()
