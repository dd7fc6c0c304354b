"""Monte Carlo moves of a few neighbouring torsions, of many replicas at once.

Moving all torsions of a molecule at once is hardly ever accepted beyond some 30 atoms. A block holds a few torsions
about neighbouring bonds; which block is next does not depend on the state, so that each move leaves the Boltzmann
distribution unchanged. Three kinds:

- *draw*: new values from a fixed density q, whatever the old ones are, accepted with
  min(1, exp(-(U' - U) / kT) q(t) / q(t')) (Hastings, Biometrika 57, 97, 1970);
- *counter-rotation*: the torsions on both sides of an amide turn by opposite angles, which moves the plane between
  them and little else (crankshaft; compare Betancourt, J. Chem. Phys. 123, 174905, 2005); symmetric, so q cancels;
- *flip*: an amide before proline turns by pi and a small angle; symmetric.

A torsion is turned by moving one side of its bond as a rigid body. Bond lengths and angles stay as they are, and in
these coordinates the volume element does not depend on torsions, so that nothing else enters the acceptance; with
constrained bond lengths neither, since the constraints' determinant (Fixman 1974) depends on angles alone.

Densities q to draw torsions from are kernels on known structures above a uniform floor:

    q(t) = (1 - f) mean_c prod_j M(t_j; c_j, kappa) + f (2 pi)^-k
    M(t; c, kappa) = exp(kappa cos(t - c)) / (2 pi I0(kappa))

with k torsions t, kernel centres c, the von Mises density M and the floor f. The floor keeps q positive everywhere, so
that no structure is left out by kernels that were chosen badly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.special import i0e

from latentmd.arrays import Floats, Ints
from latentmd.molecule.checks import torsions

FLOOR = 0.1  # share of the uniform density


@dataclass(frozen=True)
class TorsionKernels:
    """Densities of groups, for example of temperatures, on known torsions (groups, kernels, torsions) in radians."""

    centres: Floats
    width: float  # standard deviation of a kernel in radians, so that its concentration kappa is width**-2
    floor: float = FLOOR  # above 0

    def draw(self, groups: Ints, rng: np.random.Generator) -> Floats:
        """Draw torsions (draws, torsions) in radians from the densities of groups (draws,)."""
        _, kernels, torsions = self.centres.shape
        chosen = self.centres[np.asarray(groups, dtype=np.int64), rng.integers(kernels, size=len(groups))]
        near = chosen + rng.vonmises(0.0, self.width**-2, chosen.shape)
        anywhere = rng.uniform(-np.pi, np.pi, (len(groups), torsions))
        return np.where(rng.random(len(groups))[:, None] < self.floor, anywhere, near)

    def log_density(self, angles: Floats, groups: Ints) -> Floats:
        """ln q of torsions (draws, torsions) in radians under the densities of groups (draws,), per radian^torsions."""
        torsions = self.centres.shape[2]
        kappa = self.width**-2
        near = np.einsum("dk,dnk->dn", _on_circles(angles), self._circles[np.asarray(groups, dtype=np.int64)])
        largest = near.max(axis=1)  # of the sum over torsions of cos(t - c)
        density = np.exp(kappa * (near - largest[:, None])).mean(axis=1)
        log_near = np.log(density) + kappa * (largest - torsions) - torsions * np.log(2 * np.pi * i0e(kappa))
        uniform = -torsions * np.log(2 * np.pi)
        return np.asarray(np.logaddexp(np.log1p(-self.floor) + log_near, np.log(self.floor) + uniform))

    @cached_property
    def _circles(self) -> Floats:
        return _on_circles(self.centres)


def _on_circles(angles: Floats) -> Floats:
    """Cosines, then sines: cos(t - c) summed over torsions is a product of two such vectors."""
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)


Kind = Literal["draw", "counter-rotation", "flip"]

COUNTER_ROTATION = np.deg2rad(25.0)  # standard deviation
FLIP_SPREAD = np.deg2rad(10.0)  # standard deviation of the small angle that a flip adds


@dataclass(frozen=True)
class Block:
    """Torsions, indices of `Torsions.quads`, that one move of a kind changes."""

    kind: Kind
    torsions: tuple[int, ...]

    @property
    def name(self) -> str:
        """Kind and torsions, such as "draw 3 4"."""
        return " ".join([self.kind, *map(str, self.torsions)])


@dataclass(frozen=True)
class Torsions:
    """Torsions about bonds that can turn, quads (torsions, 4) of atoms, and the atoms that turn with each."""

    quads: Ints
    sides: tuple[Ints, ...]

    def angles(self, positions: Floats) -> Floats:
        """Measure the torsions of positions (replicas, atoms, 3): radians, shape (replicas, torsions)."""
        return np.asarray(torsions(np.asarray(positions, dtype=np.float64), self.quads))

    def turned(self, positions: Floats, which: tuple[int, ...], turns: Floats) -> Floats:
        """Positions (replicas, atoms, 3) with some torsions turned in order, by radians (replicas, len(which))."""
        moved = np.array(positions, dtype=np.float64)
        for column, index in enumerate(which):
            _, near, far, _ = self.quads[index]
            side = self.sides[index]
            axis = moved[:, far] - moved[:, near]
            axis /= np.sqrt((axis * axis).sum(axis=1, keepdims=True))
            rotation = _rotations(axis, turns[:, column])
            pivot = moved[:, far, None, :]
            moved[:, side] = pivot + (moved[:, side] - pivot) @ rotation
        return moved


def _rotations(axis: Floats, turns: Floats) -> Floats:
    """Matrices (n, 3, 3) that turn row vectors about unit vectors (n, 3) by radians (n,) (Rodrigues)."""
    cosine, sine = np.cos(turns)[:, None, None], np.sin(turns)[:, None, None]
    cross = np.zeros((len(axis), 3, 3))  # v @ cross = axis x v
    x, y, z = axis.T
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = z, -y, x
    cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = -z, y, -x
    along = axis[:, :, None] * axis[:, None, :]
    return np.asarray(cosine * np.eye(3) + sine * cross + (1 - cosine) * along)


@dataclass(frozen=True)
class BlockMove:
    """A block with the densities by group that its torsions are drawn from, for a block of kind "draw"."""

    block: Block
    torsions: Torsions
    kernels: TorsionKernels | None = None

    @property
    def name(self) -> str:
        """That of the block."""
        return self.block.name

    def propose(self, positions: Floats, groups: Ints, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Propose structures in place of positions (replicas, atoms, 3) in nm, each from the density of its group.

        Returns positions, ln q(old) - ln q(new), shape (replicas,), and by how much the torsions turn, radians, shape
        (replicas, torsions of the block).
        """
        which = self.block.torsions
        if self.block.kind == "draw":
            assert self.kernels is not None, "a block that draws needs kernels"
            old = torsions(positions, self.torsions.quads[list(which)])
            new = self.kernels.draw(groups, rng)
            density = self.kernels.log_density(np.concatenate([old, new]), np.concatenate([groups, groups]))
            ratio = density[: len(old)] - density[len(old) :]
            turns = np.asarray(new - old)
            return self.torsions.turned(positions, which, turns), ratio, turns
        if self.block.kind == "counter-rotation":
            turn = rng.normal(0.0, COUNTER_ROTATION, (len(positions), 1))
            turns = np.concatenate([turn, -turn], axis=1)
        else:
            turns = np.pi + rng.normal(0.0, FLIP_SPREAD, (len(positions), 1))
        return self.torsions.turned(positions, which, turns), np.zeros(len(positions)), turns


def blocks_of(quads: Ints, amides: Ints, before_proline: Ints) -> list[Block]:
    """Choose the blocks of a molecule with quads (torsions, 4), some of which are amides (indices).

    Every torsion alone, every two whose bonds share an atom (φ and ψ, ψ and χ1, χ1 and χ2, ...), every three at one
    atom (φ, ψ and χ1), the two on both sides of an amide together and as a counter-rotation, and a flip for every amide
    before proline, which may be cis or trans. Torsions of amides are not drawn: Hamiltonian moves keep them near where
    they are.
    """
    fixed = set(np.asarray(amides).tolist())
    free = [i for i in range(len(quads)) if i not in fixed]
    bonds = [set(quad[1:3]) for quad in quads.tolist()]
    couples = list(combinations(free, 2))
    pairs = [(i, j) for i, j in couples if bonds[i] & bonds[j]]
    apart = [(i, j) for i, j in couples if not bonds[i] & bonds[j]]
    triples = [three for three in combinations(free, 3) if bonds[three[0]] & bonds[three[1]] & bonds[three[2]]]
    across = [(i, j) for a in sorted(fixed) for i, j in apart if bonds[a] & bonds[i] and bonds[a] & bonds[j]]
    drawn: list[tuple[int, ...]] = [*((i,) for i in free), *pairs, *triples, *across]
    turned = [Block("counter-rotation", pair) for pair in across]
    return [Block("draw", which) for which in drawn] + turned + [Block("flip", (int(i),)) for i in before_proline]
