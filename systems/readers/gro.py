"""GROMACS structure files (.gro): fixed columns, nm."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from latentmd.systems.errors import MoleculeError
from latentmd.systems.readers.records import AtomRecord, Records

_VECTORS = ((0, 3, 4), (5, 1, 6), (7, 8, 2))  # where x, y, z of each box vector stand in the last line


def read_gro(text: str, path: Path) -> Records:
    """Records of a GRO file, each frame a model; chains have no names there, and no ends are marked."""
    lines = text.rstrip().split("\n")
    records, start, model = Records(), 0, 0
    while start + 1 < len(lines) and (not model or lines[start + 1].strip().isdecimal()):
        model += 1
        count, begin = int(lines[start + 1]), start + 2
        if len(lines) < begin + count:
            raise MoleculeError(
                f"{path}: {count} atoms announced, {len(lines) - begin} lines found; the file is cut short"
            )
        for i, line in enumerate(lines[begin : begin + count]):
            records.atoms.append(_atom(line, f"{path}, line {begin + i + 1}", i, model))
        last = lines[begin + count] if len(lines) > begin + count else ""
        if last.strip() and not _is_box(last):
            raise MoleculeError(
                f"{path}, line {begin + count + 1}: expected the box after the {count} atoms that line {begin} "
                "announces, found something else; correct the number of atoms"
            )
        if model == 1:
            records.cell = _cell(last)
        start = begin + count + 1
    return records


def _atom(line: str, where: str, index: int, model: int) -> AtomRecord:
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
        model=model,
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


def _is_box(line: str) -> bool:
    try:
        return len([float(word) for word in line.split()]) in (3, 9)
    except ValueError:
        return False


def _cell(line: str) -> tuple[float, ...] | None:
    from mdtraj.utils.unitcell import box_vectors_to_lengths_and_angles

    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    if not all(math.isfinite(value) for value in values) or len(values) not in (3, 9) or min(values[:3]) <= 0:
        return None
    if len(values) == 3:
        return (*values, 90.0, 90.0, 90.0)
    vectors = [np.array([values[i] for i in row]) for row in _VECTORS]
    return tuple(float(value) for value in box_vectors_to_lengths_and_angles(*vectors))
