"""From connected residues to an OpenMM Topology and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from openmm import unit

from latentmd.systems.assemble import assemble, read_back
from latentmd.systems.connections import Connections, connect


def _connected(records: Any, residues: Any) -> Connections:
    names = ("ACE", "ALA", "NME")
    return connect(residues(*names), records(*names))


def test_bonds_are_those_of_the_peptide(records: Any, residues: Any) -> None:
    topology, positions, order = assemble(_connected(records, residues), None)
    assert [residue.name for residue in topology.residues()] == [r.name for r in order] == ["ACE", "ALA", "NME"]
    bonds = {frozenset((a.name, b.name)) for a, b in topology.bonds()}
    assert {frozenset(("N", "CA")), frozenset(("CA", "C")), frozenset(("C", "O")), frozenset(("CA", "CB"))} <= bonds
    between = [(a, b) for a, b in topology.bonds() if a.residue is not b.residue]
    assert [{a.name, b.name} for a, b in between] == [{"C", "N"}, {"C", "N"}]
    x = np.asarray(positions.value_in_unit(unit.nanometer))
    assert all(0.1 < np.linalg.norm(x[a.index] - x[b.index]) < 0.17 for a, b in topology.bonds())
    assert topology.getPeriodicBoxVectors() is None


def test_the_cell_becomes_box_vectors(records: Any, residues: Any) -> None:
    topology, *_ = assemble(_connected(records, residues), (3.0, 4.0, 5.0, 90.0, 90.0, 90.0))
    box = topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    np.testing.assert_allclose(np.array([[v.x, v.y, v.z] for v in box]), np.diag([3.0, 4.0, 5.0]), atol=1e-9)


def test_reading_back_changes_nothing(records: Any, residues: Any) -> None:
    found = _connected(records, residues)
    before = [(r.name, [(a.name, a.position, a.serial) for a in r.atoms]) for r in found.chains[0]]
    topology, positions, _ = assemble(found, None)
    read_back(topology, positions, found, {})
    after = [(r.name, [(a.name, a.position, a.serial) for a in r.atoms]) for r in found.chains[0]]
    assert [(n, [a[::2] for a in atoms]) for n, atoms in after] == [(n, [a[::2] for a in atoms]) for n, atoms in before]
    for (_, ours), (_, theirs) in zip(after, before, strict=True):
        np.testing.assert_allclose([a[1] for a in ours], [a[1] for a in theirs], atol=1e-6)
