"""Engine energies and forces of training frames: the labels of the energy heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentmd.training.config import TrainingConfig


def engine_labels(
    pdb: str | Path, positions: NDArray[np.float32], config: TrainingConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Potential energies [frames] kJ/mol and forces [frames, atoms, 3] kJ/mol/nm under the configured force field."""
    from openmm import unit

    from latentmd.systems.builder import Protocol, build

    protocol = Protocol(
        solvent=config.solvent,
        force_field=config.force_field,
        temperature=config.temperature,
        friction=config.friction,
        timestep=config.timestep,
    )
    molecule = build(pdb, protocol)
    context = molecule.context(molecule.langevin(0))
    energies, forces = np.empty(len(positions)), np.empty(positions.shape)
    for i, frame in enumerate(positions):
        context.setPositions(frame)
        state = context.getState(energy=True, forces=True)
        energies[i] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces[i] = state.getForces(asNumpy=True)._value
    return energies, forces
