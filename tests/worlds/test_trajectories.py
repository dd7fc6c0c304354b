"""Samples of worlds: alignment with states, split by seed, and read-outs that can be turned back."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.double_pendulum import DoublePendulum
from latentmd.systems.toy.lennard_jones import LennardJones
from latentmd.systems.toy.particles import radial_distribution
from latentmd.systems.toy.two_balls import TwoBalls
from latentmd.systems.toy.world import World
from latentmd.worlds.config import WorldConfig, world_config
from latentmd.worlds.trajectories import state_vector, vector_state, world_data


def small(world: str, observe: str) -> WorldConfig:
    return world_config(world, observe, {}, {"horizon": 2, "data": {"train": 3, "test": 2, "frames": 12},
                                             "predictor": {"rollout": 2}})  # fmt: skip


def test_frames_belong_to_their_states_and_sets_do_not_overlap() -> None:
    world = DoublePendulum()
    data = world_data(world, small("double-pendulum", "coordinates"))
    assert len(data.train.states) == 3 and len(data.test.states) == 2
    for sample in (data.train, data.test):
        for states, observations, seen in zip(sample.states, sample.observations, sample.seen, strict=True):
            assert len(states) == len(observations) == len(seen) == 11  # two frames tell the state
            np.testing.assert_allclose(observations[:, -1], world.observe(states, "coordinates"), atol=1e-6)
            np.testing.assert_allclose(observations[1:, 0], observations[:-1, 1])
    starts = [tuple(s[0]) for s in (*data.train.states, *data.test.states)]
    assert len(set(starts)) == 5


def test_the_seed_decides_the_data() -> None:
    config = small("double-pendulum", "coordinates")
    world = DoublePendulum()
    first, again = world_data(world, config), world_data(world, config)
    np.testing.assert_array_equal(first.test.states[0], again.test.states[0])
    other = world_data(world, config.model_copy(update={"seed": 1}))
    assert abs(other.test.states[0] - first.test.states[0]).max() > 0.1


@pytest.mark.parametrize("world", [DoublePendulum(), TwoBalls()])
def test_states_come_back_from_what_is_read_out(world: World) -> None:
    states = world.simulate(2, 9, 0)
    back = vector_state(world, state_vector(world, states), states.shape[2:])
    np.testing.assert_allclose(world.energy(back), world.energy(states), rtol=1e-9)
    np.testing.assert_allclose(world.observe(back, "pixels"), world.observe(states, "pixels"), atol=1e-5)


def test_energies_of_true_read_outs_do_not_drift() -> None:
    data = world_data(TwoBalls(), small("two-balls", "state"))
    energies = data.energies(np.stack(data.test.quantities))
    np.testing.assert_allclose(energies, energies[:, :1].repeat(12, axis=1), rtol=1e-9)
    assert data.energy_scale() == pytest.approx(float(energies[0, 0]), rel=1e-6)  # all start with the same energy


def test_neighbours_of_particles_give_the_radial_distribution() -> None:
    world = LennardJones(particles=16, density=0.4, settle=0.5, cutoff=2.0)
    data = world_data(world, small("lennard-jones", "particles"))
    quantities = np.stack(data.test.quantities)
    states = np.stack(data.test.states)
    r, g = radial_distribution(quantities[..., 1:], world.box, 2)
    edges = np.linspace(0, world.box / 2, len(r) + 1)
    distances = np.linalg.norm(world.pairs.displacements(states[..., :2], world.box), axis=-1)
    ideal = distances.size * np.pi * np.diff(edges**2) / world.box**2
    np.testing.assert_allclose(r, 0.5 * (edges[1:] + edges[:-1]))
    np.testing.assert_allclose(g, np.histogram(distances, edges)[0] / ideal, rtol=1e-5, atol=1e-6)
    kinetic = 0.5 * (states[..., 2:] ** 2).sum(-1)
    np.testing.assert_allclose(quantities[..., 0], kinetic, rtol=1e-5)
