"""Plain records of what a file of coordinates says, before anything is chosen or corrected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from latentmd.systems.protocol import MoleculeError

Number = TypeVar("Number", int, float)
Key = tuple[str, int, str]  # chain, residue number, insertion code


@dataclass(frozen=True)
class AtomRecord:
    """One atom as the file has it; position in nm, serial its number in the file.

    `segment` counts chain ends (TER, or another chain of the asymmetric unit) before it.
    """

    model: int
    segment: int
    key: Key
    residue: str
    name: str
    position: tuple[float, float, float]
    altloc: str = ""
    element: str = ""
    occupancy: float = 1.0
    serial: int = -1

    def __str__(self) -> str:
        return f"{self.key[0]}:{self.residue}{self.key[1]}{self.key[2]}:{self.name}"


@dataclass(frozen=True)
class LinkRecord:
    """A bond of a record (`kind`): ends are residue and atom name, or serials; `symmetry` if it leads to a copy."""

    kind: str
    first: tuple[Key, str] | int
    second: tuple[Key, str] | int
    symmetry: bool = False


@dataclass
class Records:
    """What a file says; sequences are residue names of each chain, the cell lengths in nm and angles in degrees."""

    atoms: list[AtomRecord] = field(default_factory=list)
    links: list[LinkRecord] = field(default_factory=list)
    sequences: dict[str, list[str]] = field(default_factory=dict)
    cell: tuple[float, ...] | None = None


def number_of(text: str, kind: type[Number], where: str, what: str) -> Number:
    """Number of a kind in a file; MoleculeError says where in it stands something else, and what is expected there."""
    try:
        return kind(text.strip())
    except ValueError:
        expected = "an integer" if kind is int else "a number"
        raise MoleculeError(f"{where}: {text.strip()!r} is not {what}; expected {expected}") from None


def cell_of(fields: Sequence[str]) -> tuple[float, ...] | None:
    """Cell from three lengths in angstrom and three angles in degrees, as text; None for no numbers or lengths of 1."""
    try:
        values = [float(text) for text in fields]
    except ValueError:
        return None
    if not all(math.isfinite(value) and value > 0 for value in values) or max(values[:3]) <= 1.0:
        return None
    return (*(0.1 * value for value in values[:3]), *values[3:])
