"""Relaxation of decoded structures: minimisation down to an energy that MD usually has, and fast thermalisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

SETTLE_STEPS = 50  # MD steps, ten times the memory of velocities at
SETTLE_FRICTION = 50.0  # per ps
_CONSTRAINT_TOLERANCE = 1e-8


def settling_integrator(
    md_integrator: openmm.Integrator, temperature: unit.Quantity | float, seed: int
) -> openmm.LangevinMiddleIntegrator:
    """A Langevin integrator of strong friction that treats forces and time steps as another one does."""
    friction = SETTLE_FRICTION / unit.picosecond
    settling = openmm.LangevinMiddleIntegrator(temperature, friction, md_integrator.getStepSize())
    settling.setConstraintTolerance(min(md_integrator.getConstraintTolerance(), _CONSTRAINT_TOLERANCE))
    settling.setIntegrationForceGroups(md_integrator.getIntegrationForceGroups())
    settling.setRandomNumberSeed(seed)
    return settling


@contextmanager
def centre_held(context: openmm.Context) -> Iterator[None]:
    """Put the centre of mass, which Langevin noise moves, back where it was, where a CMMotionRemover holds it."""
    system = context.getSystem()
    if not any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces()):
        yield
        return
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    before = _positions(context)
    yield
    after = _positions(context)
    context.setPositions(after - masses @ (after - before) / masses.sum())


def _positions(context: openmm.Context) -> NDArray[np.float64]:
    return np.asarray(context.getState(positions=True).getPositions(asNumpy=True)._value)


class StopBelow(openmm.MinimizationReporter):  # type: ignore[misc]
    """Ends a minimisation at an energy in kJ/mol, so that MD starts from where it usually is."""

    def __init__(self, energy: float) -> None:
        super().__init__()
        self.energy = energy

    def report(self, iteration: int, x: Sequence[float], grad: Sequence[float], args: Mapping[str, float]) -> bool:
        """Whether to stop."""
        return bool(args["system energy"] < self.energy)
