"""Handedness of amino acids and of structures, and cis peptide bonds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from openmm import app, unit

from latentmd.arrays import Floats, Ints
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.stereo import (
    allo_side_chains,
    cis_peptides,
    difference,
    handedness,
    mirror_image,
    stereochemistry,
    symmetric_turns,
)
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.systems.builder import build
from latentmd.systems.peptide import backbone, pdb_block


@pytest.fixture(scope="module")
def alanine_positions(alanine: Any) -> np.ndarray:
    return np.asarray(alanine.positions.value_in_unit(unit.nanometer))


def test_a_mirror_image_has_all_centres_reversed(alanine: Any, alanine_positions: np.ndarray) -> None:
    x = alanine_positions
    found = stereochemistry(alanine.topology, x)
    names = [atom.name for atom in alanine.topology.atoms()]
    assert [names[i] for i in found] == ["CA", "N", "N"]
    amides = {i: -1 for i in found if names[i] == "N"}
    assert stereochemistry(alanine.topology, -x) == {i: -sign for i, sign in found.items()} | amides
    assert difference(alanine.topology, x, found) == ""
    assert "other handedness at ALA2-CA (the mirror image)" in difference(alanine.topology, -x, found)


def test_l_and_d(alanine: Any, alanine_positions: np.ndarray) -> None:
    assert handedness(alanine.topology, alanine_positions) == {1: "L"}
    assert handedness(alanine.topology, -alanine_positions) == {1: "D"}


def test_a_flat_centre_has_no_handedness(alanine: Any, alanine_positions: np.ndarray) -> None:
    flat = alanine_positions * [1.0, 1.0, 0.0]
    assert handedness(alanine.topology, flat) == {}
    assert next(iter(stereochemistry(alanine.topology, flat).values())) == 0


def test_cis_bonds_are_found(tmp_path: Any) -> None:
    """The torsion ω of a built chain is 180 degrees; half a turn of all behind the bond makes it cis."""
    (tmp_path / "chain.pdb").write_text(pdb_block(backbone(["ACE", "ALA", "ALA", "NME"])))
    pdb = app.PDBFile(str(tmp_path / "chain.pdb"))
    trans = np.asarray(pdb.getPositions(asNumpy=True)._value)
    x = trans.copy()
    assert cis_peptides(pdb.topology, x) == []
    atoms = {(atom.residue.index, atom.name): atom.index for atom in pdb.topology.atoms()}
    c, n = x[atoms[1, "C"]], x[atoms[2, "N"]]
    axis = (n - c) / np.linalg.norm(n - c)
    behind = [atom.index for atom in pdb.topology.atoms() if atom.residue.index >= 2]
    x[behind] = c + 2 * np.outer((x[behind] - c) @ axis, axis) - (x[behind] - c)
    assert cis_peptides(pdb.topology, x) == [2]
    assert "amide bond of ALA3-N turned by half" in difference(pdb.topology, x, stereochemistry(pdb.topology, trans))


def test_a_cis_bond_to_a_cap_is_found(alanine: Any, alanine_positions: np.ndarray) -> None:
    atoms = {(atom.residue.name, atom.name): atom.index for atom in alanine.topology.atoms()}
    c, n = alanine_positions[atoms["ALA", "C"]], alanine_positions[atoms["NME", "N"]]
    axis, x = (n - c) / np.linalg.norm(n - c), alanine_positions.copy()
    behind = [i for (residue, _), i in atoms.items() if residue == "NME"]
    x[behind] = c + 2 * np.outer((x[behind] - c) @ axis, axis) - (x[behind] - c)
    assert cis_peptides(alanine.topology, alanine_positions) == [] and cis_peptides(alanine.topology, x) == [2]


@pytest.mark.parametrize("name", ["ILE", "THR"])
def test_side_chains_of_the_other_handedness_are_found(name: str, tmp_path: Any) -> None:
    path = tmp_path / "chain.pdb"
    path.write_text(pdb_block(backbone(["ACE", name, "NME"])))
    molecule = build(path)
    x = np.asarray(molecule.positions._value)
    assert allo_side_chains(molecule.topology, x) == []
    assert allo_side_chains(molecule.topology, -x) == []  # a mirror image goes with its mirrored C-alpha
    atoms = {atom.name: atom.index for atom in molecule.topology.atoms() if atom.residue.name == name}
    first, second = atoms["CG1" if name == "ILE" else "OG1"], atoms["CG2"]
    x[[first, second]] = x[[second, first]]
    assert allo_side_chains(molecule.topology, x) == [1]


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
