"""Engine energies and forces of training frames: the labels of the energy heads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.training.config import TrainingConfig
from latentmd.training.data import Data
from latentmd.training.run import TrainingRun

if TYPE_CHECKING:
    pass


def engine_labels(
    pdb: str | Path, positions: NDArray[np.float32], config: TrainingConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Potential energies [frames] kJ/mol and forces [frames, atoms, 3] kJ/mol/nm of frames in nm, under the configured
    force field or that of a system.xml beside the PDB file.
    """
    from openmm import unit

    from latentmd.systems.builder import Protocol, build
    from latentmd.systems.own_force_field import inputs_beside

    molecule = build(pdb, Protocol.of(config, inputs_beside(Path(pdb))))
    context = molecule.context(molecule.langevin(0))
    energies, forces = np.empty(len(positions)), np.empty(positions.shape)
    for i, frame in enumerate(positions):
        context.setPositions(frame)
        state = context.getState(energy=True, forces=True)
        energies[i] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces[i] = state.getForces(asNumpy=True)._value
    return energies, forces


@dataclass(frozen=True)
class Labels:
    """Engine energies [frames] kJ/mol and forces [frames, atoms, 3] kJ/mol/nm of some rows of the training frames."""

    rows: torch.Tensor
    energies: torch.Tensor
    forces: torch.Tensor


def energy_labels(data: Data, top: str | Path, config: TrainingConfig, run: TrainingRun) -> Labels:
    """Label evenly spaced training frames with the engine, as many as the settings say."""
    start = time.perf_counter()
    positions = np.concatenate(data.train)
    rows = np.linspace(0, len(positions) - 1, min(config.energy.frames, len(positions))).astype(np.int64)
    energies, forces = engine_labels(top, positions[rows], config)
    run.record("labels", time.perf_counter() - start)
    return Labels(
        torch.from_numpy(rows),
        torch.from_numpy(energies.astype(np.float32)),
        torch.from_numpy(forces.astype(np.float32)),
    )
