"""Weighted frames of a run, and the free-energy surfaces drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.report import figures

_BINS = 40  # bins of a surface along each axis
_PAIRS = 12  # most surfaces over torsions


@dataclass(frozen=True)
class WeightedFrames:
    """Frames of chains.

    Attributes:
        torsions: radians, shape (frames, torsions).
        names: of the torsions.
        pairs: columns of the torsions to draw, (phi, psi) of residues first.
        weight: equilibrium weights, shape (frames,).
        place: number of the chain, and frame within it, shape (frames, 2).
    """

    torsions: Floats
    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    weight: Floats
    place: Ints

    def drawn(self, trajectories: Sequence[Floats], count: int) -> Floats:
        """Positions (frames, atoms, 3) of frames drawn by weight, for the 3-D view.

        Args:
            trajectories: positions (frames, atoms, 3) in nm, which `place` counts.
            count: most frames.
        """
        rng, size = np.random.default_rng(0), min(count, int(np.count_nonzero(self.weight)))
        rows = np.sort(rng.choice(len(self.weight), size, replace=False, p=self.weight / self.weight.sum()))
        return np.stack([trajectories[chain][frame] for chain, frame in self.place[rows].tolist()])


def torsion_pairs(names: Sequence[str], angles: Floats, weight: Floats) -> tuple[tuple[int, int], ...]:
    """Choose torsions to draw: (phi, psi) of up to three residues, or the two torsions that move most.

    Args:
        names: of the torsions.
        angles: radians, shape (frames, torsions).
        weight: of the frames, shape (frames,).

    Returns:
        Pairs of columns of `angles`.
    """
    column = {name: i for i, name in enumerate(names)}
    backbone = [(i, column["psi" + n[3:]]) for n, i in column.items() if n[:3] == "phi" and "psi" + n[3:] in column]
    if backbone:
        return tuple(backbone[:_PAIRS])
    if len(names) < 2:
        return ()
    length = np.abs(np.average(np.exp(1j * angles), axis=0, weights=weight))
    first, second = np.argsort(length)[:2].tolist()
    return ((min(first, second), max(first, second)),)


def surface_figures(frames: WeightedFrames, temperature: float) -> list[tuple[bytes, str]]:
    """Free-energy surfaces in kcal/mol over pairs of torsions.

    Args:
        frames: with weights and torsions.
        temperature: kelvin.

    Returns:
        PNG images with their captions.
    """
    edges, drawn = np.linspace(-180, 180, _BINS + 1), []
    for a, b in frames.pairs:
        angles = np.rad2deg(frames.torsions[:, [a, b]])
        counts = np.histogram2d(angles[:, 0], angles[:, 1], bins=[edges, edges], weights=frames.weight)[0]
        first, second = figures.symbol(frames.names[a]), figures.symbol(frames.names[b])
        made, axes = figures.figure(1, 1, width=4.6, height=3.3)
        figures.plane(axes[0], counts, ("", f"{first} / degrees", f"{second} / degrees"), temperature)
        drawn.append((figures.png(made), f"{first} and {second}"))
    return drawn
