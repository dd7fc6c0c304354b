"""Frames of files in the dialects of the programs that write them: XYZ, TINKER archives, mdcrd, LAMMPS dumps, DCD.

mdtraj reads some of these wrongly or not at all, and prints about DCD files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats, Ints

TEXT = frozenset((".xyz", ".extxyz", ".arc", ".mdcrd", ".crd", ".lammpstrj"))
_ANGSTROM = 0.1  # nm
# Whole molecules first: unwrapped coordinates, then wrapped ones, as such and as shares of the box.
_LAMMPS_COLUMNS = (("xu", "yu", "zu"), ("x", "y", "z"), ("xsu", "ysu", "zsu"), ("xs", "ys", "zs"))
_HEADER = 84  # bytes of the first record of a DCD file: "CORD" and 20 integers


class TextFrame(NamedTuple):
    """One frame: positions [atoms, 3] and vectors of the box in nm, time in ps, and what the file calls its atoms."""

    positions: Doubles
    labels: tuple[str, ...] = ()
    cell: Doubles | None = None
    time: float | None = None


class CutShortError(ValueError):
    """The file ends inside a frame."""


def text_frames(name: str, suffix: str, atoms: int) -> Iterator[TextFrame]:
    """Frames of a text file of one of the suffixes `TEXT`; CutShortError where it ends inside a frame."""
    with Path(name).open(encoding="utf-8", errors="replace") as file:
        if suffix == ".lammpstrj":
            yield from _lammps_frames(file)
        elif suffix in (".mdcrd", ".crd"):
            yield from _mdcrd_frames(file, atoms)
        else:
            read = _arc_frame if suffix == ".arc" else _xyz_frame
            while line := file.readline():
                if line.strip():
                    yield read(file, int(line.split()[0]))
                elif file.read().strip():  # blank lines at the end are none
                    raise ValueError("there is a blank line where a frame should begin")


def _lines(file: TextIO, count: int) -> list[str]:
    lines = list(islice(file, count))
    if len(lines) < count:
        raise CutShortError("the file ends inside this frame")
    return lines


def _columns(rows: list[list[str]], columns: list[int]) -> Doubles:
    return np.array([[row[k] for k in columns] for row in rows], dtype=np.float64)


def _xyz_frame(file: TextIO, count: int) -> TextFrame:
    """A frame of an XYZ file, plain or extended (`Properties=`, `Lattice=`), in Å."""
    comment, *lines = _lines(file, count + 1)
    rows, starts, at = [line.split() for line in lines], {}, 0
    stated = re.search(r"Properties=([\w:]+)", comment)
    fields = (stated[1] if stated else "species:S:1:pos:R:3").split(":")
    for name, width in zip(fields[::3], fields[2::3], strict=True):
        starts[name] = at
        at += int(width)
    if "pos" not in starts:
        raise ValueError("Properties= names no column pos")
    labels = tuple(row[starts["species"]] for row in rows) if "species" in starts else ()
    box = re.search(r'Lattice="([^"]*)"', comment)
    cell = None if box is None else _ANGSTROM * np.array(box[1].split(), dtype=np.float64).reshape(3, 3)
    first = starts["pos"]
    return TextFrame(_ANGSTROM * _columns(rows, [first, first + 1, first + 2]), labels, cell)


def _arc_frame(file: TextIO, count: int) -> TextFrame:
    """A frame of a TINKER archive, in Å."""
    lines = _lines(file, 1)
    box, cell = lines[0].split(), None
    if len(box) == 6 and "." in box[0]:
        lines, cell = _lines(file, 1), np.diag(_ANGSTROM * np.array(box[:3], dtype=np.float64))
    lines += _lines(file, count - 1)
    return TextFrame(_ANGSTROM * _columns([line.split() for line in lines], [2, 3, 4]), (), cell)


def _mdcrd_frames(file: TextIO, atoms: int) -> Iterator[TextFrame]:
    """Frames of an Amber mdcrd file, in Å, ten numbers of eight characters in a line, with or without a box."""
    _lines(file, 1)  # title
    length, boxed, ahead = -(-3 * atoms // 10), None, ""
    while head := ahead or file.readline().rstrip("\n"):
        rows = [head, *_lines(file, length - 1)]
        numbers = [float(row[i : i + 8]) for row in rows for i in range(0, len(row.rstrip()), 8)]
        if len(numbers) != 3 * atoms:
            raise ValueError(f"{len(numbers)} numbers where {3 * atoms} were expected: another molecule, or damage")
        ahead, cell = file.readline().rstrip("\n"), None
        boxed = len(ahead.split()) == 3 if boxed is None else boxed
        if boxed:
            if len(ahead.split()) != 3:
                raise CutShortError("the box of this frame is missing")
            cell, ahead = np.diag(_ANGSTROM * np.array(ahead.split(), dtype=np.float64)), ""
        yield TextFrame(_ANGSTROM * np.array(numbers).reshape(-1, 3), (), cell)


def _lammps_frames(file: TextIO) -> Iterator[TextFrame]:
    """Frames of a LAMMPS dump by ids; Å unless it names units, times where `dump_modify time yes units yes`."""
    units: str | None = None
    items: dict[str, list[str]] = {}
    while line := file.readline():
        if not line.strip():
            continue
        if not line.startswith("ITEM:"):
            raise ValueError(f"a line ITEM: was expected, found {line.strip()[:40]!r}")
        name = line[5:].strip()
        if name.startswith("ATOMS"):
            yield _lammps_frame(items, name.split()[1:], file, units)
            items = {}
        elif name == "UNITS":
            units = _lines(file, 1)[0].strip()
        else:
            key = "BOX" if name.startswith("BOX") else name
            items[key] = _lines(file, 3 if key == "BOX" else 1)
    if items:
        raise CutShortError("the file ends inside this frame")


def _lammps_frame(items: dict[str, list[str]], header: list[str], file: TextIO, units: str | None) -> TextFrame:
    from ase.calculators.lammps import convert
    from ase.units import fs

    try:
        length = _ANGSTROM * convert(1.0, "distance", units or "real", "ASE")
    except KeyError:
        raise ValueError(f"units {units} have no length in nm") from None
    rows = [row.split() for row in _lines(file, int(items["NUMBER OF ATOMS"][0]))]
    if any(len(row) < len(header) for row in rows):
        raise CutShortError("a line of this frame is too short")
    style = next((c for c in _LAMMPS_COLUMNS if set(c) <= set(header)), None)
    if style is None or "id" not in header:
        raise ValueError(f"columns {' '.join(header)} lack {'positions' if style is None else 'id'}: dump id x y z")
    number = header.index("id")
    rows.sort(key=lambda row: int(row[number]))
    positions = _columns(rows, [header.index(c) for c in style])
    cell, origin = _lammps_box(np.array([line.split() for line in items["BOX"]], dtype=np.float64))
    if "s" in style[0]:
        positions = origin + positions @ cell
    labels = tuple(row[header.index("element")] for row in rows) if "element" in header else ()
    timed = units and "TIME" in items
    time = float(items["TIME"][0]) * convert(1.0, "time", units, "ASE") / (1000 * fs) if timed else None
    return TextFrame(length * positions, labels, length * cell, time)


def _lammps_box(rows: Doubles) -> tuple[Doubles, Doubles]:
    """Vectors and origin of a box from its bounds (https://docs.lammps.org/Howto_triclinic.html)."""
    from ase.io.lammpsrun import construct_cell

    if rows.shape == (3, 4):  # general triclinic: vectors and origin
        return rows[:, :3], rows[:, 3]
    cell, origin = construct_cell(rows[:, :2].ravel(), rows[:, 2] if rows.shape[1] == 3 else np.zeros(3))
    return np.asarray(cell, dtype=np.float64), np.asarray(origin, dtype=np.float64)


class DcdFile:
    """A DCD file: Fortran records of a header, a title and the number of atoms, then those of each frame.

    CutShortError where it ends inside a frame or holds another number than its header states, ValueError for damage.
    """

    def __init__(self, path: Path) -> None:
        self._data = np.memmap(path, dtype=np.uint8, mode="r")
        self._order = next((o for o in "<>" if len(self._data) > 92 and self._integers(0, 4, o)[0] == _HEADER), "")
        if not self._order or bytes(self._data[4:8]) != b"CORD":
            raise ValueError("it does not begin as a DCD file does")
        control = self._integers(8, 88)
        at = self._skip(self._skip(0))  # header and title
        self.n_atoms = int(self._integers(at + 4, at + 8)[0])
        at = self._skip(at)
        charmm = control[19] != 0  # X-PLOR has the second half of its time step where the flags would be
        self._box, fourth, fixed = bool(charmm and control[10]), bool(charmm and control[11]), int(control[8])
        if not (0 < self.n_atoms and 0 <= fixed < self.n_atoms):
            raise ValueError(f"its header states {self.n_atoms} atoms, {fixed} of them fixed")
        self._free: Ints = np.arange(self.n_atoms)
        if fixed:
            end = self._skip(at)
            self._free, at = self._integers(at + 4, end - 4).astype(np.int64) - 1, end
        whole, part = (self._frame(n, fourth) for n in (self.n_atoms, self.n_atoms - fixed))
        rest = len(self._data) - at - whole.itemsize
        more, over = divmod(rest, part.itemsize)
        self.n_frames, stated = more + 1, int(control[0])
        if rest < 0 or (stated and self.n_frames != stated):  # some programs state 0 until they end
            raise CutShortError(f"its header states {stated} frames, it holds {max(self.n_frames, 0)}")
        if over:
            raise CutShortError(f"{over} bytes of another frame follow its {self.n_frames} whole ones")
        split = at + (whole.itemsize if fixed else 0)  # the first frame has all atoms, the others those that are free
        self._first, self._others = self._data[at:split].view(whole), self._data[split:].view(part)

    def blocks(self, size: int) -> Iterator[tuple[Floats, Doubles | None]]:
        """Positions in nm [frames, atoms, 3] and box vectors [frames, 3, 3], or None, of `size` frames at a time."""
        alone = len(self._first)
        if alone:
            first, cells = self._read(self._first, 0)
            yield first, cells
        for start in range(0, len(self._others), size):
            found, cells = self._read(self._others[start : start + size], start + alone)
            if alone:
                frames = np.repeat(first, len(found), axis=0)
                frames[:, self._free] = found
                found = frames
            yield found, cells

    def _read(self, records: NDArray[np.void], first: int) -> tuple[Floats, Doubles | None]:
        for name in records.dtype.names or ():
            if name[0] == "m":
                wrong = records[name] != int(name.rpartition("_")[2])
                if wrong.any():
                    raise ValueError(f"frame {first + int(np.argmax(wrong))} has a damaged record")
        positions = np.stack([records[axis] for axis in "xyz"], axis=-1)
        cells = _vectors(records["box"].astype(np.float64)) if self._box else None
        return np.asarray(_ANGSTROM * positions, dtype=np.float32), cells

    def _frame(self, atoms: int, fourth: bool) -> np.dtype[np.void]:
        """Structure of a frame's records; markers of their length are named m, a number and _length."""
        parts = [("box", "f8", 6)] if self._box else []
        parts += [(axis, "f4", atoms) for axis in "xyzw"[: 4 if fourth else 3]]
        fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
        for name, kind, count in parts:
            marker = f"_{int(kind[1]) * count}"
            around = [(f"m{len(fields) + k}{marker}", f"{self._order}i4") for k in (0, 2)]
            fields += [around[0], (name, f"{self._order}{kind}", (count,)), around[1]]
        return np.dtype(fields)

    def _skip(self, at: int) -> int:
        """Where the record after the one at `at` begins."""
        length = int(self._integers(at, at + 4)[0])
        end = at + length + 8
        if length < 0 or end > len(self._data) or self._integers(end - 4, end)[0] != length:
            raise ValueError("its header is damaged")
        return end

    def _integers(self, start: int, end: int, order: str = "") -> NDArray[np.int32]:
        if end > len(self._data):
            raise ValueError("its header is damaged")
        return np.frombuffer(self._data[start:end].tobytes(), f"{order or self._order}i4")


def _vectors(stored: Doubles) -> Doubles:
    """Vectors of boxes in nm from A, gamma, B, beta, alpha, C in Å and degrees, or cosines of angles as NAMD writes."""
    angles = stored[:, [4, 3, 1]]
    degrees = np.where(np.abs(angles) <= 1, np.rad2deg(np.arccos(np.clip(angles, -1, 1))), angles)
    sides = _ANGSTROM * stored[:, [0, 2, 5]]
    with np.errstate(all="ignore"):
        return np.stack(lengths_and_angles_to_box_vectors(*sides.T, *degrees.T), axis=1)
