"""Names of residues and atoms in other programs."""

from __future__ import annotations

import pytest

from latentmd.systems.names import AMINO_ACIDS, D_AMINO_ACIDS, STATES, element_of, standard_atom, standard_residue


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("HSP", ("HIS", "HIP")), ("ASP", ("ASP", None)), ("DAL", ("ALA", None)), ("NALA", ("ALA", None)),
        ("CCYX", ("CYS", "CYX")), ("LIG", ("LIG", None)), ("GLUH", ("GLU", "GLH")),
    ],
)  # fmt: skip
def test_residues(name: str, standard: tuple[str, str | None]) -> None:
    assert standard_residue(name) == standard


def test_standard_names_are_their_own() -> None:
    assert all(standard_residue(name) == (name, None) for name in AMINO_ACIDS)
    assert all(standard_residue(state) == (name, state) for state, name in STATES.items())
    assert set(D_AMINO_ACIDS.values()) == AMINO_ACIDS - {"GLY"}


def test_atoms() -> None:
    assert standard_atom("NME", "CH3") == "C" and standard_atom("ACE", "1HH3") == "H1"
    assert standard_atom("ALA", "HN") == "H" and standard_atom("ALA", "CB") == "CB"
    assert standard_atom("LIG", "C99") == "C99"


@pytest.mark.parametrize(
    ("residue", "name", "stated", "symbol"),
    [("ALA", "CA", "", "C"), ("CA", "CA", "", "Ca"), ("ALA", "1HB", "D", "H"), ("LIG", "CL1", "Cl", "Cl"),
     ("LIG", "XX", "", None)],
)  # fmt: skip
def test_elements(residue: str, name: str, stated: str, symbol: str | None) -> None:
    found = element_of(residue, name, stated)
    assert (found.symbol if found else None) == symbol


def test_a_contradiction_is_refused() -> None:
    with pytest.raises(ValueError, match="its element is given as N, its name says C"):
        element_of("ALA", "CA", "N")
