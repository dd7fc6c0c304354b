"""Structure checks: bonds, angles, handedness, isomer, clashes. numpy only, so that a simulation can afford them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import networkx
import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.molecule.bonds import bond_graph, equivalence_classes, neighbour_lists, separations
from latentmd.molecule.chemistry import Chemistry, Topology, parts_of
from latentmd.molecule.torsions import isomer_torsions

MAX_Z = 7.0  # deviations a valid bond or angle may be away from its mean: 10^8 normal draws stay inside six
_FLOORS = (0.002, np.deg2rad(2.0))  # least deviation of a bond (nm), angle (rad): constrained bonds have none
_DEFAULTS = (0.005, np.deg2rad(5.0))  # deviation where a single reference frame tells none
_PLANAR = 0.2  # |signed volume| / product of bond lengths below which a three-neighbour atom counts as planar


def topology_arrays(topology: Topology) -> tuple[list[str], Ints]:
    """Element symbols ("VS" where there is no element) and bonds [bonds, 2] of a topology or a Chemistry."""
    if isinstance(topology, Chemistry):
        return list(topology.symbols), np.array(topology.bonds, dtype=np.int64).reshape(-1, 2)
    atoms, bonds = parts_of(topology)
    symbols = [atom.element.symbol if atom.element is not None else "VS" for atom in atoms]
    pairs = [(int(bond[0].index), int(bond[1].index)) for bond in bonds]
    return symbols, np.array(pairs, dtype=np.int64).reshape(-1, 2)


def bond_lengths(positions: Floats, bonds: Ints) -> Floats:
    """Distances in nm, shape (frames, bonds), from positions (frames, atoms, 3) and index pairs (bonds, 2)."""
    vectors = _vectors(positions, bonds[:, 0], bonds[:, 1])
    return np.asarray(np.sqrt(_dot(vectors, vectors)))


def bond_angles(positions: Floats, triples: Ints) -> Floats:
    """Angles i-j-k in radians, (frames, triples), of positions (frames, atoms, 3) by index triples (triples, 3)."""
    u = _vectors(positions, triples[:, 0], triples[:, 1])
    v = _vectors(positions, triples[:, 2], triples[:, 1])
    inner = _dot(u, v)
    sine = np.sqrt(np.maximum(_dot(u, u) * _dot(v, v) - inner * inner, 0.0))  # times both lengths, as `inner` is
    return np.asarray(np.arctan2(sine, inner))


def torsions(positions: Floats, quads: Ints) -> Floats:
    """Torsion angles i-j-k-l in radians in (-pi, pi], IUPAC sign, shape (frames, quads)."""
    b1, b2, b3 = (_vectors(positions, quads[:, i + 1], quads[:, i]) for i in range(3))
    n1, n2 = _cross(b1, b2), _cross(b2, b3)
    return np.asarray(np.arctan2(_dot(b1, n2) * np.sqrt(_dot(b2, b2)), _dot(n1, n2)))


def _torsion_cosines(positions: Floats, quads: Ints) -> Floats:
    """Cosines of torsions times positive numbers: what their signs need, shape (frames, quads)."""
    p, q, r = (_vectors(positions, quads[:, i + 1], quads[:, i]) for i in range(3))
    return np.asarray(_dot(p, q) * _dot(q, r) - _dot(q, q) * _dot(p, r))


def _vectors(positions: Floats, heads: Ints, tails: Ints) -> Floats:
    """Vectors from the atoms `tails` to the atoms `heads`, shape (frames, len(heads), 3)."""
    return np.asarray(positions.take(heads, axis=1) - positions.take(tails, axis=1))


def _dot(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.einsum("...i,...i->...", u, v))


def _cross(u: Floats, v: Floats) -> Floats:
    """Cross product by components: several times as fast as numpy.cross on many short vectors."""
    x, y, z = u[..., 0], u[..., 1], u[..., 2]
    a, b, c = v[..., 0], v[..., 1], v[..., 2]
    out = np.empty(np.broadcast_shapes(u.shape, v.shape), dtype=np.result_type(u, v))
    out[..., 0], out[..., 1], out[..., 2] = y * c - z * b, z * a - x * c, x * b - y * a
    return out


def angle_triples(n_atoms: int, bonds: Ints) -> Ints:
    """Every angle i-j-k of the bond graph, shape (angles, 3), j in the middle."""
    around = neighbour_lists(n_atoms, bonds)
    triples = [(i, j, k) for j in range(n_atoms) for i, k in combinations(around[j], 2)]
    return np.array(triples, dtype=np.int64).reshape(-1, 3)


def signed_volumes(positions: Floats, centres: Ints) -> Floats:
    """v1 . (v2 x v3) of unit bond vectors, (frames, centres), of [frames, atoms, 3] nm; 0.77 at a tetrahedral atom."""
    vectors = positions[:, centres[:, 1:]] - positions[:, centres[:, :1]]
    lengths = np.sqrt(_dot(vectors, vectors)).prod(axis=-1)
    return np.asarray(_dot(vectors[:, :, 0], _cross(vectors[:, :, 1], vectors[:, :, 2])) / lengths)


def chiral_quads(symbols: list[str], bonds: Ints, reference: Floats | None = None) -> Ints:
    """Tetrahedral atoms with distinct substituents, with three of their neighbours, heavy atoms first: (centres, 4).

    Substituents are told apart by colour refinement of the bond graph. In a molecule without any hydrogens an atom
    with three distinct heavy neighbours counts where one frame, `reference`, shows that it is not planar.
    """
    classes = equivalence_classes(symbols, bonds)
    implicit = "H" not in symbols and "D" not in symbols
    found = []
    for centre, around in enumerate(neighbour_lists(len(symbols), bonds)):
        if symbols[centre] not in ("C", "Si", "P", "S") or len({classes[i] for i in around}) != len(around):
            continue
        quad = [centre, *sorted(around, key=lambda i: (symbols[i] == "H", i))[:3]]
        pyramid = False
        if implicit and reference is not None and len(around) == 3:
            pyramid = abs(signed_volumes(reference[None], np.array([quad]))[0, 0]) >= _PLANAR
        if len(around) == 4 or pyramid:
            found.append(quad)
    return np.array(found, dtype=np.int64).reshape(-1, 4)


@dataclass(frozen=True)
class StructureTemplate:
    """What the structure of one molecule is compared with; lengths and deviations in nm, angles in radians.

    Stereocentres (centres, 4) with the sign of their signed volume, and torsions (fixed, 4) of amides, which no
    simulation turns, with the sign of their cosines: 1 is cis, -1 trans, and 0 where the reference has both.
    """

    symbols: tuple[str, ...]
    bonds: Ints
    bond_mean: Floats
    bond_deviation: Floats
    angles: Ints
    angle_mean: Floats
    angle_deviation: Floats
    centres: Ints
    handedness: Floats
    fixed: Ints
    isomer: Floats
    contacts: Contacts

    @property
    def heavy(self) -> Ints:
        """Indices of atoms heavier than hydrogen."""
        return np.flatnonzero([symbol not in ("H", "D", "VS") for symbol in self.symbols])

    @cached_property
    def angle_bonds(self) -> tuple[Ints, Ints, Floats]:
        """Bonds j-i and j-k of every angle, shape (angles,) each, and -1 where one of them is stored the other way."""
        first, second = (self._directed(self.angles[:, 1], self.angles[:, side]) for side in (0, 2))
        return first[0], second[0], first[1] * second[1]

    @cached_property
    def centre_bonds(self) -> tuple[Ints, Floats]:
        """Bonds of every stereocentre, shape (centres, 3), and the sign that makes its right signed volume positive."""
        found = [self._directed(self.centres[:, 0], self.centres[:, side]) for side in (1, 2, 3)]
        signs = np.prod([sign for _, sign in found], axis=0)
        return np.stack([bond for bond, _ in found], axis=1), self.handedness * signs

    def _directed(self, tails: Ints, heads: Ints) -> tuple[Ints, Floats]:
        """Index of each bond, and 1 where it is stored as (head, tail), -1 where as (tail, head)."""
        index = {(int(i), int(j)): (row, 1.0) for row, (i, j) in enumerate(self.bonds)}
        index |= {(j, i): (row, -1.0) for (i, j), (row, _) in list(index.items())}
        found = [index[int(head), int(tail)] for tail, head in zip(tails, heads, strict=True)]
        return np.array([row for row, _ in found], dtype=np.int64), np.array([sign for _, sign in found])


def structure_template(topology: Topology, reference: Floats) -> StructureTemplate:
    """Template of a molecule from its topology and reference frames in nm, shape (frames, atoms, 3) or (atoms, 3).

    With one frame the deviations are 0.005 nm and 5 degrees; with more they are measured, not below 0.002 nm and
    2 degrees. ValueError for another number of atoms, or frames that are not finite.
    """
    symbols, bonds = topology_arrays(topology)
    frames = np.asarray(reference, dtype=np.float64).reshape(-1, *np.shape(reference)[-2:])
    if frames.shape[1:] != (len(symbols), 3):
        raise ValueError(f"reference frames hold {frames.shape[1]} atoms, the topology {len(symbols)}; use its own PDB")
    if not np.all(np.isfinite(frames)):
        raise ValueError("reference frames hold NaN or infinite coordinates; expected finite positions in nm")
    triples = angle_triples(len(symbols), bonds)
    centres = chiral_quads(symbols, bonds, frames[0])
    fixed = isomer_torsions(symbols, bonds)
    signs = np.sign(_torsion_cosines(frames, fixed))
    isomer = np.where((signs == signs[0]).all(axis=0), signs[0], 0.0)
    bond_mean, bond_deviation = _moments(bond_lengths(frames, bonds), 0)
    angle_mean, angle_deviation = _moments(bond_angles(frames, triples), 1)
    return StructureTemplate(
        symbols=tuple(symbols), bonds=bonds, bond_mean=bond_mean, bond_deviation=bond_deviation,
        angles=triples, angle_mean=angle_mean, angle_deviation=angle_deviation, centres=centres,
        handedness=np.sign(np.mean(np.sign(signed_volumes(frames, centres)), axis=0)),
        fixed=fixed, isomer=isomer, contacts=Contacts.of(symbols, bonds),
    )  # fmt: skip


def _moments(values: Floats, kind: int) -> tuple[Floats, Floats]:
    mean = np.mean(values, axis=0)
    if len(values) == 1:
        return mean, np.full(mean.shape, _DEFAULTS[kind])
    return mean, np.maximum(np.std(values, axis=0, ddof=1), _FLOORS[kind])


@dataclass(frozen=True)
class FrameScores:
    """What the structure checks measure, per frame: z-scores of bonds and angles, and how many pairs clash.

    `chirality`: all stereocentres are right; `isomer`: all amides are cis or trans as in the reference. A frame that is
    not finite is scored as if at the origin.
    """

    finite: NDArray[np.bool_]
    bond_z: Floats
    angle_z: Floats
    chirality: NDArray[np.bool_]
    isomer: NDArray[np.bool_]
    clashes: Ints

    def passed(self, max_z: float = MAX_Z) -> dict[str, NDArray[np.bool_]]:
        """Pass or fail of every frame in each check; see `check_frames`."""
        checks = {
            "bonds": (np.abs(self.bond_z) <= max_z).all(axis=1),
            "angles": (np.abs(self.angle_z) <= max_z).all(axis=1),
            "chirality": self.chirality,
            "isomer": self.isomer,
            "clashes": self.clashes == 0,
        }
        return {"finite": self.finite, **{name: passed & self.finite for name, passed in checks.items()}}


def frame_scores(positions: Floats, template: StructureTemplate) -> FrameScores:
    """Measure what the checks look at, of [frames, atoms, 3] nm; every vector is made once, as calls are what costs."""
    finite = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
    safe = positions if finite.all() else np.where(finite[:, None, None], positions, 0.0)
    vectors = _vectors(safe, template.bonds[:, 0], template.bonds[:, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.sqrt(_dot(vectors, vectors))
        units = vectors / lengths[:, :, None]
        first, second, sign = template.angle_bonds
        cosines = sign * _dot(units.take(first, axis=1), units.take(second, axis=1))
        angles = np.arccos(np.minimum(np.maximum(cosines, -1.0), 1.0))
        edges, handedness = template.centre_bonds
        a, b, c = (units.take(edges[:, side], axis=1) for side in range(3))
        turned = _torsion_cosines(safe, template.fixed) * template.isomer < 0
        return FrameScores(
            finite=finite,
            bond_z=np.asarray((lengths - template.bond_mean) / template.bond_deviation),
            angle_z=np.asarray((angles - template.angle_mean) / template.angle_deviation),
            chirality=np.asarray((handedness * _dot(a, _cross(b, c)) > 0).all(axis=1)),
            isomer=np.asarray(~turned.any(axis=1)),
            clashes=template.contacts.clashes(safe),
        )


def check_frames(positions: Floats, template: StructureTemplate, max_z: float = MAX_Z) -> dict[str, NDArray[np.bool_]]:
    """Whether frames [frames, atoms, 3] nm pass "finite", "bonds", "angles" (|z| to `max_z`), "chirality", and so on.

    "isomer": amides are cis or trans as in the reference; "clashes". A frame that is not finite fails every check.
    """
    return frame_scores(positions, template).passed(max_z)


def aligned_rmsd(positions: Floats, reference: Floats, atoms: Ints | None = None) -> Floats:
    """Deviation in nm of frames [frames, atoms, 3] after the best proper rotation of all or some (Kabsch 1976)."""
    a, b = (np.asarray(x if atoms is None else x[:, atoms], dtype=np.float64) for x in (positions, reference))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    covariance = np.einsum("fai,faj->fij", a, b)
    singular = np.linalg.svd(covariance, compute_uv=False)
    singular[:, 2] *= np.sign(np.linalg.det(covariance))  # a proper rotation cannot mirror
    square = np.sum(a * a, axis=(1, 2)) + np.sum(b * b, axis=(1, 2)) - 2 * np.sum(singular, axis=1)
    return np.asarray(np.sqrt(np.maximum(square, 0.0) / a.shape[1]))


#: Least distance between heavy atoms more than two bonds apart, nm. MD of 142 tetrapeptides at 350 K (ff14SB with OBC2,
#: 136,000 frames) shows 0.24.
CLASH_DISTANCE = 0.2
#: Least distance between a hydrogen and another atom more than three bonds apart, nm. The same MD shows 0.135 between
#: hydrogens, 0.15 in hydrogen bonds, 0.18 otherwise.
HYDROGEN_CLASH = 0.13
NEAR = 3  # bonds between atoms whose distance says nothing on contacts of data
#: Of the least distance of atoms of two kinds in a model's own data: how near they may come. No more than 0.15 % of
#: held-out frames of four solutes have nearer ones (docs/howto/own-trajectories.md).
SEEN_CLASH = 0.9
_BRUTE_FORCE_ATOMS = 150  # above this many a k-d tree finds clashes faster than all pairs
_BLOCK = 20_000  # distances computed at once, few enough for the cache


@dataclass(frozen=True)
class Contacts:
    """How near atoms may come: `least` [kinds, kinds] nm by the `kind` of each, but for those `near` by bonds, given as
    codes i · atoms + j, i < j.
    """

    kind: Ints
    least: Doubles
    near: Ints

    @classmethod
    def of(cls, symbols: Sequence[str], bonds: Ints) -> Contacts:
        """Contacts of a bond graph; the symbol "VS" is a virtual site, which may be anywhere."""
        n = len(symbols)
        kind = np.array([{"VS": 0, "H": 1, "D": 1}.get(symbol, 2) for symbol in symbols])
        near = [
            i * n + j
            for i, reach in networkx.all_pairs_shortest_path_length(bond_graph(n, bonds), cutoff=3)
            for j, apart in reach.items()
            if i < j and (apart < 3 or kind[i] < 2 or kind[j] < 2)  # three bonds, unless both atoms are heavy
        ]
        least = np.array(
            [[0.0, 0.0, 0.0], [0.0, HYDROGEN_CLASH, HYDROGEN_CLASH], [0.0, HYDROGEN_CLASH, CLASH_DISTANCE]]
        )
        return cls(kind, least, np.array(sorted(near), dtype=np.int64))

    @classmethod
    def seen(cls, symbols: Sequence[str], bonds: Ints, nearest: Doubles) -> Contacts:
        """Contacts of data with least distances `nearest` [kinds, kinds] nm of atoms more than three bonds apart."""
        near = np.triu(separations(len(symbols), bonds, NEAR + 1) <= NEAR, 1)
        return cls(atom_kinds(symbols, bonds), SEEN_CLASH * nearest, np.flatnonzero(near))

    @cached_property
    def pairs(self) -> tuple[Ints, Ints, Doubles]:
        """First and second atom of every pair that may clash, and the square of its least distance in nm²."""
        first, second = np.triu_indices(len(self.kind), 1)
        kept = self._count(first, second)
        first, second = first[kept], second[kept]
        return first, second, np.square(self._least(first, second))

    def clashes(self, positions: Floats) -> Ints:
        """Number of clashing pairs in each frame of positions (frames, atoms, 3) in nm, shape (frames,)."""
        if len(self.kind) > _BRUTE_FORCE_ATOMS:
            return np.fromiter(self._by_tree(positions), dtype=np.int64, count=len(positions))
        first, second, limits = self.pairs
        block = max(1, _BLOCK // max(1, len(first)))
        counts = np.zeros(len(positions), dtype=np.int64)
        for begin in range(0, len(positions), block):
            vectors = _vectors(positions[begin : begin + block], first, second)
            counts[begin : begin + block] = (_dot(vectors, vectors) < limits).sum(axis=1)
        return counts

    def _by_tree(self, positions: Floats) -> Iterator[int]:
        from scipy.spatial import cKDTree

        for frame in positions:
            pairs = cKDTree(frame).query_pairs(self.least.max(), output_type="ndarray")
            first, second = pairs.min(axis=1), pairs.max(axis=1)
            close = np.linalg.norm(frame[first] - frame[second], axis=1) < self._least(first, second)
            yield int(np.count_nonzero(self._count(first[close], second[close])))

    def _count(self, first: Ints, second: Ints) -> Ints:
        """Whether pairs (first < second) are atoms that no bonds hold near each other."""
        return np.asarray(~np.isin(first * len(self.kind) + second, self.near))

    def _least(self, first: Ints, second: Ints) -> Doubles:
        """Least distances of pairs, nm."""
        return self.least[self.kind[first], self.kind[second]]


def atom_kinds(symbols: Sequence[str], bonds: Ints) -> Ints:
    """Kind of each atom, from 0: its element, and hydrogens of N, O and S apart from others."""
    polar = {i for pair in bonds.tolist() for i, j in (pair, pair[::-1]) if symbols[j] in ("N", "O", "S")}
    names = [symbol + "*" * (symbol == "H" and i in polar) for i, symbol in enumerate(symbols)]
    return np.asarray(np.unique(names, return_inverse=True)[1])
