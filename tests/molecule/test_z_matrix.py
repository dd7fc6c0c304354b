"""The Z-matrix: every atom once, after its parents; rings, parts that are not bonded, rotors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from openmm import app

from latentmd.molecule.chemistry import Chemistry, chemistry
from latentmd.molecule.z_matrix import ZMatrix, placing_torsions, z_matrix


def _record(bonds: list[tuple[int, int]], count: int) -> Chemistry:
    """Carbon atoms with given bonds, each in a residue of its own."""
    names = tuple(f"C{i}" for i in range(count))
    return Chemistry(
        symbols=count * ("C",), names=names, residues=count * ("UNK",), residue_index=tuple(range(count)),
        masses=count * (12.0,), bonds=tuple(bonds), labels=names,
    )  # fmt: skip


def _placed_in_order(z: ZMatrix, record: Chemistry) -> bool:
    place = {atom: k for k, atom in enumerate(z.order)}
    return sorted(z.order) == list(range(record.n_atoms)) and all(
        len({atom, *parents}) == 4 and all(place[p] < place[atom] for p in parents)
        for atom, parents in zip(z.order[3:], z.parents, strict=True)
    )


@pytest.mark.parametrize(
    ("bonds", "count"),
    [
        ([(0, 1), (1, 2), (2, 3), (3, 4)], 5),  # chain
        ([(0, 1), (0, 2), (0, 3), (0, 4)], 5),  # star
        ([(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)], 5),  # ring
        ([(0, 1), (1, 2), (3, 4), (4, 5)], 6),  # two parts
    ],
)
def test_every_atom_is_placed_once_after_its_parents(bonds: list[tuple[int, int]], count: int) -> None:
    record = _record(bonds, count)
    assert _placed_in_order(z_matrix(record), record)


def test_a_bond_of_an_atom_is_its_bond_in_the_molecule(alanine_topology: Any) -> None:
    record = chemistry(alanine_topology)
    z = z_matrix(record)
    assert _placed_in_order(z, record)
    bonds = set(record.bonds)
    assert all((min(i, a), max(i, a)) in bonds for i, (a, _, _) in zip(z.order[3:], z.parents, strict=True))
    assert record.names[z.order[0]] == "CA" and record.residues[z.order[0]] == "ALA"
    deeper = dict(zip(z.order, z.depth, strict=True))
    assert all(deeper[i] == 1 + max(deeper[p] for p in ps) for i, ps in zip(z.order[3:], z.parents, strict=True))


def test_six_coordinates_place_a_second_molecule(alanine_topology: Any) -> None:
    """All others are bonds, angles and torsions of its own."""
    one = chemistry(alanine_topology)
    n = one.n_atoms
    record = replace(
        one, symbols=2 * one.symbols, names=2 * one.names, residues=2 * one.residues, masses=2 * one.masses,
        labels=2 * one.labels, residue_index=(*one.residue_index, *(i + 3 for i in one.residue_index)),
        bonds=(*one.bonds, *((i + n, j + n) for i, j in one.bonds)),
    )  # fmt: skip
    z = z_matrix(record)
    assert _placed_in_order(z, record)
    chains = [(i, *parents) for i, parents in zip(z.order[3:], z.parents, strict=True)]
    mixed = [sum(len({k >= n for k in chain[:length]}) > 1 for chain in chains) for length in (2, 3, 4)]
    assert mixed == [1, 2, 3] and len(placing_torsions(record)) == 3 and placing_torsions(one) == []
    first = {tuple(sorted(record.names[k] for k in chain)) for chain in chains if max(chain) < n}
    second = {tuple(sorted(record.names[k] for k in chain)) for chain in chains if min(chain) >= n}
    assert len(first & second) > len(first) - 3


def test_three_equivalent_hydrogens_are_a_rotor(alanine_topology: Any) -> None:
    record = chemistry(alanine_topology)
    rotors = z_matrix(record).rotors
    assert len(rotors) == 3
    for driver, hydrogens in rotors.items():
        assert driver == hydrogens[0]
        assert all(record.symbols[i] == "H" for i in hydrogens)
        assert len({near for i in hydrogens for near in record.neighbours()[i]}) == 1


def test_the_root_can_be_chosen(alanine_topology: Any) -> None:
    record = chemistry(alanine_topology)
    methyl = record.names.index("CH3")
    z = z_matrix(record, methyl)
    assert z.order[0] == methyl and _placed_in_order(z, record)


def test_three_atoms_are_too_few() -> None:
    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    oxygen = topology.addAtom("O", app.element.oxygen, residue)
    for name in ("H1", "H2"):
        topology.addBond(oxygen, topology.addAtom(name, app.element.hydrogen, residue))
    with pytest.raises(ValueError, match="at least 4 atoms, found 3"):
        z_matrix(chemistry(topology))
