"""Residues missing in a chain: refused, split or inserted from the sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.molecule.stereo import cis_peptides
from latentmd.systems.builder import build
from latentmd.systems.connections import Connections, connect
from latentmd.systems.gaps import add_caps, close_gaps, left_out
from latentmd.systems.peptide import backbone, pdb_block
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions, MoleculeError, Protocol
from latentmd.systems.readers.records import Records
from latentmd.systems.residues import choose
from latentmd.systems.sanity import in_nm


@pytest.fixture
def cut(records: Any) -> tuple[Connections, Records]:
    """ALA-GLY-SER-VAL without the glycine, whose sequence is known."""
    made = records("ALA", "GLY", "SER", "VAL")
    left = Records(atoms=[a for a in made.atoms if a.key[1] != 2], sequences={"A": ["ALA", "GLY", "SER", "VAL"]})
    return connect(choose(left, DEFAULT_INPUTS)[0], left), left


def test_a_gap_is_refused_by_default(cut: Any) -> None:
    with pytest.raises(MoleculeError, match=r"missing between ALA \(A:1\) and SER \(A:3\).*--missing add"):
        close_gaps(*cut, DEFAULT_INPUTS)


def test_split_leaves_two_chains_with_a_note(cut: Any) -> None:
    found, records = cut
    assert close_gaps(found, records, InputOptions(missing="split")) == {}
    assert [[r.name for r in chain] for chain in found.chains] == [["ALA"], ["SER", "VAL"]]
    assert "chain split between" in found.notes[-1]


def test_add_inserts_what_the_sequence_names(cut: Any) -> None:
    found, records = cut
    assert close_gaps(found, records, InputOptions(missing="add")) == {(0, 1): ["GLY"]}
    assert [[r.name for r in chain] for chain in found.chains] == [["ALA", "SER", "VAL"]]


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        ([], "has no SEQRES records"),
        (["ALA", "SER", "VAL"], "does not tell which residues are missing"),
        (["ALA", "LIG", "SER", "VAL"], "LIG .*cannot be modelled"),
    ],
)
def test_a_sequence_that_does_not_tell(cut: Any, sequence: list[str], reason: str) -> None:
    found, records = cut
    records.sequences = {"A": sequence} if sequence else {}
    with pytest.raises(MoleculeError, match=reason):
        close_gaps(found, records, InputOptions(missing="add"))


def test_a_whole_chain_has_nothing_to_fill(records: Any, residues: Any) -> None:
    found = connect(residues("ALA", "GLY"), records("ALA", "GLY"))
    assert close_gaps(found, records("ALA", "GLY"), DEFAULT_INPUTS) == {}
    assert close_gaps(found, records("ALA", "GLY"), InputOptions(ends="capped")) == {}
    assert [residue.name for residue in found.chains[0]] == ["ACE", "ALA", "GLY", "NME"]


def test_residues_that_the_sequence_has_beyond_a_chain_are_noted(records: Any) -> None:
    made = records("ALA", "GLY", "SER")
    whole = Records(atoms=made.atoms, sequences={"A": ["MSE", "ALA", "GLY", "SER", "VAL", "LEU"]})
    (note,) = left_out(connect(choose(whole, DEFAULT_INPUTS)[0], whole), whole)
    assert "MET before ALA" in note and "VAL-LEU after SER" in note


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
