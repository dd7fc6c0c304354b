"""Protonation states: by name, by hydrogens, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest
from openmm import app

from latentmd.systems.connections import Connections
from latentmd.systems.protonation import disagreement, protonation_note, states, wanted
from latentmd.systems.residues import Residue


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
