"""Plain records of a file's content."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from latentmd.systems.readers.records import Records


def test_an_atom_knows_its_residue_and_says_where_it_is(records: Any) -> None:
    atoms = records("ALA", "GLY").atoms
    assert [atom.key for atom in atoms if atom.name == "CA"] == [("A", 1, ""), ("A", 2, "")]
    assert str(atoms[0]) == "A:ALA1:N"
    with pytest.raises(FrozenInstanceError):
        atoms[0].name = "X"


def test_records_do_not_share_lists() -> None:
    one, two = Records(), Records()
    one.sequences["A"] = ["ALA"]
    one.links.append(None)  # type: ignore[arg-type]
    assert not two.sequences and not two.links and two.cell is None
