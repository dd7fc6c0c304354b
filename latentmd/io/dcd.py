"""DCD files of CHARMM, NAMD, X-PLOR, OpenMM and others: every record is checked, and the last frame must be whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.io.text_frames import CutShortError

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
