"""Trajectories of one or many peptides from files, read molecule by molecule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.ascii import ascii_path
from latentmd.molecule.chain import chain
from latentmd.training.peptides.data import Trajectory

INTERVAL = 10.0  # ps between frames that are used, the shortest lag of a model of peptides
_SUFFIXES = (".xtc", ".dcd", ".trr", ".nc", ".h5")


class DatasetError(ValueError):
    """A data set that cannot be read; the message says what is missing."""


@dataclass(frozen=True)
class MoleculeFiles:
    """Files of one molecule.

    Attributes:
        name: of the molecule.
        topology: PDB file with all hydrogens.
        trajectories: one per independent run.
    """

    name: str
    topology: Path
    trajectories: tuple[Path, ...]


def find_molecules(dataset: Path) -> list[MoleculeFiles]:
    """Molecules of a data set, by name.

    A folder with manifest.json, `{"molecules": [{"name", "topology", "trajectories"}]}` with paths relative to it; or
    one with a folder for each molecule, as `latentmd md` writes it (topology.pdb and walker files); or one with
    NAME.pdb and NAME*.xtc (or dcd, trr, nc, h5).

    Raises:
        DatasetError: none of these, or a file that is missing.
    """
    if not dataset.is_dir():
        raise DatasetError(f"{dataset}: no such folder; expected one with manifest.json, or PDB files and trajectories")
    listing = dataset / "manifest.json"
    if listing.exists():
        found = _listed(dataset, listing)
    else:
        found = [_one(folder.name, folder / "topology.pdb", folder) for folder in sorted(dataset.iterdir())
                 if (folder / "topology.pdb").exists()]  # fmt: skip
        found += [_one(pdb.stem, pdb, dataset, pdb.stem) for pdb in sorted(dataset.glob("*.pdb"))]
    found = [item for item in found if item.trajectories]
    if not found:
        raise DatasetError(f"{dataset} holds no molecule with trajectories; expected manifest.json, NAME/topology.pdb "
                           "with trajectories beside it, or NAME.pdb with NAME*.xtc")  # fmt: skip
    return sorted(found, key=lambda item: item.name)


def _listed(dataset: Path, listing: Path) -> list[MoleculeFiles]:
    try:
        rows = json.loads(listing.read_text(encoding="utf-8"))["molecules"]
        found = [MoleculeFiles(str(r["name"]), dataset / r["topology"], tuple(dataset / t for t in r["trajectories"]))
                 for r in rows]  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f'{listing} is not of the form {{"molecules": [{{"name", "topology", "trajectories"}}]}} ({error!r})'
        ) from error
    missing = [path for item in found for path in (item.topology, *item.trajectories) if not path.exists()]
    if missing:
        raise DatasetError(f"{listing} names {missing[0]}, which does not exist ({len(missing)} files are missing)")
    return found


def _one(name: str, topology: Path, folder: Path, stem: str = "") -> MoleculeFiles:
    files = [p for p in sorted(folder.glob(f"{stem}*")) if p.suffix in _SUFFIXES]
    return MoleculeFiles(name, topology, tuple(files))


def read_molecules(molecules: Sequence[MoleculeFiles]) -> Iterator[Trajectory]:
    """Trajectories of molecules, one after another, thinned to about 10 ps; runs are cut to the shortest."""
    for item in molecules:
        yield read_molecule(item)


def read_molecule(item: MoleculeFiles) -> Trajectory:
    """Trajectory of one molecule.

    Raises:
        DatasetError: a run of fewer than two frames, or runs with other spacings.
        ChainError: the molecule is no peptide.
    """
    import mdtraj
    from openmm.app import PDBFile

    topology = PDBFile(str(item.topology)).topology
    with ascii_path(item.topology) as top:
        own = mdtraj.load_topology(top)
    lanes, spacings = [], set()
    for path in item.trajectories:
        with ascii_path(path) as name:
            run: Any = mdtraj.load(name, top=own)
        if len(run) < 2:
            raise DatasetError(f"{path} holds {len(run)} frames; expected at least two")
        spacing = round(float(run.time[1] - run.time[0]), 6)
        stride = max(1, round(INTERVAL / spacing)) if spacing > 0 else 1
        spacings.add(spacing * stride)
        lanes.append(_picometres(run.xyz[::stride]))
    if len(spacings) > 1 or not min(spacings) > 0:
        raise DatasetError(f"{item.name}: frames are {sorted(spacings)} ps apart; expected one spacing in all runs")
    shortest = min(map(len, lanes))
    frames = np.stack([lane[:shortest] for lane in lanes])
    return Trajectory(item.name, chain(topology, frames[0, 0] * 1e-3), frames, spacings.pop())


def _picometres(xyz: NDArray[np.float32]) -> NDArray[np.int16]:
    centred = xyz.astype(np.float64) - xyz.mean(axis=1, keepdims=True)
    return np.asarray(np.rint(1e3 * centred).clip(-32767, 32767), dtype=np.int16)
