"""Output folder of exact chains.

request.json         what the run was asked for
topology.pdb         the molecule as simulated
system.xml           its OpenMM System, where it came with its own force field
molecule.npz         minimised positions
metropolis/          pilot and segments of the chains, plain MD beside them, bursts for rates
metropolised.xtc     frames of the chains, which weigh the same
metropolised.npz     their chains, energies and torsions
summary.json, free_energy.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.atomic import write_npz
from latentmd.io.folder import FolderLock, Policy, RunFiles, claim_folder
from latentmd.io.pdb import write_pdb
from latentmd.systems.protocol import SYSTEM_FILE

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule

TOPOLOGY, PAGE, SUMMARY, CHAINS = "topology.pdb", "free_energy.html", "summary.json", "metropolis"
FRAMES, ARRAYS = "metropolised.xtc", "metropolised.npz"
FILES = RunFiles("chains", (CHAINS, TOPOLOGY, SYSTEM_FILE, "molecule.npz", PAGE, SUMMARY, FRAMES, ARRAYS))


@dataclass(frozen=True)
class ChainsFolder:
    """Folder of exact chains, which holds no other run."""

    path: Path

    @property
    def topology(self) -> Path:
        """PDB file of the molecule."""
        return self.path / TOPOLOGY

    def made_once(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
        """Arrays that the first session of the run makes and later ones read.

        Args:
            name: of the npz file in the folder.
            make: called where the file is not there yet.
        """
        path = self.path / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_npz(path, make())
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def write_topology(self, molecule: Molecule, positions: NDArray[Any]) -> None:
        """Write topology.pdb once, and the System of a molecule with its own force field."""
        from latentmd.systems.own_force_field import write_system

        if self.topology.exists():
            return
        write_system(molecule, self.path)
        write_pdb(self.topology, molecule.topology, positions)


def open_folder(path: Path, request: Mapping[str, Any], policy: Policy) -> tuple[ChainsFolder, FolderLock]:
    """Make a folder for a run, or find the run in it.

    Args:
        path: of the folder.
        request: JSON values; to resume, they must be those that the run began with.
        policy: new, resume (a missing or empty folder begins a run) or overwrite (files that no chains wrote are
            left alone).

    Returns:
        The folder, and its lock, to be released when the run ends.

    Raises:
        OutputError: the folder holds something else, another run, is in use, or cannot be written.
    """
    return ChainsFolder(path), claim_folder(path, policy, FILES, request)
