"""Toy landscapes and their dynamics."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.contracts import BurstError
from latentmd.worlds.landscapes import Landscape, ToyEngine, double_well, muller_brown

LANDSCAPES = [double_well(), muller_brown()]


@pytest.mark.parametrize("landscape", LANDSCAPES, ids=lambda land: land.world.name)
def test_populations_are_a_partition_and_the_box_holds_them(landscape: Landscape) -> None:
    np.testing.assert_allclose(sum(landscape.populations().values()), 1)
    mesh, weights = landscape.grid(120)
    edge = ((mesh == mesh.min(axis=0)) | (mesh == mesh.max(axis=0))).any(axis=1)
    assert weights[edge].sum() < 1e-5


def test_a_long_burst_has_the_exact_distribution_of_a_well() -> None:
    """Mean and variance within the left well, whose barrier of 12 kT is not crossed."""
    land = double_well(barrier=12.0, tilt=0.0)
    burst = ToyEngine(land, 10).burst(np.array([-1.0]), 20_000, 0)
    mesh, weights = land.grid(4000)
    left = mesh[:, 0] < 0
    mean = np.average(mesh[left, 0], weights=weights[left])
    deviation = np.sqrt(np.average((mesh[left, 0] - mean) ** 2, weights=weights[left]))
    np.testing.assert_allclose(burst.positions.mean(), mean, atol=0.005)
    np.testing.assert_allclose(burst.positions.std(), deviation, rtol=0.04)
    np.testing.assert_allclose(burst.energies[:5], [land.world.potential(x) for x in burst.positions[:5]])


def test_arguments_alone_decide_a_burst() -> None:
    engine = ToyEngine(muller_brown(), 5)
    start = np.array([0.6, 0.0])
    one, two, other = (engine.burst(start, 20, seed).positions for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_explosions_are_burst_errors() -> None:
    engine = ToyEngine(muller_brown(), 5)
    with pytest.raises(BurstError):
        engine.burst(np.array([50.0, 50.0]), 10, 0)
    with pytest.raises(BurstError, match="too high to minimise"):
        engine.relax(np.array([50.0, 50.0]), 0)
    assert not engine.checks(np.array([[50.0, 50.0]]))["box"][0]
    assert engine.checks(np.array([[0.6, 0.0]]))["box"][0]


def test_relaxation_goes_downhill() -> None:
    engine = ToyEngine(double_well(), 5)
    relaxed = engine.relax(np.array([1.8]), 0)
    assert relaxed.energy < 10 < double_well().energies(np.array([[1.8]]))[0]
    assert engine.interval == pytest.approx(0.01)


def test_states_are_functions_of_positions() -> None:
    land = muller_brown()
    upper, lower = (inside(np.array(land.starts)).tolist() for inside in land.states.values())
    assert (upper, lower) == ([True, False], [False, True])
