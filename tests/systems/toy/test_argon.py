"""Argon: conservation, the potential beside OpenMM's, seeds, and the liquid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.systems.toy.argon import Argon
from latentmd.units import GAS_CONSTANT


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
    temperature = 2 * kinetic.mean() / (189 * GAS_CONSTANT)
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
