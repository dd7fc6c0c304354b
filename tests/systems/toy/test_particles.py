"""Minimum image, pairs, densities and lattices of particles."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.particles import (
    Pairs,
    lattice,
    minimum_image,
    neighbour_counts,
    particle_probes,
    radial_distribution,
)


def test_minimum_image_is_the_nearest() -> None:
    displacement = np.random.default_rng(0).uniform(-10, 10, (500, 2))
    found = minimum_image(displacement, 3.0)
    images = displacement[:, None] + 3.0 * np.stack(np.meshgrid(*2 * [np.arange(-6, 7)]), -1).reshape(-1, 2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(images, axis=-1).min(1), atol=1e-12)


def test_distribution_of_an_ideal_gas_is_one() -> None:
    x = np.random.default_rng(0).uniform(0, 5, (400, 20, 2))
    _, g = radial_distribution(neighbour_counts(x, 5.0, 10), 5.0, 2)
    pairs = 400 * 190
    expected = pairs * np.pi * np.diff(np.linspace(0, 2.5, 11) ** 2) / 25
    assert (np.abs(g - 1) < 5 / np.sqrt(expected)).all()


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
    np.testing.assert_allclose(np.abs(pairs.incidence) @ shared, [6, 10, 12, 14])
    np.testing.assert_allclose((pairs.incidence @ shared).sum(), 0)


def test_lattice_sites_are_apart_and_inside() -> None:
    for particles, dimensions in ((32, 2), (64, 3), (2, 2)):
        x = lattice(particles, dimensions, 2.0)
        assert x.shape == (particles, dimensions) and (x > 0).all() and (x < 2).all()
        arrow = Pairs(particles).displacements(x, 2.0)
        sites = np.ceil(round(particles ** (1 / dimensions), 9))
        assert np.linalg.norm(arrow, axis=-1).min() >= 2.0 / sites - 1e-9
