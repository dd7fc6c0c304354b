"""Frames of files in the dialects of the programs that write them: XYZ, TINKER archives, mdcrd, LAMMPS dumps, DCD."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats, Ints

_ANGSTROM = 0.1  # nm
#: nm and ps of each system of units that LAMMPS names; "lj" has none (https://docs.lammps.org/units.html).
_LAMMPS_UNITS = {
    "real": (0.1, 1e-3),
    "metal": (0.1, 1.0),
    "nano": (1.0, 1e3),
    "electron": (0.0529177210903, 1e-3),
    "si": (1e9, 1e12),
    "cgs": (1e7, 1e12),
    "micro": (1e3, 1e6),
}
# Whole molecules first: unwrapped coordinates, then wrapped ones, as such and as shares of the box.
_LAMMPS_COLUMNS = (("xu", "yu", "zu"), ("x", "y", "z"), ("xsu", "ysu", "zsu"), ("xs", "ys", "zs"))


@dataclass(frozen=True)
class TextFrame:
    """One frame: positions [atoms, 3] and vectors of the box in nm, time in ps, and what the file calls its atoms."""

    positions: Doubles
    labels: tuple[str, ...] = ()
    cell: Doubles | None = None
    time: float | None = None


class CutShortError(ValueError):
    """The file ends inside a frame."""


def _lines(file: TextIO, count: int) -> list[str]:
    lines = list(islice(file, count))
    if len(lines) < count:
        raise CutShortError("the file ends inside this frame")
    return lines


def _heads(file: TextIO) -> Iterator[str]:
    """First line of each frame; blank lines at the end are none."""
    while line := file.readline():
        if line.strip():
            yield line
        elif file.read().strip():
            raise ValueError("there is a blank line where a frame should begin")


def _columns(rows: list[list[str]], first: int) -> Doubles:
    return np.array([row[first : first + 3] for row in rows], dtype=np.float64)


def xyz_frames(file: TextIO, atoms: int) -> Iterator[TextFrame]:
    """Frames of an XYZ file, plain or extended (`Properties=`, `Lattice=`), in Å."""
    for head in _heads(file):
        count = int(head.split()[0])
        comment, *rows = _lines(file, count + 1)
        label, place = _extended_columns(comment)
        words = [row.split() for row in rows]
        found = re.search(r'Lattice="([^"]*)"', comment)
        cell = None if found is None else _ANGSTROM * np.array(found[1].split(), dtype=np.float64).reshape(3, 3)
        labels = tuple(row[label] for row in words) if label >= 0 else ()
        yield TextFrame(_ANGSTROM * _columns(words, place), labels, cell)


def _extended_columns(comment: str) -> tuple[int, int]:
    """Columns of the symbol (-1 for none) and of x in the rows of an XYZ frame."""
    found = re.search(r"Properties=([\w:]+)", comment)
    if found is None:
        return 0, 1
    fields = found[1].split(":")
    starts, at = {}, 0
    for name, width in zip(fields[::3], fields[2::3], strict=True):
        starts[name] = at
        at += int(width)
    if "pos" not in starts:
        raise ValueError("Properties= names no column pos")
    return starts.get("species", -1), starts["pos"]


def arc_frames(file: TextIO, atoms: int) -> Iterator[TextFrame]:
    """Frames of a TINKER archive, in Å."""
    for head in _heads(file):
        count = int(head.split()[0])
        first = _lines(file, 1)
        box = first[0].split()
        boxed = len(box) == 6 and "." in box[0]
        rows = _lines(file, count) if boxed else first + _lines(file, count - 1)
        cell = np.diag(_ANGSTROM * np.array(box[:3], dtype=np.float64)) if boxed else None
        yield TextFrame(_ANGSTROM * _columns([row.split() for row in rows], 2), (), cell)


def mdcrd_frames(file: TextIO, atoms: int) -> Iterator[TextFrame]:
    """Frames of an Amber mdcrd file, in Å, ten numbers of eight characters in a line, with or without a box."""
    _lines(file, 1)  # title
    length, boxed, ahead = -(-3 * atoms // 10), None, ""
    while head := ahead or file.readline().rstrip("\n"):
        rows = [head, *_lines(file, length - 1)]
        numbers = [float(row[i : i + 8]) for row in rows for i in range(0, len(row.rstrip()), 8)]
        if len(numbers) != 3 * atoms:
            raise ValueError(f"{len(numbers)} numbers where {3 * atoms} were expected: another molecule, or damage")
        ahead = file.readline().rstrip("\n")
        if boxed is None:
            boxed = len(ahead.split()) == 3
        cell = None
        if boxed:
            if len(ahead.split()) != 3:
                raise CutShortError("the box of this frame is missing")
            cell, ahead = np.diag(_ANGSTROM * np.array(ahead.split(), dtype=np.float64)), ""
        yield TextFrame(_ANGSTROM * np.array(numbers).reshape(-1, 3), (), cell)


def lammps_frames(file: TextIO, atoms: int) -> Iterator[TextFrame]:
    """Frames of a LAMMPS dump, atoms in the order of their ids; Å unless the file names its units.

    Times are known where the file has the lines of `dump_modify time yes units yes`.
    """
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
            key = name.split(" pp")[0].split(" ff")[0]
            items[key.split("BOUNDS")[0].strip()] = [name, *_lines(file, 3 if name.startswith("BOX") else 1)]
    if items:
        raise CutShortError("the file ends inside this frame")


def _lammps_frame(items: dict[str, list[str]], header: list[str], file: TextIO, units: str | None) -> TextFrame:
    if units is not None and units not in _LAMMPS_UNITS:
        raise ValueError(f"units {units} have no length in nm")
    length, duration = _LAMMPS_UNITS[units or "real"]
    rows = [row.split() for row in _lines(file, int(items["NUMBER OF ATOMS"][1]))]
    if any(len(row) < len(header) for row in rows):
        raise CutShortError("a line of this frame is too short")
    style = next((c for c in _LAMMPS_COLUMNS if set(c) <= set(header)), None)
    if style is None or "id" not in header:
        raise ValueError(f"columns {' '.join(header)} lack {'positions' if style is None else 'id'}: dump id x y z")
    number = header.index("id")
    rows.sort(key=lambda row: int(row[number]))
    positions = np.array([[row[header.index(c)] for c in style] for row in rows], dtype=np.float64)
    origin, cell = _lammps_box(items["BOX"])
    if "s" in style[0]:
        positions = origin + positions @ cell
    labels = tuple(row[header.index("element")] for row in rows) if "element" in header else ()
    time = float(items["TIME"][1]) * duration if units and "TIME" in items else None
    return TextFrame(length * positions, labels, length * cell, time)


def _lammps_box(lines: list[str]) -> tuple[Doubles, Doubles]:
    """Origin and vectors of a box from its bounds (https://docs.lammps.org/Howto_triclinic.html)."""
    rows = np.array([line.split() for line in lines[1:]], dtype=np.float64)
    if rows.shape == (3, 4):  # general triclinic: vectors and origin
        return rows[:, 3], rows[:, :3]
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    xy, xz, yz = rows[:, 2] if rows.shape[1] == 3 else (0.0, 0.0, 0.0)
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    sides = high - low
    return low, np.array([[sides[0], 0, 0], [xy, sides[1], 0], [xz, yz, sides[2]]])


_READERS: dict[str, Callable[[TextIO, int], Iterator[TextFrame]]] = {
    ".xyz": xyz_frames,
    ".extxyz": xyz_frames,
    ".arc": arc_frames,
    ".mdcrd": mdcrd_frames,
    ".crd": mdcrd_frames,
    ".lammpstrj": lammps_frames,
}
TEXT = frozenset(_READERS)


def text_frames(name: str, suffix: str, atoms: int) -> Iterator[TextFrame]:
    """Frames of a text file of one of the suffixes `TEXT`; CutShortError where it ends inside a frame."""
    with Path(name).open(encoding="utf-8", errors="replace") as file:
        yield from _READERS[suffix](file, atoms)


_ANGSTROM = 0.1  # nm
_HEADER = 84  # bytes of the first record: "CORD" and 20 integers


class DcdFile:
    """A DCD file: Fortran records of a header, a title and the number of atoms, then those of each frame.

    CutShortError where it ends inside a frame or holds another number than its header states, ValueError for damage.
    """

    def __init__(self, path: Path) -> None:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        self._order = next((o for o in "<>" if len(data) > 92 and _integer(data, 0, o) == _HEADER), "")
        if not self._order or bytes(data[4:8]) != b"CORD":
            raise ValueError("it does not begin as a DCD file does")
        control = np.frombuffer(data[8:88].tobytes(), f"{self._order}i4")
        at = self._skip(data, 0)
        at = self._skip(data, at)  # title
        self.n_atoms = _integer(data, at + 4, self._order)
        at = self._skip(data, at)
        charmm = control[19] != 0  # X-PLOR has the second half of its time step where the flags would be
        self._box, fourth = bool(charmm and control[10]), bool(charmm and control[11])
        fixed = int(control[8])
        if not (0 < self.n_atoms and 0 <= fixed < self.n_atoms):
            raise ValueError(f"its header states {self.n_atoms} atoms, {fixed} of them fixed")
        self._free: Ints = np.arange(self.n_atoms)
        if fixed:
            end = self._skip(data, at)
            self._free = np.frombuffer(data[at + 4 : end - 4].tobytes(), f"{self._order}i4").astype(np.int64) - 1
            at = end
        kinds = [self._frame(n, fourth) for n in (self.n_atoms, self.n_atoms - fixed)]
        rest = len(data) - at - kinds[0].itemsize
        more, over = divmod(rest, kinds[1].itemsize)
        self.n_frames, stated = more + 1, int(control[0])
        if rest < 0 or (stated and self.n_frames != stated):  # some programs state 0 until they end
            raise CutShortError(f"its header states {stated} frames, it holds {max(self.n_frames, 0)}")
        if over:
            raise CutShortError(f"{over} bytes of another frame follow its {self.n_frames} whole ones")
        alone = kinds[0].itemsize if fixed else 0  # the first frame has all atoms, the others those that are free
        self._first = data[at : at + alone].view(kinds[0])
        self._others = data[at + alone :].view(kinds[1])

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
                wrong = records[name] != int(name[name.index("_") + 1 :])
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

    def _skip(self, data: NDArray[np.uint8], at: int) -> int:
        """Where the record after the one at `at` begins."""
        length = _integer(data, at, self._order)
        end = at + length + 8
        if length < 0 or end > len(data) or _integer(data, end - 4, self._order) != length:
            raise ValueError("its header is damaged")
        return end


def _integer(data: NDArray[np.uint8], at: int, order: str) -> int:
    if at + 4 > len(data):
        raise ValueError("its header is damaged")
    return int(np.frombuffer(data[at : at + 4].tobytes(), f"{order}i4")[0])


def _vectors(stored: Doubles) -> Doubles:
    """Vectors of boxes in nm from A, gamma, B, beta, alpha, C in Å and degrees, or cosines of angles as NAMD writes."""
    from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors

    angles = stored[:, [4, 3, 1]]
    degrees = np.where(np.abs(angles) <= 1, np.rad2deg(np.arccos(np.clip(angles, -1, 1))), angles)
    sides = _ANGSTROM * stored[:, [0, 2, 5]]
    with np.errstate(all="ignore"):
        return np.stack(lengths_and_angles_to_box_vectors(*sides.T, *degrees.T), axis=1)
