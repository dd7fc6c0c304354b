"""Engine energies and forces of training frames: the labels of the energy heads."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from latentmd.evaluation.frames import engine_forces
from latentmd.io.atomic import write_text
from latentmd.systems.builder import Molecule, MoleculeError, Protocol, build
from latentmd.systems.own_force_field import inputs_beside, write_system
from latentmd.systems.protocol import InputOptions
from latentmd.systems.readers.text import file_format, read_text
from latentmd.systems.readers.topologies import TOPOLOGIES
from latentmd.training.config import ConfigError, TrainingConfig
from latentmd.training.data import Data
from latentmd.training.run import TrainingRun


def engine_molecule(config: TrainingConfig, top: Path, system: str | None, pdb: str) -> Molecule:
    """The solute, whose structure is the text of a PDB file, with what computes its energies: an OpenMM System (XML),
    given or beside the topology, the configured force field, or an Amber prmtop as the topology.

    Raises:
        ConfigError: a topology of another program, which tells no parameters.
        MoleculeError: they do not fit together.
    """
    text, inputs = read_text(top), InputOptions(system=system) if system else inputs_beside(top)
    own = not inputs.system and file_format(text) in TOPOLOGIES and not config.force_field
    if own and file_format(text) != "prmtop":
        raise ConfigError(f"{top}: energies need a prmtop, a --system, or `force_field` in the file for --config")
    with TemporaryDirectory() as folder:
        structure = Path(folder) / f"{top.stem}.pdb"
        structure.write_text(pdb, encoding="utf-8")
        inputs = InputOptions(positions=str(structure)) if own else inputs
        try:
            return build(top if own or text == pdb else structure, Protocol.of(config, inputs))
        except MoleculeError as error:
            raise MoleculeError(str(error).replace(str(structure), str(top))) from error


class Labels(NamedTuple):
    """Some rows of the training frames, their positions, energies [frames] kJ/mol and forces kJ/mol/nm."""

    rows: torch.Tensor
    frames: torch.Tensor
    energies: torch.Tensor
    forces: torch.Tensor


def energy_labels(data: Data, molecule: Molecule, config: TrainingConfig, run: TrainingRun) -> Labels:
    """Label evenly spaced training frames with the engine, as many as the settings say.

    Its System, where it is no list of files, is written with the structure, which `evaluate --model` then reads.
    """
    start = time.perf_counter()
    write_system(molecule, run.folder)
    write_text(run.folder / "topology.pdb", data.pdb)
    positions = np.concatenate(data.train)
    rows = np.linspace(0, len(positions) - 1, min(config.energy.frames, len(positions))).astype(np.int64)
    frames = positions[rows]
    energies, forces = engine_forces(molecule.context(molecule.langevin(0)), frames)
    run.record("labels", time.perf_counter() - start)
    return Labels(*map(torch.from_numpy, (rows, frames, energies.astype(np.float32), forces.astype(np.float32))))
