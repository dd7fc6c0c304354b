"""PDB (wwPDB format 3.3) and GROMACS files: fixed columns, read strictly, as a shifted column is a wrong number."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from latentmd.systems.protocol import MoleculeError
from latentmd.systems.readers.records import AtomRecord, Key, LinkRecord, Records, cell_of, number_of

_NUMBER = re.compile(r"^\s*[-+]?(\d+\.?\d*|\.\d+)\s*$")
_DECIMAL = re.compile(r"^\s*[-+]?\d*\.\d+\s*$")
_IDENTITY = ("", "1555")
_HYBRID = re.compile(r"^([A-Z][0-9A-Z]{3}|[a-z][0-9a-z]{3})$")  # residue numbers over 9999 in hybrid-36


def read_pdb(text: str, path: Path) -> Records:
    """Records of a PDB file; MoleculeError names a line that cannot be read by its number."""
    records = Records()
    model, segment, models, ended, name = 1, 0, set[int](), False, ""
    for count, raw in enumerate(text.split("\n"), 1):
        record, where = raw[:6].upper().rstrip(), f"{path}, line {count}"
        if record in ("ATOM", "HETATM"):
            model += ended
            ended = False
            before, name = name, raw[72:76].strip() if not raw[21:22].strip() else ""
            segment += bool(before and name and before != name)
            records.atoms.append(_atom(raw, where, model, segment))
        elif record == "TER":
            segment += 1
        elif record == "MODEL":
            number = raw[6:].strip()
            model = number_of(number, int, where, "the number of the model") if number else max(models, default=0) + 1
            if model in models:
                raise MoleculeError(f"{where}: MODEL {model} for the second time; number the models differently")
            models.add(model)
            ended = False
        elif record in ("END", "ENDMDL"):
            segment += 1
            ended = bool(records.atoms)
        elif record in ("SSBOND", "LINK"):
            records.links.append(_link(record, raw.ljust(80), where))
        elif record == "CONECT":
            records.links += _conect(raw, where)
        elif record == "SEQRES":
            records.sequences.setdefault(raw[11:12].strip(), []).extend(raw[19:].upper().split())
        elif record == "CRYST1":
            records.cell = cell_of([raw[start:end] for start, end in pairwise((6, 15, 24, 33, 40, 47, 54))])
    twice = len({(atom.model, atom.key) for atom in records.atoms}) > len({atom.key for atom in records.atoms})
    if not models and not twice:  # what follows an END record is a part of the first model, no other one
        records.atoms = [replace(atom, model=1) for atom in records.atoms]
    return records


def _atom(raw: str, where: str, model: int, segment: int) -> AtomRecord:
    if "\t" in raw:
        raise MoleculeError(f"{where}: tabs between the columns; a PDB file has fixed columns, written with spaces")
    if len(raw) < 54:
        raise MoleculeError(f"{where}: not a readable PDB record, {len(raw)} characters long; expected 54 or more")
    name, residue = raw[12:16].strip().upper(), raw[17:21].strip().upper()
    if not name or not residue or not (name + residue).isascii() or len((name + " " + residue).split()) != 2:
        raise MoleculeError(
            f"{where}: {raw[12:21]!r} is no atom and residue name; expected them in columns 13 to 16 and 18 to 21"
        )
    label = f"{raw[21:22].strip()}:{residue}{_residue_number(raw[22:26], where)}:{name}"
    occupancy = raw[54:60].strip()
    if occupancy and not _NUMBER.match(occupancy):
        raise MoleculeError(f"{where}: the occupancy of {label} is {occupancy!r}; expected a number in columns 55-60")
    key, element, position = _key(raw, 21, where), raw[76:78].strip(), _position(raw, where, label)
    element = element.capitalize() if element.isalpha() else ""
    record = AtomRecord(model, segment, key, residue, name, position=position, element=element)
    return replace(record, occupancy=float(occupancy or 1), serial=_serial(raw[6:11]), altloc=raw[16:17].strip())


def _position(raw: str, where: str, label: str) -> tuple[float, float, float]:
    fields = raw[30:38], raw[38:46], raw[46:54]
    for text in fields:
        if "*" in text or text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise MoleculeError(f"{where}: coordinates of atom {label} are not finite ({text.strip()}); correct it")
        if not _DECIMAL.match(text):
            what = "expected x, y and z in angstrom, with decimals, in columns 31 to 54"
            raise MoleculeError(f"{where}: {text!r} is no coordinate of atom {label}; {what}")
    x, y, z = (0.1 * float(text) for text in fields)
    return x, y, z


def _residue_number(text: str, where: str) -> int:
    """Number of a residue, also in hybrid-36 (https://cci.lbl.gov/hybrid_36), which goes on after 9999 with A000."""
    text = text.strip()
    if not _HYBRID.match(text):
        return number_of(text, int, where, "the number of the residue (columns 23 to 26)")
    return int(text, 36) - 10 * 36**3 + 10**4 + (26 * 36**3 if text[0].islower() else 0)


def _serial(text: str) -> int:
    """Number by which CONECT records name an atom; those over 99999 are hexadecimal or hybrid-36; -1 for none."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return int(text)
    return 100_000 + int(text, 36) if text.isascii() and text.isalnum() else -1


def _key(raw: str, start: int, where: str) -> Key:
    """Chain, number and insertion code from the column of the chain on."""
    number = _residue_number(raw[start + 1 : start + 5], where)
    return raw[start : start + 1].strip(), number, raw[start + 5 : start + 6].strip()


def _link(record: str, raw: str, where: str) -> LinkRecord:
    symmetry = len({raw[59:65].strip(), raw[66:72].strip()} - set(_IDENTITY)) > 0
    if record == "SSBOND":
        one, other = (_key(raw[at : at + 1] + raw[at + 2 : at + 7], 0, where) for at in (15, 29))
        return LinkRecord("SSBOND", (one, "SG"), (other, "SG"), symmetry)
    first, second = ((_key(raw, at, where), raw[at - 9 : at - 5].strip().upper()) for at in (21, 51))
    return LinkRecord("LINK", first, second, symmetry)


def _conect(raw: str, where: str) -> list[LinkRecord]:
    fields = [raw[start : start + 5].strip() for start in range(6, 31, 5)]
    numbers = [_serial(text) for text in fields if text.strip("*")]
    if -1 in numbers:
        wrong = next(text for text in fields if text and _serial(text) == -1)
        raise MoleculeError(f"{where}: {wrong!r} is not the serial number of an atom in a CONECT record")
    return [LinkRecord("CONECT", numbers[0], other) for other in numbers[1:]]


_VECTORS = ((0, 3, 4), (5, 1, 6), (7, 8, 2))  # where x, y, z of each box vector stand in the last line


def read_gro(text: str, path: Path) -> Records:
    """Records of a GRO file, each frame a model; chains have no names there, and no ends are marked."""
    lines = text.rstrip().split("\n")
    records, start, model = Records(), 0, 0
    while start + 1 < len(lines) and (not model or lines[start + 1].strip().isdecimal()):
        model += 1
        count, begin = int(lines[start + 1]), start + 2
        if len(lines) < begin + count:
            raise MoleculeError(f"{path}: {count} atoms announced, {len(lines) - begin} lines found; it is cut short")
        for i, line in enumerate(lines[begin : begin + count]):
            records.atoms.append(_gro_atom(line, f"{path}, line {begin + i + 1}", i, model))
        last = lines[begin + count] if len(lines) > begin + count else ""
        if last.strip() and not _box(last):
            raise MoleculeError(
                f"{path}, line {begin + count + 1}: expected the box after the {count} atoms that line {begin} "
                "announces, found something else; correct the number of atoms"
            )
        if model == 1:
            records.cell = _cell(_box(last))
        start = begin + count + 1
    return records


def _gro_atom(line: str, where: str, index: int, model: int) -> AtomRecord:
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
    residue, name = line[5:10].strip().upper(), line[10:15].strip().upper()
    return AtomRecord(model, 0, ("", number, ""), residue, name, position=(xyz[0], xyz[1], xyz[2]), serial=index + 1)


def _box(line: str) -> list[float]:
    """Numbers of the last line of a frame; none where it is no box."""
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return []
    return values if len(values) in (3, 9) else []


def _cell(values: list[float]) -> tuple[float, ...] | None:
    from mdtraj.utils.unitcell import box_vectors_to_lengths_and_angles

    if not values or not all(math.isfinite(value) for value in values) or min(values[:3]) <= 0:
        return None
    if len(values) == 3:
        return (*values, 90.0, 90.0, 90.0)
    vectors = [np.array([values[i] for i in row]) for row in _VECTORS]
    return tuple(float(value) for value in box_vectors_to_lengths_and_angles(*vectors))
