"""Energies and Hamiltonian moves from the replica engine: the force field's, and exact on a closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.replicas.choice import replica_engine
from latentmd.sampling.metropolis.energies import EngineEnergies
from latentmd.units import GAS_CONSTANT


def test_energies_are_openmm_s_and_are_counted(alanine: Any) -> None:
    x = np.repeat(np.asarray(alanine.positions._value)[None], 3, axis=0)
    found = EngineEnergies(replica_engine(alanine.system, x), 0.001)
    context = alanine.context(openmm.VerletIntegrator(0.001), "Reference")
    exact = context.getState(energy=True).getPotentialEnergy()._value
    np.testing.assert_allclose(found.energies(x), exact, atol=0.02)
    assert found.calls == 3


@pytest.fixture
def spring() -> openmm.System:
    """Two particles on a spring, which the kernel and OpenMM both know."""
    system = openmm.System()
    for mass in (10.0, 12.0):
        system.addParticle(mass)
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.2, 5000.0)
    system.addForce(force)
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    for _ in range(2):
        nonbonded.addParticle(0.0, 0.1, 0.0)
    nonbonded.addException(0, 1, 0.0, 0.1, 0.0)
    system.addForce(nonbonded)
    return system


def test_hamiltonian_moves_sample_every_temperature(spring: openmm.System) -> None:
    """The density of a bond length is r² exp(-k (r - r0)² / 2 kT): its mean and variance, by quadrature."""
    kelvin = np.repeat([200.0, 800.0], 64)
    x = np.zeros((128, 2, 3))
    x[:, 1, 0] = 0.2
    chain = EngineEnergies(replica_engine(spring, x, temperature=kelvin, seed=3), 0.004, steps=12)
    energies, rng = chain.energies(x), np.random.default_rng(0)
    lengths, taken = [], []
    for sweep in range(160):
        x, energies, accepted = chain.hamiltonian(x, energies, kelvin, rng)
        if sweep >= 20:
            lengths.append(np.linalg.norm(x[:, 1] - x[:, 0], axis=1))
            taken.append(accepted)
    np.testing.assert_allclose(energies, chain.energies(x), atol=1e-3)
    assert 0.5 < np.mean(taken) <= 1.0
    r = np.linspace(0.02, 0.5, 4000)
    for rows, temperature in ((slice(0, 64), 200.0), (slice(64, 128), 800.0)):
        weight = r**2 * np.exp(-2500.0 * (r - 0.2) ** 2 / (GAS_CONSTANT * temperature))
        mean = (weight * r).sum() / weight.sum()
        spread = np.sqrt((weight * (r - mean) ** 2).sum() / weight.sum())
        found = np.array(lengths)[:, rows]
        error = found.mean(axis=0).std(ddof=1) / np.sqrt(64)
        assert abs(found.mean() - mean) < 4 * error
        assert found.std() == pytest.approx(spread, rel=0.05)


def test_an_explosion_is_rejected(spring: openmm.System) -> None:
    x = np.zeros((2, 2, 3))
    x[:, 1, 0] = 0.2
    chain = EngineEnergies(replica_engine(spring, x, temperature=300.0, seed=3), 5.0, steps=50)
    energies = chain.energies(x)
    moved, after, accepted = chain.hamiltonian(x, energies, np.full(2, 300.0), np.random.default_rng(0))
    assert not accepted.any()
    np.testing.assert_array_equal(moved, x)
    np.testing.assert_array_equal(after, energies)
