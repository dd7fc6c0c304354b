"""Molecules that a periodic box cut, made whole; and bonds that no molecule has."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.molecule.bonds import spanning_tree
from latentmd.molecule.checks import bond_lengths

CUT = 1.8  # length of a bond over the sum of covalent radii at which it is none
_FOLDED = 0.5
_ROOM = 1.5  # size of a frame over its box: residues may have been moved into it one by one


class Bonds:
    """Bonds of a molecule with their usual lengths.

    Args:
        topology: mdtraj.

    Attributes:
        pairs: atoms, shape (bonds, 2).
        usual: sum of covalent radii (Cordero et al. 2008), nm, shape (bonds,).
    """

    def __init__(self, topology: Any) -> None:
        from ase.data import covalent_radii

        numbers = [atom.element.number for atom in topology.atoms]
        radii = [covalent_radii[n] for n in numbers]
        bonded = [(a.index, b.index) for a, b in topology.bonds if numbers[a.index] and numbers[b.index]]
        bonded = [p for p in bonded if numbers[p[0]] > 1 or numbers[p[1]] > 1]  # rigid waters have one from H to H
        self.pairs: Ints = np.array(bonded, dtype=np.int64).reshape(-1, 2)
        self.usual = 0.1 * np.array(radii)[self.pairs].sum(axis=1)
        self._tree = _forest(topology.n_atoms, self.pairs)

    def ratios(self, positions: Floats) -> Floats:
        """Lengths over the usual ones, shape (frames, bonds), of positions in nm."""
        return np.asarray(bond_lengths(positions, self.pairs) / self.usual)

    def whole(self, positions: Floats, cells: Floats | None) -> Floats:
        """Positions in which molecules that a box cut are whole.

        A box counts only where the frame fits into it: that of 1 Å or 0 in files without a box says nothing.

        Args:
            positions: nm, shape (frames, atoms, 3).
            cells: vectors of the box of each frame, nm, shape (frames, 3, 3), or None.
        """
        if cells is None or not len(self.pairs):
            return positions
        cut = (self.ratios(positions) > CUT).any(axis=1) & _holds(positions, cells)
        if not cut.any():
            return positions
        made, vectors = np.array(positions, dtype=np.float64), np.asarray(cells, dtype=np.float64)[cut]
        moved = made[cut]
        for child, parent in self._tree:
            step = moved[:, child] - moved[:, parent]
            for axis in (2, 1, 0):  # of a triclinic box the third vector first, as it leans over the others
                turns = np.rint(step[:, axis] / vectors[:, axis, axis])
                step -= turns[:, None] * vectors[:, axis]
            moved[:, child] = moved[:, parent] + step
        made[cut] = moved
        return np.asarray(made, dtype=positions.dtype)

    def strange(self, ratios: Floats) -> int | None:
        """Index of the bond that is farthest from its usual length in most frames; None where all are sound.

        Args:
            ratios: lengths over the usual ones, shape (frames, bonds).
        """
        if not ratios.size:
            return None
        middle = np.median(ratios, axis=0)
        worst = int(np.argmax(np.abs(np.log(np.maximum(middle, 1e-6)))))
        return None if _FOLDED < middle[worst] < CUT else worst


def _holds(positions: Floats, cells: Floats) -> Bools:
    """Whether each frame fits into its box, shape (frames,)."""
    heights = np.stack([cells[:, i, i] for i in range(3)], axis=1)
    usable = np.asarray(np.isfinite(cells).all(axis=(1, 2)) & (heights > 0).all(axis=1))
    safe = np.where(usable[:, None, None], cells, np.eye(3))
    shares = positions @ np.linalg.inv(safe)
    return np.asarray(usable & (np.ptp(shares, axis=1) < _ROOM).all(axis=1))


def _forest(n_atoms: int, pairs: Ints) -> list[tuple[int, int]]:
    """Pairs (child, parent) of all molecules, parents first."""
    from latentmd.molecule.bonds import components

    return [edge for part in components(n_atoms, pairs) for edge in spanning_tree(n_atoms, pairs, part[0])]
