"""Minimisation: closed forms, constraints, and the minima that OpenMM finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.arrays import Doubles
from latentmd.replicas.engine import ReplicaEngine, lower
from latentmd.replicas.library import library
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

compiled = pytest.mark.skipif(library() is None, reason="the replica kernel was not compiled at installation")


def test_a_quadratic_form_is_solved_in_each_replica() -> None:
    """Energies 0.5 (x - c)² k have their minimum at c, whatever the masses, however unlike the curvatures."""
    rng = np.random.default_rng(0)
    mass, centre = np.array([1.0, 4.0, 16.0]), rng.normal(size=(5, 3, 3))
    stiffness = np.exp(rng.uniform(0, 5, size=(5, 3, 3)))

    def evaluate(x: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        off = x - centre
        return x, 0.5 * (stiffness * off**2).sum(axis=(1, 2)), stiffness * off / np.sqrt(mass)[:, None]

    x, energies = lower(np.zeros((5, 3, 3)), evaluate, mass, iterations=300, largest_step=0.5, tolerance=1e-6)
    np.testing.assert_allclose(x, centre, atol=1e-5)
    np.testing.assert_allclose(energies, 0.0, atol=1e-9)


def test_a_replica_goes_its_own_way_and_a_broken_one_stays() -> None:
    seen: list[Doubles] = []

    def evaluate(x: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        energies = (x**4 + x**2).sum(axis=(1, 2))
        seen.append(energies)
        return x, energies, 4 * x**3 + 2 * x

    start = np.random.default_rng(1).normal(size=(4, 2, 3))
    start[2] = np.nan
    mass, options = np.ones(2), {"iterations": 100, "largest_step": 0.2, "tolerance": 1e-4}
    together, energies = lower(start, evaluate, mass, **options)  # type: ignore[arg-type]
    assert np.isnan(energies[2]) and np.isnan(together[2]).all()
    for k in (0, 1, 3):
        alone, energy = lower(start[k : k + 1], evaluate, mass, **options)  # type: ignore[arg-type]
        np.testing.assert_allclose(alone[0], together[k], atol=1e-4)
        assert energy[0] < 1e-6 < seen[0][k]


@compiled
@pytest.mark.parametrize("name", ["alanine_dipeptide", "chignolin"])
def test_it_comes_as_low_as_openmm(name: str) -> None:
    molecule = build(bundled(name))
    start = np.asarray(molecule.positions._value)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context)
    lowest = context.getState(energy=True).getPotentialEnergy()._value
    engine = ReplicaEngine(molecule.system, np.repeat(start[None], 3, axis=0), threads=1)
    engine.constrain()
    before = engine.energies()
    energies = engine.minimize(600)
    assert (energies < lowest + 0.02 * (before - lowest)).all()
    np.testing.assert_array_equal(engine.energies(), energies)
    i, j = engine.terms.constraints.T
    lengths = np.linalg.norm(engine.positions[:, i] - engine.positions[:, j], axis=2)
    np.testing.assert_allclose(lengths / engine.terms.distance, 1.0, atol=1e-7)
    assert not engine.velocities.any()


@compiled
def test_a_minimised_structure_can_be_simulated_and_rises() -> None:
    molecule: Any = build(bundled("chignolin"))
    start = np.repeat(np.asarray(molecule.positions._value)[None], 4, axis=0)
    engine = ReplicaEngine(molecule.system, start, temperature=300.0, seed=3, threads=1)
    low = engine.minimize(200)
    engine.draw_velocities()
    engine.langevin(300, timestep=0.004, friction=1.0)
    assert (engine.energies() > low).all() and not engine.broken().any()


@compiled
def test_what_was_returned_stays_as_it_was() -> None:
    """Energies, forces, positions and velocities are copies: the kernel does not write into them later."""
    molecule: Any = build(bundled("alanine_dipeptide"))
    start = np.repeat(np.asarray(molecule.positions._value)[None], 16, axis=0)  # one full block
    engine = ReplicaEngine(molecule.system, start, threads=1)
    engine.draw_velocities()
    returned = engine.energies(), engine.forces(), engine.positions, engine.velocities
    kept = [values.copy() for values in returned]
    engine.langevin(20, timestep=0.002, friction=1.0)
    assert np.abs(engine.energies() - kept[0]).max() > 1e-3
    engine.forces()
    for values, before in zip(returned, kept, strict=True):
        np.testing.assert_array_equal(values, before)
