"""Minimisation of structures after a latent step whose energy or forces MD would never show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from openmm import unit

from latentmd.systems.relaxation import StopBelow

MAX_FORCE = 1e4  # kJ/mol/nm; thermal forces of a molecule at rest in its bonds stay below about half of it
_CONSTRAINT_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Relaxation:
    """Says whether a structure needs minimisation before MD, and minimises it.

    A structure needs it whose energy is above the range that MD shows or, where that range is not known, one of whose
    atoms feels a force that MD does not show. Its energy is brought down to the median of MD at most, since a minimum
    is as far from the canonical distribution as a strained structure is.

    Attributes:
        iterations: of the minimiser, at most; 0 never minimises.
        max_force: kJ/mol/nm.
        energies: median and upper limit of MD's potential energy, kJ/mol; None where they are not known.
    """

    iterations: int = 50
    max_force: float = MAX_FORCE
    energies: tuple[float, float] | None = None

    def minimise(self, context: openmm.Context) -> bool:
        """Minimise the structure of a Context if it needs it, velocities kept on the constraints; whether it was.

        Energies and forces are those that the Context's integrator integrates.
        """
        if not self.iterations or not self._needed(context):
            return False
        reporter = None if self.energies is None else StopBelow(self.energies[0])
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=self.iterations, reporter=reporter)
        context.applyConstraints(_CONSTRAINT_TOLERANCE)
        context.applyVelocityConstraints(_CONSTRAINT_TOLERANCE)
        return True

    def _needed(self, context: openmm.Context) -> bool:
        groups = context.getIntegrator().getIntegrationForceGroups()
        if self.energies is None:
            forces = context.getState(forces=True, groups=groups).getForces(asNumpy=True)._value
            return float(np.max(np.linalg.norm(forces, axis=1))) > self.max_force
        energy = context.getState(energy=True, groups=groups).getPotentialEnergy()
        return float(energy.value_in_unit(unit.kilojoule_per_mole)) > self.energies[1]
