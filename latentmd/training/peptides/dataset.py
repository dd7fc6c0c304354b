"""Trajectories of one or many peptides from files, read molecule by molecule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from openmm.app import PDBFile

from latentmd.io.formats import trajectories_in
from latentmd.io.trajectory import TrajectoryReader
from latentmd.molecule.chain import ChainError, chain
from latentmd.systems.protocol import Protocol
from latentmd.training.conditions import recorded_protocol
from latentmd.training.peptides.data import Trajectory

INTERVAL = 10.0  # ps between frames that are used, the shortest lag of a model of peptides
CONDITIONS = ("solvent", "temperature", "friction", "timestep", "hydrogen_mass")
SPLITS = ("train", "validation", "test")
_FORM = '{"molecules": [{"name", "topology", "trajectories"}]}'


class DatasetError(ValueError):
    """A data set that cannot be read; the message says what is missing."""


@dataclass(frozen=True)
class MoleculeFiles:
    """Files of one molecule: PDB file with all hydrogens, one trajectory per run; split "train", "validation", "test"
    (never read) or "" where nobody said; interval in ps for files without times.
    """

    name: str
    topology: Path
    trajectories: tuple[Path, ...]
    split: str = ""
    interval: float | None = None


def find_molecules(dataset: Path, interval: float | None = None) -> list[MoleculeFiles]:
    """Molecules of a data set, by name. A folder with manifest.json, `{"molecules": [{"name", "topology",
    "trajectories"}]}` with paths relative to it and optionally a "split" of each; or one with a folder for each
    molecule, as `latentmd md` writes it (topology.pdb and walker files); or one with NAME.pdb and NAME*.xtc (or dcd,
    trr, nc, h5).
    """
    if not dataset.is_dir():
        raise DatasetError(f"{dataset}: no such folder; expected one with manifest.json, or PDB files and trajectories")
    listing = dataset / "manifest.json"
    if listing.exists():
        found = _listed(dataset, listing)
    else:
        places = [(pdb.parent.name, pdb, "") for pdb in dataset.glob("*/topology.pdb")]
        places += [(pdb.stem, pdb, pdb.stem) for pdb in dataset.glob("*.pdb")]
        found = [MoleculeFiles(name, pdb, tuple(trajectories_in(pdb.parent, stem))) for name, pdb, stem in places]
    found = [item for item in found if item.trajectories]
    if not found:
        raise DatasetError(
            f"{dataset} holds no molecule with trajectories; expected manifest.json, NAME/topology.pdb "
            "with trajectories beside it, or NAME.pdb with NAME*.xtc"
        )
    return sorted((replace(item, interval=interval) for item in found), key=lambda item: item.name)


def _listed(dataset: Path, listing: Path) -> list[MoleculeFiles]:
    try:
        rows = json.loads(listing.read_text(encoding="utf-8"))["molecules"]
        runs = [tuple(dataset / path for path in row["trajectories"]) for row in rows]
        found = [
            MoleculeFiles(str(row["name"]), dataset / row["topology"], own, str(row.get("split", "")))
            for row, own in zip(rows, runs, strict=True)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{listing} is not of the form {_FORM} ({error!r})") from error
    foreign = [item for item in found if item.split not in ("", *SPLITS)]
    if foreign:
        raise DatasetError(
            f"{listing}: the split of {foreign[0].name} is {foreign[0].split!r}; expected {', '.join(SPLITS)}"
        )
    missing = [path for item in found for path in (item.topology, *item.trajectories) if not path.exists()]
    if missing:
        raise DatasetError(f"{listing} names {missing[0]}, which does not exist ({len(missing)} files are missing)")
    return found


def split_molecules(
    molecules: Sequence[MoleculeFiles], share: float, seed: int
) -> tuple[list[MoleculeFiles], list[MoleculeFiles]]:
    """Molecules to train on, and to validate on: those that the manifest names, else a random share; never "test"."""
    own = [item for item in molecules if item.split != "test"]
    held = [item for item in own if item.split == "validation"]
    free = [item for item in own if not item.split]
    if not held and free:
        count = min(round(share * len(free)), len(own) - 1)
        held = [free[k] for k in sorted(np.random.default_rng(seed).permutation(len(free))[:count])]
    return [item for item in own if item not in held], held


def dataset_protocol(molecules: Sequence[MoleculeFiles]) -> Protocol:
    """Conditions that runs of `latentmd md` recorded, which must agree; the default ones without a record."""
    found: dict[Protocol, str] = {}
    for item in molecules:
        for folder in dict.fromkeys(path.parent for path in item.trajectories):
            record = recorded_protocol(folder)
            known = {name: record[name] for name in CONDITIONS if name in record}
            protocol = Protocol(**known, force_field=tuple(record.get("force_field") or ()))
            found.setdefault(replace(protocol, force_field=protocol.force_field_files), item.name)
    if len(found) > 1:
        (one, a), (other, b) = list(found.items())[:2]
        raise DatasetError(
            f"{a} and {b} were simulated under different conditions, {_shown(one)} and {_shown(other)}; "
            "a model holds for one"
        )
    return next(iter(found), Protocol())


def _shown(p: Protocol) -> str:
    return f"{p.temperature:g} K in {p.solvent} solvent, {p.timestep:g} ps steps, {', '.join(p.force_field)}"


def read_pdb(path: Path) -> PDBFile:
    """The PDB file of a molecule."""
    try:
        return PDBFile(str(path))
    except Exception as error:
        found = "cannot be read" if path.is_file() else "does not exist"
        raise DatasetError(f"{path} {found}; expected the molecule as a PDB file with ATOM records") from error


def read_molecule(item: MoleculeFiles) -> Trajectory:
    """Trajectory of one molecule, thinned to about 10 ps, its runs cut to the shortest.

    DatasetError for runs with other spacings, or for a molecule that is no peptide.
    """
    topology = read_pdb(item.topology).topology
    lanes, spacings = [], set()
    for path in item.trajectories:
        reader = TrajectoryReader(path, item.topology, interval=item.interval)
        run = reader.positions()
        spacing = round(reader.interval, 6)
        stride = max(1, round(INTERVAL / spacing))
        spacings.add(round(spacing * stride, 6))
        centred = run[::stride].astype(np.float64) - run[::stride].mean(axis=1, keepdims=True)
        lanes.append(np.rint(1e3 * centred).clip(-32767, 32767).astype(np.int16))
    if len(spacings) > 1:
        raise DatasetError(f"{item.name}: frames are {sorted(spacings)} ps apart; expected one spacing in all runs")
    shortest = min(map(len, lanes))
    if shortest < 2:
        raise DatasetError(f"{item.name}: a run is shorter than two frames of {spacings.pop():g} ps; simulate longer")
    frames = np.stack([lane[:shortest] for lane in lanes])
    try:
        found = chain(topology, frames[0, 0] * 1e-3)
    except ChainError as error:
        raise DatasetError(f"{item.name}: {error}") from error
    return Trajectory(item.name, found, frames, spacings.pop())
