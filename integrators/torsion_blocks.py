"""Which torsions of a System a jump moves together, and where it may send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from openmm import app
from scipy.ndimage import gaussian_filter

from latentmd.arrays import Bools, Doubles, Ints
from latentmd.integrators.openmm_selection import sub_topology
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import acyclic_torsions, amide_torsions, rotatable_torsions

Least = int | tuple[int, ...]  # cells left out along each torsion, or all
_FLOOR = 0.002  # share of a uniform density, so that no place that the samples missed is cut off


@dataclass(frozen=True)
class TorsionTable:
    """Density of one or two torsions, constant in each cell of a grid over [-pi, pi), as proposals of jumps.

    A proposal leaves the neighbourhood of where it starts: cells whose index differs by at most `least` along every
    torsion (around the circle) have no weight, since ordinary MD goes there by itself. Half the cells as `least` of a
    torsion lets the others alone decide. With Z(s) the weight of the cells that remain, q(s' | s) = p(s') / Z(s).

    Args:
        weights: positive weights of the cells, shape (bins,) or (bins, bins); need not be normalised.
        least: cells around the present one that are left out, along each torsion or all; 0 leaves out the present one,
            -1 none.
    """

    weights: Doubles
    least: Least = 3

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.ndim not in (1, 2) or len(set(weights.shape)) != 1 or not (weights > 0).all():
            raise ValueError(
                f"weights have shape {weights.shape} and the least is {weights.min(initial=np.inf):g};"
                " expected positive ones of shape (bins,) or (bins, bins)"
            )
        least, bins = np.broadcast_to(self.least, weights.ndim), len(weights)
        if not (least >= -1).all() or not (2 * least + 1 < bins).any():
            raise ValueError(f"least is {self.least}, of {bins} cells; expected -1 or more, and cells beyond it")
        object.__setattr__(self, "least", tuple(int(n) for n in least))
        object.__setattr__(self, "weights", weights / weights.sum())

    @classmethod
    def uniform(cls, torsions: int, bins: int = 36, least: Least = 3) -> TorsionTable:
        """Every place alike.

        Args:
            torsions: 1 or 2.
            bins, least: cells along each, and those left out.
        """
        return cls(np.ones((bins,) * torsions), least)

    @classmethod
    def from_samples(
        cls, angles: ArrayLike, bins: int = 36, least: Least = 3, power: float = 0.5, smooth: float = 1.5
    ) -> TorsionTable:
        """Density of sampled torsions, such as those of exact chains in implicit solvent or of a model's draws.

        Args:
            angles: radians, shape (samples,) or (samples, 1 or 2).
            bins, least: cells along each torsion, and those left out.
            power: of the density: below 1, since rare conformers of the implicit solvent may be common in water.
            smooth: width of the Gaussian that smooths the counts, cells.
        """
        values = np.asarray(angles, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] not in (1, 2) or not len(values):
            raise ValueError(f"angles have shape {np.shape(angles)}; expected (samples, 1) or (samples, 2)")
        edges = [np.linspace(-np.pi, np.pi, bins + 1)] * values.shape[1]
        counts, _ = np.histogramdd((values + np.pi) % (2 * np.pi) - np.pi, edges)
        density = gaussian_filter(counts, smooth, mode="wrap") ** power
        density = density / density.sum()
        return cls((1 - _FLOOR) * density + _FLOOR / density.size, least)

    @property
    def torsions(self) -> int:
        """How many torsions it is of."""
        return self.weights.ndim

    def draw(self, angles: Doubles, rng: np.random.Generator) -> Doubles:
        """Torsions to jump to from `angles`, radians, shape (torsions,)."""
        allowed = np.where(self._near(self._cell(angles)), 0.0, self.weights).ravel()
        cell = np.unravel_index(rng.choice(allowed.size, p=allowed / allowed.sum()), self.weights.shape)
        return np.asarray(-np.pi + 2 * np.pi * (np.array(cell) + rng.random(self.torsions)) / len(self.weights))

    def log_density(self, target: Doubles, angles: Doubles) -> float:
        """Logarithm of the density q(target | angles) per rad^torsions, radians; -inf where a jump cannot go."""
        there, here = self._cell(target), self._cell(angles)
        if self._near(here)[there]:
            return -np.inf
        volume = (2 * np.pi / len(self.weights)) ** self.torsions
        return float(np.log(self.weights[there] / (volume * self._remaining[here])))

    @cached_property
    def _remaining(self) -> Doubles:
        """Weight of the cells that a jump from each cell may go to, of the shape of the weights."""
        kept = [self.weights[~self._near(cell)].sum() for cell in np.ndindex(self.weights.shape)]
        return np.array(kept).reshape(self.weights.shape)

    def _cell(self, angles: Doubles) -> tuple[int, ...]:
        share = (np.asarray(angles) + np.pi) / (2 * np.pi) % 1.0
        return tuple(int(i) for i in np.minimum((share * len(self.weights)).astype(int), len(self.weights) - 1))

    def _near(self, cell: tuple[int, ...]) -> Bools:
        """Whether each cell is in the neighbourhood of one, of the shape of the weights."""
        bins, least = len(self.weights), np.broadcast_to(self.least, self.torsions)
        rows = np.arange(bins) + bins // 2
        away = [np.abs((rows - i) % bins - bins // 2) <= most for i, most in zip(cell, least, strict=True)]
        return np.asarray(away[0] if len(away) == 1 else away[0][:, None] & away[1][None])


@dataclass(frozen=True)
class TorsionBlock:
    """Torsions that one jump moves together.

    Attributes:
        name: to report it by.
        quads: atoms of each torsion, indices in the System, shape (torsions, 4).
        table: proposals of as many torsions.
    """

    name: str
    quads: Ints
    table: TorsionTable

    def __post_init__(self) -> None:
        if self.quads.shape != (self.table.torsions, 4):
            raise ValueError(
                f"block {self.name!r} has atoms of shape {self.quads.shape}, its table {self.table.torsions} torsions;"
                f" expected ({self.table.torsions}, 4)"
            )


def backbone_blocks(topology: app.Topology, atoms: Sequence[int] | None = None) -> list[TorsionBlock]:
    """Blocks (phi, psi) of every residue that has both, psi alone of proline, with uniform proposals.

    Blocks are named by residue and number, such as ALA2, with the chain before them where there are several. The
    topology has bonds; `atoms` are those of the solute, all where None.
    """
    chosen = None if atoms is None else set(atoms)
    bonded = {frozenset((bond[0].index, bond[1].index)) for bond in topology.bonds()}
    found = []
    for chain in topology.chains():
        residues = list(chain.residues())
        named = [{atom.name: atom.index for atom in residue.atoms()} for residue in residues]
        for residue, before, own, after in zip(residues[1:], named, named[1:], named[2:], strict=False):
            if not ({"N", "CA", "C"} <= own.keys() and "C" in before and "N" in after):
                continue
            phi, psi = (before["C"], own["N"], own["CA"], own["C"]), (own["N"], own["CA"], own["C"], after["N"])
            if not {frozenset(phi[:2]), frozenset(psi[2:])} <= bonded:
                continue  # a gap in the chain
            quads = np.array([psi] if residue.name == "PRO" else [phi, psi])
            if chosen is None or chosen >= set(quads.ravel().tolist()):
                found.append((chain.id, f"{residue.name}{residue.id}", quads))
    several = len({chain for chain, _, _ in found}) > 1
    blocks = [(f"{chain}:{name}" if several else name, quads) for chain, name, quads in found]
    return [TorsionBlock(name, quads, TorsionTable.uniform(len(quads))) for name, quads in blocks]


def bond_blocks(topology: app.Topology, atoms: Sequence[int]) -> list[TorsionBlock]:
    """A block for each bond of a solute that turns and is in no ring, amides apart, with uniform proposals."""
    rows, every = np.array(atoms), list(topology.atoms())
    symbols, bonds = topology_arrays(sub_topology(topology, list(atoms)))
    fixed = {tuple(quad[1:3]) for quad in amide_torsions(symbols, bonds).tolist()}
    quads, _ = acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(rows))
    free = [rows[quad] for quad in quads if tuple(quad[1:3].tolist()) not in fixed]
    names, table = ["-".join(every[i].name for i in quad) for quad in free], TorsionTable.uniform(1, least=4)
    return [TorsionBlock(name, quad[None], table) for name, quad in zip(names, free, strict=True)]
