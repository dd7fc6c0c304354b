"""The error of a molecule that cannot be simulated."""

from __future__ import annotations


class MoleculeError(ValueError):
    """A molecule that cannot be turned into an OpenMM System; the message says what to do."""


def first_line(error: BaseException) -> str:
    """First line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
