"""Rebuild the bundled PDB files: `python examples/inputs/bundled_peptides.py [DIR]`."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from pdbfixer import PDBFixer

from latentmd.systems.builder import build
from latentmd.systems.peptide import backbone, pdb_block

#: Structures grown from sequence.
SEQUENCES = {
    "alanine_dipeptide": "ACE ALA NME",
    "glycine_dipeptide": "ACE GLY NME",
    "valine_dipeptide": "ACE VAL NME",
    "alanine_tetrapeptide": "ACE ALA ALA ALA NME",
    "trialanine": "ALA ALA ALA",
    "met_enkephalin": "TYR GLY GLY PHE MET",
    "chignolin": "GLY TYR ASP PRO GLU THR GLY THR TRP GLY",  # Honda et al., Structure 12, 1507 (2004)
}


def from_sequence(sequence: str) -> str:
    """PDB text of a peptide in polyproline II conformation, completed by PDBFixer."""
    fixer = PDBFixer(pdbfile=io.StringIO(pdb_block(backbone(sequence.split()))))
    fixer.findMissingResidues()
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=1)
    random.seed(1)
    np.random.seed(1)
    fixer.addMissingHydrogens(7.0)
    return _text(fixer.topology, fixer.positions)


def energy_after_minimisation(pdb: Path) -> float:
    """Energy in kJ/mol under the default force field, as a check that a structure is sound."""
    molecule = build(pdb)
    context = molecule.context(openmm.VerletIntegrator(0.001), "Reference")
    openmm.LocalEnergyMinimizer.minimize(context)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def _text(topology: app.Topology, positions: object) -> str:
    out = io.StringIO()
    app.PDBFile.writeFile(topology, positions, out, keepIds=True)
    lines = [line for line in out.getvalue().splitlines() if not line.startswith("REMARK   1 CREATED")]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write every bundled structure and print its energy after minimisation."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "systems/molecules")
    for name, sequence in SEQUENCES.items():
        (folder / f"{name}.pdb").write_text(from_sequence(sequence))
    for name in SEQUENCES:
        print(f"{name:24s} {energy_after_minimisation(folder / f'{name}.pdb'):10.1f} kJ/mol")


if __name__ == "__main__":
    main()
