"""Where the MD of peptides lies, for the other scripts: as `latentmd md` writes it, or as arrays.

A folder holds for each peptide a folder NAME, made by `latentmd md NAME.pdb --out FOLDER/NAME`, or files NAME.pdb and
NAME.npz with `xyz` float32 (runs, frames, atoms, 3) nm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray


def peptides(folder: Path) -> dict[str, Path]:
    """PDB file of each peptide in a folder, by name."""
    found = {pdb.stem: pdb for pdb in folder.glob("*.pdb") if pdb.with_suffix(".npz").exists()}
    found |= {pdb.parent.name: pdb for pdb in folder.glob("*/topology.pdb")}
    return dict(sorted(found.items()))


def runs(pdb: Path) -> NDArray[Any]:
    """Positions of every run of a peptide, nm, shape (runs, frames, atoms, 3); runs are cut to the shortest."""
    archive = pdb.with_suffix(".npz")
    if archive.exists():
        return np.asarray(np.load(archive)["xyz"])
    found = [mdtraj.load(str(file), top=str(pdb)).xyz for file in sorted(pdb.parent.glob("walker-*.xtc"))]
    shortest = min(map(len, found))
    return np.stack([xyz[:shortest] for xyz in found])
