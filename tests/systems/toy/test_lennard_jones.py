"""Lennard-Jones fluid: forces, energy, order of the integrator, neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latentmd.systems.toy.argon import Argon
from latentmd.systems.toy.lennard_jones import LennardJones
from latentmd.systems.toy.world import WorldError


@pytest.fixture(scope="module")
def fluid() -> tuple[LennardJones, Any]:
    fluid = LennardJones(settle=2.0)
    return fluid, fluid.simulate(3, 60, 0)


def test_forces_are_minus_the_gradient(fluid: tuple[LennardJones, Any]) -> None:
    world, states = fluid
    x, step = states[0, -1, :, :2], 1e-6
    forces = world.forces(x)
    for particle, axis in [(0, 0), (7, 1), (31, 0)]:
        moved = np.zeros_like(x)
        moved[particle, axis] = step
        slope = (world.potential(x + moved) - world.potential(x - moved)) / (2 * step)
        assert forces[particle, axis] == pytest.approx(-slope, abs=1e-5)
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-9)


def test_the_potential_is_lennard_jones_shifted_to_end_smoothly() -> None:
    world = LennardJones(particles=2, density=0.02)

    def at(r: float) -> tuple[float, float]:
        x = np.array([[0.0, 0.0], [r, 0.0]])
        return float(world.potential(x)), float(world.forces(x)[1, 0])

    slope = -24 * (2 * 2.5**-12 - 2.5**-6) / 2.5
    shift = 4 * (2.5**-12 - 2.5**-6)
    for r in (0.95, 1.2, 2.0):
        assert at(r)[0] == pytest.approx(4 * (r**-12 - r**-6) - shift - (r - 2.5) * slope, abs=1e-12)
    assert at(2.4999)[0] == pytest.approx(0, abs=1e-8) and at(2.4999)[1] == pytest.approx(0, abs=1e-4)
    assert at(2.6) == (0.0, 0.0)


def test_an_image_of_a_particle_is_the_particle(fluid: tuple[LennardJones, Any]) -> None:
    world, states = fluid
    x = states[0, 0, :, :2]
    shifted = x + world.box * np.random.default_rng(1).integers(-2, 3, x.shape)
    assert world.potential(shifted) == pytest.approx(float(world.potential(x)), abs=1e-9)
    np.testing.assert_allclose(world.forces(shifted), world.forces(x), atol=1e-8)


def test_energy_and_momentum_are_conserved_at_the_temperature(fluid: tuple[LennardJones, Any]) -> None:
    world, states = fluid
    energy = world.energy(states)
    kinetic = 0.5 * (states[..., 2:] ** 2).sum((-1, -2))
    assert np.abs(energy - energy[:, :1]).max() < 0.02 * kinetic.std(1).mean()
    np.testing.assert_allclose(states[..., 2:].sum(-2), 0, atol=1e-9)
    assert 2 * kinetic[:, 0] == pytest.approx(62.0)  # rescaled at the end of settling
    assert (states[..., :2] >= 0).all() and (states[..., :2] < world.box).all()


def test_velocity_verlet_is_of_order_two(fluid: tuple[LennardJones, Any]) -> None:
    world, states = fluid
    x, v = states[:, 0, :, :2], states[:, 0, :, 2:]

    def after(steps: int) -> Any:
        return replace(world, timestep=0.1 / steps).verlet(x, v, steps)[0]

    reference = after(1280)
    errors = [np.sqrt(((after(n) - reference) ** 2).mean()) for n in (20, 40, 80)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(orders - 2).max() < 0.3


def test_the_fluid_has_a_shell_of_neighbours(fluid: tuple[LennardJones, Any]) -> None:
    world, states = fluid
    r, g = world.radial_distribution(states, 40)
    assert g[r < 0.8].max() == 0
    assert 1.0 < r[g.argmax()] < 1.25 and g.max() > 1.8


def test_boxes_that_are_too_small_are_refused() -> None:
    with pytest.raises(WorldError, match=r"fill a box of 4.*allow at most half"):
        LennardJones(particles=8)
    with pytest.raises(WorldError, match="expected at least 2"):
        LennardJones(particles=1)
    with pytest.raises(WorldError, match=r"allows 0\.1 nm to half"):
        Argon(particles=27)
