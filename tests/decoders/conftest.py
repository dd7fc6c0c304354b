"""A peptide with every kind of side chain that placement has to cope with: rings, proline, branches, NH3+."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def peptide() -> tuple[Any, np.ndarray]:
    """OpenMM topology and positions (nm, float32) of GLY-TYR-ASP-PRO-ILE-LYS-TRP-HIS-VAL, uncapped."""
    from pdbfixer import PDBFixer

    from latentmd.systems.peptide import backbone, pdb_block

    sequence = "GLY TYR ASP PRO ILE LYS TRP HIS VAL".split()
    fixer = PDBFixer(pdbfile=io.StringIO(pdb_block(backbone(sequence))))
    fixer.findMissingResidues()
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=1)
    np.random.seed(1)
    fixer.addMissingHydrogens(7.0)
    return fixer.topology, np.asarray(fixer.positions._value, dtype=np.float32)
