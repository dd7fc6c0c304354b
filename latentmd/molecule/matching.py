"""The same molecule in another order of atoms: isomorphism of bond graphs, handedness kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import networkx
import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.molecule.bonds import bond_graph, equivalence_classes
from latentmd.molecule.checks import signed_volumes, torsions
from latentmd.molecule.chemistry import Chemistry, FileTopology, Topology, chemistry, parts_of

_FLAT = 0.1  # |signed volume| below which a centre has no handedness; 0.77 at a tetrahedral atom


@dataclass(frozen=True)
class Answer:
    """Whether a molecule is covered, with the `reason` if not; `order`: index in it of each of the model's atoms."""

    reason: str = ""
    order: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return not self.reason


def match(
    expected: Topology, found: Topology, expected_positions: Floats | None = None, positions: Floats | None = None
) -> Answer:
    """Find the atoms of one molecule in another list of the same molecule: elements and bonds decide, not names.

    The order of the answer is that of the atoms of `expected`. Atoms that the bond graph does not tell apart are
    matched so that every tetrahedral atom has its handedness and every planar group its cis and trans sides, where
    there are positions [atoms, 3]; then by name; then in the order of the lists. Whether the two are the same
    stereoisomer, `latentmd.molecule.stereo` says of the order that is found.
    """
    a, b = chemistry(expected), chemistry(found)
    if reason := _formulas_differ(a, b):
        return Answer(reason)
    known = positions is not None and expected_positions is not None
    points = (expected_positions, positions) if known else 2 * (np.zeros((a.n_atoms, 3)),)  # those have no sides
    x, y = (np.asarray(z, dtype=np.float64) for z in points)
    order = list(range(a.n_atoms))
    if (a.symbols, a.bonds, a.names) != (b.symbols, b.bonds, b.names) or _mirrored(a, (x, y), order):
        order = _search(a, b, (x, y))
        if not order:
            return Answer("its bonds (connections or protonation) are not those of the molecule of the model")
    return Answer(order=tuple(order))


def _formulas_differ(a: Chemistry, b: Chemistry) -> str:
    if a.n_atoms != b.n_atoms:
        return f"it has {b.n_atoms} atoms, the molecule of the model has {a.n_atoms}"
    ours, theirs = Counter(a.symbols), Counter(b.symbols)
    if ours != theirs:
        texts = ["".join(f"{s}{n}" for s, n in sorted(count.items())) for count in (theirs, ours)]
        return f"it is {texts[0]}, the molecule of the model {texts[1]}"
    if len(a.bonds) != len(b.bonds):
        return f"it has {len(b.bonds)} bonds, the molecule of the model has {len(a.bonds)}"
    return ""


Structures = tuple[Floats, Floats]
_Label = tuple[int, int, str, int, bool]  # marks, element, hydrogens, whether it is one


def _search(a: Chemistry, b: Chemistry, xy: Structures) -> list[int]:
    """Index in b of each atom of a; empty where the graphs are not isomorphic."""
    n = a.n_atoms
    bonds = [*a.bonds, *((i + n, j + n) for i, j in b.bonds)]
    near = [*a.neighbours(), *([i + n for i in around] for around in b.neighbours())]
    symbols = [*a.symbols, *b.symbols]
    leaves = {i for i in range(2 * n) if symbols[i] == "H" and len(near[i]) == 1 and symbols[near[i][0]] != "H"}
    labels: list[_Label] = [
        (0, 0, symbol, sum(j in leaves for j in near[i]), i in leaves) for i, symbol in enumerate(symbols)
    ]
    sides = _Sides(a, b, xy)
    colours = equivalence_classes(labels, bonds)
    while True:
        groups: dict[int, list[int]] = {}
        for i in range(n):
            if i not in leaves:
                groups.setdefault(colours[i], []).append(i)
        several = [members for members in groups.values() if len(members) > 1]
        if sorted(colours[:n]) != sorted(colours[n:]):
            return []
        if not several:
            break
        fewest = min(several, key=lambda members: (len(members), members))
        one = min(fewest, key=lambda i: (a.names[i], i))
        colours = _fixed(one, labels, bonds, colours, sides)
    core = {colours[i]: i - n for i in range(n, 2 * n) if i not in leaves}
    order = [-1 if i in leaves else core[colours[i]] for i in range(n)]
    _place_hydrogens(order, near, leaves, sides)
    mapped = {(min(order[i], order[j]), max(order[i], order[j])) for i, j in a.bonds}
    return order if mapped == set(b.bonds) else _any_isomorphism(a, b)


def _fixed(
    one: int, labels: list[_Label], bonds: list[tuple[int, int]], colours: list[int], sides: _Sides
) -> list[int]:
    """Colours after an atom of a is told apart from its equals, together with the best of its equals in b."""
    n = len(labels) // 2
    number = max(label[0] for label in labels) + 1
    equals = [j for j in range(n, 2 * n) if colours[j] == colours[one]]
    trials = []
    for other in sorted(equals, key=lambda j: sides.unlike(one, j - n)):
        trial = list(labels)
        trial[one], trial[other] = (number, *labels[one][1:]), (number, *labels[other][1:])
        found = equivalence_classes([(*label, colour) for label, colour in zip(trial, colours, strict=True)], bonds)
        trials.append((sides.wrong(found), trial, found))
    _, labels[:], best = min(trials, key=itemgetter(0))
    return best


class _Sides:
    """Compares handedness and cis and trans sides of two molecules by atoms that have the same colour."""

    def __init__(self, a: Chemistry, b: Chemistry, xy: Structures) -> None:
        self.a, self.b, self.x, self.y = a, b, *xy
        self.near = a.neighbours(), b.neighbours()

    def unlike(self, i: int, j: int) -> tuple[bool, str, int]:
        """Key by which names of atoms of b are tried for an atom of a: the same name, then in their order."""
        return (self.a.names[i] != self.b.names[j], self.b.names[j], j)

    def wrong(self, colours: list[int]) -> tuple[int, int]:
        """Tetrahedral atoms with another hand, and planar bonds with another side, among atoms that are told apart."""
        n = self.a.n_atoms
        there, count = {colour: i for i, colour in enumerate(colours[n:])}, Counter(colours[:n])
        single = {i for i in range(n) if count[colours[i]] == 1}
        hands = sides = 0
        for centre, around in enumerate(self.near[0]):
            quad = [centre, *[i for i in around if i in single][:3]]
            if len(around) == len(quad) == 4 and centre in single:
                hands += self.opposite(quad, [there[colours[i]] for i in quad])
        for i, j in self.a.bonds:
            ends = [[k for k in self.near[0][p] if k != q] for p, q in ((i, j), (j, i))]
            told = [[k for k in end if k in single] for end in ends]
            if all(len(end) == 2 for end in ends) and {i, j} <= single and all(told):
                quad = [told[0][0], i, j, told[1][0]]
                sides += self.across(quad, [there[colours[k]] for k in quad])
        return hands, sides

    def opposite(self, quad: list[int], other: list[int]) -> bool:
        """Whether a centre and three neighbours are the mirror image of those of the other molecule."""
        return bool(_opposite((self.x, self.y), np.array([quad]), np.array([other]))[0])

    def across(self, quad: list[int], other: list[int]) -> bool:
        """Whether a torsion is cis in one molecule and trans in the other."""
        first, second = (torsions(z[None], np.array([q]))[0, 0] for z, q in ((self.x, quad), (self.y, other)))
        return bool((abs(first) < np.pi / 2) != (abs(second) < np.pi / 2))


def _place_hydrogens(order: list[int], near: list[list[int]], leaves: set[int], sides: _Sides) -> None:
    """Match the hydrogens of every atom: by name, then exchanged where their handedness is not right."""
    n = len(order)
    for centre in [i for i in range(n) if i not in leaves]:
        ours = sorted((i for i in near[centre] if i in leaves), key=lambda i: (sides.a.names[i], i))
        theirs = [i - n for i in near[order[centre] + n] if i in leaves]
        for i in ours:
            order[i] = min(theirs, key=lambda j: sides.unlike(i, j))
            theirs.remove(order[i])
        if len(ours) < 2:
            continue
        others = [i for i in near[centre] if i not in leaves]
        quad = [centre, *(others + ours)[-3:]] if len(near[centre]) == 4 else []
        swap = bool(quad) and sides.opposite(quad, [order[i] for i in quad])
        if len(ours) == 2 and len(others) == 1:  # of two on a planar atom, which is cis
            far = next((i for i in near[others[0]] if i != centre and i not in leaves), None)
            quad = [] if far is None else [far, others[0], centre, ours[0]]
            swap = bool(quad) and sides.across(quad, [order[i] for i in quad])
        if swap:
            i, j = ours[-2:]
            order[i], order[j] = order[j], order[i]


def _any_isomorphism(a: Chemistry, b: Chemistry) -> list[int]:
    """For graphs that colours do not tell apart although their atoms are not equivalent, such as cages."""
    graphs = [bond_graph(record.n_atoms, record.bonds) for record in (a, b)]
    for graph, record in zip(graphs, (a, b), strict=True):
        networkx.set_node_attributes(graph, dict(enumerate(record.symbols)), "symbol")
    found = networkx.vf2pp_isomorphism(*graphs, node_label="symbol")
    return [] if found is None else [found[i] for i in range(a.n_atoms)]


def _mirrored(a: Chemistry, xy: Structures, order: list[int]) -> bool:
    """Whether the neighbours of a tetrahedral atom have, in an order, another hand than in the molecule expected."""
    x, y = xy
    quads = [[i, *around[:3]] for i, around in enumerate(a.neighbours()) if len(around) == 4]
    return bool(quads) and bool(_opposite((x, y[order]), np.array(quads), np.array(quads)).any())


def _opposite(xy: Structures, quads: Ints, others: Ints) -> Bools:
    """Whether centres and three neighbours each are mirror images of those of another structure, and not flat."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = (signed_volumes(z[None], rows)[0] for z, rows in zip(xy, (quads, others), strict=True))
        return np.asarray((first * second < 0) & (np.minimum(np.abs(first), np.abs(second)) > _FLAT))


@dataclass(frozen=True)
class HydrogenHands:
    """The order in which the hydrogens of one atom turn round, and which to exchange where a structure has the other.

    Quads (groups, 4) are a tetrahedral atom and three of its neighbours, pairs two of its hydrogens among them.
    """

    quads: Ints
    pairs: Ints
    signs: Doubles

    @classmethod
    def of(cls, topology: Topology, positions: Floats) -> HydrogenHands:
        """Those of a structure; topology as for `chemistry`, positions in nm, shape (atoms, 3)."""
        record, quads, pairs = chemistry(topology), [], []
        for centre, around in enumerate(record.neighbours()):
            hydrogens = [i for i in around if record.symbols[i] == "H"]
            if len(around) == 4 and len(hydrogens) > 1:
                quads.append([centre, *([i for i in around if i not in hydrogens] + hydrogens)[-3:]])
                pairs.append(hydrogens[-2:])
        found = np.array(quads, dtype=np.int64).reshape(-1, 4)
        signs = np.sign(signed_volumes(np.asarray(positions, dtype=np.float64)[None], found)[0])
        return cls(found, np.array(pairs, dtype=np.int64).reshape(-1, 2), signs)

    def order(self, positions: Doubles) -> Ints:
        """Atoms of a structure [atoms, 3] in an order in which its hydrogens have the right hand."""
        order = np.arange(len(positions))
        wrong = self.pairs[signed_volumes(positions[None], self.quads)[0] * self.signs < 0]
        order[wrong] = wrong[:, ::-1]
        return order

    def arranged(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames [frames, atoms, 3] with hydrogens exchanged where they have the other hand: a copy if any have."""
        made = frames
        for quad, pair, sign in zip(self.quads, self.pairs, self.signs, strict=True):
            wrong = np.flatnonzero(signed_volumes(frames, quad[None])[:, 0] * sign < 0)
            if len(wrong):
                made = frames.copy() if made is frames else made
                made[np.ix_(wrong, pair)] = frames[np.ix_(wrong, pair[::-1])]
        return made


class Named(NamedTuple):
    """What is known of an atom; name and element are "" where a file has none."""

    residue: int
    label: str
    name: str
    element: str


def order_difference(found: Sequence[Named], expected: Sequence[Named]) -> str:
    """Say which atoms of a list are not those expected at their places; empty where the order is the same.

    Elements must agree where both are known. Programs name hydrogens and caps differently: where a residue has the same
    names in both lists, each must be at its place; where it has not, only heavy atoms whose name is in both are
    compared.
    """
    wrong = []
    for _, group in groupby(range(len(expected)), key=lambda i: expected[i].residue):
        rows = list(group)
        ours, theirs = [expected[i].name for i in rows], [found[i].name for i in rows]
        same, shared = sorted(ours) == sorted(theirs), {*ours} & {*theirs}
        for i in rows:
            a, b = found[i], expected[i]
            named = same or (b.element != "H" and a.name in shared and b.name in shared)
            if (named and a.name != b.name) or (a.element and b.element and a.element != b.element):
                wrong.append(f"atom {i + 1} is {a.label}, expected {b.label}")
    return ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")


def named_atoms(topology: FileTopology) -> list[Named]:
    """Atoms of an mdtraj or OpenMM topology, to be compared."""
    rows = []
    for atom in parts_of(topology)[0]:
        symbol = "" if atom.element is None else str(atom.element.symbol)
        label = f"{atom.residue.name}{atom.residue.index + 1}-{atom.name}"
        rows.append(Named(int(atom.residue.index), label, str(atom.name), "H" if symbol == "D" else symbol))
    return rows
