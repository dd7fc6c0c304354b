"""Minimisation of strained structures: who needs it, how far it goes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.integrators.openmm_constraints import constraint_projector
from latentmd.integrators.schedule import MAX_FORCE, relaxed


@pytest.fixture
def context(alanine: Any) -> Any:
    """A Context at the minimum, with velocities of 350 K."""
    made = alanine.context(openmm.VerletIntegrator(0.001), "Reference")
    made.setVelocitiesToTemperature(350, 1)
    return made


def _energy(context: Any) -> float:
    return float(context.getState(energy=True).getPotentialEnergy()._value)


def _strain(context: Any) -> None:
    """Pull two atoms of the backbone together, as a bad decoder would."""
    x = np.array(context.getState(positions=True).getPositions(asNumpy=True)._value)
    x[4] += 0.5 * (x[8] - x[4])
    context.setPositions(x)


def test_a_structure_without_strong_forces_is_left_alone(context: Any) -> None:
    before = context.getState(positions=True).getPositions(asNumpy=True)._value
    assert not relaxed(context, 50, MAX_FORCE)
    np.testing.assert_array_equal(context.getState(positions=True).getPositions(asNumpy=True)._value, before)


def test_a_strained_one_comes_back(context: Any, alanine: Any) -> None:
    low = _energy(context)
    _strain(context)
    strained = _energy(context)
    assert strained > low + 1000
    assert relaxed(context, 50, MAX_FORCE)
    assert _energy(context) < low + 60
    projector = constraint_projector(alanine.system, list(range(22)))
    state = context.getState(positions=True)
    assert projector.residual(state.getPositions(asNumpy=True)._value) < 1e-6


def test_no_iterations_never_minimise(context: Any) -> None:
    _strain(context)
    assert not relaxed(context, 0, MAX_FORCE)
