"""Errors of a growing set against the wall time that it cost, for a surrogate and for plain MD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.analysis import statistics
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.evaluation.compare import POSITIVE_PHI
from latentmd.report import figures
from latentmd.report.page import Section

_POINTS = 24  # prefixes of a set, spaced evenly in the logarithm of their length
TARGETS = {"js": 0.1, "free_energy": 0.3}  # JS distance over (phi, psi); kcal/mol for the population of phi > 0


@dataclass(frozen=True)
class AccuracyCurve:
    """Errors of growing prefixes of a set, each (prefixes,): wall time of all walkers together, JS distance over (phi,
    psi), and |error| of the basin's free energy in kcal/mol, infinite while the basin is empty or full.
    """

    seconds: Floats
    js: Floats
    free_energy: Floats

    def time_to(self, js: float = TARGETS["js"], free_energy: float = TARGETS["free_energy"]) -> float:
        """Wall time from which both errors stay within their targets; infinity where they never do."""
        good = (self.js <= js) & (self.free_energy <= free_energy)
        bad = np.flatnonzero(~good)
        if len(bad) and bad[-1] == len(good) - 1:
            return float("inf")
        return float(self.seconds[bad[-1] + 1] if len(bad) else self.seconds[0])


def accuracy_curve(
    runs: Sequence[Floats], pair: tuple[int, int], reference: Sequence[Floats], seconds_per_frame: float, kt: float
) -> AccuracyCurve:
    """Errors of torsions (frames, torsions) per run against wall time as every run grows together.

    `pair` are the columns of phi and psi, `seconds_per_frame` the wall time of one frame of one run, kT in kcal/mol.
    """
    longest = max(len(run) for run in runs)
    lengths = np.unique(np.geomspace(max(longest // 1000, 1), longest, _POINTS).astype(int))
    columns, grid = list(pair), TORSION_PAIR_GRID
    target = sum(grid.counts(run[:, columns]) for run in reference)
    wanted = _free_energy(np.concatenate([run[:, pair[0]] for run in reference]), kt)
    indices = [grid.indices(run[:, columns]) for run in runs]
    seconds, js, errors = [], [], []
    for length in lengths:
        prefix = np.concatenate([i[:length] for i in indices])
        js.append(statistics.js_distance(np.bincount(prefix, minlength=grid.size), np.ravel(target)))
        own = _free_energy(np.concatenate([run[:length, pair[0]] for run in runs]), kt)
        errors.append(abs(own - wanted) if np.isfinite(own) else np.inf)
        seconds.append(len(prefix) * seconds_per_frame)
    return AccuracyCurve(np.array(seconds), np.array(js), np.array(errors))


def _free_energy(phi: Floats, kt: float) -> float:
    inside = float(np.mean((phi > POSITIVE_PHI[0]) & (phi < POSITIVE_PHI[1])))
    return float(-kt * np.log(inside / (1 - inside))) if 0 < inside < 1 else float("inf")


def accuracy_section(curves: dict[str, AccuracyCurve], training: float) -> Section:
    """Errors against wall time of the surrogate and of plain MD; `training` in seconds shifts a second curve."""
    made, axes = figures.figure(1, 2, width=4.2, height=3.0)
    labels = (("(phi, psi) JS distance", "js"), ("error of phi > 0 free energy (kcal/mol)", "free_energy"))
    for axis, (label, key) in zip(axes, labels, strict=True):  # the scales first, since a curve may have no point
        axis.set(xscale="log", yscale="log", xlabel="seconds of wall time, all walkers", ylabel=label)
        axis.axhline(TARGETS[key], color="0.8", lw=0.8, zorder=0)
    colours = {"surrogate": figures.GENERATED, "plain MD": figures.REFERENCE}
    for name, curve in curves.items():
        for axis, values in zip(axes, (curve.js, curve.free_energy), strict=True):
            shown = np.where(np.isfinite(values), values, np.nan)
            axis.plot(curve.seconds, shown, "-", color=colours[name], lw=1.3, label=name)
            if name == "surrogate" and training > 0:
                axis.plot(curve.seconds + training, shown, "--", color=colours[name], lw=1, label="with its training")
    axes[0].legend(frameon=False, fontsize=8)
    reached = {name: curve.time_to() for name, curve in curves.items()}
    times = [f"{name} {t:.3g} s" if np.isfinite(t) else f"{name} never" for name, t in reached.items()]
    caption = f"Both errors stay within their targets (grey) from: {', '.join(times)}"
    text = f"Training took {training:.0f} s beside the MD that it learned from." if training else ""
    return Section("Time to accuracy", text, figures=[(figures.png(made), caption)])
