"""Tokens: one for each residue, in the order in which residues appear."""

from __future__ import annotations

from typing import Any

from latentmd.molecule.chemistry import Chemistry
from latentmd.molecule.tokens import residue_tokens


def test_a_residue_is_a_token(alanine_topology: Any) -> None:
    assert residue_tokens(alanine_topology) == (0,) * 6 + (1,) * 10 + (2,) * 6


def test_tokens_are_numbered_by_appearance() -> None:
    """Residues that are interleaved, or numbered from somewhere else, keep one token each."""
    names = ("A", "B", "C", "D")
    record = Chemistry(
        symbols=4 * ("C",), names=names, residues=4 * ("UNK",), residue_index=(7, 3, 7, 3), masses=4 * (12.0,),
        bonds=((0, 2), (1, 3)), labels=names,
    )  # fmt: skip
    assert residue_tokens(record) == (0, 1, 0, 1)
