"""3-D view of a page: the atoms that 3Dmol.js shows, their bonds, and a few aligned frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latentmd.analysis.features import superposed
from latentmd.analysis.metric import Document
from latentmd.analysis.statistics import evenly
from latentmd.arrays import Floats
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.chemistry import FileTopology, parts_of

VIEW_FRAMES = 150  # of each set
_ALL_ATOMS = 400  # molecules with more atoms are shown as their backbone, larger still as the trace of CA atoms
_BACKBONE = ("N", "CA", "C", "O", "CH3")


class View(NamedTuple):
    """Content of the 3-D view: a topology, and (name, positions (frames, atoms, 3) in nm, times in ps) of each set."""

    topology: FileTopology
    sets: Sequence[tuple[str, Floats, Floats]]
    unit: str = " ps"  # of the times, or of what else tells frames apart


def view_data(view: View) -> Document:
    """The view as viewer.js reads it: atoms as 3Dmol.js names their properties, coordinates in angstrom."""
    symbols, bonds = topology_arrays(view.topology)
    chosen, style = shown_atoms(view.topology, symbols)
    near: dict[int, list[int]] = {int(atom): [] for atom in chosen}
    place = {atom: index for index, atom in enumerate(near)}
    for i, j in bonds.tolist():
        if i in near and j in near:
            near[i].append(place[j])
            near[j].append(place[i])
    atoms, _ = parts_of(view.topology)
    return {
        "style": style,
        "unit": view.unit,
        "atoms": [
            {"elem": symbols[i], "atom": atoms[i].name, "resn": atoms[i].residue.name,
             "resi": int(atoms[i].residue.index), "chain": str(atoms[i].residue.chain.index), "serial": i,
             "hetflag": False, "bonds": bonded, "bondOrder": [1] * len(bonded)}
            for i, bonded in near.items()
        ],
        "sets": [_frames(name, frames[:, chosen], times) for name, frames, times in view.sets],
    }  # fmt: skip


def shown_atoms(topology: FileTopology, symbols: Sequence[str]) -> tuple[list[int], str]:
    """Indices of the atoms to show, and how: "atoms", "backbone" or "trace"."""
    if len(symbols) <= _ALL_ATOMS:
        return list(range(len(symbols))), "atoms"
    atoms, _ = parts_of(topology)
    backbone = [i for i, atom in enumerate(atoms) if atom.name in _BACKBONE]
    if not backbone:
        return [i for i, symbol in enumerate(symbols) if symbol != "H"][: 2 * _ALL_ATOMS], "atoms"
    if len(backbone) <= 2 * _ALL_ATOMS:
        return backbone, "backbone"
    return [i for i in backbone if atoms[i].name == "CA"], "trace"


def _frames(name: str, frames: Floats, times: Floats) -> Document:
    """Up to 150 frames, superposed on the first, in angstrom to two places."""
    pick = evenly(len(frames), VIEW_FRAMES)
    aligned = 10 * superposed(frames[pick], frames[0] - frames[0].mean(axis=0))[0].reshape(len(pick), -1)
    rows = [[round(float(x), 2) for x in row] for row in aligned]
    return {"name": name, "times": [round(float(t), 3) for t in np.asarray(times)[pick]], "frames": rows}
