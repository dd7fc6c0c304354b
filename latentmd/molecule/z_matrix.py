"""Z-matrix of a molecule: which three earlier atoms place each atom, and which torsions turn whole groups."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from latentmd.molecule.bonds import components, eccentricity, spanning_tree
from latentmd.molecule.chemistry import Chemistry

_Lists = dict[int, list[int]]  # atoms, by an atom that they hang on
_BACKBONE = ("N", "CA", "C", "CH3")  # CH3 is the CA of a cap


@dataclass(frozen=True)
class ZMatrix:
    """Placement of every atom by earlier atoms, in `order`, of which the first three span the frame.

    Attributes:
        parents: for the atoms of order[3:], the atoms (a, b, c) of the bond i-a, angle i-a-b and torsion i-a-b-c.
        depth: of each atom of order; 0 for the first three, else one more than the deepest of its parents.
        driver: for each atom of order[3:], the atom whose torsion it is measured from: itself for a driver, -1 where
            the torsion is an angle between two bonds of the root atom (fixed by chirality), which drives nothing.
        rotors: for each driver that turns three equivalent hydrogens, these hydrogens, the driver first.
    """

    order: list[int]
    parents: list[tuple[int, int, int]]
    depth: list[int]
    driver: list[int]
    rotors: dict[int, tuple[int, int, int]]


def z_matrix(record: Chemistry, root: int | None = None) -> ZMatrix:
    """Build the Z-matrix over a spanning tree of the bond graph; ValueError for fewer than four atoms.

    The tree is rooted at `root`, or where that is None at the backbone CA (or the heavy atom) that is nearest to the
    middle of the largest connected part; breadth first, so a bond that closes a ring (proline, disulfide) is the one
    farthest from the root. Parts that are not bonded to the largest one hang on its root by a pseudo bond: its length,
    two angles and three torsions say where such a part is and how it is turned, and all else is geometry of its own.
    """
    if record.n_atoms < 4:
        raise ValueError(
            f"Internal coordinates need at least 4 atoms, found {record.n_atoms} ({', '.join(record.labels)})."
            " Smaller molecules have no torsions; use their Cartesian coordinates."
        )
    neighbours = record.neighbours()
    parts = sorted(components(record.n_atoms, record.bonds), key=len, reverse=True)
    root = _root(record, neighbours, parts[0]) if root is None else root
    pseudo = {_root(record, neighbours, part) for part in parts[1:]}
    parent, children = {root: -1}, {i: list[int]() for i in range(record.n_atoms)}
    for child, above in spanning_tree(record.n_atoms, [*record.bonds, *((root, i) for i in pseudo)], root):
        parent[child] = above
        children[above].append(child)
    frames = {head: _frame(record, children[head], pseudo) for head in (root, *sorted(pseudo))}
    return _place(record, parent, children, frames, pseudo)


def placing_torsions(record: Chemistry) -> list[tuple[int, int, int, int]]:
    """Atoms of the torsions that place molecules against each other in the Z-matrix, three for each but the first."""
    parts = components(record.n_atoms, record.bonds)
    if len(parts) == 1:
        return []
    layout, of = z_matrix(record), {i: number for number, part in enumerate(parts) for i in part}
    chains = [(i, *above) for i, above in zip(layout.order[3:], layout.parents, strict=True)]
    return [chain for chain in chains if len({of[i] for i in chain}) > 1]


def _root(record: Chemistry, neighbours: list[list[int]], part: list[int]) -> int:
    """The atom with the smallest greatest distance to others among CA atoms, else among branching atoms, else all."""
    groups = (
        [i for i in part if record.names[i] == "CA" and {"N", "C"} <= {record.names[j] for j in neighbours[i]}],
        [i for i in part if len(neighbours[i]) > 1],
        part,
    )
    candidates = next(group for group in groups if group)
    return min(candidates, key=lambda i: (eccentricity(record.n_atoms, record.bonds, i), i))


def _frame(record: Chemistry, bonded: list[int], pseudo: set[int]) -> list[int]:
    """Second and third atom of the neighbours of a root: C and N of an amino acid, else the highest ranked."""
    first = {"C": 0, "N": 1}
    return sorted(bonded, key=lambda i: (i in pseudo, first.get(record.names[i], 2), *_rank(record, i)))[:2]


def _rank(record: Chemistry, i: int) -> tuple[int, str, int]:
    """Which of several atoms on one bond gives the torsion its name: backbone, heavy by branch (CG1, OD1), H by name.

    IUPAC-IUB rules for peptide conformations, Biochemistry 9, 3471 (1970).
    """
    name = record.names[i]
    if record.symbols[i] == "H":
        return 2, name, i
    return (0, "", i) if name in _BACKBONE else (1, name[1:], i)


def _place(record: Chemistry, parent: dict[int, int], children: _Lists, frames: _Lists, pseudo: set[int]) -> ZMatrix:
    root = next(iter(frames))
    first = [root, *frames[root]]
    depth = dict.fromkeys(first, 0)
    parents: dict[int, tuple[int, int, int]] = {}
    driver: dict[int, int] = {}
    rotors: dict[int, tuple[int, int, int]] = {}
    queue = deque([root])
    while queue:
        a = queue.popleft()
        queue.extend(children[a])
        placed = sorted((i for i in children[a] if i not in first), key=lambda i: _rank(record, i))
        own = frames.get(a, []) if a in pseudo else []
        for i in (*own, *(i for i in placed if i not in own)):
            b, c = _reference(record, parent, children, frames, a)
            if i in own:  # turns the part as a whole
                b, c = (root, frames[root][0]) if i == own[0] else (own[0], root)
            parents[i] = (a, b, c)
            depth[i] = 1 + max(depth[a], depth[b], depth[c])
            driver[i] = i if i in pseudo or i in own else -1 if a in frames else placed[0]
        if len(placed) == 3 and a not in frames and {record.symbols[i] for i in children[a]} == {"H"}:
            rotors[placed[0]] = (placed[0], placed[1], placed[2])
    rest = sorted(parents, key=lambda i: (depth[i], driver[i] != i, i))
    order = [*first, *rest]
    return ZMatrix(order, [parents[i] for i in rest], [depth[i] for i in order], [driver[i] for i in rest], rotors)


def _reference(record: Chemistry, parent: dict[int, int], children: _Lists, frames: _Lists, a: int) -> tuple[int, int]:
    """The atoms b and c that children of a are placed with."""
    if len(frames.get(a, ())) == 2:
        return frames[a][0], frames[a][1]
    b = parent[a]
    if len(frames.get(b, ())) == 2:  # any other neighbour of a root serves; N for a side chain: its torsion is chi1
        return b, frames[b][0] if a == frames[b][1] else frames[b][1]
    if record.names[a] == "CB" and record.names[b] == "CA":
        nitrogen = next((i for i in children[b] if record.names[i] == "N"), None)
        if nitrogen is not None:
            return b, nitrogen
    return b, parent[b]
