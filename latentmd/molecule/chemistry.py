"""One plain record of a molecule's chemistry from an mdtraj or an OpenMM topology, its tokens and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from latentmd.molecule.bonds import components, neighbour_lists

if TYPE_CHECKING:
    import mdtraj
    from openmm import app

#: A molecule as mdtraj or OpenMM reads it from a file, and that or this package's record of it.
FileTopology: TypeAlias = "mdtraj.Topology | app.Topology"
Topology: TypeAlias = "FileTopology | Chemistry"

#: Standard atomic weights in amu of the elements that a model tells apart (IUPAC 2021, conventional values).
ATOMIC_WEIGHTS = {
    "H": 1.008, "Li": 6.94, "B": 10.81, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "Na": 22.990,
    "Mg": 24.305, "Si": 28.085, "P": 30.974, "S": 32.06, "Cl": 35.45, "K": 39.098, "Ca": 40.078, "Mn": 54.938,
    "Fe": 55.845, "Co": 58.933, "Ni": 58.693, "Cu": 63.546, "Zn": 65.38, "Se": 78.971, "Br": 79.904, "I": 126.904,
}  # fmt: skip

# Names that force fields and file formats give to one residue; the protonation state is in the bond graph.
_RESIDUE_NAMES = {
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS", "CYX": "CYS", "CYM": "CYS",
    "CYS2": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "NMA": "NME", "NHE": "NH2", "WAT": "HOH", "SOL": "HOH",
    "TIP3": "HOH", "TP3": "HOH", "TIP": "HOH", "H2O": "HOH", "TIP4": "HOH",
}  # fmt: skip
# Heavy atoms that files name in more than one way; (residue or "*", name) → name.
_ATOM_NAMES = {
    ("NME", "C"): "CH3", ("NME", "CA"): "CH3", ("NME", "CAT"): "CH3", ("ACE", "CA"): "CH3", ("ACE", "CAY"): "CH3",
    ("ACE", "CY"): "C", ("ACE", "OY"): "O", ("NME", "NT"): "N", ("ILE", "CD"): "CD1", ("HOH", "OW"): "O",
    ("HOH", "OH2"): "O", ("*", "OT1"): "O", ("*", "OT2"): "OXT", ("*", "O1"): "O", ("*", "O2"): "OXT",
    ("*", "OC1"): "O", ("*", "OC2"): "OXT",
}  # fmt: skip
# Bonds of standard residues that mdtraj's templates of PDB files lack; residue → pairs of names.
_ADDED_BONDS = {"PRO": (("N", "H2"),)}  # second hydrogen of a charged end
AMINO_ACIDS = frozenset("ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split())


@dataclass(frozen=True)
class Chemistry:
    """What latentmd knows of a molecule: all but the coordinates, under standard names of residues and heavy atoms.

    "VS" stands for no element, "H" for deuterium too; masses in amu, not repartitioned; labels are for messages.
    """

    symbols: tuple[str, ...]
    names: tuple[str, ...]
    residues: tuple[str, ...]
    residue_index: tuple[int, ...]
    masses: tuple[float, ...]
    bonds: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.symbols)

    def reordered(self, order: Iterable[int]) -> Chemistry:
        """The same molecule with its atoms in another order, given as their indices in this one."""
        rows = [int(i) for i in order]
        place = {i: k for k, i in enumerate(rows)}
        kinds = ("symbols", "names", "residues", "residue_index", "masses", "labels")
        columns = {name: tuple(getattr(self, name)[i] for i in rows) for name in kinds}
        bonds = sorted((min(place[i], place[j]), max(place[i], place[j])) for i, j in self.bonds)
        return Chemistry(**columns, bonds=tuple(bonds))

    def neighbours(self) -> list[list[int]]:
        """Bonded neighbours of every atom, sorted."""
        return neighbour_lists(self.n_atoms, self.bonds)


def chemistry(topology: Topology) -> Chemistry:
    """Read an mdtraj.Topology or openmm.app.Topology; both give the same record for the same molecule.

    ValueError for a topology without atoms, or one in which atoms of one residue are not bonded to each other.
    """
    if isinstance(topology, Chemistry):
        return topology
    if not all(hasattr(topology, name) for name in ("atoms", "bonds", "residues")):
        hint = "; pass its .topology" if hasattr(topology, "topology") else ""
        raise TypeError(
            f"Expected an mdtraj.Topology or an openmm.app.Topology, found {type(topology).__module__}."
            f"{type(topology).__name__}{hint}."
        )
    atoms, bonds = parts_of(topology)
    if not atoms:
        raise ValueError("The topology has no atoms; check that the PDB file holds ATOM or HETATM records.")
    residues = [_residue_name(atom.residue.name) for atom in atoms]
    named = ["VS" if atom.element is None else str(atom.element.symbol) for atom in atoms]
    symbols = ["H" if symbol == "D" else symbol for symbol in named]
    read = ((b[0].index, b[1].index) for b in bonds)
    record = Chemistry(
        symbols=tuple(symbols),
        names=tuple(_atom_name(res, atom.name) for res, atom in zip(residues, atoms, strict=True)),
        residues=tuple(residues),
        residue_index=tuple(int(atom.residue.index) for atom in atoms),
        masses=tuple(_mass(symbol, atom.element) for symbol, atom in zip(symbols, atoms, strict=True)),
        bonds=tuple(sorted({(min(i, j), max(i, j)) for i, j in (*read, *_added_bonds(topology))})),
        labels=tuple(f"{atom.residue.name}{atom.residue.index + 1}-{atom.name}" for atom in atoms),
    )
    _check_residues_connected(record)
    return record


def parts_of(topology: FileTopology) -> tuple[list[app.topology.Atom], list[app.topology.Bond]]:
    """Atoms and bonds of an mdtraj or OpenMM topology."""
    atoms, bonds = topology.atoms, topology.bonds
    return list(atoms() if callable(atoms) else atoms), list(bonds() if callable(bonds) else bonds)


def _added_bonds(topology: FileTopology) -> list[tuple[int, int]]:
    found = []
    for residue in topology.residues() if callable(topology.residues) else topology.residues:
        pairs = _ADDED_BONDS.get(_residue_name(residue.name), ())
        if pairs:
            index = {atom.name: atom.index for atom in (residue.atoms() if callable(residue.atoms) else residue.atoms)}
            found += [(index[a], index[b]) for a, b in pairs if a in index and b in index]
    return found


def _residue_name(name: str) -> str:
    name = name.strip().upper()
    # Amber marks terminal residues with a letter: NALA, CALA.
    if len(name) == 4 and name[0] in "NC" and (name[1:] in AMINO_ACIDS or name[1:] in _RESIDUE_NAMES):
        name = name[1:]
    return _RESIDUE_NAMES.get(name, name)


def _atom_name(residue: str, name: str) -> str:
    name = name.strip().upper()
    if (residue, name) in _ATOM_NAMES:
        return _ATOM_NAMES[residue, name]
    return _ATOM_NAMES.get(("*", name), name) if residue in AMINO_ACIDS else name


def _mass(symbol: str, element: app.Element | None) -> float:
    if symbol in ATOMIC_WEIGHTS:
        return ATOMIC_WEIGHTS[symbol]
    mass = getattr(element, "mass", 0.0)
    return float(getattr(mass, "_value", mass))


def _check_residues_connected(record: Chemistry) -> None:
    inner = tuple((i, j) for i, j in record.bonds if record.residue_index[i] == record.residue_index[j])
    parts: dict[int, list[list[int]]] = {}
    for part in components(record.n_atoms, inner):
        if record.symbols[part[0]] != "VS" or len(part) > 1:  # virtual sites have no bonds
            parts.setdefault(record.residue_index[part[0]], []).append(part)
    broken = [found for found in parts.values() if len(found) > 1]
    if not broken:
        return
    largest = max(broken[0], key=len)
    loose = [record.labels[i] for part in broken[0] if part is not largest or len(part) == 1 for i in part]
    shown = ", ".join(loose[:8]) + (f" and {len(loose) - 8} more" if len(loose) > 8 else "")
    residue = record.labels[largest[0]].rsplit("-", 1)[0]
    raise ValueError(
        f"Residue {residue} is not one bonded piece: no bond joins {shown} to the rest of it"
        f" ({len(broken)} such residue{'s' if len(broken) > 1 else ''}). Every residue must be connected; add CONECT"
        " records to the PDB file or load the topology from a format that lists bonds."
    )


def residue_tokens(topology: Topology) -> tuple[int, ...]:
    """Token of each atom, from 0: one per residue in the order of the file, where caps (ACE, NME) and ligands count."""
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(residue, len(numbers)) for residue in chemistry(topology).residue_index)


def fingerprint(topology: Topology) -> str:
    """SHA-256 over elements, residue names and bonds in atom order, whatever read the file and named hydrogens."""
    record = chemistry(topology)
    first = residue_tokens(record)
    content = {"elements": record.symbols, "residues": record.residues, "tokens": first, "bonds": record.bonds}
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
