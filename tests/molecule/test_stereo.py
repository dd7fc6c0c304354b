"""Handedness of amino acids and of structures, and cis peptide bonds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from openmm import app, unit

from latentmd.molecule.stereo import allo_side_chains, cis_peptides, difference, handedness, stereochemistry
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
