"""Backbones grown from sequence, and the bundled structures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.molecule.checks import torsions
from latentmd.systems.builder import build
from latentmd.systems.peptide import backbone, pdb_block, place_atom

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"


def test_placed_atom_has_its_bond_angle_and_torsion() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 3))
    d = place_atom(a, b, c, bond=0.15, angle=110.0, torsion=-63.0)
    cosine = np.dot(b - c, d - c) / np.linalg.norm(b - c) / np.linalg.norm(d - c)
    quad = np.array([[0, 1, 2, 3]])
    assert np.linalg.norm(d - c) == pytest.approx(0.15)
    assert np.degrees(np.arccos(cosine)) == pytest.approx(110.0)
    assert np.degrees(torsions(np.array([[a, b, c, d]]), quad)[0, 0]) == pytest.approx(-63.0)


@pytest.mark.parametrize(("phi", "psi"), [(-75.0, 145.0), (-57.0, -47.0)])
def test_backbone_has_the_torsions_asked_for(phi: float, psi: float) -> None:
    atoms = backbone(["ALA"] * 4, phi, psi)
    at = {name: [i for i, atom in enumerate(atoms) if atom[1] == name] for name in ("N", "CA", "C")}
    quads = [[at["C"][i - 1], at["N"][i], at["CA"][i], at["C"][i]] for i in (1, 2, 3)]
    quads += [[at["N"][i], at["CA"][i], at["C"][i], at["N"][i + 1]] for i in (0, 1, 2)]
    quads += [[at["CA"][i], at["C"][i], at["N"][i + 1], at["CA"][i + 1]] for i in (0, 1, 2)]
    found = np.degrees(torsions(np.array([[xyz for _, _, xyz in atoms]]), np.array(quads)))[0]
    assert found[:3] == pytest.approx(phi, abs=1e-6)
    assert found[3:6] == pytest.approx(psi, abs=1e-6)
    assert np.abs(found[6:]) == pytest.approx(180.0, abs=1e-6)


def test_pdb_block_numbers_residues() -> None:
    lines = pdb_block(backbone(["ACE", "ALA", "GLY", "NME"])).splitlines()
    assert [int(line[22:26]) for line in lines if line[12:16].strip() in ("N", "CH3")] == [1, 2, 3, 4]


@pytest.mark.parametrize("pdb", sorted(MOLECULES.glob("*.pdb")), ids=lambda path: path.stem)
def test_bundled_molecules_are_complete_and_left_handed(pdb: Path) -> None:
    molecule = build(pdb)
    assert molecule.added == ()
    assert pdb.name in (MOLECULES / "README.md").read_text()
    xyz = np.array(molecule.positions._value)
    for residue in molecule.topology.residues():
        atoms = {atom.name: xyz[atom.index] for atom in residue.atoms()}
        if {"N", "C", "CB", "CA"} <= atoms.keys():
            n, c, cb = (atoms[name] - atoms["CA"] for name in ("N", "C", "CB"))
            assert np.dot(n, np.cross(c, cb)) > 0  # L-amino acids
