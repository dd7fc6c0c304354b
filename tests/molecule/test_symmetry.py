"""Turns that change nothing, and molecules that equal their mirror image."""

from __future__ import annotations

from pathlib import Path

import networkx
import numpy as np
import pytest
from openmm import app

from latentmd.arrays import Floats, Ints
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.symmetry import mirror_image, symmetric_turns
from latentmd.molecule.torsions import rotatable_torsions

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
METHYL = ["C", "H", "H", "H"]


def _grown(*parts: tuple[int, list[str]]) -> tuple[list[str], Ints]:
    """A molecule without rings: each part is bound by its first atom, which bears the others, to an earlier atom."""
    symbols: list[str] = []
    bonds = []
    for parent, part in parts:
        first = len(symbols)
        bonds += [(parent, first)] if first else []
        bonds += [(first, first + i) for i in range(1, len(part))]
        symbols += part
    return symbols, np.array(bonds)


def _turns(symbols: list[str], bonds: Ints, bond: tuple[int, int]) -> tuple[int, bool]:
    quads = rotatable_torsions(symbols, bonds)
    (index,) = np.flatnonzero((np.sort(quads[:, 1:3]) == sorted(bond)).all(axis=1))
    turns, twins = symmetric_turns(symbols, bonds, quads)
    return int(turns[index]), int(index) in twins


GUANIDINIUM = _grown((0, METHYL), (0, ["N", "H"]), (4, ["C"]), (6, ["N", "H", "H"]), (6, ["N", "H", "H"]))
GUANIDINE = _grown((0, METHYL), (0, ["N", "H"]), (4, ["C"]), (6, ["N", "H", "H"]), (6, ["N", "H"]))
ACETATE = _grown((0, ["C", "H", "H"]), (0, ["C", "O", "O"]), (0, ["O", "H"]))
ACID = _grown((0, ["C", "H", "H"]), (0, ["C", "O"]), (3, ["O", "H"]), (0, ["O", "H"]))
NITRO = _grown((0, ["C", "H", "H"]), (0, ["N", "O", "O"]), (0, ["O", "H"]))
BUTYL = _grown((0, ["C"]), (0, METHYL), (0, METHYL), (0, METHYL), (0, ["O", "H"]))
TRIFLUOROMETHYL = _grown((0, ["C", "F", "F", "F"]), (0, ["N", "O", "O"]))
ISOPROPYL = _grown((0, ["C", "H"]), (0, METHYL), (0, METHYL), (0, ["O", "H"]))
SULFONIUM = _grown((0, ["S"]), (0, METHYL), (0, METHYL), (0, ["C", "H", "H"]), (9, ["O", "H"]))
DIMETHYLAMINE = _grown((0, ["N"]), (0, METHYL), (0, METHYL), (0, ["C", "H", "H"]), (9, ["O", "H"]))


@pytest.mark.parametrize(
    ("molecule", "bond", "turns", "twin"),
    [
        (GUANIDINIUM, (4, 6), 2, False),
        (GUANIDINIUM, (6, 7), 2, True),
        (GUANIDINE, (4, 6), 1, False),
        (GUANIDINE, (6, 7), 2, True),
        (GUANIDINE, (6, 10), 1, False),
        (ACETATE, (0, 3), 2, False),
        (ACID, (0, 3), 1, False),
        (ACID, (3, 5), 1, False),
        (NITRO, (0, 3), 2, True),
        (BUTYL, (0, 13), 3, False),
        (TRIFLUOROMETHYL, (0, 4), 6, True),
        (ISOPROPYL, (0, 10), 1, False),
        (SULFONIUM, (0, 9), 1, False),
        (DIMETHYLAMINE, (0, 9), 2, True),
    ],
)
def test_turns_that_only_exchange_equivalent_atoms(
    molecule: tuple[list[str], Ints], bond: tuple[int, int], turns: int, twin: bool
) -> None:
    assert _turns(*molecule, bond) == (turns, twin)


def test_a_ring_does_not_turn_and_a_phenyl_turns_by_halves() -> None:
    file = app.PDBFile(str(MOLECULES / "met_enkephalin.pdb"))
    atoms = {(atom.residue.name, atom.name): atom.index for atom in file.topology.atoms()}
    symbols, bonds = topology_arrays(file.topology)
    assert _turns(symbols, bonds, (atoms["PHE", "CB"], atoms["PHE", "CG"])) == (2, False)
    assert _turns(symbols, bonds, (atoms["PHE", "CG"], atoms["PHE", "CD1"])) == (1, False)
    assert _turns(symbols, bonds, (atoms["PHE", "CA"], atoms["PHE", "CB"])) == (1, False)


def _small(name: str) -> tuple[list[str], Ints, Floats]:
    from ase.build import molecule
    from ase.neighborlist import natural_cutoffs, neighbor_list

    atoms = molecule(name)
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.1))
    return list(atoms.symbols), np.column_stack([i, j])[i < j], atoms.positions / 10


@pytest.mark.parametrize("name", ["C2H6CHOH", "trans-butane", "isobutane", "CH3CH2NH2", "cyclobutane", "C2H6SO"])
def test_the_image_is_a_map_onto_the_molecule_that_changes_its_hand(name: str) -> None:
    symbols, bonds, x = _small(name)
    image = mirror_image(symbols, bonds, x)
    assert image is not None and [symbols[i] for i in image] == symbols
    graph = networkx.Graph(bonds.tolist())
    assert all(graph.has_edge(image[i], image[j]) for i, j in bonds.tolist())


def test_isopropanol_exchanges_its_methyls() -> None:
    symbols, bonds, x = _small("C2H6CHOH")
    image = mirror_image(symbols, bonds, x)
    carbons = networkx.Graph(bonds.tolist()).subgraph([i for i, symbol in enumerate(symbols) if symbol == "C"])
    methyls = [i for i in carbons if carbons.degree(i) == 1]
    assert image is not None and [image[i] for i in methyls] == methyls[::-1]


@pytest.mark.parametrize(("name", "achiral"), [("glycine_dipeptide", True), ("alanine_dipeptide", False)])
def test_peptides_of_l_residues_differ_from_their_images(name: str, achiral: bool) -> None:
    file = app.PDBFile(str(MOLECULES / f"{name}.pdb"))
    found = mirror_image(*topology_arrays(file.topology), np.asarray(file.positions._value))
    assert (found is not None) == achiral
