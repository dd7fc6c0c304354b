"""Proposals with a known density in full coordinates: all torsions about rotatable bonds are drawn anew.

New torsions come from a fixed mixture of von Mises kernels on known structures and do not depend on the old ones; one
side of every bond is turned as a rigid body, so that bond lengths, bond angles and everything else stay as they are. In
bond lengths, angles and torsions the volume element is a product of functions of lengths and angles alone, so that the
density of a proposal by its torsions is its density in full coordinates up to a factor that cancels:

    accept x' with probability min(1, exp(-(U(x') - U(x)) / kT) q(t) / q(t'))

for the torsions t of x and the mixture's density q (independence sampler: Hastings, Biometrika 57, 97, 1970). With
constraints of bond lengths the same holds: the determinant that constrained dynamics brings in (Fixman 1974) depends on
the angles between constrained bonds that share an atom, and no torsion changes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.molecule.checks import neighbour_lists, torsions


@dataclass(frozen=True)
class TorsionMove:
    """Independent proposals for all torsions about bonds that can turn.

    Attributes:
        quads: atoms of the torsions, shape (torsions, 4).
        sides: atoms that turn with each, those on the far side of its bond.
        centres: torsions of known structures in radians, shape (structures, torsions).
        width: of a kernel, radians.
    """

    quads: Ints
    sides: tuple[Ints, ...]
    centres: Floats
    width: float

    def draw(self, rng: np.random.Generator) -> Floats:
        """Torsions (torsions,) from the mixture."""
        centre = self.centres[rng.integers(len(self.centres))]
        return np.asarray(centre + rng.vonmises(0.0, self.width**-2, len(centre)))

    def log_density(self, angles: Floats) -> float:
        """Ln of the mixture's density at torsions (torsions,), per radian each."""
        from scipy.special import i0e, logsumexp

        concentration = self.width**-2
        exponents = concentration * (np.cos(angles - self.centres) - 1).sum(axis=1)
        scale = len(angles) * np.log(2 * np.pi * i0e(concentration)) + np.log(len(self.centres))
        return float(logsumexp(exponents) - scale)

    def angles(self, positions: Floats) -> Floats:
        """Torsions (torsions,) of positions (atoms, 3)."""
        return np.asarray(torsions(positions[None], self.quads)[0])

    def with_torsions(self, positions: Floats, angles: Floats) -> Floats:
        """Positions (atoms, 3) with torsions (torsions,), one side of every bond turned as a rigid body."""
        from scipy.spatial.transform import Rotation

        moved = np.array(positions, dtype=np.float64)
        turns = angles - self.angles(moved)
        for (_, near, far, _), side, turn in zip(self.quads.tolist(), self.sides, turns, strict=True):
            axis = moved[far] - moved[near]
            rotation = Rotation.from_rotvec(turn * axis / np.linalg.norm(axis))
            moved[side] = moved[far] + rotation.apply(moved[side] - moved[far])
        return moved


def acyclic_torsions(quads: Ints, bonds: Ints, atoms: int) -> tuple[Ints, tuple[Ints, ...]]:
    """The torsions (torsions, 4) whose bond is in no ring, and the atoms on the far side of each.

    Args:
        quads: atoms of torsions, shape (torsions, 4).
        bonds: of the molecule, shape (bonds, 2).
        atoms: number of them.
    """
    around = neighbour_lists(atoms, bonds)
    kept, sides = [], []
    for quad in quads.tolist():
        side = _side(around, quad[1], quad[2])
        if quad[1] not in side:
            kept.append(quad)
            sides.append(np.array(sorted(side), dtype=np.int64))
    return np.array(kept, dtype=np.int64).reshape(-1, 4), tuple(sides)


def _side(around: list[list[int]], near: int, far: int) -> set[int]:
    """Atoms that are reached from `far` without the bond to `near`; `near` itself where the bond is in a ring."""
    found, waiting = {far}, [i for i in around[far] if i != near]
    while waiting:
        atom = waiting.pop()
        if atom not in found:
            found.add(atom)
            waiting += around[atom]
    return found
