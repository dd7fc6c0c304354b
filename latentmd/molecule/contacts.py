"""Clashes: pairs of atoms nearer to each other than molecular dynamics shows, hydrogens included. numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latentmd.arrays import Doubles, Floats, Ints

#: Least distance between heavy atoms more than two bonds apart, nm. MD of 142 tetrapeptides at 350 K (ff14SB with OBC2,
#: 136,000 frames) shows 0.24.
CLASH_DISTANCE = 0.2
#: Least distance between a hydrogen and another atom more than three bonds apart, nm. The same MD shows 0.135 between
#: hydrogens, 0.15 in hydrogen bonds, 0.18 otherwise.
HYDROGEN_CLASH = 0.13
_BRUTE_FORCE_ATOMS = 150  # above this many a k-d tree finds clashes faster than all pairs
_BLOCK = 20_000  # distances computed at once, few enough for the cache
_HYDROGENS = ("H", "D")


@dataclass(frozen=True)
class Contacts:
    """Which atoms of a molecule may not come near each other.

    Bonds hold neighbours at fixed distances, and hydrogens three bonds apart near one another, so that these do not
    count.

    Attributes:
        heavy: whether each atom is heavier than hydrogen, shape (atoms,).
        solid: whether it is an atom at all: virtual sites may be anywhere, shape (atoms,).
        near: codes i · atoms + j (i < j) of the pairs that bonds hold near each other, sorted.
    """

    heavy: Ints
    solid: Ints
    near: Ints

    @classmethod
    def of(cls, symbols: Sequence[str], bonds: Ints) -> Contacts:
        """Contacts of a bond graph; the symbol "VS" is a virtual site."""
        from scipy.sparse import coo_array, eye_array

        n = len(symbols)
        heavy = np.array([symbol not in (*_HYDROGENS, "VS") for symbol in symbols])
        one = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
        step = (one + one.T + eye_array(n)).tocsr()
        two = step @ step
        held = []
        for reach, both in ((two, True), (two @ step, False)):  # three bonds, unless both atoms are heavy
            i, j = reach.nonzero()
            kept = (i < j) & (both | ~(heavy[i] & heavy[j]))
            held.append(i[kept].astype(np.int64) * n + j[kept])
        return cls(heavy, np.array([symbol != "VS" for symbol in symbols]), np.unique(np.concatenate(held)))

    @cached_property
    def pairs(self) -> tuple[Ints, Ints, Doubles]:
        """First and second atom of every pair that may clash, and the square of its least distance in nm²."""
        first, second = np.triu_indices(len(self.heavy), 1)
        kept = self._count(first, second)
        first, second = first[kept], second[kept]
        return first, second, np.square(self._least(first, second))

    def clashes(self, positions: Floats) -> Ints:
        """Number of clashing pairs in each frame of positions (frames, atoms, 3) in nm, shape (frames,)."""
        if len(self.heavy) > _BRUTE_FORCE_ATOMS:
            return np.fromiter(self._by_tree(positions), dtype=np.int64, count=len(positions))
        first, second, limits = self.pairs
        block = max(1, _BLOCK // max(1, len(first)))
        counts = np.zeros(len(positions), dtype=np.int64)
        for begin in range(0, len(positions), block):
            x = positions[begin : begin + block]
            vectors = x.take(first, axis=1) - x.take(second, axis=1)
            squares = np.einsum("...i,...i->...", vectors, vectors)
            counts[begin : begin + block] = (squares < limits).sum(axis=1)
        return counts

    def _by_tree(self, positions: Floats) -> Iterator[int]:
        from scipy.spatial import cKDTree

        for frame in positions:
            pairs = cKDTree(frame).query_pairs(CLASH_DISTANCE, output_type="ndarray")
            first, second = pairs.min(axis=1), pairs.max(axis=1)
            distances = np.linalg.norm(frame[first] - frame[second], axis=1)
            yield int(np.count_nonzero(self._count(first, second) & (distances < self._least(first, second))))

    def _count(self, first: Ints, second: Ints) -> Ints:
        """Whether pairs (first < second) are atoms that no bonds hold near each other."""
        return np.asarray(
            self.solid[first] & self.solid[second] & ~np.isin(first * len(self.heavy) + second, self.near)
        )

    def _least(self, first: Ints, second: Ints) -> Doubles:
        """Least distances of pairs, nm."""
        return np.where(self.heavy[first] & self.heavy[second], CLASH_DISTANCE, HYDROGEN_CLASH)
