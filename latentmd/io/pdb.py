"""Structures as PDB files that state every bond."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from openmm import app, unit

from latentmd.io.atomic import write_text
from latentmd.molecule.bonds import neighbour_lists

_IN_A_RECORD = 4  # bonded atoms that one CONECT record holds


def write_pdb(path: str | Path, topology: app.Topology, positions: ArrayLike) -> None:
    """Write a structure as a PDB file, whole or not at all; positions [atoms, 3] in nm."""
    write_text(Path(path), pdb_text(topology, positions))


def pdb_text(topology: app.Topology, positions: ArrayLike) -> str:
    """A structure [atoms, 3] in nm as text of a PDB file, with a CONECT record for every bond.

    OpenMM writes those of residues of no standard name only, which MDAnalysis would see fall apart.
    """
    text = io.StringIO()
    app.PDBFile.writeHeader(topology, text)
    app.PDBFile.writeModel(topology, np.asarray(positions) * unit.nanometer, text, keepIds=True)
    return text.getvalue() + _connections(topology, text.getvalue()) + "END\n"


def _connections(topology: app.Topology, written: str) -> str:
    """CONECT records of all bonds, by the numbers that the atoms were written with."""
    numbers = [line[6:11] for line in written.splitlines() if line[:6] in ("ATOM  ", "HETATM")]
    bonds, lines = [(first.index, second.index) for first, second in topology.bonds()], []
    for index, partners in enumerate(neighbour_lists(topology.getNumAtoms(), bonds)):
        bonded = [numbers[other] for other in partners]
        for start in range(0, len(bonded), _IN_A_RECORD):
            lines.append(f"CONECT{numbers[index]}{''.join(bonded[start : start + _IN_A_RECORD])}\n")
    return "".join(lines)
