"""Where a jump of torsions may go: a density on a grid, from samples or uniform, drawn from and evaluated exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from latentmd.arrays import Bools, Doubles

_FLOOR = 0.002  # share of a uniform density, so that no place that the samples missed is cut off


@dataclass(frozen=True)
class TorsionTable:
    """Density of one or two torsions, constant in each cell of a grid over [-pi, pi), as proposals of jumps.

    A proposal leaves the neighbourhood of where it starts: cells whose index differs by at most `least` along every
    torsion (around the circle) have no weight, since ordinary MD goes there by itself. Half the cells as `least` of a
    torsion lets the others alone decide. With Z(s) the weight of the
    cells that remain, q(s' | s) = p(s') / Z(s), which `log_density` gives.

    Args:
        weights: positive weights of the cells, shape (bins,) or (bins, bins); need not be normalised.
        least: cells around the present one that are left out, along each torsion; 0 leaves out the present one, -1
            none. One number holds for all.

    Raises:
        ValueError: weights of another shape, not positive, or none left beyond `least`.
    """

    weights: Doubles
    least: int | tuple[int, ...] = 3

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.ndim not in (1, 2) or len(set(weights.shape)) != 1 or not (weights > 0).all():
            raise ValueError(
                f"weights have shape {weights.shape} and the least is {weights.min(initial=np.inf):g};"
                " expected positive ones of shape (bins,) or (bins, bins)"
            )
        least = np.broadcast_to(self.least, weights.ndim)
        if not (least >= -1).all() or not (2 * least + 1 < len(weights)).any():
            raise ValueError(
                f"least is {self.least}, of {len(weights)} cells; expected -1 or more, and cells beyond it"
            )
        object.__setattr__(self, "least", tuple(int(n) for n in least))
        object.__setattr__(self, "weights", weights / weights.sum())

    @classmethod
    def uniform(cls, torsions: int, bins: int = 36, least: int | tuple[int, ...] = 3) -> TorsionTable:
        """Every place alike.

        Args:
            torsions: 1 or 2.
            bins: cells along each.
            least: as of the class.
        """
        return cls(np.ones((bins,) * torsions), least)

    @classmethod
    def from_samples(
        cls,
        angles: ArrayLike,
        bins: int = 36,
        least: int | tuple[int, ...] = 3,
        power: float = 0.5,
        smooth: float = 1.5,
    ) -> TorsionTable:
        """Density of sampled torsions, such as those of exact chains in implicit solvent or of a model's draws.

        Args:
            angles: radians, shape (samples,) or (samples, 1 or 2).
            bins: cells along each torsion.
            least: as of the class.
            power: the density is raised to it: below 1, since rare conformers of the implicit solvent may be common in
                water.
            smooth: width of the Gaussian that smooths the counts, cells.

        Raises:
            ValueError: no samples, or of another shape.
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
        """Torsions to jump to, radians, shape (torsions,).

        Args:
            angles: at present, radians, shape (torsions,).
            rng: source of random numbers.
        """
        allowed = np.where(self._near(self._cell(angles)), 0.0, self.weights).ravel()
        cell = np.unravel_index(rng.choice(allowed.size, p=allowed / allowed.sum()), self.weights.shape)
        return np.asarray(-np.pi + 2 * np.pi * (np.array(cell) + rng.random(self.torsions)) / len(self.weights))

    def log_density(self, target: Doubles, angles: Doubles) -> float:
        """Logarithm of the density q(target | angles) per rad^torsions; -inf where a jump cannot go.

        Args:
            target: radians, shape (torsions,).
            angles: where the jump starts, radians, shape (torsions,).
        """
        there, here = self._cell(target), self._cell(angles)
        if self._near(here)[there]:
            return -np.inf
        volume = (2 * np.pi / len(self.weights)) ** self.torsions
        return float(np.log(self.weights[there] / (volume * self._remaining[here])))

    @cached_property
    def _remaining(self) -> Doubles:
        """Weight of the cells that a jump from each cell may go to, of the shape of the weights."""
        kept = [self.weights[~self._near(tuple(int(i) for i in cell))].sum() for cell in np.ndindex(self.weights.shape)]
        return np.array(kept).reshape(self.weights.shape)

    def _cell(self, angles: Doubles) -> tuple[int, ...]:
        share = (np.asarray(angles) + np.pi) / (2 * np.pi) % 1.0
        return tuple(int(i) for i in np.minimum((share * len(self.weights)).astype(int), len(self.weights) - 1))

    def _near(self, cell: tuple[int, ...]) -> Bools:
        """Whether each cell is in the neighbourhood of one, of the shape of the weights."""
        bins, least = len(self.weights), np.broadcast_to(self.least, self.torsions)
        away = [
            np.abs((np.arange(bins) - i + bins // 2) % bins - bins // 2) <= most
            for i, most in zip(cell, least, strict=True)
        ]
        return np.asarray(away[0] if len(away) == 1 else away[0][:, None] & away[1][None])
