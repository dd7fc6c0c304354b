"""The solute of a simulation: the molecule, or the few that stay together, that a model is of, without the solvent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats, Ints
from latentmd.io.trajectory import TrajectoryReader, load_positions, load_topology
from latentmd.io.trajectory_file import TrajectoryError
from latentmd.molecule.bonds import bond_graph, components, nearest_steps
from latentmd.units import percent

_BONDED = 1.25  # distance over the sum of covalent radii (Cordero et al. 2008) up to which two atoms are bonded
_SHOWN = 4  # molecules that a message names
_TOGETHER = 3  # molecules that a model is of at most: two chains and a ligand
_APART, _LONE = 1.0, 0.05  # nm between nearest atoms from which on molecules are apart, and share of such frames
_LOOKED_AT = 1000  # frames
_OF_PHOSPHORUS = 4  # bonds
_LAST = {"OXT", "OT2", "OC2", "O2"}  # atoms of the end of a chain of amino acids


@dataclass(frozen=True)
class Solute:
    """What a model is of: its atoms in a system, topology with bonds, what was left out ("500 HOH"), water among it,
    and of several molecules the atoms of each, by their place in `atoms`.
    """

    atoms: Ints
    topology: mdtraj.Topology
    left_out: str = ""
    water: bool = False
    molecules: tuple[Ints, ...] = ()


def find_solute(topology: mdtraj.Topology, select: str = "", frame: Floats | None = None) -> Solute:
    """The molecule, or up to three, that is neither water nor an ion, or those selected in the language of mdtraj.

    A frame [atoms, 3] in nm tells bonds where the topology has none; these are added to it, and those from the end of a
    chain to the next one, which files without chains get, are taken away. TrajectoryError for none or many molecules.
    """
    for atom in topology.atoms:  # mdtraj finds no element in names such as O5' of files that name none
        if not (atom.element and atom.element.number) and atom.name[-1] in "'*" and atom.name[0] in "CHOP":
            atom.element = mdtraj.element.get_by_symbol(atom.name[0])
    ends = {(r, r.atom("C")) for r in topology.residues if r.is_protein and _LAST & {a.name for a in r.atoms}}
    topology._bonds = [b for b in topology.bonds if b[0].residue is b[1].residue or (b[0].residue, b[0]) not in ends]
    atoms = [atom.index for r in topology.residues if not r.is_water and r.n_atoms > 1 for atom in r.atoms]
    chosen = _selected(topology, select) if select else np.array(atoms, dtype=np.int64)
    if not len(chosen):
        found = f"--select {select!r} finds no atoms in" if select else "there is nothing but water and ions in"
        raise TrajectoryError(f"{found} the topology: {contents(topology)}; choose the solute with --select")
    _refuse_parts(topology, chosen, select)
    _add_bonds(topology, chosen, frame)
    part = topology.subset(chosen)
    virtual = [atom for atom in part.atoms if atom.element is None or atom.element.number == 0]
    if virtual:
        raise TrajectoryError(
            f"{len(virtual)} atoms of the solute are virtual sites or have no element, such as {virtual[0]}; a model is"
            " of atoms: leave them out with --select"
        )
    bonds = [(a.index, b.index) for a, b in part.bonds]
    molecules = [np.array(atoms) for atoms in sorted(components(part.n_atoms, bonds), key=len, reverse=True)]
    if len(molecules) > _TOGETHER:
        names = "; ".join(_described(part, atoms) for atoms in molecules[:_SHOWN])
        one = _selecting(topology, chosen[molecules[0]])
        raise TrajectoryError(
            f"{len(molecules)} molecules beside water and ions where up to {_TOGETHER} that stay together are expected:"
            f" {names}. Leave the others out, or choose with --select, such as {one}"
        )
    rest = np.setdiff1d(np.arange(topology.n_atoms), chosen)
    others = {topology.atom(int(i)).residue.index: topology.atom(int(i)).residue for i in rest}.values()
    counted = Counter(residue.name for residue in others)
    left_out = ", ".join(f"{count} {name}" for name, count in counted.most_common(_SHOWN))
    several = tuple(molecules) if len(molecules) > 1 else ()
    ordered = sorted(several, key=min)
    if several and np.array_equal(np.concatenate(ordered), np.arange(part.n_atoms)):  # PDB files join a chain
        part = reduce(mdtraj.Topology.join, map(part.subset, ordered))
    return Solute(np.asarray(chosen), part, left_out, any(residue.is_water for residue in others), molecules=several)


def solute_or_all(topology: mdtraj.Topology, frame: Floats, select: str = "") -> Solute:
    """The solute where it is in water, selected or of several molecules; everything otherwise."""
    if select:
        return find_solute(topology, select, frame)
    with suppress(TrajectoryError):
        found = find_solute(topology, frame=frame)
        if found.water or found.molecules:
            return found
    return Solute(np.arange(topology.n_atoms), topology)


def contents(topology: mdtraj.Topology) -> str:
    """Residues of a topology by name and number, such as "500 HOH, 2 ALA"."""
    return ", ".join(f"{n} {name}" for name, n in Counter(r.name for r in topology.residues).most_common(_SHOWN))


def solute_positions(
    paths: Sequence[str | Path], topology: mdtraj.Topology, solute: Solute, interval: float | None = None
) -> tuple[list[NDArray[np.float32]], float]:
    """Positions [frames, atoms, 3] in nm of a solute in each file, whole across the cell, and ps between frames.

    TrajectoryError for molecules that do not stay together: one says nothing on where the other is.
    """
    molecules = [solute.atoms[molecule] for molecule in solute.molecules]
    runs, spacing = load_positions(paths, topology, interval, atoms=solute.atoms, molecules=molecules)
    every = max(1, sum(map(len, runs)) // _LOOKED_AT)
    frames = np.concatenate([run[::every] for run in runs])
    for k, molecule in enumerate(solute.molecules[1:], 1):
        distance = nearest_steps(frames, np.concatenate(solute.molecules[:k]), molecule)[1]
        far = float(np.mean(distance > _APART))
        if far > _LONE:
            names = " and ".join(_described(solute.topology, solute.molecules[i]) for i in (0, k))
            raise TrajectoryError(
                f"{names} do not stay together: their nearest atoms are more than {_APART:g} nm apart in"
                f" {percent(far)} of the frames (up to {distance.max():.2g} nm). Choose one of them, as by"
                f" {_selecting(topology, molecules[0])}, or give runs of the bound pair; where a periodic box parted"
                " them, files must hold the box"
            )
    return runs, spacing


def solute_reader(
    path: str | Path, topology: mdtraj.Topology, solute: Solute, **settings: Any
) -> tuple[TrajectoryReader, Ints | slice]:
    """Reader of a file of the solute alone or of the whole system, and which of its atoms are the solute's."""
    if solute.left_out:
        molecules = [solute.atoms[molecule] for molecule in solute.molecules]
        try:
            return TrajectoryReader(path, topology, molecules=molecules, **settings), solute.atoms
        except TrajectoryError:  # of the solute alone, or of neither, which the second reader says
            pass
    return TrajectoryReader(path, solute.topology, molecules=solute.molecules, **settings), slice(None)


def first_frame(top: str | Path, trajectories: Sequence[str | Path]) -> Floats | None:
    """A structure [atoms, 3] in nm: of the topology's file where it holds positions, else of the first trajectory."""
    for path in (top, *trajectories[:1]):
        try:
            # mdtraj seeks no frame of a GRO file, so that files of a structure are read whole
            found = mdtraj.load(str(path)) if path == top else mdtraj.load_frame(str(path), 0, top=str(top))
            return np.asarray(found.xyz[0], dtype=np.float64)
        except Exception:  # a topology without positions; what is wrong with a trajectory is said where it is read
            continue
    return None


def read_solute(
    top: str | Path, trajectories: Sequence[str | Path], select: str = ""
) -> tuple[mdtraj.Topology, Solute]:
    """Topology of the whole system, and its solute; arguments as of `find_solute` and of `first_frame`."""
    topology = load_topology(top)
    return topology, find_solute(topology, select, first_frame(top, trajectories))


def _selected(topology: mdtraj.Topology, select: str) -> Ints:
    try:
        return np.asarray(topology.select(select), dtype=np.int64)
    except Exception as error:
        raise TrajectoryError(
            f"--select {select!r} is no selection; expected the language of mdtraj, such as"
            ' "protein and chainid 0" or "resname LIG"'
        ) from error


def _refuse_parts(topology: mdtraj.Topology, chosen: Ints, select: str) -> None:
    """Refuse a selection of some of the heavy atoms of a residue."""
    heavy = [atom.index for atom in topology.atoms if atom.element is not None and atom.element.number > 1]
    total, taken = (
        Counter(topology.atom(int(i)).residue.index for i in atoms) for atoms in (heavy, np.intersect1d(heavy, chosen))
    )
    if cut := [k for k, count in taken.items() if count < total[k]]:
        raise TrajectoryError(
            f"--select {select!r} takes {taken[cut[0]]} of the {total[cut[0]]} heavy atoms of"
            f" {topology.residue(cut[0])}; a model is of whole residues: select these, as in"
            f' "resid {min(taken)} to {max(taken)}"'
        )


def _add_bonds(topology: mdtraj.Topology, chosen: Ints, frame: Floats | None) -> None:
    """Bonds of chosen residues that have atoms without any: by distances of a frame, hydrogens to the nearest atom."""
    from scipy.spatial import cKDTree

    graph = bond_graph(topology.n_atoms, [(a.index, b.index) for a, b in topology.bonds])
    atoms = [atom for i in chosen if (atom := topology.atom(int(i))).element is not None and atom.element.number]
    lone = {atom.residue.index for atom in atoms if atom.residue.n_atoms > 1 and graph.degree(atom.index) == 0}
    # mdtraj's templates do not join nucleotides
    lone |= {atom.residue.index for atom in atoms if atom.name == "P" and graph.degree(atom.index) < _OF_PHOSPHORUS}
    if not lone:
        return
    if frame is None:
        raise TrajectoryError(
            f"the topology names no bonds of {topology.residue(min(lone))}, and there are no positions to tell them"
            " from; give a file with bonds (PDB with CONECT, prmtop, psf) or with positions"
        )
    from ase.data import covalent_radii

    radii = np.array([covalent_radii[atom.element.number] for atom in atoms]) / 10
    places = frame[[atom.index for atom in atoms]]
    near = cKDTree(places).query_pairs(2 * _BONDED * float(radii.max()), output_type="ndarray")
    length = np.linalg.norm(places[near[:, 0]] - places[near[:, 1]], axis=1)
    for row in np.argsort(length):
        i, j = near[row]
        pair = first, second = atoms[i], atoms[j]
        mine = first.residue.index in lone or second.residue.index in lone
        taken = any(atom.element.number == 1 and graph.degree(atom.index) for atom in pair)
        bonded = length[row] < _BONDED * (radii[i] + radii[j])
        if mine and not taken and bonded and not graph.has_edge(first.index, second.index):
            graph.add_edge(first.index, second.index)
            topology.add_bond(first, second)


def _selecting(topology: mdtraj.Topology, atoms: Ints) -> str:
    residues = [topology.atom(int(i)).residue.index for i in atoms]
    return f'--select "resid {min(residues)} to {max(residues)}"'


def _described(topology: mdtraj.Topology, atoms: Ints) -> str:
    residues = list(dict.fromkeys(topology.atom(int(i)).residue for i in atoms))
    names = "-".join(r.name for r in residues[:_SHOWN]) + ("-..." if len(residues) > _SHOWN else "")
    return f"{names} ({len(atoms)} atoms)"
