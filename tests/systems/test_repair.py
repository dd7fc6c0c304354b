"""Atoms that a file lacks: built the same way every time, of the right hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import unit

from latentmd.molecule.stereo import cis_peptides, handedness
from latentmd.systems.connections import Connections, connect
from latentmd.systems.parametrise import load_force_field, parametrise
from latentmd.systems.protocol import Protocol
from latentmd.systems.repair import add_heavy_atoms, add_hydrogens, assemble, read_back, relaxed, repeatable
from latentmd.systems.sanity import in_nm

NAMES = ("ACE", "SER", "NME")


@pytest.fixture
def complete(records: Any, residues: Any) -> Any:
    """Topology, positions, residues and whether hydrogens were added, from backbone and C-beta alone."""
    found = connect(residues(*NAMES), records(*NAMES))
    with repeatable():
        add_heavy_atoms(found, {})
        return found, add_hydrogens(found, load_force_field(Protocol("vacuum")), 7.0)


def test_generators_are_put_back() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    with repeatable():
        inside = random.random(), np.random.random()
    with repeatable():
        assert (random.random(), np.random.random()) == inside
    assert (random.random(), np.random.random()) == expected


def test_side_chain_and_hydrogens_are_built(complete: Any) -> None:
    _, (topology, positions, order, changed) = complete
    assert changed and [residue.name for residue in order] == list(NAMES)
    serine = next(r for r in topology.residues() if r.name == "SER")
    names = {atom.name for atom in serine.atoms()}
    assert {"OG", "HG", "HA", "H", "HB2", "HB3"} <= names and len(names) == 11
    assert handedness(topology, in_nm(positions)) == {1: "L"}


def test_what_is_complete_is_left_alone(complete: Any) -> None:
    found, (topology, positions, _, _) = complete
    from latentmd.systems.repair import read_back

    read_back(topology, positions, found, {})
    *_, changed = add_hydrogens(found, load_force_field(Protocol("vacuum")), 7.0)
    assert not changed


def test_relaxation_keeps_hands_and_trans_bonds(complete: Any) -> None:
    _, (topology, positions, _, _) = complete
    protocol = Protocol("vacuum")
    system = parametrise(topology, load_force_field(protocol), protocol, Path("made.pdb"))
    x = in_nm(relaxed(topology, system, positions))
    assert handedness(topology, x) == {1: "L"} and cis_peptides(topology, x) == []
    np.testing.assert_array_equal(in_nm(relaxed(topology, system, positions)), x)


def _connected(records: Any, residues: Any) -> Connections:
    names = ("ACE", "ALA", "NME")
    return connect(residues(*names), records(*names))


def test_bonds_are_those_of_the_peptide(records: Any, residues: Any) -> None:
    topology, positions, order = assemble(_connected(records, residues))
    assert [residue.name for residue in topology.residues()] == [r.name for r in order] == ["ACE", "ALA", "NME"]
    bonds = {frozenset((a.name, b.name)) for a, b in topology.bonds()}
    assert {frozenset(("N", "CA")), frozenset(("CA", "C")), frozenset(("C", "O")), frozenset(("CA", "CB"))} <= bonds
    between = [(a, b) for a, b in topology.bonds() if a.residue is not b.residue]
    assert [{a.name, b.name} for a, b in between] == [{"C", "N"}, {"C", "N"}]
    x = np.asarray(positions.value_in_unit(unit.nanometer))
    assert all(0.1 < np.linalg.norm(x[a.index] - x[b.index]) < 0.17 for a, b in topology.bonds())
    assert topology.getPeriodicBoxVectors() is None


def test_the_cell_becomes_box_vectors(records: Any, residues: Any) -> None:
    found = _connected(records, residues)
    found.cell = (3.0, 4.0, 5.0, 90.0, 90.0, 90.0)
    topology, *_ = assemble(found)
    box = topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    np.testing.assert_allclose(np.array([[v.x, v.y, v.z] for v in box]), np.diag([3.0, 4.0, 5.0]), atol=1e-9)


def test_reading_back_changes_nothing(records: Any, residues: Any) -> None:
    found = _connected(records, residues)
    before = [(r.name, [(a.name, a.position, a.serial) for a in r.atoms]) for r in found.chains[0]]
    topology, positions, _ = assemble(found)
    read_back(topology, positions, found, {})
    after = [(r.name, [(a.name, a.position, a.serial) for a in r.atoms]) for r in found.chains[0]]
    assert [(n, [a[::2] for a in atoms]) for n, atoms in after] == [(n, [a[::2] for a in atoms]) for n, atoms in before]
    for (_, ours), (_, theirs) in zip(after, before, strict=True):
        np.testing.assert_allclose([a[1] for a in ours], [a[1] for a in theirs], atol=1e-6)
