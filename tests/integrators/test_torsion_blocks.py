"""Torsions that jump: backbones, gaps in them, several chains, and bonds of any solute."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from openmm import app

from latentmd.integrators.torsion_blocks import TorsionBlock, TorsionTable, backbone_blocks, bond_blocks
from latentmd.molecule.checks import torsions


def test_phi_and_psi_of_alanine(alanine: Any) -> None:
    (block,) = backbone_blocks(alanine.topology)
    assert block.name == "ALA2"
    names = [[atom.name for atom in alanine.topology.atoms()][i] for i in block.quads.ravel()]
    assert names == ["C", "N", "CA", "C", "N", "CA", "C", "N"]
    assert np.isfinite(torsions(np.asarray(alanine.positions)[None], block.quads)).all()
    assert backbone_blocks(alanine.topology, range(5)) == []


def test_chains_have_names_of_their_own_and_gaps_no_torsions(alanine: Any) -> None:
    modeller = app.Modeller(alanine.topology, alanine.positions)
    modeller.add(alanine.topology, alanine.positions)
    for number, chain in enumerate(modeller.topology.chains()):
        chain.id = "AB"[number]
    assert [block.name for block in backbone_blocks(modeller.topology)] == ["A:ALA2", "B:ALA2"]
    cut = copy.deepcopy(alanine.topology)  # a Modeller would share it
    alanine_n = next(a for a in cut.atoms() if a.residue.name == "ALA" and a.name == "N")
    bond = next(b for b in cut.bonds() if alanine_n in b and "C" in (b[0].name, b[1].name))
    cut._bonds.remove(bond)
    assert backbone_blocks(cut) == []


def test_bonds_that_turn(alanine: Any) -> None:
    blocks = bond_blocks(alanine.topology, range(22))
    assert {block.quads.shape for block in blocks} == {(1, 4)}
    assert len(blocks) == 2  # phi and psi: amides and methyl groups are left out


def test_a_table_of_other_torsions_is_refused() -> None:
    with pytest.raises(ValueError, match="expected \\(2, 4\\)"):
        TorsionBlock("x", np.array([[0, 1, 2, 3]]), TorsionTable.uniform(2))
