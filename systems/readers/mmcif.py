"""mmCIF (PDBx) files, through OpenMM's reader of the syntax."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from openmm.app.internal.pdbx.reader.PdbxReader import PdbxReader

from latentmd.systems.protocol import MoleculeError
from latentmd.systems.readers.records import AtomRecord, Key, LinkRecord, Records, cell_of, number_of
from latentmd.units import first_line

_NONE = ("", ".", "?")
_BONDED = ("covale", "disulf", "covalent")


def read_mmcif(text: str, path: Path) -> Records:
    """Records of the first data block of an mmCIF file; chains and numbers are the authors'."""
    blocks: list[Any] = []
    try:
        PdbxReader(io.StringIO(text)).read(blocks)
    except Exception as error:  # the parser raises whatever its states and indices do
        raise MoleculeError(f"{path}: not a readable mmCIF file ({first_line(error)}); fetch it again") from error
    block = next((block for block in blocks if block.getObj("atom_site") is not None), None)
    if block is None:
        raise MoleculeError(f"{path}: no ATOM records found; expected an mmCIF file with an _atom_site table")
    records = Records()
    aliases: dict[tuple[str, str, str], Key] = {}
    segment, last = 0, None
    for count, row in enumerate(_rows(block, "atom_site"), 1):
        asym = row.get("label_asym_id", ""), row.get("pdbx_PDB_model_num", "")
        segment += last is not None and asym != last
        last = asym
        atom = _atom(row, f"{path}, atom {count}", segment)
        records.atoms.append(atom)
        for chain, number in (("label_asym_id", "label_seq_id"), ("auth_asym_id", "auth_seq_id")):
            aliases.setdefault((row.get(chain, ""), row.get(number, ""), atom.residue), atom.key)
    records.links = [link for row in _rows(block, "struct_conn") if (link := _link(row, aliases)) is not None]
    records.sequences = _sequences(block)
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cells = _rows(block, "cell")
    records.cell = cell_of([cells[0].get(name, "") for name in names]) if cells else None
    return records


def _rows(block: Any, name: str) -> list[dict[str, str]]:
    table = block.getObj(name)
    if table is None:
        return []
    columns = list(table.getAttributeList())
    rows = (zip(columns, table.getRow(i), strict=False) for i in range(table.getRowCount()))
    return [{key: "" if str(value) in _NONE else str(value) for key, value in row} for row in rows]


def _atom(row: dict[str, str], where: str, segment: int) -> AtomRecord:
    name = (row.get("auth_atom_id") or row.get("label_atom_id", "")).upper()
    residue = (row.get("auth_comp_id") or row.get("label_comp_id", "")).upper()
    chain = row.get("auth_asym_id") or row.get("label_asym_id", "")
    if not name or not residue:
        raise MoleculeError(f"{where}: no name of the atom or of its residue; expected label_atom_id and label_comp_id")
    number = number_of(row.get("auth_seq_id") or row.get("label_seq_id", ""), int, where, "the number of the residue")
    label = f"{chain}:{residue}{number}:{name}"
    xyz = [number_of(row.get(f"Cartn_{axis}", ""), float, where, f"the {axis} coordinate of {label}") for axis in "xyz"]
    if not all(math.isfinite(value) for value in xyz):
        raise MoleculeError(f"{where}: coordinates of atom {label} are not finite; correct the file")
    model = number_of(row.get("pdbx_PDB_model_num", "") or "1", int, where, "the number of the model")
    occupancy = number_of(row.get("occupancy", "") or "1", float, where, "the occupancy")
    key, position = (chain, number, row.get("pdbx_PDB_ins_code", "")), (0.1 * xyz[0], 0.1 * xyz[1], 0.1 * xyz[2])
    record = AtomRecord(model, segment, key, residue, name, position=position, occupancy=occupancy)
    return replace(record, altloc=row.get("label_alt_id", ""), element=row.get("type_symbol", "").capitalize())


def _link(row: dict[str, str], aliases: dict[tuple[str, str, str], Key]) -> LinkRecord | None:
    if not row.get("conn_type_id", "").lower().startswith(_BONDED):
        return None
    ends: list[tuple[Key, str]] = []
    for side in ("ptnr1", "ptnr2"):
        residue = row.get(f"{side}_label_comp_id", "").upper()
        names = (f"{side}_auth", f"{side}_label")
        keys = [(row.get(f"{name}_asym_id", ""), row.get(f"{name}_seq_id", ""), residue) for name in names]
        found = next((aliases[key] for key in keys if key in aliases), None)
        if found is None:
            return None
        ends.append((found, row.get(f"{side}_label_atom_id", "").upper()))
    symmetry = {row.get(f"{side}_symmetry", "") for side in ("ptnr1", "ptnr2")} - {"", "1_555"}
    return LinkRecord("struct_conn", ends[0], ends[1], bool(symmetry))


def _sequences(block: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in _rows(block, "pdbx_poly_seq_scheme"):
        found.setdefault(row.get("pdb_strand_id") or row.get("asym_id", ""), []).append(row.get("mon_id", "").upper())
    if found:
        return found
    entities: dict[str, list[str]] = {}
    for row in _rows(block, "entity_poly_seq"):
        entities.setdefault(row.get("entity_id", ""), []).append(row.get("mon_id", "").upper())
    for row in _rows(block, "atom_site"):
        entity = row.get("label_entity_id", "")
        if entity in entities:
            found.setdefault(row.get("auth_asym_id") or row.get("label_asym_id", ""), entities[entity])
    return found
