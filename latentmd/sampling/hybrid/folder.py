"""Output folder of a hybrid run.

request.json         what the run was asked for
topology.pdb         the molecule as simulated
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

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.outputs import FrameWriter, OutputError, write_atomically

if TYPE_CHECKING:
    from latentmd.systems.builder import Molecule

REQUEST, TOPOLOGY, WEIGHTS, PAGE = "request.json", "topology.pdb", "weights.npz", "free_energy.html"
SURROGATE, PROVENANCE, SUMMARY = "surrogate_raw.xtc", "provenance.csv", "summary.json"
NO_MODEL = "bootstrap/no-surrogate.txt"  # why there is none
CHAINS = "metropolis"
_FOLDERS = ("bootstrap", "run", "bursts", CHAINS)
_ENSEMBLES = ("raw.xtc", "relaxed.xtc", "gated.xtc", "metropolised.xtc", "metropolised.npz")
_FILES = (TOPOLOGY, "molecule.npz", WEIGHTS, PAGE, SURROGATE, PROVENANCE, SUMMARY, *_ENSEMBLES, REQUEST)


@dataclass(frozen=True)
class HybridFolder:
    """A folder that holds this run and no other."""

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
        """Write topology.pdb, once."""
        import io

        from openmm import app, unit

        if self.topology.exists():
            return
        text = io.StringIO()
        app.PDBFile.writeFile(molecule.topology, positions * unit.nanometer, text, keepIds=True)
        write_atomically(self.topology, text.getvalue())


def write_xtc(path: Path, positions: NDArray[Any], times: NDArray[Any]) -> None:
    """Write an XTC file whole or not at all.

    Args:
        path: of the file.
        positions: nm, shape (frames, atoms, 3).
        times: ps, shape (frames,).
    """
    unfinished = path.with_name(f".{path.stem}.new.xtc")
    with FrameWriter(unfinished) as writer:
        writer.write(positions, times)
    os.replace(unfinished, path)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an npz file whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: writing failed ({error.strerror}); is the disk full?") from error


def open_folder(path: Path, request: Mapping[str, Any], resume: bool, overwrite: bool) -> HybridFolder:
    """Make a folder for a run, or find the run in it.

    Args:
        path: of the folder.
        request: JSON values; to resume, they must be those that the run began with.
        resume: go on with the run that is there; a missing or empty folder begins one.
        overwrite: replace the run that is there; files that no hybrid run wrote are left alone.

    Raises:
        OutputError: the folder holds something else, another run, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; expected a folder: choose another with --out")
    record = path / REQUEST
    wanted = json.loads(json.dumps(request))
    if resume and record.exists():
        stored = _read(record)
        different = sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))
        if different:
            raise OutputError(
                f"{path} holds a run with another {' and '.join(different)}; resume with the options it began with, "
                "or choose another folder with --out"
            )
        return HybridFolder(path)
    filled = path.is_dir() and any(not file.name.startswith(".") for file in path.iterdir())
    if filled and not (overwrite and record.exists()):
        resumable = "pass --resume to go on with the run in it, --overwrite to replace it, or another --out"
        raise OutputError(f"{path} is not empty; {resumable if record.exists() else 'give another --out'}")
    if filled:
        _remove(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write there ({error.strerror}); choose another with --out") from error
    write_atomically(record, json.dumps(wanted, indent=1) + "\n")
    return HybridFolder(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read ({error}); choose another folder with --out") from error
    return content


def _remove(path: Path) -> None:
    for name in _FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
    for name in _FILES:  # the request last: without it the folder is nobody's
        (path / name).unlink(missing_ok=True)
