"""Whether the last frame of a file is whole, where the library that reads it drops it without a word."""

from __future__ import annotations

import struct
from pathlib import Path

from latentmd.io.text_frames import CutShortError


def check_whole(name: str, suffix: str) -> None:
    """Refuse a DCD, NetCDF or PDB file that ends inside a frame, or holds fewer frames than it states.

    Args:
        name: of the file.
        suffix: that says its format.

    Raises:
        CutShortError: what is missing.
        ValueError: damage.
    """
    if suffix == ".dcd":
        _check_dcd(Path(name))
    elif suffix in (".nc", ".ncdf", ".netcdf"):
        _check_netcdf(name)
    elif suffix == ".pdb":
        _check_pdb(Path(name))


def _check_dcd(path: Path) -> None:
    """Header, title and number of atoms are Fortran records, then each frame is a box and one record per direction."""
    with path.open("rb") as file:
        order = "<" if file.read(4) == struct.pack("<i", 84) else ">"
        control = struct.unpack(f"{order}20i", file.read(84)[4:])
        at = 92
        for _ in range(2):  # title, number of atoms
            file.seek(at)
            at += 8 + struct.unpack(f"{order}i", file.read(4))[0]
        file.seek(at - 8)
        atoms = struct.unpack(f"{order}i", file.read(4))[0]
    stated, fixed = control[0], control[8]
    box = 56 if control[10] else 0
    fourth = 8 + 4 * atoms if control[11] else 0
    first, each = (box + fourth + 3 * (8 + 4 * n) for n in (atoms, atoms - fixed))
    rest = path.stat().st_size - at - (4 * fixed + 8 if fixed else 0)
    held, over = divmod(rest - first, each)
    if rest < first or held + 1 < stated:
        raise CutShortError(f"its header states {stated} frames, it holds {max(held + 1, 0)}")
    if over:
        raise CutShortError(f"{over} bytes of another frame follow its {held + 1} whole ones")


def _check_netcdf(name: str) -> None:
    """SciPy refuses a file that is shorter than its header says; the netCDF library fills in zeros."""
    from scipy.io import netcdf_file

    with open(name, "rb") as file:
        classic = file.read(3) == b"CDF"
    if classic:
        netcdf_file(name, mmap=True).close()


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
