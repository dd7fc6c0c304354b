"""The text of a file, whatever its compression and encoding, and which format it is in."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from pathlib import Path

from latentmd.systems.protocol import InputOptions, MoleculeError
from latentmd.units import first_line

EXPECTED = "expected a PDB, mmCIF or GRO file with atoms, or a prmtop, psf or top file with --positions"
LIGAND = (
    "an SDF or MOL2 file, which does not go with --system; leave --system out for OpenFF's force field, or give the "
    "molecule's PDB file with it"
)
_MOST_BYTES = 500_000_000  # of an uncompressed file
#: What tells files of topologies with a force field.
_SIGNS = {
    "prmtop": r"\A%VERSION",
    "psf": r"\APSF\b",
    "top": r"(?m)^\s*\[ *(moleculetype|molecules|system|defaults) *\]",
}
_GRO_ATOM = re.compile(r"^[ \d]{5}\S.{9}[ \d]{5}\s*-?\d+\.\d+\s*-?\d+\.\d+\s*-?\d+\.\d+")


def read_text(path: Path) -> str:
    """Text of a file, unzipped and without a byte-order mark, with lines that end in a line feed."""
    data = read_bytes(path)
    if b"\0" in data:
        raise MoleculeError(f"{path}: not a text file; {EXPECTED}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # remarks of older programs; columns with atoms are checked one by one
        if sum(not character.isprintable() and not character.isspace() for character in text) > 8:
            raise MoleculeError(f"{path}: not a text file; {EXPECTED}") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<body")):
        raise MoleculeError(f"{path}: a web page or XML, not a molecule (a failed download?); {EXPECTED}")
    return text


def read_bytes(path: Path) -> bytes:
    """Content of a file, unzipped."""
    if not path.exists():
        raise MoleculeError(f"{path}: no such file; {EXPECTED} (`latentmd systems` lists the bundled ones)")
    if not path.is_file():
        raise MoleculeError(f"{path}: not a file; {EXPECTED}")
    if path.stat().st_size == 0:
        raise MoleculeError(f"{path}: the file is empty; {EXPECTED}")
    if not os.access(path, os.R_OK):
        raise MoleculeError(f"{path}: not readable; check its permissions")
    try:
        with gzip.open(path, "rb") if zipped(path) else path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise MoleculeError(f"{path}: damaged gzip file ({first_line(error)}); write or fetch it again") from error
    if not data:
        raise MoleculeError(f"{path}: the file is empty; {EXPECTED}")
    if len(data) > _MOST_BYTES:
        raise MoleculeError(f"{path}: over {_MOST_BYTES // 10**6} MB of text; {EXPECTED}")
    return data


def zipped(path: Path) -> bool:
    """Whether a file is compressed by gzip."""
    with path.open("rb") as raw:
        return raw.read(2) == b"\x1f\x8b"


def is_ligand(text: str) -> bool:
    """Whether a text is an SDF (MDL molfile) or MOL2 file."""
    counts = (text.split("\n", 4) + [""] * 4)[3].rstrip()
    return counts.endswith(("V2000", "V3000")) or "@<TRIPOS>MOLECULE" in text


def source_kind(path: Path, inputs: InputOptions) -> str:
    """What a molecule comes as: "ligand" (SDF, MOL2 or SMILES, or a PDB file with a SMILES for its bonds), "own" (with
    a force field of its own), or the format of a file of coordinates, "" where it has none.
    """
    if inputs.system is None and (inputs.smiles is not None or is_ligand(read_text(path))):
        return "ligand"
    if inputs.system is not None and inputs.smiles is None:
        return "own"
    kind = file_format(read_text(path))
    return "own" if kind in _SIGNS and inputs.smiles is None else kind


def file_format(text: str) -> str:
    """Format by content, as names often lie: "pdb", "mmcif", "gro", "prmtop" (Amber), "psf", "top" (GROMACS), or ""."""
    for kind, sign in _SIGNS.items():
        if re.search(sign, text):
            return kind
    lines = text.split("\n")
    starts = [line.strip().lower()[:11] for line in lines]
    if any(line[:6].upper().rstrip() in ("ATOM", "HETATM") for line in lines) and "_atom_site." not in starts:
        return "pdb"
    if any(start.startswith(("_atom_site.", "_atom_site_", "data_")) for start in starts):
        return "mmcif"
    return "gro" if len(lines) > 2 and lines[1].strip().isdecimal() and _GRO_ATOM.match(lines[2]) else ""
