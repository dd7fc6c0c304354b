"""GROMACS structure files (.gro): fixed columns, nm."""

from __future__ import annotations

import math
from pathlib import Path

from latentmd.systems.errors import MoleculeError
from latentmd.systems.readers.records import AtomRecord, Records


def read_gro(text: str, path: Path) -> Records:
    """Records of the first frame of a GRO file; chains have no names there, and no ends are marked.

    Args:
        text: of the file.
        path: for messages.

    Raises:
        MoleculeError: a line that cannot be read, or fewer atoms than the second line states.
    """
    lines = text.split("\n")
    count = int(lines[1])
    if len(lines) < count + 2:
        raise MoleculeError(f"{path}: {count} atoms announced, {len(lines) - 2} lines found; the file is cut short")
    atoms = [_atom(line, f"{path}, line {i + 3}", i) for i, line in enumerate(lines[2 : count + 2])]
    return Records(atoms=atoms, cell=_cell(lines[count + 2] if len(lines) > count + 2 else ""))


def _atom(line: str, where: str, index: int) -> AtomRecord:
    rest = line[20:]
    points = [i for i, character in enumerate(rest) if character == "."]
    try:
        width = points[1] - points[0]
        xyz = [float(rest[i * width : (i + 1) * width]) for i in range(3)]
        number = int(line[:5])
    except (ValueError, IndexError):
        raise MoleculeError(f"{where}: not a readable GRO line; expected residue, atom and x, y, z in nm") from None
    if not all(math.isfinite(value) for value in xyz):
        raise MoleculeError(f"{where}: coordinates of atom {line[5:15].strip()} are not finite; correct the file")
    return AtomRecord(
        model=1,
        chain="",
        residue=line[5:10].strip().upper(),
        number=number,
        insertion="",
        segment=0,
        name=line[10:15].strip().upper(),
        altloc="",
        element="",
        position=(xyz[0], xyz[1], xyz[2]),
        occupancy=1.0,
        serial=index + 1,
    )


def _cell(line: str) -> tuple[float, ...] | None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    if len(values) != 3 or min(values) <= 0:
        return None
    return (*values, 90.0, 90.0, 90.0)
