"""Lennard-Jones and argon: forces, energy, order of the integrator, minimum image, distributions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latentmd.systems.toy.argon import Argon
from latentmd.systems.toy.lennard_jones import LennardJones
from latentmd.systems.toy.particles import Pairs, lattice, minimum_image, particle_probes, radial_distribution
from latentmd.systems.toy.world import WorldError


@pytest.fixture(scope="module")
def fluid() -> tuple[LennardJones, Any]:
    fluid = LennardJones(settle=2.0)
    return fluid, fluid.simulate(3, 60, 0)


def test_minimum_image_is_the_nearest() -> None:
    displacement = np.random.default_rng(0).uniform(-10, 10, (500, 2))
    found = minimum_image(displacement, 3.0)
    images = displacement[:, None] + 3.0 * np.stack(np.meshgrid(*2 * [np.arange(-6, 7)]), -1).reshape(-1, 2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(images, axis=-1).min(1), atol=1e-12)


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


def test_distribution_of_an_ideal_gas_is_one() -> None:
    x = np.random.default_rng(0).uniform(0, 5, (400, 20, 2))
    _, g = radial_distribution(x, 5.0, bins=10)
    pairs = 400 * 190
    expected = pairs * np.pi * np.diff(np.linspace(0, 2.5, 11) ** 2) / 25
    assert (np.abs(g - 1) < 5 / np.sqrt(expected)).all()


def test_the_fluid_has_a_shell_of_neighbours(fluid: tuple[LennardJones, Any]) -> None:
    world, states = fluid
    r, g = world.radial_distribution(states, 40)
    assert g[r < 0.8].max() == 0
    assert 1.0 < r[g.argmax()] < 1.25 and g.max() > 1.8


def test_density_counts_neighbours() -> None:
    """Particles well inside or outside the sphere count as one or not at all; all widths and dimensions."""
    for dimensions, volume in ((2, np.pi), (3, 4 / 3 * np.pi)):
        states = np.zeros((3, 2 * dimensions))
        states[1, 0], states[2, 0] = 0.3, 2.0
        states[0, dimensions] = 2.0
        probes = particle_probes(states, 5.0, 3.0, 1.0)
        np.testing.assert_allclose(probes["local density"][:, 0], np.array([1, 1, 0]) / volume, atol=1e-6)
        np.testing.assert_allclose(probes["kinetic energy"][:, 0], [6.0, 0, 0])
        assert probes["mean kinetic energy"] == pytest.approx(2.0)


def test_pairs_sum_to_particles() -> None:
    pairs = Pairs(4)
    shared = np.arange(1.0, 7.0)  # of 01 02 03 12 13 23
    np.testing.assert_allclose(pairs.sum_over_particles(shared), [6, 10, 12, 14])


def test_lattice_sites_are_apart_and_inside() -> None:
    for particles, dimensions in ((32, 2), (64, 3), (2, 2)):
        x = lattice(particles, dimensions, 2.0)
        assert x.shape == (particles, dimensions) and (x > 0).all() and (x < 2).all()
        arrow = Pairs(particles).displacements(x, 2.0)
        sites = np.ceil(round(particles ** (1 / dimensions), 9))
        assert np.linalg.norm(arrow, axis=-1).min() >= 2.0 / sites - 1e-9


def test_boxes_that_are_too_small_are_refused() -> None:
    with pytest.raises(WorldError, match=r"fill a box of 4.*allow at most half"):
        LennardJones(particles=8)
    with pytest.raises(WorldError, match="expected at least 2"):
        LennardJones(particles=1)
    with pytest.raises(WorldError, match=r"allows 0\.1 nm to half"):
        Argon(particles=27)


@pytest.fixture(scope="module")
def argon() -> tuple[Argon, Any]:
    argon = Argon(settle=1.0)
    return argon, argon.simulate(2, 20, 3)


def test_argon_conserves_energy_and_momentum(argon: tuple[Argon, Any]) -> None:
    world, states = argon
    assert states.shape == (2, 20, 64, 6)
    energy = world.energy(states)
    kinetic = 0.5 * 39.948 * (states[..., 3:] ** 2).sum((-1, -2))
    assert np.abs(energy - energy[:, :1]).max() < 0.02 * kinetic.std(1).min()
    np.testing.assert_allclose(states[..., 3:].mean(-2), 0, atol=1e-9)
    temperature = 2 * kinetic.mean() / (189 * 0.0083144626)
    assert temperature == pytest.approx(94.4, abs=4 * 94.4 * np.sqrt(2 / 189 / 2))


def test_argon_potential_is_what_openmm_computes(argon: tuple[Argon, Any]) -> None:
    import openmm

    world, states = argon
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(world._system(), openmm.VerletIntegrator(0.001), platform)
    for frame in states[:, ::10, :, :3].reshape(-1, 64, 3):
        context.setPositions(frame)
        found = context.getState(energy=True).getPotentialEnergy()._value
        assert float(world.potential(frame)) == pytest.approx(found, rel=1e-6)


def test_argon_trajectories_have_their_own_seeds(argon: tuple[Argon, Any]) -> None:
    world, states = argon
    again = world.simulate(1, 3, 3)
    np.testing.assert_allclose(again[0], states[0, :3], rtol=0, atol=1e-9)
    assert np.abs(states[1, 0] - states[0, 0]).max() > 1e-3


def test_argon_is_a_liquid(argon: tuple[Argon, Any]) -> None:
    world, states = argon
    assert world.box == pytest.approx(1.4565, abs=1e-3)
    r, g = world.radial_distribution(states, 40)
    assert 0.34 < r[g.argmax()] < 0.41 and 2.2 < g.max() < 3.6
    assert g[r < 0.28].max() == 0
