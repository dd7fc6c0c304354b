"""Minimisation of strained structures: who needs it, how far it goes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.integrators.openmm_constraints import constraint_projector
from latentmd.integrators.schedule import Relaxation


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


def test_a_structure_within_mds_energies_is_left_alone(context: Any) -> None:
    low = _energy(context)
    before = context.getState(positions=True).getPositions(asNumpy=True)._value
    assert not Relaxation(energies=(low + 10, low + 20)).minimise(context)
    assert not Relaxation().minimise(context)
    np.testing.assert_array_equal(context.getState(positions=True).getPositions(asNumpy=True)._value, before)


@pytest.mark.parametrize("known", [True, False])
def test_a_strained_one_comes_back_to_the_median(context: Any, alanine: Any, known: bool) -> None:
    """Where MD's energies are known the minimiser stops near their median, else after its iterations."""
    low = _energy(context)
    _strain(context)
    strained = _energy(context)
    assert strained > low + 1000
    assert Relaxation(energies=(low + 50, low + 100) if known else None).minimise(context)
    assert _energy(context) < low + 60
    if known:
        assert _energy(context) > low
    projector = constraint_projector(alanine.system, list(range(22)))
    state = context.getState(positions=True)
    assert projector.residual(state.getPositions(asNumpy=True)._value) < 1e-6


def test_no_iterations_never_minimise(context: Any) -> None:
    _strain(context)
    assert not Relaxation(iterations=0, energies=(0.0, -1e9)).minimise(context)
