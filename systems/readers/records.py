"""Plain records of what a file of coordinates says, before anything is chosen or corrected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Key = tuple[str, int, str]  # chain, residue number, insertion code


@dataclass(frozen=True)
class AtomRecord:
    """One atom as the file has it, "" where it says nothing; position in nm, serial its number in the file.

    `segment` counts chain ends (TER, or another chain of the asymmetric unit) before it.
    """

    model: int
    chain: str
    residue: str
    number: int
    insertion: str
    segment: int
    name: str
    altloc: str
    element: str
    position: tuple[float, float, float]
    occupancy: float
    serial: int

    @property
    def key(self) -> Key:
        """Residue that it belongs to."""
        return self.chain, self.number, self.insertion

    def __str__(self) -> str:
        return f"{self.chain}:{self.residue}{self.number}{self.insertion}:{self.name}"


@dataclass(frozen=True)
class LinkRecord:
    """A bond that the file states: SSBOND, LINK, CONECT or struct_conn.

    Each end is a residue and an atom name, for CONECT a serial number. `symmetry`: it leads to a copy of the molecule
    in another asymmetric unit.
    """

    kind: str
    first: tuple[Key, str] | int
    second: tuple[Key, str] | int
    symmetry: bool = False


@dataclass
class Records:
    """Everything that a file says.

    `sequences` are residue names of each chain, of SEQRES or the polymer sequence scheme; `cell` box lengths in nm and
    angles in degrees.
    """

    atoms: list[AtomRecord] = field(default_factory=list)
    links: list[LinkRecord] = field(default_factory=list)
    sequences: dict[str, list[str]] = field(default_factory=dict)
    cell: tuple[float, ...] | None = None


def cell_of(fields: Sequence[str]) -> tuple[float, ...] | None:
    """Cell from three lengths in angstrom and three angles in degrees, as text; None for no numbers or lengths of 1."""
    try:
        values = [float(text) for text in fields]
    except ValueError:
        return None
    if not all(math.isfinite(value) and value > 0 for value in values) or max(values[:3]) <= 1.0:
        return None
    return (*(0.1 * value for value in values[:3]), *values[3:])
