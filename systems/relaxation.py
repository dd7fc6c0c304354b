"""Relaxation of decoded structures: minimisation down to an energy that MD usually has, and fast thermalisation."""

from __future__ import annotations

from typing import Any

import openmm
from openmm import unit

SETTLE_STEPS = 50  # MD steps, ten times the memory of velocities at
SETTLE_FRICTION = 50.0  # per ps


def settling_integrator(
    md_integrator: openmm.Integrator, temperature: unit.Quantity | float, seed: int
) -> openmm.LangevinMiddleIntegrator:
    """A Langevin integrator of strong friction that treats forces, constraints and time steps as another one does.

    Args:
        md_integrator: the other one.
        temperature: Quantity or K.
        seed: of its noise, 1 to 2^31 - 1.
    """
    settling = openmm.LangevinMiddleIntegrator(
        temperature, SETTLE_FRICTION / unit.picosecond, md_integrator.getStepSize()
    )
    settling.setConstraintTolerance(md_integrator.getConstraintTolerance())
    settling.setIntegrationForceGroups(md_integrator.getIntegrationForceGroups())
    settling.setRandomNumberSeed(seed)
    return settling


class StopBelow(openmm.MinimizationReporter):  # type: ignore[misc]
    """Ends a minimisation at an energy in kJ/mol, so that MD starts from where it usually is."""

    def __init__(self, energy: float) -> None:
        super().__init__()
        self.energy = energy

    def report(self, iteration: int, x: Any, grad: Any, args: Any) -> bool:
        """Whether to stop."""
        return bool(args["system energy"] < self.energy)
