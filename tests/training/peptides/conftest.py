"""A data set of four small peptides, drawn from the bundled model of peptides, as `latentmd md` would write it."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch
from openmm.app import PDBFile
from peptide_rollouts import Rollouts

from latentmd.io.pdb import pdb_text
from latentmd.model.peptide_file import load_peptides
from latentmd.molecule.chain import chain

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
NAMES = ("alanine_dipeptide", "glycine_dipeptide", "trialanine", "valine_dipeptide")


@pytest.fixture(scope="session")
def peptide_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with NAME/topology.pdb and two runs of 24 frames, 10 ps apart, of each peptide."""
    folder, model = tmp_path_factory.mktemp("peptides"), load_peptides().model
    torch.manual_seed(0)
    for name in NAMES:
        pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
        start = np.asarray(pdb.getPositions(asNumpy=True)._value)
        _, structures = Rollouts(model, chain(pdb.topology, start), seed=1).decoded(2, 24, 10.0)
        own = folder / name
        own.mkdir()
        (own / "topology.pdb").write_text(pdb_text(pdb.topology, start))
        top = mdtraj.load_topology(own / "topology.pdb")
        for walker, xyz in enumerate(np.swapaxes(structures.reshape(24, 2, -1, 3), 0, 1)):
            mdtraj.Trajectory(xyz, top, time=10.0 * np.arange(1, 25)).save(str(own / f"walker-{walker:04d}.xtc"))
    return folder
