"""A peptide as a chain of residue tokens: types, torsions that turn or are known, and a Z-matrix from its start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import networkx
import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.molecule.checks import signed_volumes, torsions
from latentmd.molecule.chemistry import AMINO_ACIDS, Chemistry, Topology, chemistry
from latentmd.molecule.z_matrix import ZMatrix, z_matrix

# The order of these lists is part of every trained model: append, never insert.
#: Residue types with their protonation states (names of the Amber force fields), and caps.
TYPES = (*sorted(AMINO_ACIDS - {"HIS"}), "HID", "HIE", "HIP", "ASH", "GLH", "LYN", "CYM", "CYX", "ACE", "NME", "NH2")
#: Torsions of a residue that a model draws; the last hydrogen of a hydroxyl or thiol counts as a chi.
SLOTS = ("omega", "phi", "psi", "chi1", "chi2", "chi3", "chi4", "chi5")
#: A residue has neighbours on both sides, begins, ends, or is the whole chain.
PLACES = ("inner", "first", "last", "only")

CAPS = frozenset({"ACE", "NME", "NH2"})
_ALIASES = {  # names of caps in some files → those of the PDB's dictionary of components
    "ACE": {"HH31": "H1", "HH32": "H2", "HH33": "H3"},
    "NME": {"CH3": "C", "HH31": "H1", "HH32": "H2", "HH33": "H3"},
}
_PLANAR_NITROGENS = frozenset({"ND2", "NE2", "NH1", "NH2", "N"})


class ChainError(ValueError):
    """A molecule that is not one linear chain of known residues; the message names the residue."""


@dataclass(frozen=True)
class Chain:
    """What a model of peptides knows of one molecule.

    Attributes:
        record: its chemistry; names of hydrogens on one atom may be exchanged, so that a name tells the geometry.
        types: (tokens, 3): index into `TYPES`, index into `PLACES`, 1 for a D residue and 0 otherwise.
        templates: for each token the key of its local geometry: type, place and atom names.
        layout: Z-matrix rooted at the first backbone atom, so that equal residues have equal internal coordinates.
        slots, quads: (tokens, slots) columns of the turning torsions among the Z-matrix's, -1 for none; their atoms.
        rest: for each token the columns of its other internal coordinates, in a vector of bonds, angles and torsions.
        kinds: for each token and column of `rest` 0 bond, 1 angle, 2 torsion, 3 torsion of three equal hydrogens.
    """

    record: Chemistry
    names: tuple[str, ...]
    types: Ints
    templates: tuple[str, ...]
    layout: ZMatrix
    slots: Ints
    quads: Ints
    rest: tuple[Ints, ...]
    kinds: tuple[Ints, ...]

    @property
    def mask(self) -> Bools:
        """Which slots exist, shape (tokens, slots)."""
        return np.asarray(self.slots >= 0)

    @property
    def sequence(self) -> str:
        """Types joined by hyphens; D residues in lower case."""
        return "-".join(name.lower() if d else name for name, d in zip(self.names, self.types[:, 2], strict=True))


def chain(topology: Topology, positions: Floats) -> Chain:
    """A peptide with hydrogens and one frame [atoms, 3] nm; ChainError for all but one chain of residues and caps."""
    record = _with_stereo_names(_with_cap_names(chemistry(topology)), positions)
    residues = _residues(record)
    names = tuple(_type(record, atoms) for atoms in residues)
    _check_linear(record, residues, names)
    place = [_place(k, names) for k in range(len(names))]
    first = {record.names[i]: i for i in residues[0]}
    layout = z_matrix(_opened(record), first["CH3" if names[0] == "ACE" else "N"])
    slots, quads, turning = _slots(record, layout, names)
    rest, kinds = _rest(record, layout, turning, len(names))
    numbers, hand = [TYPES.index(name) for name in names], [int(_is_d(record, atoms, positions)) for atoms in residues]
    types, local = np.stack([numbers, place, hand], axis=1), _templates(record)
    return Chain(record, names, types, local, layout, slots=slots, quads=quads, rest=rest, kinds=kinds)


def chain_templates(topology: Topology) -> tuple[str, ...]:
    """Key of each residue's local geometry (`Chain.templates`), which no positions are needed for."""
    record = _with_cap_names(chemistry(topology))
    residues = _residues(record)
    _check_linear(record, residues, tuple(_type(record, atoms) for atoms in residues))
    return _templates(record)


def hands(topology: Topology, positions: Floats) -> list[bool]:
    """For each residue of a chain with a chiral CA whether it is a D residue, in one frame [atoms, 3] in nm."""
    record = chemistry(topology)
    residues = [atoms for atoms in _residues(record) if {"N", "CA", "C", "CB"} <= {record.names[i] for i in atoms}]
    return [_is_d(record, atoms, positions) for atoms in residues]


def _templates(record: Chemistry) -> tuple[str, ...]:
    residues = _residues(record)
    names = tuple(_type(record, atoms) for atoms in residues)
    return tuple(
        f"{name} {PLACES[_place(k, names)]}: {' '.join(sorted(record.names[i] for i in atoms))}"
        for k, (name, atoms) in enumerate(zip(names, residues, strict=True))
    )


def _with_cap_names(record: Chemistry) -> Chemistry:
    """Name the atoms of caps in one way, whatever the file calls them."""
    pairs = zip(record.residues, record.names, strict=True)
    return replace(record, names=tuple(_ALIASES.get(residue, {}).get(name, name) for residue, name in pairs))


def _with_stereo_names(record: Chemistry, positions: Floats) -> Chemistry:
    """Exchange names of hydrogens on one atom where files differ, so that equal names mean equal geometry.

    On tetrahedral atoms and rotors they turn one way round, mirrored in D residues; on planar ones the first is nearer.
    """
    names, neighbours = list(record.names), record.neighbours()
    residues = {atoms[0]: _is_d(record, atoms, positions) for atoms in _residues(record)}
    first = {record.residue_index[i]: i for i in residues}
    for a in range(record.n_atoms):
        hydrogens = sorted((j for j in neighbours[a] if record.symbols[j] == "H"), key=lambda j: record.names[j])
        others = [j for j in neighbours[a] if record.symbols[j] != "H"]
        if len(hydrogens) < 2 or not others:
            continue
        mirror = residues[first[record.residue_index[a]]]
        if _swapped(record, positions, a, (hydrogens, others), mirror):
            i, j = hydrogens[-2:]
            names[i], names[j] = names[j], names[i]
    return replace(record, names=tuple(names))


def _swapped(record: Chemistry, positions: Floats, a: int, around: tuple[list[int], list[int]], mirror: bool) -> bool:
    """Whether the last two hydrogens on an atom stand the other way round than the convention."""
    hydrogens, others = around
    near = min(others, key=lambda j: (record.names[j] not in ("CA", "C", "N"), record.names[j]))
    third = hydrogens[0] if len(hydrogens) == 3 else near
    if len(others) == 1 and len(hydrogens) == 2 and record.names[a] in _PLANAR_NITROGENS:
        far = [j for j in record.neighbours()[others[0]] if j != a]
        anchor = min(far, key=lambda j: (record.symbols[j] != "C", record.names[j]))
        distances = [np.linalg.norm(positions[j] - positions[anchor]) for j in hydrogens]
        return bool(distances[0] > distances[1])
    return (_volume(positions, [a, third, *hydrogens[-2:]]) < 0) != mirror


def _residues(record: Chemistry) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for i, residue in enumerate(record.residue_index):
        groups.setdefault(residue, []).append(i)
    return [groups[k] for k in sorted(groups)]


def _type(record: Chemistry, atoms: list[int]) -> str:
    """Residue type with its protonation state, which the hydrogens tell whatever the file calls the residue."""
    residue, names = record.residues[atoms[0]], {record.names[i] for i in atoms}
    if residue == "HIS":
        return "HIP" if {"HD1", "HE2"} <= names else "HID" if "HD1" in names else "HIE"
    if residue == "LYS" and sum(name.startswith("HZ") for name in names) == 2:
        return "LYN"
    if residue == "ASP" and names & {"HD1", "HD2"}:
        return "ASH"
    if residue == "GLU" and names & {"HE1", "HE2"}:
        return "GLH"
    if residue == "CYS" and "HG" not in names:
        sulphur = next(i for i in atoms if record.names[i] == "SG")
        return "CYX" if any(record.symbols[j] == "S" for j in record.neighbours()[sulphur]) else "CYM"
    if residue not in TYPES:
        raise ChainError(f"residue {record.labels[atoms[0]].rsplit('-', 1)[0]} is not one of {', '.join(TYPES)}")
    return residue


def _check_linear(record: Chemistry, residues: list[list[int]], names: tuple[str, ...]) -> None:
    """Refuse everything but residues that are joined each to the next by one amide bond."""
    between = {
        (record.residue_index[i], record.residue_index[j], record.names[i], record.names[j])
        for i, j in record.bonds
        if record.residue_index[i] != record.residue_index[j]
    }
    wanted = {(record.residue_index[a[0]], record.residue_index[b[0]], "C", "N") for a, b in pairwise(residues)}
    flipped = {(b, a, d, c) if a > b else (a, b, c, d) for a, b, c, d in between}
    if flipped != wanted:
        raise ChainError(
            f"expected one linear chain whose {len(names)} residues are joined C to N; found bonds {sorted(between)}"
        )
    inner = [name for name in names[1:-1] if name in CAPS]
    if inner or all(name in CAPS for name in names):
        raise ChainError(f"expected amino acids with caps at the ends only, found {'-'.join(names)}")


def _place(k: int, names: tuple[str, ...]) -> int:
    """Index into `PLACES`."""
    return (k == 0) + 2 * (k == len(names) - 1)


def _is_d(record: Chemistry, atoms: list[int], positions: Floats) -> bool:
    """Whether the CA has the D configuration: N, C, CB, seen with HA away, turn the other way round."""
    index = {record.names[i]: i for i in atoms}
    quad = [index.get(name, -1) for name in ("CA", "N", "C", "CB")]
    return min(quad) >= 0 and _volume(positions, quad) < 0


def _volume(positions: Floats, quad: list[int]) -> float:
    return float(signed_volumes(np.asarray(positions, dtype=float)[None], np.array([quad]))[0, 0])


def _opened(record: Chemistry) -> Chemistry:
    """The record without the bond CG-CD of every proline: side chains then grow from CA whatever comes before."""
    names = record.names
    ring = [(i, j) for i, j in record.bonds if record.residues[i] == "PRO" and {names[i], names[j]} == {"CG", "CD"}]
    return replace(record, bonds=tuple(bond for bond in record.bonds if bond not in ring))


def _slots(record: Chemistry, layout: ZMatrix, names: tuple[str, ...]) -> tuple[Ints, Ints, dict[int, int]]:
    """Columns and atoms of the turning torsions, and the kind (0 slot, 3 rotor) of each driver that turns."""
    residues = {r: k for k, r in enumerate(sorted(set(record.residue_index)))}
    bridges = set(networkx.bridges(networkx.Graph(list(record.bonds))))
    slots = np.full((len(names), len(SLOTS)), -1)
    quads = np.zeros((len(names), len(SLOTS), 4), dtype=np.int64)
    turning: dict[int, int] = {}
    start = layout.order[0]  # torsions that are measured from one of its three equal hydrogens turn with them
    methyl = sum(record.symbols[j] == "H" for j in record.neighbours()[start]) == 3
    chis = [0] * len(names)
    for column, (i, parents, driver) in enumerate(zip(layout.order[3:], layout.parents, layout.driver, strict=True)):
        a, b, c = parents
        token = residues[record.residue_index[a]]
        if driver != i:
            continue
        if i in layout.rotors or (methyl and (b, c) == (start, layout.order[2])):
            turning[column] = 3
            continue
        slot = _slot(record, names[token], i=i, a=a, b=b, bridge=(a, b) in bridges or (b, a) in bridges)
        if slot == "chi":
            chis[token] += 1
            slot = f"chi{chis[token]}"
        if slot:
            k = SLOTS.index(slot)
            slots[token, k], quads[token, k], turning[column] = column, (i, a, b, c), 0
    return slots, quads, turning


def _slot(record: Chemistry, residue: str, i: int, a: int, b: int, bridge: bool) -> str:
    names = record.names
    if names[a] == "N" and names[b] == "C":
        return "omega"
    if names[a] == "CA" and names[b] == "N":
        return "phi"
    if names[a] == "C" and names[b] == "CA":
        return "psi"
    if record.symbols[i] == "H" and (record.symbols[a] not in "NOS" or names[a] in _PLANAR_NITROGENS):
        return ""
    return "chi" if bridge or (residue == "PRO" and names[a] == "CB") else ""


def _rest(
    record: Chemistry, layout: ZMatrix, turning: dict[int, int], tokens: int
) -> tuple[tuple[Ints, ...], tuple[Ints, ...]]:
    """Columns of a residue's internal coordinates that do not turn freely, and their kinds."""
    residues = {r: k for k, r in enumerate(sorted(set(record.residue_index)))}
    rows: list[list[tuple[str, int, int]]] = [[] for _ in range(tokens)]
    n = record.n_atoms
    for k, i in enumerate(layout.order):
        row, name = rows[residues[record.residue_index[i]]], record.names[i]
        if k >= 1:
            row.append((name, 0, k - 1))
        if k >= 2:
            row.append((name, 1, n - 1 + k - 2))
        if k >= 3 and turning.get(k - 3) != 0:
            of_bond = rows[residues[record.residue_index[layout.parents[k - 3][0]]]]  # the N after ACE turns in ACE
            of_bond.append((name, turning.get(k - 3, 2), 2 * n - 3 + k - 3))
    for row in rows:
        row.sort()
    columns = tuple(np.array([c for _, _, c in row], dtype=np.int64) for row in rows)
    return columns, tuple(np.array([kind for _, kind, _ in row], dtype=np.int64) for row in rows)


_PSI, _PHI = SLOTS.index("psi"), SLOTS.index("phi")


@dataclass(frozen=True)
class KnownTorsions:
    """Which torsions (tokens, slots) are known, the atoms to measure them by, and radians to add to them. Picklable."""

    known: Bools
    quads: Ints
    turn: Floats

    def measure(self, positions: Floats) -> Floats:
        """Torsions in radians, 0 where not known, shape (frames, tokens, slots); only the given atoms count."""
        found = np.zeros((len(positions), *self.known.shape), dtype=np.float32)
        if self.known.any():
            values = torsions(positions, self.quads[self.known]) + self.turn[self.known]
            found[:, self.known] = np.remainder(values + np.pi, 2 * np.pi) - np.pi
        return found


def known_torsions(chain: Chain, given: Ints) -> KnownTorsions:
    """Torsions that given atoms tell.

    Where the atom that ends phi or psi is not given, another one on the planar nitrogen or carbon stands for it, half a
    turn away: the hydrogen (of proline the delta carbon) for the carbon before, the oxygen for the nitrogen after.
    """
    there, neighbours = set(given.tolist()), chain.record.neighbours()
    known, quads = np.zeros_like(chain.mask), np.array(chain.quads)
    turn = np.zeros(known.shape)
    for token, slot in np.argwhere(chain.mask):
        quad = [int(atom) for atom in chain.quads[token, slot]]
        missing = [place for place in range(4) if quad[place] not in there]
        if missing == [{_PSI: 0, _PHI: 3}.get(int(slot))]:
            (end,) = missing
            anchor = quad[1] if end == 0 else quad[2]
            others = [atom for atom in neighbours[anchor] if atom in there and atom not in quad]
            quad[end], turn[token, slot] = (others[0], np.pi) if others else (quad[end], 0.0)
        known[token, slot] = set(quad) <= there
        quads[token, slot] = quad
    return KnownTorsions(known, quads, turn)
