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
        ("title\n3\n    1ACE    CH3    1   0.146   0.000   0.000\n", "3 atoms announced, 2 lines found"),
        ("title\n1\n    1ACE    CH3    1   0.146   x\n\n", r"a\.gro, line 3: not a readable GRO line"),
        ("title\n1\n    1ACE    CH3    1   1.0e999.0   0.000   0.000\n\n", "line 3"),
    ],
)
def test_bad_lines_are_named(text: str, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        read_gro(text, PATH)
