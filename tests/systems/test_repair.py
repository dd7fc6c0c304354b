"""Atoms that a file lacks: built the same way every time, of the right hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from openmm import app, unit

from latentmd.molecule.stereo import cis_peptides, handedness
from latentmd.systems.connections import Connections, connect
from latentmd.systems.parametrise import load_force_field, parametrise
from latentmd.systems.protocol import Protocol
from latentmd.systems.repair import (
    add_heavy_atoms,
    add_hydrogens,
    assemble,
    disagreement,
    protonation_note,
    read_back,
    relaxed,
    repeatable,
    states,
    wanted,
)
from latentmd.systems.residues import Residue
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
    system = parametrise(topology, load_force_field(protocol), protocol)
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


def _residue(name: str, state: str | None = None, number: int = 1) -> Residue:
    return Residue(state or name, name, state, ("A", number, ""), 0)


def _topology(name: str, atoms: dict[str, int]) -> app.Topology:
    """A residue of some heavy atoms, each with a number of hydrogens."""
    topology = app.Topology()
    residue = topology.addResidue(name, topology.addChain())
    made = {atom: topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue) for atom in atoms}
    for atom, count in atoms.items():
        for i in range(count):
            topology.addBond(made[atom], topology.addAtom(f"H{atom}{i}", app.element.hydrogen, residue))
    return topology


@pytest.mark.parametrize(
    ("name", "atoms", "state"),
    [
        ("HIS", {"ND1": 1, "NE2": 0}, "HID"), ("HIS", {"ND1": 0, "NE2": 1}, "HIE"),
        ("HIS", {"ND1": 1, "NE2": 1}, "HIP"),
        ("ASP", {"OD1": 0, "OD2": 0}, "ASP"), ("ASP", {"OD1": 0, "OD2": 1}, "ASH"), ("GLU", {"OE2": 1}, "GLH"),
        ("LYS", {"NZ": 3}, "LYS"), ("LYS", {"NZ": 2}, "LYN"), ("CYS", {"SG": 1}, "CYS"), ("CYS", {"SG": 0}, "CYM"),
        ("ALA", {"CA": 1}, "ALA"),
    ],
)  # fmt: skip
def test_hydrogens_tell_the_state(name: str, atoms: dict[str, int], state: str) -> None:
    assert states(_topology(name, atoms)) == [state]


def test_a_disulfide_is_no_thiolate() -> None:
    topology = _topology("CYS", {"SG": 0})
    other = topology.addResidue("CYS", next(topology.chains()))
    sulfur = topology.addAtom("SG", app.element.sulfur, other)
    topology.addBond(next(topology.atoms()), sulfur)
    assert states(topology) == ["CYX", "CYX"]


def test_what_is_wanted() -> None:
    alone, bonded, other = _residue("CYS"), _residue("CYS", number=2), _residue("CYS", number=3)
    found = Connections(bonds=[(bonded, "SG", other, "SG")])
    assert (wanted(alone, found), wanted(bonded, found)) == ("CYS", "CYX")
    assert wanted(_residue("CYS", "CYM"), found) == "CYX"
    assert wanted(_residue("HIS", "HIP"), found) == "HIP"
    assert wanted(_residue("ASP"), found) is None


@pytest.mark.parametrize(
    ("name", "named", "state", "differ"),
    [
        ("HIS", "HIP", "HIE", True), ("HIS", "HIP", "HIP", False), ("HIS", None, "HIE", False),
        ("LYS", None, "LYN", True), ("LYS", "LYN", "LYN", False), ("CYS", None, "CYM", True),
        ("CYS", "CYM", "CYM", False),
    ],
)  # fmt: skip
def test_names_and_hydrogens_may_disagree(name: str, named: str | None, state: str, differ: bool) -> None:
    assert disagreement(_residue(name, named), state, Connections()) is differ


def test_the_note_names_titratable_residues_and_the_reason() -> None:
    residues: list[Any] = [_residue("ALA"), _residue("HIS", number=2), _residue("ASP", number=3)]
    assert protonation_note(residues, ["ALA", "HIE", "ASP"], 7.0) == ["protonation at pH 7: HIE A:2, ASP A:3"]
    residues[1].state = "HIP"
    assert "by name, else by the hydrogens there are" in protonation_note(residues, ["ALA", "HIP", "ASP"], 7.0)[0]
    assert protonation_note(residues[:1], ["ALA"], 7.0) == []
