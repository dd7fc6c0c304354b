"""The same molecule in any order of atoms is found; another molecule or stereoisomer is refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from openmm import app

from latentmd.arrays import Doubles
from latentmd.molecule.chemistry import Chemistry, chemistry
from latentmd.molecule.matching import Named, match, named_atoms, order_difference
from latentmd.systems.bundled import bundled

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
NAMES = ("alanine_dipeptide", "valine_dipeptide", "met_enkephalin", "chignolin")


def molecule(name: str) -> tuple[Chemistry, Doubles]:
    file = app.PDBFile(str(MOLECULES / f"{name}.pdb"))
    return chemistry(file.topology), np.array(file.getPositions(asNumpy=True)._value)


def plain(symbols: str, bonds: list[tuple[int, int]]) -> Chemistry:
    """A molecule without names."""
    n = len(symbols)
    return Chemistry(
        symbols=tuple(symbols), names=tuple(symbols), residues=("LIG",) * n, residue_index=(0,) * n, masses=(1.0,) * n,
        bonds=tuple(sorted(bonds)), labels=tuple(f"{s}{i}" for i, s in enumerate(symbols)),
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_named_atoms_are_found_exactly(name: str, seed: int) -> None:
    record, x = molecule(name)
    order = np.random.default_rng(seed).permutation(record.n_atoms)
    found = match(record, record.reordered(order), x, x[order])
    assert found and order[list(found.order)].tolist() == list(range(record.n_atoms))


@pytest.mark.parametrize("name", NAMES)
def test_atoms_without_names_are_told_apart_by_their_hand(name: str) -> None:
    """What differs from the true order is a symmetry: bonds and all signed volumes stay as they are."""
    record, x = molecule(name)
    nameless = replace(record, names=record.symbols)
    order = np.random.default_rng(2).permutation(record.n_atoms)
    found = match(nameless, nameless.reordered(order), x, x[order])
    true = order[list(found.order)]
    assert {(min(true[i], true[j]), max(true[i], true[j])) for i, j in record.bonds} == set(record.bonds)
    y = x[true]
    for centre, around in enumerate(record.neighbours()):
        if len(around) == 4:
            volumes = [np.linalg.det(z[around[:3]] - z[centre]) for z in (x, y)]
            assert volumes[0] * volumes[1] > 0, record.labels[centre]
    if name == "valine_dipeptide":  # gamma carbons differ in hand alone
        assert [record.names[true[i]] for i in range(record.n_atoms) if record.names[i].startswith("CG")] == [
            "CG1",
            "CG2",
        ]


def test_exchanged_hydrogens_are_put_right_by_the_structure() -> None:
    record, x = molecule("met_enkephalin")
    swapped = x.copy()
    pair = [record.labels.index(name) for name in ("GLY2-HA2", "GLY2-HA3")]
    swapped[pair] = swapped[pair[::-1]]
    found = match(record, record, x, swapped)
    assert [found.order[i] for i in pair] == pair[::-1]
    assert match(record, record, x, x).order == tuple(range(record.n_atoms))


@pytest.mark.parametrize("turned", [False, True])
def test_sides_of_an_amide_are_kept(turned: bool) -> None:
    """Formamide: of the two hydrogens of NH2 one is cis to O, whatever the names say."""
    amide = plain("COHNHH", [(0, 1), (0, 2), (0, 3), (3, 4), (3, 5)])
    x = np.array([[0, 0, 0], [1.2, 0, 0], [-0.5, 0.9, 0], [-0.7, -1.1, 0], [-0.1, -2, 0], [-1.7, -1.0, 0]]) * 0.1
    y = x[[0, 1, 2, 3, 5, 4]] if turned else x
    assert match(amide, replace(amide, names=("A",) * 6), x, y).order[4:] == ((5, 4) if turned else (4, 5))


def test_other_molecules_are_refused_in_words() -> None:
    record, _ = molecule("alanine_dipeptide")
    other, _ = molecule("valine_dipeptide")
    assert match(record, other).reason == "it has 28 atoms, the molecule of the model has 22"
    sulphur = replace(record, symbols=tuple("S" if s == "O" else s for s in record.symbols))
    assert match(record, sulphur).reason == "it is C6H12N2S2, the molecule of the model C6H12N2O2"
    assert "it has 20 bonds" in match(record, replace(record, bonds=record.bonds[:-1])).reason
    assert "its bonds" in match(plain("CCOO", [(0, 1), (1, 2), (2, 3)]), plain("COCO", [(0, 1), (1, 2), (2, 3)])).reason


def test_graphs_that_colours_do_not_tell_apart() -> None:
    """Two rings of three and a ring of six: every atom has two neighbours alike."""
    rings = plain("CCCCCC", [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)])
    ring = plain("CCCCCC", [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)])
    assert not match(rings, ring) and not match(ring, rings)
    order = [3, 0, 4, 1, 5, 2]
    found = match(ring, ring.reordered(order))
    mapped = {tuple(sorted(order[found.order[i]] for i in bond)) for bond in ring.bonds}
    assert mapped == set(ring.bonds)


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
