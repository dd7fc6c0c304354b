"""Whether every frame of a file is whole, where the library that reads it drops frames or crashes without a word."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.interpreter import command, environment
from latentmd.io.text_frames import CutShortError

_READ_HDF5 = """
import sys, tables
with tables.open_file(sys.argv[1]) as file:
    for leaf in file.walk_nodes("/", "Leaf"):
        for start in range(0, leaf.nrows, 1000):
            leaf[start:start + 1000]
"""
_XTC = {1995: ">i", 2023: ">q"}  # magic number, and how the length of the packed positions is stored
_UNPACKED = 9  # atoms up to which XTC stores plain numbers
_PACKING = range(9, 73)  # indices into the table of small numbers of the XTC format


def check_whole(name: str, suffix: str) -> None:
    """Refuse an XTC, NetCDF or PDB file that ends inside a frame, and a damaged XTC or HDF5 file.

    Args:
        name: of the file.
        suffix: that says its format.

    Raises:
        CutShortError: what is missing.
        ValueError: damage.
    """
    if suffix == ".xtc":
        _check_xtc(np.memmap(name, dtype=np.uint8, mode="r"))
    elif suffix in (".nc", ".ncdf", ".netcdf"):
        _check_netcdf(name)
    elif suffix in (".h5", ".hdf5", ".lh5"):
        _check_hdf5(name)
    elif suffix == ".pdb":
        _check_pdb(Path(name))


def _check_xtc(data: Any) -> None:
    """Headers of all frames, since xdrlib reads past the end of its buffers where one is damaged."""
    at, frame, atoms, size = 0, 0, None, len(data)
    while at < size:
        if at + 56 > size:
            raise CutShortError(f"the file ends inside frame {frame}")
        magic, count = struct.unpack_from(">ii", data, at)
        (stored,) = struct.unpack_from(">i", data, at + 52)
        atoms = count if atoms is None else atoms
        if magic not in _XTC or not 0 < count == stored == atoms:
            raise ValueError(f"frame {frame} has a damaged header")
        at = at + 56 + 12 * count if count <= _UNPACKED else _packed_end(data, at + 56, magic, count, frame)
        frame += 1
    if at != size:
        raise CutShortError(f"the file ends inside frame {frame - 1}")


def _packed_end(data: Any, at: int, magic: int, count: int, frame: int) -> int:
    """Where packed positions end, after precision, bounds, packing and length."""
    kind = _XTC[magic]
    head = 32 + struct.calcsize(kind)
    if at + head > len(data):
        raise CutShortError(f"the file ends inside frame {frame}")
    precision, *bounds, packing = struct.unpack_from(">f7i", data, at)
    (length,) = struct.unpack_from(kind, data, at + 32)
    ordered = all(low <= high for low, high in zip(bounds[:3], bounds[3:], strict=True))
    if not (precision > 0 and ordered and packing in _PACKING and 0 < length <= 16 * count + 64):
        raise ValueError(f"frame {frame} has a damaged header")
    return int(at + head + length + -length % 4)


def _check_netcdf(name: str) -> None:
    """SciPy refuses a file that is shorter than its header says; the netCDF library fills in zeros."""
    from scipy.io import netcdf_file

    with open(name, "rb") as raw:
        if raw.read(3) != b"CDF":
            return  # of the newer, HDF5-based kind
    with netcdf_file(name, mmap=True) as file:
        stated, record = file._recs, file._recsize
        begin = file.fp.tell() + sum(v.data.nbytes for v in file.variables.values() if not v.isrec)
    held = (Path(name).stat().st_size - begin) // record if record else stated
    if held > stated:
        raise CutShortError(f"its header states {stated} frames, it holds {held}")


def _check_hdf5(name: str) -> None:
    """Read the file through in a process of its own: the HDF5 library crashes on damage to a file's inner tables."""
    done = subprocess.run(command("-c", _READ_HDF5, name), env=environment(), capture_output=True, check=False)
    if done.returncode < 0:  # by a signal; what the library refuses, the reader says
        raise ValueError("the HDF5 library crashes on it")


def _check_pdb(path: Path) -> None:
    """Atoms of each model against those of the first; mdtraj puts what is missing at the origin."""
    counts = [0]
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("ATOM", "HETATM")):
                counts[-1] += 1
            elif line.startswith("MODEL ") and counts[-1]:
                counts.append(0)
    wrong = next((k for k, count in enumerate(counts) if count != counts[0]), None)
    if wrong is not None:
        raise CutShortError(f"model {wrong + 1} has {counts[wrong]} atoms, the first has {counts[0]}")
