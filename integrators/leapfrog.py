"""Velocities of OpenMM's Langevin integrators, which are half a step older than the positions beside them."""

from __future__ import annotations

import numpy as np
import openmm
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.units import GAS_CONSTANT

_LEAPFROG = (openmm.LangevinMiddleIntegrator, openmm.LangevinIntegrator)


def beta_of(context: openmm.Context) -> float:
    """1 / kT in mol/kJ of the thermostat; ValueError where the integrator is not one of leapfrog's kind."""
    integrator = context.getIntegrator()
    if not isinstance(integrator, _LEAPFROG):
        raise ValueError(
            f"the simulation has a {type(integrator).__name__}; torsion jumps need a LangevinMiddleIntegrator, "
            "whose distribution and temperature are known"
        )
    return float(1 / (GAS_CONSTANT * integrator.getTemperature().value_in_unit(unit.kelvin)))


def turn_round(context: openmm.Context, state: openmm.State) -> None:
    """Positions, time and step count of a state, with its velocities turned round.

    OpenMM's Langevin integrators keep velocities v of half a step ago; at the time of the positions they are
    v + h a / 2. Turned round there, and taken half a step back again, they are -v - h a: what would run the steps
    before backwards.
    """
    kick = kick_of(context) * state.getForces(asNumpy=True)._value
    context.setPositions(state.getPositions(asNumpy=True))
    context.setVelocities(-state.getVelocities(asNumpy=True)._value - kick)
    context.applyVelocityConstraints(context.getIntegrator().getConstraintTolerance())
    context.setTime(state.getTime())
    context.setStepCount(state.getStepCount())


def kick_of(context: openmm.Context) -> Doubles:
    """Change of velocity in nm/ps by a force of 1 kJ/mol/nm in one step, shape (atoms, 1)."""
    system = context.getSystem()
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])[:, None]
    step = context.getIntegrator().getStepSize().value_in_unit(unit.picosecond)
    return np.asarray(step / np.where(masses > 0, masses, np.inf))


def share_kick(context: openmm.Context, before: openmm.State, group: int, per_mass: Doubles) -> None:
    """Let the velocities at the time of the positions be the same before and after the restraints have changed.

    Those that leapfrog keeps are half a step old, and the next step kicks them by the new forces alone; half a kick is
    due to the forces before. Without it a move of the centre gives kinetic energy that no work counts.
    """
    forces = context.getState(forces=True, groups={group}).getForces(asNumpy=True)._value
    kick = per_mass / 2 * (before.getForces(asNumpy=True)._value - forces)
    context.setVelocities(before.getVelocities(asNumpy=True)._value + kick)
