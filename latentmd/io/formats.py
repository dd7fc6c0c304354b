"""Formats of trajectory files: which carry times and names of atoms; names of files for libraries that are choosy."""

from __future__ import annotations

import bz2
import glob
import gzip
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

PACKED = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File}


#: Formats that can be read, by the end of the file's name, and whether they have times in ps. LAMMPS has them with the
#: lines of `dump_modify time yes units yes`; writers of DCD files do not agree on the unit of its time step.
FORMATS: dict[str, Literal["always", "some", "never"]] = {
    **dict.fromkeys((".xtc", ".trr", ".dtr", ".stk"), "always"),
    **dict.fromkeys((".nc", ".ncdf", ".netcdf", ".gro", ".h5", ".hdf5", ".lammpstrj"), "some"),
    **dict.fromkeys((".lh5", ".pdb", ".cif", ".mmcif", ".pdbx"), "never"),
    **dict.fromkeys((".dcd", ".xyz", ".extxyz", ".arc", ".mdcrd", ".crd", ".npy"), "never"),
}
#: Formats that name their atoms.
NAMING = frozenset((".gro", ".h5", ".hdf5", ".lh5", ".pdb", ".cif", ".mmcif", ".pdbx"))
_FOUND = (".xtc", ".trr", ".dcd", ".h5", ".nc", ".ncdf", ".netcdf", ".lammpstrj", ".npy")


def trajectories_in(folder: Path, stem: str = "") -> list[Path]:
    """Sorted trajectory files of a folder with this stem; of formats that hold nothing else than frames."""
    return sorted(p for p in folder.glob(f"{glob.escape(stem)}*") if suffix_of(p) in _FOUND and p.is_file())


def suffix_of(path: Path) -> str:
    """End of a trajectory's name in small letters, without that of a packed file: .pdb of A.PDB.gz."""
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return name.suffix.lower()


@contextmanager
def ascii_path(path: str | Path) -> Iterator[str]:
    """Yield a name in ASCII for a file, which may not exist: its own, or that of a link to it in a temporary folder."""
    if str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="latentmd-") as folder:
        link = Path(folder) / f"file{Path(path).suffix}"
        link.symlink_to(Path(path).absolute())
        yield str(link)
