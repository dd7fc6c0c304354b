"""Walkers moved together: constraints, temperature, minimisation, and MD where no sound structure is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.model.propagator import Propagator
from latentmd.replicas.library import library
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.walkers.moved import MovedBatch
from latentmd.units import GAS_CONSTANT

pytestmark = pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")


@pytest.fixture(scope="module")
def propagator(ou_bundle: Path) -> Propagator:
    return Propagator(ou_bundle, "cpu")


ENERGIES = EnergyRange(-110.0, -70.0, 1e6)


ENERGIES = EnergyRange(-110.0, -70.0, 1e6)


def _batch(prepared: Any, propagator: Any, walkers: int = 8, energies: Any = ENERGIES) -> MovedBatch:
    return MovedBatch(prepared, propagator, range(walkers), seed=5, limits=energies)


def test_a_latent_step_meets_the_constraints_and_keeps_the_centre(prepared: Any, propagator: Propagator) -> None:
    moved = _batch(prepared, propagator)
    before = moved.positions
    assert len(moved.jump(50.0)) == 0 and moved.kinds == 8 * ["latent"]
    after, system = moved.positions, prepared.molecule.system
    for c in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(c)
        np.testing.assert_allclose(np.linalg.norm(after[:, i] - after[:, j], axis=1), length._value, rtol=1e-6)
    mass = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    centres = [np.einsum("a,rad->rd", mass / mass.sum(), x) for x in (before, after)]
    np.testing.assert_allclose(*centres, atol=1e-5)
    assert np.linalg.norm(after - before, axis=2).max() > 0.05


def test_md_after_a_latent_step_has_the_temperature(prepared: Any, propagator: Propagator) -> None:
    moved = _batch(prepared, propagator, 48)
    moved.jump(50.0)
    moved.run_md(np.arange(48), 0.4)
    assert set(moved.kinds) == {"md"} and moved.counts["minimised"] == 0
    terms = prepared.molecule.system
    freedom = 3 * terms.getNumParticles() - terms.getNumConstraints() - 3
    mass = np.array([terms.getParticleMass(i)._value for i in range(terms.getNumParticles())])
    kinetic = 0.5 * np.einsum("a,rad->r", mass, moved.arrays()["velocities"] ** 2)
    temperature = 2 * kinetic / (freedom * GAS_CONSTANT)
    error = temperature.std(ddof=1) / np.sqrt(48)
    assert abs(temperature.mean() - prepared.molecule.protocol.temperature) < 4 * error < 60


def test_strained_structures_alone_are_minimised(prepared: Any, propagator: Propagator) -> None:
    moved = _batch(prepared, propagator)
    moved.jump(50.0)
    limit = float(np.median(moved.energies()))
    strained = moved.energies() > limit
    moved.limits = EnergyRange(limit - 60.0, limit - 20.0, limit)
    moved.run_md(np.arange(8), 0.004)
    assert moved.counts["minimised"] == strained.sum() == 4
    assert moved.kinds == ["relaxed" if one else "md" for one in strained]


def test_md_covers_the_time_of_walkers_without_a_sound_structure(
    prepared: Any, propagator: Propagator, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, other = (_batch(prepared, propagator, 3) for _ in range(2))
    for batch in (moved, other):
        batch.run_md(np.arange(3), 0.04)
    before, propose = moved.positions, Propagator.propose

    def spoiled(self: Propagator, positions: Any, *arguments: Any) -> Any:
        found = propose(self, positions, *arguments)
        found[np.all(positions == before[1], axis=(1, 2))] = np.nan
        return found

    monkeypatch.setattr(Propagator, "propose", spoiled)
    left = moved.jump(50.0)
    assert left.tolist() == [1] and moved.counts["replaced_by_md"] == 1
    assert moved.kinds == ["latent", "md", "latent"]
    np.testing.assert_allclose(moved.positions[1], before[1], atol=1e-6)
    monkeypatch.undo()
    assert len(other.jump(50.0)) == 0
    kept = moved.positions
    moved.run_md(left, 0.4)
    np.testing.assert_array_equal(moved.positions[[0, 2]], kept[[0, 2]])
    assert np.abs(moved.positions[1] - before[1]).max() > 1e-3


def test_an_explosion_names_the_walker(prepared: Any, propagator: Propagator) -> None:
    moved = MovedBatch(prepared, propagator, [4, 9], seed=5, limits=EnergyRange(-110.0, -70.0, 1e6))
    x = moved.positions
    x[1] = np.nan
    moved._engine.set_positions(x)
    with pytest.raises(ValueError, match="MD of walker 9 gave positions that are not finite"):
        moved.run_md(np.arange(2), 0.004)
