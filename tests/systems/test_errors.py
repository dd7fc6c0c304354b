"""Errors of molecules."""

from __future__ import annotations

import pytest

from latentmd.systems.errors import MoleculeError, first_line


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("one\ntwo"), "one"), (ValueError("\n  one  \n"), "one"), (KeyError(), "KeyError")],
)
def test_first_line(error: Exception, text: str) -> None:
    assert first_line(error) == text


def test_a_molecule_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="what to do"):
        raise MoleculeError("what to do")
