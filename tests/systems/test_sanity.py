"""Coordinates, bonds and charges that cannot be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from openmm import unit

from latentmd.systems.protocol import MoleculeError
from latentmd.systems.sanity import check_bonds, check_charge, check_positions, in_nm, label, named_charge


def _scaled(residues: list[Any], factor: float) -> list[Any]:
    for residue in residues:
        for atom in residue.atoms:
            atom.position = tuple(factor * value for value in atom.position)
    return residues


def test_a_peptide_passes(residues: Any) -> None:
    check_positions(residues("ALA", "GLY", "SER"))


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(0.0, "are at one point"), (0.1, "in another unit"), (10.0, "in another unit"), (1e6, "nm from the origin")],
)
def test_wrong_units(residues: Any, factor: float, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        check_positions(_scaled(residues("ALA", "GLY", "SER"), factor))


def test_atoms_in_one_place_are_named(residues: Any) -> None:
    chain = residues("ALA", "GLY", "SER")
    chain[0].get("CB").position = chain[0].get("CA").position
    with pytest.raises(MoleculeError, match=r"A:ALA1:CA and A:ALA1:CB are 0\.000 nm apart"):
        check_positions(chain)
    with pytest.raises(MoleculeError, match="the molecule is there twice"):
        check_positions(residues("ALA", "GLY", "SER") + residues("ALA", "GLY", "SER"))


def test_bonds(alanine: Any) -> None:
    x = in_nm(alanine.positions)
    check_bonds(alanine.topology, x)
    x[4] += 0.4
    with pytest.raises(MoleculeError, match="ACE1"):
        check_bonds(alanine.topology, x)


def test_positions_in_nm_with_and_without_unit() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(in_nm(x * unit.angstrom), 0.1 * x)
    np.testing.assert_allclose(in_nm(x), x)


def test_charges(alanine: Any) -> None:
    assert named_charge(alanine.topology) == 0
    check_charge(alanine.topology, alanine.system)
    system = openmm.XmlSerializer.clone(alanine.system)
    force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    charge, *other = force.getParticleParameters(0)
    force.setParticleParameters(0, charge + 1 * unit.elementary_charge, *other)
    with pytest.raises(MoleculeError, match=r"the net charge would be \+1\.00 e"):
        check_charge(alanine.topology, system)


def test_labels(alanine: Any) -> None:
    assert label(next(alanine.topology.atoms())).endswith("ACE1:CH3")
