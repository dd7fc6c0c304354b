"""Caps of chain ends: any residue alone, chains, rings, and what cannot be capped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.molecule.stereo import cis_peptides
from latentmd.systems.builder import build
from latentmd.systems.caps import add_caps
from latentmd.systems.connections import connect
from latentmd.systems.errors import MoleculeError
from latentmd.systems.peptide import backbone, pdb_block
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.systems.sanity import in_nm

CAPPED = Protocol(inputs=InputOptions(ends="capped"))


@pytest.mark.parametrize("name", ["ALA", "GLY", "PRO", "LYS"])
def test_one_residue_is_capped_and_moves(name: str, tmp_path: Path) -> None:
    path = tmp_path / "one.pdb"
    path.write_text(pdb_block(backbone([name])))
    molecule = build(path, CAPPED)
    assert [residue.name for residue in molecule.topology.residues()] == ["ACE", name, "NME"]
    assert not cis_peptides(molecule.topology, in_nm(molecule.positions))
    assert "caps added" in molecule.notes[0]
    context = molecule.context(molecule.langevin(1), "Reference")
    if name == "PRO":  # PDBFixer's ring is bent
        openmm.LocalEnergyMinimizer.minimize(context)
    context.getIntegrator().step(200)
    assert np.isfinite(in_nm(context.getState(positions=True).getPositions())).all()


def test_one_residue_without_caps_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "one.pdb"
    path.write_text(pdb_block(backbone(["ALA"])))
    with pytest.raises(MoleculeError, match=r"ALA \(A:1\) is a residue by itself .* --ends capped adds ACE and NME"):
        build(path)


def test_two_residues_are_a_zwitterion(tmp_path: Path) -> None:
    path = tmp_path / "two.pdb"
    path.write_text(pdb_block(backbone(["GLY", "ALA"])))
    molecule = build(path)
    assert molecule.topology.getNumAtoms() == 20 and molecule.topology.getNumResidues() == 2


def test_rings_and_caps_are_left_and_a_missing_backbone_is_refused(records: Any, residues: Any) -> None:
    found = connect(residues("ACE", "ALA", "NME"), records("ACE", "ALA", "NME"))
    assert add_caps(found) == set() and len(found.chains[0]) == 3
    found = connect(residues("ALA", "GLY"), records("ALA", "GLY"))
    found.rings.add(0)
    assert add_caps(found) == set() and len(found.chains[0]) == 2
    found.rings.clear()
    found.chains[0][0].atoms = [atom for atom in found.chains[0][0].atoms if atom.name != "CA"]
    with pytest.raises(MoleculeError, match="lacks N, CA or C"):
        add_caps(found)
