"""Weighted frames of a hybrid run, and the figures drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.analysis import thermodynamics
from latentmd.arrays import Floats, Ints
from latentmd.report import figures

if TYPE_CHECKING:
    from latentmd.sampling.hybrid.rounds import Hybrid
    from latentmd.sampling.request import HybridRun


_BINS = 40  # bins of a surface along each axis
_PAIRS = 3  # most surfaces over torsions
_SPREAD = 20.0  # degrees; torsions that move less do not describe a state
_NAMED = 4  # most torsions that describe a state


@dataclass(frozen=True)
class WeightedFrames:
    """Frames of all reviewed bursts, or of Metropolis chains.

    Attributes:
        torsions: radians, shape (frames, torsions).
        names: of the torsions.
        pairs: columns of the torsions to draw, (phi, psi) of residues first.
        slow: slowest coordinates of the cells, shape (frames, 2 at most).
        weight: equilibrium weights, shape (frames,).
        state: index of the state, -1 for none, shape (frames,).
        states: their names.
        place: number of the burst or chain, and frame within it, shape (frames, 2).
    """

    torsions: Floats
    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    slow: Floats
    weight: Floats
    state: Ints
    states: tuple[str, ...]
    place: Ints

    @classmethod
    def of_bursts(cls, run: HybridRun, sampler: Hybrid, weights: dict[str, NDArray[Any]]) -> WeightedFrames:
        """Frames of the bursts of a run.

        Args:
            run: the request and the engine.
            sampler: with all bursts.
            weights: content of weights.npz.
        """
        count = len(weights["weight"])
        physical = np.concatenate(sampler.dataset.physical)[:count]
        half = physical.shape[1] // 2
        angles = np.arctan2(physical[:, half:], physical[:, :half])
        names = tuple(torsion_name(run.engine.molecule.topology, quad) for quad in run.engine.quads.tolist())
        lengths = [len(e) for e in sampler.dataset.energies]
        place = np.column_stack(
            [np.repeat(np.arange(len(lengths)), lengths), np.concatenate([*map(np.arange, lengths)])]
        )
        assert sampler.cells is not None
        slow = sampler.cells.coordinates(np.concatenate(sampler.dataset.features()))[:count, :2]
        pairs = torsion_pairs(names, angles, weights["weight"])
        return cls(
            torsions=angles, names=names, pairs=pairs, slow=slow, weight=weights["weight"], state=weights["state"],
            states=tuple(weights["states"].tolist()), place=place[:count],
        )  # fmt: skip

    def drawn_by_state(self, trajectories: Sequence[Floats], count: int) -> list[tuple[str, Floats, Floats]]:
        """Frames drawn from each state by weight, for the 3-D view.

        Args:
            trajectories: positions (frames, atoms, 3) in nm, which `place` counts.
            count: most frames of each state.

        Returns:
            (name, positions (frames, atoms, 3), times) of each state.
        """
        rng = np.random.default_rng(0)
        sets: list[tuple[str, Floats, Floats]] = []
        for index, name in enumerate(self.states):
            weight = np.where(self.state == index, self.weight, 0.0)
            if weight.sum() <= 0:
                continue
            size = min(count, int(np.count_nonzero(weight)))
            rows = np.sort(rng.choice(len(weight), size, replace=False, p=weight / weight.sum()))
            positions = np.stack([trajectories[burst][frame] for burst, frame in self.place[rows].tolist()])
            sets.append((name, positions, np.arange(size, dtype=np.float64)))
        return sets


def torsion_name(topology: Any, quad: Sequence[int]) -> str:
    """Name such as "phi ALA2" or "chi1 LEU3", or of the atoms, such as "C4-C5-C6-C7"."""
    every = list(topology.atoms())
    for atoms in ([every[i] for i in quad], [every[i] for i in reversed(quad)]):
        names = tuple(atom.name for atom in atoms)
        label, position = _BACKBONE.get(names) or _side_chain(names) or ("", 0)
        if label:
            residue = atoms[position].residue
            return f"{label} {residue.name}{residue.id}"
    return "-".join(every[i].name for i in quad)


_BACKBONE = {
    ("C", "N", "CA", "C"): ("phi", 1),
    ("N", "CA", "C", "N"): ("psi", 1),
    ("CA", "C", "N", "CA"): ("omega", 2),
}
_LETTERS = "ABGDEZH"  # how far an atom is from the backbone


def _side_chain(names: tuple[str, ...]) -> tuple[str, int] | None:
    """(label, position of an atom of the residue) of a side-chain torsion, None for another one."""
    if any(len(name) < 2 for name in names[1:3]) or names[1] == "CH3":
        return None
    first = "N" if names[0] == "N" else names[0][1:2]
    place = 0 if first == "N" else _LETTERS.find(first) + 1
    expected = _LETTERS[place : place + 2]
    if names[1][1] + names[2][1] != expected or (place > 0 and first == ""):
        return None
    return f"chi{place + 1}", 1


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


def torsion_words(frames: WeightedFrames, state: int) -> str:
    """Describe a state by the circular means, in degrees, of the torsions that tell states apart most."""
    inside = np.where(frames.state == state, frames.weight, 0.0)
    if inside.sum() <= 0 or not len(frames.names):
        return ""
    overall = np.average(np.exp(1j * frames.torsions), axis=0, weights=frames.weight)
    own = np.average(np.exp(1j * frames.torsions), axis=0, weights=inside)
    moving = np.abs(overall) < np.exp(-0.5 * np.deg2rad(_SPREAD) ** 2)
    order = [i for i in np.argsort(-np.abs(own - overall)).tolist() if moving[i]][:_NAMED]
    return ", ".join(f"{frames.names[i]} {np.rad2deg(np.angle(own[i])):.0f}°" for i in sorted(order))


def surface_figures(frames: WeightedFrames, temperature: float) -> list[tuple[bytes, str]]:
    """Free-energy surfaces in kcal/mol over pairs of torsions, and over the two slowest coordinates.

    Args:
        frames: with weights and torsions.
        temperature: kelvin.

    Returns:
        PNG images with their captions.
    """
    made = []
    for a, b in frames.pairs:
        values = np.rad2deg(frames.torsions[:, [a, b]])
        labels = (f"{frames.names[a]} (degrees)", f"{frames.names[b]} (degrees)")
        made.append(
            (_surface(values, frames.weight, (-180, 180, -180, 180), labels, temperature), " and ".join(labels))
        )
    if frames.slow.shape[1] == 2:
        low, high = frames.slow.min(axis=0), frames.slow.max(axis=0)
        bounds = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
        labels = ("slowest coordinate", "second slowest")
        made.append((_surface(frames.slow, frames.weight, bounds, labels, temperature), "Slow axes of the cells"))
    return made


def _surface(
    values: Floats, weight: Floats, bounds: tuple[float, float, float, float], labels: tuple[str, str],
    temperature: float,
) -> bytes:  # fmt: skip
    edges = [np.linspace(bounds[0], bounds[1], _BINS + 1), np.linspace(bounds[2], bounds[3], _BINS + 1)]
    counts = np.histogram2d(values[:, 0], values[:, 1], bins=edges, weights=weight)[0]
    figure, axes = figures.figure(1, 1, width=4.0, height=3.2)
    surface = thermodynamics.free_energy_surface(counts, temperature)
    surface = surface - np.nanmin(surface)
    image = axes[0].imshow(surface.T, origin="lower", extent=bounds, aspect="auto", cmap="viridis", vmin=0, vmax=8)
    figure.colorbar(image, ax=axes[0]).set_label("kcal/mol")
    axes[0].set(xlabel=labels[0], ylabel=labels[1])
    return figures.png(figure)


def convergence_figure(rounds: Sequence[dict[str, Any]]) -> bytes | None:
    """Largest standard error of a free energy, and the slowest timescale, at each review."""
    reviews = [(r["simulated"] / 1000, r["review"]) for r in rounds if r["review"] is not None]
    if len(reviews) < 2:
        return None
    times = [time for time, _ in reviews]
    errors = [_largest([x["standard_error"] for x in review["logits"].values()]) for _, review in reviews]
    slowest = [_largest([t["value"] for t in review["timescales_ps"]]) for _, review in reviews]
    figure, axes = figures.figure(1, 2, width=3.6)
    for axis, values, label in zip(
        axes, (errors, slowest), ("largest error (kT)", "slowest timescale (ps)"), strict=True
    ):
        axis.plot(times, values, marker="o", ms=3, lw=1.2, color=figures.GENERATED)
        axis.set(xlabel="simulated (ns)", ylabel=label)
        if np.isfinite(values).any():
            axis.set_yscale("log")
    return figures.png(figure)


def _largest(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) if known else float("nan")
