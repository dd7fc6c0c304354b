"""Settling of velocities, a held centre of mass, and a minimisation that stops early."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from openmm import unit

from latentmd.systems.relaxation import SETTLE_FRICTION, StopBelow, centre_held, settling_integrator


def test_settling_treats_time_steps_as_the_md_does(alanine: Any) -> None:
    md = alanine.langevin(1)
    md.setConstraintTolerance(1e-7)
    made = settling_integrator(md, 300.0, 5)
    assert made.getStepSize() == md.getStepSize()
    assert made.getConstraintTolerance() <= md.getConstraintTolerance()
    assert made.getIntegrationForceGroups() == md.getIntegrationForceGroups()
    assert made.getFriction()._value == SETTLE_FRICTION
    assert made.getTemperature().value_in_unit(unit.kelvin) == 300.0


def _centre(context: Any) -> np.ndarray:
    x = context.getState(positions=True).getPositions(asNumpy=True)._value
    masses = [context.getSystem().getParticleMass(i)._value for i in range(len(x))]
    return np.asarray(np.average(x, axis=0, weights=masses))


@pytest.mark.parametrize("removed", [True, False])
def test_the_centre_is_held_where_the_system_holds_it(alanine: Any, removed: bool) -> None:
    system = openmm.XmlSerializer.clone(alanine.system)
    kinds = [type(force).__name__ for force in system.getForces()]
    if not removed:
        system.removeForce(kinds.index("CMMotionRemover"))
    integrator = openmm.LangevinMiddleIntegrator(300, SETTLE_FRICTION, 0.002)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(alanine.positions)
    before = _centre(context)
    with centre_held(context):
        integrator.step(50)
    moved = float(np.abs(_centre(context) - before).max())
    assert (moved < 1e-10) is removed


def test_a_minimisation_stops_at_its_energy(alanine: Any) -> None:
    context = alanine.context(openmm.VerletIntegrator(0.001), "Reference")
    low = context.getState(energy=True).getPotentialEnergy()._value
    rng = np.random.default_rng(0)
    x = np.asarray(alanine.positions._value)
    context.setPositions(x + 0.01 * rng.standard_normal(x.shape))
    context.applyConstraints(1e-6)
    high = context.getState(energy=True).getPotentialEnergy()._value
    target = low + 0.3 * (high - low)
    openmm.LocalEnergyMinimizer.minimize(context, reporter=StopBelow(target))
    found = context.getState(energy=True).getPotentialEnergy()._value
    assert low + 1 < found < high
