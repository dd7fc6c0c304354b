"""Choice of one model and one set of alternate locations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from latentmd.systems.protocol import InputOptions, MoleculeError
from latentmd.systems.readers.records import Records
from latentmd.systems.residues import choose, listed


def test_residues_have_names_labels_and_atoms(residues: Any) -> None:
    first, second = residues("ALA", "GLY")
    assert (first.name, first.label("CA"), str(first)) == ("ALA", "A:ALA1:CA", "ALA (A:1)")
    assert first.get("CB") and second.get("CB") is None
    assert first.amino_acid and first.hydrogens == set()


def test_the_location_of_highest_occupancy_is_taken_and_noted(records: Any) -> None:
    made = records("ALA", "GLY")
    atoms = []
    for atom in made.atoms:
        if atom.name == "CB":
            atoms += [replace(atom, altloc=a, occupancy=o) for a, o in (("A", 0.3), ("B", 0.7))]
        else:
            atoms.append(atom)
    found, notes = choose(Records(atoms=atoms), InputOptions())
    assert [atom.name for atom in found[0].atoms].count("CB") == 1
    assert notes and "B" in " ".join(notes)
    asked, _ = choose(Records(atoms=atoms), InputOptions(altloc="A"))
    assert len(asked[0].atoms) == len(found[0].atoms)


def test_one_model_is_taken(records: Any) -> None:
    made = records("ALA")
    moved = [replace(atom, model=2, position=(9.0, *atom.position[1:])) for atom in made.atoms]
    both = Records(atoms=[*made.atoms, *moved])
    first, notes = choose(both, InputOptions())
    assert first[0].atoms[0].position == made.atoms[0].position
    assert any("model" in note for note in notes)
    second, _ = choose(both, InputOptions(model_number=2))
    assert second[0].atoms[0].position[0] == 9.0
    with pytest.raises(MoleculeError, match="3"):
        choose(both, InputOptions(model_number=3))


def test_selenomethionine_becomes_methionine(records: Any) -> None:
    atoms = [replace(atom, residue="MSE") for atom in records("MET").atoms]
    atoms.append(replace(atoms[0], name="SE", element="Se", position=(3.0, 3.0, 3.0)))
    (residue,), _ = choose(Records(atoms=atoms), InputOptions())
    assert residue.name == "MET" and residue.get("SD") is not None


def test_long_lists_are_cut() -> None:
    assert listed("abcdefgh").endswith("and 2 more") and listed("ab") == "a, b"
