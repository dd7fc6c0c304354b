"""Constraint projection far from the constraints, dense and sparse, against OpenMM's System."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.integrators.openmm_constraints import ConstraintError, ConstraintProjector, constraint_projector


def _chain(n: int) -> tuple[ConstraintProjector, Any]:
    """A zigzag chain with every bond constrained: one coupled cluster of n - 1 constraints."""
    x = np.stack([0.12 * np.arange(n), 0.05 * (np.arange(n) % 2), np.zeros(n)], axis=1)
    pairs = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    return ConstraintProjector(pairs, np.full(n - 1, 0.13), np.linspace(1.0, 16.0, n)), x


@pytest.mark.parametrize("n", [2, 20, 200])
@pytest.mark.parametrize("sigma", [0.01, 0.03])
def test_large_displacements_are_projected(n: int, sigma: float) -> None:
    projector, x = _chain(n)
    rng = np.random.default_rng(n)
    displaced = x + sigma * rng.standard_normal(x.shape)
    projected = projector.project_positions(displaced)
    assert projector.residual(projected) < 1e-9
    masses = projector.masses
    np.testing.assert_allclose(masses @ projected, masses @ displaced, atol=1e-9)
    v = projector.project_velocities(projected, rng.standard_normal(x.shape))
    r = projected[projector.pairs[:, 0]] - projected[projector.pairs[:, 1]]
    dv = v[projector.pairs[:, 0]] - v[projector.pairs[:, 1]]
    assert np.max(np.abs(np.sum(r * dv, axis=1))) < 1e-12


def test_projection_is_the_identity_on_the_constraints() -> None:
    projector, x = _chain(10)
    on = projector.project_positions(x)
    np.testing.assert_array_equal(projector.project_positions(on), on)
    v = projector.project_velocities(on, np.random.default_rng(0).standard_normal(x.shape))
    np.testing.assert_allclose(projector.project_velocities(on, v), v, atol=1e-13)


def test_projected_maxwell_boltzmann_velocities_have_the_right_temperature() -> None:
    projector, x = _chain(20)
    on = projector.project_positions(x)
    rng = np.random.default_rng(5)
    scale = np.sqrt(2.5 / projector.masses)[:, None]
    drawn = [projector.project_velocities(on, scale * rng.standard_normal(x.shape)) for _ in range(2000)]
    kinetic = [0.5 * np.sum(projector.masses[:, None] * v**2) for v in drawn]
    freedom = 3 * 20 - 19
    assert np.mean(kinetic) == pytest.approx(0.5 * freedom * 2.5, rel=4 * (2 / freedom / 2000) ** 0.5)


def test_coinciding_atoms_are_an_error() -> None:
    projector, x = _chain(5)
    with pytest.raises(ConstraintError, match="could not be restored"):
        projector.project_positions(np.zeros_like(x))


def test_no_constraints_leave_everything_alone() -> None:
    projector = ConstraintProjector([], [], np.ones(3))
    x = np.random.default_rng(0).standard_normal((3, 3))
    np.testing.assert_array_equal(projector.project_positions(x), x)
    np.testing.assert_array_equal(projector.project_velocities(x, x), x)
    assert projector.residual(x) == 0.0


@pytest.mark.parametrize("constraints", [app.HBonds, app.AllBonds])
def test_agrees_with_openmm_near_the_constraints(alanine: Any, constraints: Any) -> None:
    system = app.ForceField("amber14/protein.ff14SB.xml").createSystem(alanine.topology, constraints=constraints)
    projector = constraint_projector(system, range(22))
    rng = np.random.default_rng(1)
    displaced = np.asarray(alanine.positions._value) + 0.002 * rng.standard_normal((22, 3))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(displaced)
    context.applyConstraints(1e-10)
    theirs = context.getState(positions=True).getPositions(asNumpy=True)._value
    ours = projector.project_positions(displaced)
    assert projector.residual(ours) < 1e-9 and projector.residual(theirs) < 1e-9
    np.testing.assert_allclose(ours, theirs, atol=3e-4)  # both project, along slightly different directions


def test_a_constraint_that_leaves_the_selection_is_refused(alanine: Any) -> None:
    with pytest.raises(ValueError, match="tied by a constraint"):
        constraint_projector(alanine.system, range(9))


def test_a_frozen_atom_is_refused() -> None:
    system = openmm.System()
    system.addParticle(0.0)
    with pytest.raises(ValueError, match="atom 0 has mass 0"):
        constraint_projector(system, [0])
