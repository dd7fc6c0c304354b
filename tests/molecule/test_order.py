"""Order of atoms by name and element."""

from __future__ import annotations

from openmm import app

from latentmd.molecule.order import Named, named_atoms, order_difference
from latentmd.systems.bundled import bundled

ATOMS = named_atoms(app.PDBFile(str(bundled("alanine_dipeptide"))).topology)


def renamed(names: dict[tuple[int, str], str], elements: bool = True) -> list[Named]:
    return [
        a._replace(name=names.get((a.residue, a.name), a.name), element=a.element if elements else "") for a in ATOMS
    ]


def test_the_same_atoms_agree_with_and_without_elements() -> None:
    assert order_difference(ATOMS, ATOMS) == ""
    assert order_difference(renamed({}, elements=False), ATOMS) == ""


def test_names_of_other_programs_are_no_other_order() -> None:
    amber = {(2, "C"): "CH3", (2, "H1"): "HH31", (2, "H2"): "HH32", (2, "H3"): "HH33"}
    assert order_difference(renamed(amber), ATOMS) == ""
    assert order_difference(renamed({(1, "HB1"): "HB2", (1, "HB2"): "HB3", (1, "HB3"): "HB9"}), ATOMS) == ""


def test_swapped_atoms_are_found_by_name_or_by_element() -> None:
    swapped = list(ATOMS)
    swapped[8], swapped[12] = swapped[12], swapped[8]  # CA and CB
    message = order_difference(swapped, ATOMS)
    assert "atom 9 is ALA2-CB, expected ALA2-CA" in message
    nameless = [atom._replace(name="") for atom in swapped]
    assert order_difference(nameless, ATOMS) == ""  # two carbons without names
    nameless[0], nameless[1] = nameless[1], nameless[0]
    assert "atom 1 is" in order_difference(nameless, ATOMS)
