"""Rebuild the bundled PDB files that are made from sequence: `python systems/molecules/build.py [DIR]`."""

import io
import sys
from pathlib import Path

import numpy as np
from openmm.app import PDBFile
from pdbfixer import PDBFixer

from latentmd.systems.peptide import backbone, pdb_block

SEQUENCES = {
    "alanine_dipeptide": "ACE ALA NME",
}


def build(sequence: str) -> str:
    fixer = PDBFixer(pdbfile=io.StringIO(pdb_block(backbone(sequence.split()))))
    fixer.findMissingResidues()
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=1)
    np.random.seed(1)
    fixer.addMissingHydrogens(7.0)
    out = io.StringIO()
    PDBFile.writeFile(fixer.topology, fixer.positions, out, keepIds=True)
    return out.getvalue()


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    for name, sequence in SEQUENCES.items():
        (folder / f"{name}.pdb").write_text(build(sequence))
