"""GROMACS structure files."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.systems.errors import MoleculeError
from latentmd.systems.readers.gro import read_gro

CASES = Path(__file__).parents[1] / "cases"
PATH = Path("a.gro")


def test_a_structure_in_nm() -> None:
    records = read_gro((CASES / "ala.gro").read_text(), PATH)
    assert len(records.atoms) == 22 and records.cell == (3.0, 3.0, 3.0, 90.0, 90.0, 90.0)
    first, last = records.atoms[0], records.atoms[-1]
    assert (str(first), first.position, first.serial) == (":ACE1:CH3", (0.146, 0.0, 0.0), 1)
    assert str(last) == ":NME3:H3"


def test_wider_columns_of_higher_precision() -> None:
    text = "title\n1\n    1ACE    CH3    1   0.1461234   0.0000000  -1.5000000\n"
    assert read_gro(text, PATH).atoms[0].position == (0.1461234, 0.0, -1.5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("title\n3\n    1ACE    CH3    1   0.146   0.000   0.000\n", "3 atoms announced, 1 lines found"),
        ("title\n1\n    1ACE    CH3    1   0.146   x\n\n", r"a\.gro, line 3: not a readable GRO line"),
        ("title\n1\n    1ACE    CH3    1   1.0e999.0   0.000   0.000\n\n", "line 3"),
    ],
)
def test_bad_lines_are_named(text: str, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        read_gro(text, PATH)


def test_every_frame_is_a_model() -> None:
    frame = "title\n1\n    1ACE    CH3    1   0.146   0.000   0.000\n   3.0 3.0 3.0\n"
    assert [atom.model for atom in read_gro(2 * frame, PATH).atoms] == [1, 2]


def test_a_triclinic_box() -> None:
    """A rhombic dodecahedron of 3 nm, as GROMACS writes it, has angles of 60, 60 and 90 degrees."""
    text = "title\n1\n    1ACE    CH3    1   0.146   0.000   0.000\n 3.0 3.0 2.12132 0 0 0 0 1.5 1.5\n"
    assert read_gro(text, PATH).cell == pytest.approx((3, 3, 3, 60, 60, 90), abs=1e-3)


def test_more_atoms_than_announced() -> None:
    line = "    1ACE    CH3    1   0.146   0.000   0.000\n"
    with pytest.raises(MoleculeError, match=r"line 4: expected the box after the 1 atoms that line 2 announces"):
        read_gro(f"title\n1\n{2 * line}", PATH)
