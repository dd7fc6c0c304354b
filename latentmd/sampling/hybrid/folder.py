"""Output folder of a hybrid run.

request.json         what the run was asked for
topology.pdb         the molecule as simulated
system.xml           its OpenMM System, where it came with its own force field
molecule.npz         minimised positions and the OpenMM platform
bootstrap/           hot walkers, starting structures, first model
run/                 rounds of bursts (latentmd.sampling.hybrid.store says what is in there)
weights.npz          equilibrium weight of every frame of every burst
bursts/              the bursts as XTC, one file per round
surrogate_raw.xtc    structures as the surrogate makes them, of no statistical meaning
provenance.csv       a line per frame
metropolis/          segments of Metropolis chains, with --exactness metropolised
summary.json, free_energy.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.atomic import write_npz, write_text
from latentmd.io.folder import FolderLock, Policy, RunFiles, claim_folder
from latentmd.systems.protocol import SYSTEM_FILE

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule

TOPOLOGY, WEIGHTS, PAGE = "topology.pdb", "weights.npz", "free_energy.html"
SURROGATE, PROVENANCE, SUMMARY = "surrogate_raw.xtc", "provenance.csv", "summary.json"
NO_MODEL = "bootstrap/no-surrogate.txt"  # why there is none
CHAINS = "metropolis"
_ENSEMBLES = ("raw.xtc", "relaxed.xtc", "gated.xtc", "metropolised.xtc", "metropolised.npz")
_FOLDERS = ("bootstrap", "run", "bursts", CHAINS)
HYBRID = RunFiles(
    "hybrid",
    (*_FOLDERS, TOPOLOGY, SYSTEM_FILE, "molecule.npz", WEIGHTS, PAGE, SURROGATE, PROVENANCE, SUMMARY, *_ENSEMBLES),
)


@dataclass(frozen=True)
class HybridFolder:
    """Folder of a hybrid run, which holds no other run."""

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
        import io

        from openmm import app, unit

        from latentmd.systems.own_force_field import write_system

        if self.topology.exists():
            return
        write_system(molecule, self.path)
        text = io.StringIO()
        app.PDBFile.writeFile(molecule.topology, positions * unit.nanometer, text, keepIds=True)
        write_text(self.topology, text.getvalue())


def open_folder(path: Path, request: Mapping[str, Any], policy: Policy) -> tuple[HybridFolder, FolderLock]:
    """Make a folder for a run, or find the run in it.

    Args:
        path: of the folder.
        request: JSON values; to resume, they must be those that the run began with.
        policy: new, resume (a missing or empty folder begins a run) or overwrite (files that no hybrid run wrote are
            left alone).

    Returns:
        The folder, and its lock, to be released when the run ends.

    Raises:
        OutputError: the folder holds something else, another run, is in use, or cannot be written.
    """
    return HybridFolder(path), claim_folder(path, policy, HYBRID, request)
