"""Residues and the bonds between them ⇄ OpenMM Topology and positions."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from openmm import Vec3, app, unit

from latentmd.systems.connections import Connections, distance
from latentmd.systems.errors import MoleculeError
from latentmd.systems.names import AMINO_ACIDS, CAPS
from latentmd.systems.residues import Atom, Residue, listed

_HYDROGEN_BOND = 0.15  # nm; longest covalent bond to hydrogen (S-H 0.134), stretched


def assemble(found: Connections, cell: tuple[float, ...] | None) -> tuple[app.Topology, Any, list[Residue]]:
    """OpenMM Topology under standard residue names, positions, and the residues in its order.

    Bonds inside standard residues are OpenMM's by name, those of hydrogens go to the nearest heavy atom of the residue,
    and those between residues are the ones in `found`.

    Args:
        found: chains and their bonds.
        cell: box lengths in nm and angles in degrees, or None.

    Raises:
        MoleculeError: a standard residue has an atom that it should not have, or a hydrogen is far from any atom.
    """
    topology, residues, xyz = app.Topology(), [], []
    atoms: dict[tuple[Residue, str], app.topology.Atom] = {}
    for index, chain in enumerate(found.chains):
        made_chain = topology.addChain(chain[0].key[0] or chr(ord("A") + index % 26))
        for residue in chain:
            residues.append(residue)
            made = topology.addResidue(residue.name, made_chain, str(residue.key[1]), residue.key[2])
            for atom in residue.atoms:
                atoms[residue, atom.name] = topology.addAtom(atom.name, atom.element, made)
                xyz.append(Vec3(*atom.position))
    done: set[frozenset[Any]] = set()
    pairs = [(residue, a, residue, b) for residue in residues for a, b in _inner_bonds(residue)]
    for a, x, b, y in [*pairs, *found.inner, *found.bonds]:
        ends = atoms.get((a, x)), atoms.get((b, y))
        if None not in ends and frozenset(ends) not in done:
            done.add(frozenset(ends))
            topology.addBond(*ends)
    if cell is not None:
        topology.setPeriodicBoxVectors(_box(cell))
    return topology, unit.Quantity(xyz, unit.nanometer), residues


def _box(cell: tuple[float, ...]) -> Any:
    from openmm.app.internal.unitcell import computePeriodicBoxVectors

    return computePeriodicBoxVectors(*cell[:3], *(np.deg2rad(angle) for angle in cell[3:]))


@cache
def _standard_bonds() -> dict[str, list[tuple[str, str]]]:
    app.Topology().createStandardBonds()
    return {name: [(a, b) for a, b in bonds] for name, bonds in app.Topology._standardBonds.items()}


def _inner_bonds(residue: Residue) -> list[tuple[str, str]]:
    if residue.name not in _standard_bonds():
        return []
    bonds = [(a, b) for a, b in _standard_bonds()[residue.name] if a[0] not in "-+" and b[0] not in "-+"]
    hydrogens = residue.hydrogens
    heavy = [atom for atom in residue.atoms if atom.name not in hydrogens]
    if residue.name in AMINO_ACIDS or residue.name in CAPS:
        known = {name for bond in bonds for name in bond}
        foreign = [residue.label(atom.name) for atom in heavy if atom.name not in known]
        if foreign:
            raise MoleculeError(f"{listed(foreign)}: {residue.found} has no such atom; correct the name or remove it")
    names = {atom.name for atom in heavy}
    return [(a, b) for a, b in bonds if a in names and b in names] + [
        (_parent(residue, atom, heavy), atom.name) for atom in residue.atoms if atom.name in hydrogens
    ]


def _parent(residue: Residue, hydrogen: Atom, heavy: list[Atom]) -> str:
    """Name of the heavy atom that a hydrogen is bonded to."""
    near = min(heavy, key=lambda atom: distance(atom, hydrogen), default=None)
    if near is None or distance(near, hydrogen) > _HYDROGEN_BOND:
        raise MoleculeError(
            f"hydrogen {residue.label(hydrogen.name)} is "
            + (f"{distance(near, hydrogen):.3f} nm from the nearest atom of" if near else "the only atom of")
            + f" {residue}; expected about 0.1 nm: correct it, or leave it out to have it built"
        )
    return near.name


def read_back(topology: app.Topology, positions: Any, found: Connections, inserted: dict[tuple[int, int], int]) -> None:
    """Put the atoms of a completed Topology into `found`, with residues that were inserted and their bonds.

    Args:
        topology, positions: completed from the Topology that `assemble` made of `found`.
        found: chains; changed.
        inserted: (chain, place) → how many residues were inserted before that place.
    """
    xyz = positions.value_in_unit(unit.nanometer)
    for index, chain in enumerate(topology.chains()):
        old, made = found.chains[index], list(chain.residues())
        place, fresh, merged = 0, list[Residue](), list[Residue]()
        while made or place < len(old):
            count = inserted.get((index, place), 0) if len(fresh) < inserted.get((index, place), 0) else 0
            source = made.pop(0)
            if count:
                number = int(source.id)
                residue = Residue(source.name, source.name, None, (chain.id, number, ""), -1)
                fresh.append(residue)
            else:
                residue = old[place]
                fresh, place = [], place + 1
            residue.atoms = _atoms(source, xyz, residue)
            merged.append(residue)
        new = set(merged) - set(old)
        found.bonds += [(a, "C", b, "N") for a, b in pairwise(merged) if {a, b} & new]
        found.chains[index] = merged


def _atoms(source: app.topology.Residue, xyz: Any, residue: Residue) -> list[Atom]:
    serials = {atom.name: atom.serial for atom in residue.atoms}
    return [
        Atom(atom.name, atom.element, tuple(float(v) for v in xyz[atom.index]), serials.get(atom.name, -1))  # type: ignore[arg-type]
        for atom in source.atoms()
    ]
