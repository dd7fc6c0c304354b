"""PDB files (wwPDB format 3.3): fixed columns, read strictly, since a shifted column is a wrong number."""

from __future__ import annotations

import math
import re
from pathlib import Path

from latentmd.systems.errors import MoleculeError
from latentmd.systems.readers.records import AtomRecord, Key, LinkRecord, Records

_NUMBER = re.compile(r"^\s*[-+]?(\d+\.?\d*|\.\d+)\s*$")
_DECIMAL = re.compile(r"^\s*[-+]?\d*\.\d+\s*$")
_IDENTITY = ("", "1555")


def read_pdb(text: str, path: Path) -> Records:
    """Records of a PDB file.

    Args:
        text: of the file.
        path: for messages.

    Raises:
        MoleculeError: a line that cannot be read, by its number.
    """
    records = Records()
    model, segment, models = 1, 0, set[int]()
    for count, raw in enumerate(text.split("\n"), 1):
        record, where = raw[:6].upper().rstrip(), f"{path}, line {count}"
        if record in ("ATOM", "HETATM"):
            records.atoms.append(_atom(raw, where, model, segment))
        elif record == "TER":
            segment += 1
        elif record == "MODEL":
            model = _integer(raw[6:], where, "the number of the model")
            if model in models:
                raise MoleculeError(f"{where}: MODEL {model} for the second time; number the models differently")
            models.add(model)
        elif record == "ENDMDL":
            segment += 1
        elif record in ("SSBOND", "LINK"):
            records.links.append(_link(record, raw.ljust(80), where))
        elif record == "CONECT":
            records.links += _conect(raw, where)
        elif record == "SEQRES":
            records.sequences.setdefault(raw[11:12].strip(), []).extend(raw[19:].upper().split())
        elif record == "CRYST1":
            records.cell = _cell(raw)
    return records


def _atom(raw: str, where: str, model: int, segment: int) -> AtomRecord:
    if "\t" in raw:
        raise MoleculeError(f"{where}: tabs between the columns; a PDB file has fixed columns, written with spaces")
    if len(raw) < 54:
        raise MoleculeError(
            f"{where}: not a readable PDB record, {len(raw)} characters long; expected at least 54, up to z"
        )
    name, residue = raw[12:16].strip().upper(), raw[17:21].strip().upper()
    if not name or not residue or not (name + residue).isascii() or len((name + " " + residue).split()) != 2:
        raise MoleculeError(
            f"{where}: {raw[12:21]!r} is no atom and residue name; expected them in columns 13 to 16 and 18 to 21"
        )
    chain = raw[21:22].strip()
    number = _integer(raw[22:26], where, "the number of the residue (columns 23 to 26)")
    label = f"{chain}:{residue}{number}:{name}"
    occupancy = raw[54:60].strip()
    if occupancy and not _NUMBER.match(occupancy):
        raise MoleculeError(
            f"{where}: the occupancy of {label} is {occupancy!r}; expected a number in columns 55 to 60"
        )
    serial = raw[6:11].strip()
    return AtomRecord(
        model=model,
        chain=chain,
        residue=residue,
        number=number,
        insertion=raw[26:27].strip(),
        segment=segment,
        name=name,
        altloc=raw[16:17].strip(),
        element=raw[76:78].strip().capitalize() if raw[76:78].strip().isalpha() else "",
        position=_position(raw, where, label),
        occupancy=float(occupancy) if occupancy else 1.0,
        serial=int(serial) if serial.isdecimal() else -1,
    )


def _position(raw: str, where: str, label: str) -> tuple[float, float, float]:
    fields = raw[30:38], raw[38:46], raw[46:54]
    for text in fields:
        if "*" in text or text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise MoleculeError(
                f"{where}: coordinates of atom {label} are not finite ({text.strip()}); correct the file"
            )
        if not _DECIMAL.match(text):
            raise MoleculeError(
                f"{where}: {text!r} is no coordinate of atom {label}; expected x, y and z in angstrom, with decimals, "
                "in columns 31 to 54"
            )
    x, y, z = (0.1 * float(text) for text in fields)
    return x, y, z


def _integer(text: str, where: str, what: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise MoleculeError(f"{where}: {text.strip()!r} is not {what}; expected an integer") from None


def _key(raw: str, start: int, where: str) -> Key:
    """Chain, number and insertion code from the column of the chain on."""
    number = _integer(raw[start + 1 : start + 5], where, "the number of a residue")
    return raw[start : start + 1].strip(), number, raw[start + 5 : start + 6].strip()


def _link(record: str, raw: str, where: str) -> LinkRecord:
    symmetry = len({raw[59:65].strip(), raw[66:72].strip()} - set(_IDENTITY)) > 0
    if record == "SSBOND":
        first = raw[15:16].strip(), _integer(raw[17:21], where, "the number of a residue"), raw[21:22].strip()
        second = raw[29:30].strip(), _integer(raw[31:35], where, "the number of a residue"), raw[35:36].strip()
        return LinkRecord("SSBOND", (first, "SG"), (second, "SG"), symmetry)
    return LinkRecord(
        "LINK",
        (_key(raw, 21, where), raw[12:16].strip().upper()),
        (_key(raw, 51, where), raw[42:46].strip().upper()),
        symmetry,
    )


def _conect(raw: str, where: str) -> list[LinkRecord]:
    fields = [raw[start : start + 5].strip() for start in range(6, 31, 5)]
    numbers = [_integer(text, where, "the serial number of an atom in a CONECT record") for text in fields if text]
    return [LinkRecord("CONECT", numbers[0], other) for other in numbers[1:]]


def _cell(raw: str) -> tuple[float, ...] | None:
    fields = [raw[6:15], raw[15:24], raw[24:33], raw[33:40], raw[40:47], raw[47:54]]
    try:
        values = [float(text) for text in fields]
    except ValueError:
        return None
    if not all(math.isfinite(value) and value > 0 for value in values) or max(values[:3]) <= 1.0:
        return None  # 1 x 1 x 1 stands for "none"
    return (*(0.1 * value for value in values[:3]), *values[3:])
