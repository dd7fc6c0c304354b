"""Langevin worlds: gradients, stationary distributions, and bursts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.systems.toy.double_well import DoubleWell
from latentmd.systems.toy.langevin import LangevinWorld
from latentmd.systems.toy.muller_brown import MullerBrown
from latentmd.systems.toy.world import WorldError

ALL = [
    DoubleWell(),
    DoubleWell(inertia=False, timestep=0.002),
    MullerBrown(),
    MullerBrown(inertia=False, timestep=2e-4),
]


@pytest.mark.parametrize("world", ALL)
def test_gradient(world: LangevinWorld) -> None:
    rng = np.random.default_rng(0)
    q, step = rng.uniform(world.low, world.high, (30, world.dimensions)), 1e-6
    for axis in range(world.dimensions):
        moved = step * np.eye(world.dimensions)[axis]
        slope = (world.potential(q + moved) - world.potential(q - moved)) / (2 * step)
        np.testing.assert_allclose(world.gradient(q)[:, axis], slope, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("world", ALL)
def test_populations_do_not_depend_on_the_grid(world: LangevinWorld) -> None:
    coarse, fine = world.populations(200), world.populations(600)
    assert sum(fine.values()) == pytest.approx(1)
    for name, value in fine.items():
        assert 0.05 < value < 0.95
        assert coarse[name] == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("world", ALL)
def test_bursts_keep_the_stationary_distribution(world: LangevinWorld) -> None:
    """Independent walkers from equilibrium, moved by a burst: populations and moments are those of quadrature."""
    n, d = 2000, world.dimensions
    start = world.equilibrium(n, np.random.default_rng(5))
    end = world.propagate(start, 200, 1)
    assert np.abs(end - start).max() > 0.1
    q = end[:, :d]
    for name, inside in world.basins(q).items():
        exact = world.populations()[name]
        assert abs(inside.mean() - exact) < 4 * np.sqrt(exact * (1 - exact) / n)
    middles, weights = world.grid()
    for values, exact in ((q, weights @ middles), (q**2, weights @ middles**2)):
        assert (np.abs(values.mean(0) - exact) < 4 * values.std(0) / np.sqrt(n)).all()
    energy = weights @ world.potential(middles)
    found = world.energy(end)
    assert abs(found.mean() - energy) < 4 * found.std() / np.sqrt(n)
    if world.inertia:
        v2 = end[:, d:] ** 2
        assert abs(v2.mean() - world.kT) < 4 * v2.std() / np.sqrt(v2.size) + 0.01 * world.kT


@pytest.mark.parametrize("world", ALL)
def test_bursts_from_one_basin_relax_within_it(world: LangevinWorld) -> None:
    """From one point the walkers spread: what a burst samples is the dynamics, not its start."""
    start = np.repeat(world.equilibrium(1, np.random.default_rng(0)), 500, axis=0)
    end = world.propagate(start, 200, 2)
    assert (end.std(0) > 1e-2).all()
    np.testing.assert_array_equal(end, world.propagate(start, 200, 2))
    assert np.abs(end - world.propagate(start, 200, 3)).max() > 1e-2


def test_trajectories_and_bursts_are_of_one_process() -> None:
    """Velocity correlation of a frame's interval, from trajectories and from bursts."""
    world = DoubleWell()
    states = world.simulate(2000, 2, 0)
    v0, v1 = states[:, 0, 1], states[:, 1, 1]
    end = world.propagate(states[:, 0], world.stride, 9)[:, 1]
    error = np.sqrt(2 / 2000) * (v0 * v1).std()
    assert abs((v0 * v1).mean() - (v0 * end).mean()) < 4 * error
    assert (v0 * v1).mean() > 5 * error


def test_free_diffusion_without_inertia() -> None:
    """On a flat stretch the spread is 2 kT t / γ, less the half steps at both ends."""
    world = DoubleWell(barrier=0.0, tilt=0.0, inertia=False, friction=2.0, timestep=0.01)
    end = world.propagate(np.zeros((4000, 1)), 100, 0)
    assert end.var() == pytest.approx(2 * 0.01 * (100 - 0.5) / 2.0, rel=4 * np.sqrt(2 / 4000))


def test_states_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(WorldError, match=r"shape \(3, 1\); expected \[walkers, 2\]"):
        DoubleWell().propagate(np.zeros((3, 1)), 10, 0)


def test_observation_and_history() -> None:
    inert, without = DoubleWell(), DoubleWell(inertia=False)
    states: Any = inert.simulate(2, 3, 0)
    np.testing.assert_allclose(inert.observe(states, "coordinates"), states[..., :1], rtol=1e-6)
    assert inert.history == {"state": 1, "coordinates": 2} and without.history["coordinates"] == 1
