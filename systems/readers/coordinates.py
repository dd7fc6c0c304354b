"""Coordinates for a topology that has none of its own: Amber inpcrd and rst7, CHARMM crd, GRO, PDB and mmCIF files."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openmm import app, unit

from latentmd.arrays import Doubles
from latentmd.molecule.order import Named, named_atoms
from latentmd.systems.errors import MoleculeError, first_line
from latentmd.systems.readers.gro import read_gro
from latentmd.systems.readers.text import file_format, read_bytes, read_text

EXPECTED = "expected an Amber inpcrd or rst7, CHARMM crd, GRO, PDB or mmCIF file"
_INPCRD = re.compile(r"^\s*\d+(\s+[-+.\dEeDd]+){0,2}\s*$")
_NETCDF = (b"CDF\x01", b"CDF\x02", b"\x89HDF")


@dataclass(frozen=True)
class Coordinates:
    """Positions [atoms, 3] in nm, what the file says of the atoms (empty where only numbers) and the periodic box."""

    positions: Doubles
    atoms: tuple[Named, ...] = ()
    box: unit.Quantity | None = None


def read_coordinates(path: Path) -> Coordinates:
    """Read coordinates from a file of any of the formats, told apart by content."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of OpenMM's readers, about chains and elements
            found = _read(path)
    except MoleculeError:
        raise
    except Exception as error:
        raise MoleculeError(f"{path}: coordinates cannot be read ({first_line(error)}); {EXPECTED}") from error
    if not np.isfinite(found.positions).all():
        raise MoleculeError(f"{path}: coordinates of an atom are not finite; correct the file")
    return found


def _read(path: Path) -> Coordinates:
    if read_bytes(path)[:4] in _NETCDF:
        return _inpcrd(path)
    text = read_text(path)
    kind = file_format(text)
    if kind == "gro":
        records = read_gro(text, path)
        gro = app.GromacsGroFile(str(path)) if records.cell else None
        return Coordinates(
            np.array([atom.position for atom in records.atoms]),
            tuple(Named(0, f"{a.residue}{a.number}-{a.name}", a.name, "") for a in records.atoms),
            None if gro is None else gro.getPeriodicBoxVectors(),
        )
    if kind in ("pdb", "mmcif"):
        file = app.PDBFile(io.StringIO(text)) if kind == "pdb" else app.PDBxFile(io.StringIO(text))
        box = file.topology.getPeriodicBoxVectors()
        return Coordinates(_nm(file.positions), tuple(named_atoms(file.topology)), box)
    lines = [line for line in text.split("\n") if not line.startswith("*")]
    if text.startswith("*") and lines and lines[0].split()[:1] and lines[0].split()[0].isdecimal():
        crd = app.CharmmCrdFile(str(path))
        labels = zip(crd.resname, crd.resno, crd.attype, strict=True)
        atoms = (Named(0, f"{residue}{number}-{name}", str(name), "") for residue, number, name in labels)
        return Coordinates(_nm(crd.positions), tuple(atoms))
    if len(text.split("\n")) > 2 and _INPCRD.match(text.split("\n")[1]):
        return _inpcrd(path)
    raise MoleculeError(f"{path}: holds no coordinates that can be read; {EXPECTED}")


def _inpcrd(path: Path) -> Coordinates:
    file = app.AmberInpcrdFile(str(path))
    return Coordinates(_nm(file.positions), (), file.boxVectors)


def _nm(positions: unit.Quantity) -> Doubles:
    return np.array(positions.value_in_unit(unit.nanometer), dtype=np.float64).reshape(-1, 3)
