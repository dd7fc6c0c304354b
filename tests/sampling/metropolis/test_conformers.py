"""Conformers: combinations of wells, counted and pictured by their most typical frame."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.metropolis.conformers import basins
from latentmd.sampling.metropolis.populations import populations
from latentmd.sampling.metropolis.wells import Turn, wells


def test_basins_are_combinations_of_wells_with_their_shares() -> None:
    rng = np.random.default_rng(0)
    first = np.where(rng.random((8, 400)) < 0.75, 60.0, 180.0)
    second = np.where(rng.random((8, 400)) < 0.5, 0.0, 90.0)
    centres = np.stack([first, second], axis=-1)
    angles = np.deg2rad(centres + rng.normal(scale=8, size=centres.shape))
    turns = [Turn("a", 0), Turn("b", 1, period=180.0)]
    found = basins(populations(angles, wells(turns, angles)), angles)
    assert sum(basin.population for basin in found) == pytest.approx(1)
    assert [basin.population for basin in found] == pytest.approx([0.375, 0.375, 0.125, 0.125], abs=0.03)
    for basin in found:
        inside = np.isclose(centres.reshape(-1, 2), centres.reshape(-1, 2)[basin.frame]).all(axis=1)
        assert basin.population == pytest.approx(inside.mean(), abs=0.005)
        assert np.abs(np.rad2deg(angles).reshape(-1, 2)[basin.frame] - centres.reshape(-1, 2)[basin.frame]).max() < 3
        assert 0 < basin.error < 0.03
