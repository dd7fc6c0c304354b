"""Bonds between residues: from distances and from what the file states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from openmm.app import element

from latentmd.systems.connections import connect, distance, refuse_unbonded
from latentmd.systems.protocol import DEFAULT_INPUTS, MoleculeError
from latentmd.systems.readers.records import LinkRecord, Records
from latentmd.systems.residues import Atom, Residue, choose


def test_neighbours_are_bonded_by_their_peptide_bond(records: Any, residues: Any) -> None:
    chain = residues("ACE", "ALA", "GLY", "NME")
    found = connect(chain, records("ACE", "ALA", "GLY", "NME"))
    assert found.chains == [chain] and not found.gaps and not found.rings
    assert [(a.name, x, b.name, y) for a, x, b, y in found.bonds] == [
        ("ACE", "C", "ALA", "N"), ("ALA", "C", "GLY", "N"), ("GLY", "C", "NME", "N"),
    ]  # fmt: skip


def test_a_missing_residue_is_a_gap(records: Any) -> None:
    made = records("ALA", "GLY", "SER")
    cut = Records(atoms=[atom for atom in made.atoms if atom.key[1] != 2])
    chain, _ = choose(cut, DEFAULT_INPUTS)
    found = connect(chain, cut)
    (before, after, gap), bonds = found.gaps[0], found.bonds
    assert (before.name, after.name) == ("ALA", "SER") and gap > 0.3
    assert not bonds and [len(part) for part in found.chains] == [1, 1]


def _cysteines(gap: float) -> tuple[list[Residue], Records]:
    """Two cysteines in chains of their own whose sulfurs are a distance in nm apart."""
    residues = []
    for segment, chain in enumerate("AB"):
        x, sulfur = 5.0 * segment, 1.0 + gap * segment
        residue = Residue("CYS", "CYS", None, (chain, 1, ""), segment)
        residue.atoms = [
            Atom("N", element.nitrogen, (x, 0.0, 0.0)), Atom("CA", element.carbon, (x, 0.147, 0.0)),
            Atom("C", element.carbon, (x, 0.2, 0.14)), Atom("SG", element.sulfur, (sulfur, 1.0, 1.0)),
        ]  # fmt: skip
        residues.append(residue)
    return residues, Records()


def test_close_sulfurs_are_a_disulfide() -> None:
    (a, b), records = _cysteines(0.204)
    found = connect([a, b], records)
    assert found.disulfide(a) and found.disulfide(b)
    (a, b), records = _cysteines(0.4)
    assert not connect([a, b], records).disulfide(a)


def test_a_stated_bond_that_is_too_long_is_refused() -> None:
    (a, b), records = _cysteines(1.0)
    records.links = [LinkRecord("SSBOND", (("A", 1, ""), "SG"), (("B", 1, ""), "SG"))]
    with pytest.raises(MoleculeError, match="SSBOND"):
        connect([a, b], records)
    records.links = [replace(records.links[0], symmetry=True)]
    assert not connect([a, b], records).disulfide(a)


def test_distance() -> None:
    assert distance(Atom("A", None, (0, 0, 0)), Atom("B", None, (0.3, 0.4, 0))) == pytest.approx(0.5)


def test_near_atoms_without_a_bond_are_refused(records: Any, residues: Any) -> None:
    chain = residues("ALA", "GLY")
    found = connect(chain, records("ALA", "GLY"))
    refuse_unbonded(found)
    found.bonds.clear()
    with pytest.raises(MoleculeError, match="nm apart: a peptide bond between residues that do not follow"):
        refuse_unbonded(found)
