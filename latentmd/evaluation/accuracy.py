"""Time to accuracy: errors against wall time, for plain MD and for a surrogate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.analysis import statistics
from latentmd.analysis.statistics import Grid
from latentmd.arrays import Floats

TARGETS = {"js": 0.1, "free_energy": 0.3}  # JS distance over (phi, psi); kcal/mol for the population of phi > 0


@dataclass(frozen=True)
class AccuracyCurve:
    """Errors of growing prefixes of a set.

    Attributes:
        seconds: wall time that each prefix costs, all walkers together.
        js: JS distance over (phi, psi) to the reference.
        free_energy: |error| of the basin's free energy in kcal/mol; infinite while the basin is empty or full.
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
    runs: Sequence[Floats], pair: tuple[int, int], basin: tuple[float, float], reference: Sequence[Floats], grid: Grid,
    seconds_per_frame: float, kt: float, points: int = 24,
) -> AccuracyCurve:  # fmt: skip
    """Errors against wall time as every run grows together.

    Args:
        runs: torsions per run, (frames, torsions), in order of time.
        pair: columns of phi and psi.
        basin: range of phi, radians, whose population is compared.
        reference: torsions of the reference per run.
        grid: of the (phi, psi) histogram.
        seconds_per_frame: wall time of one frame of one run.
        kt: kcal/mol.
        points: prefixes, spaced evenly in the logarithm of their length.
    """
    longest = max(len(run) for run in runs)
    lengths = np.unique(np.geomspace(max(longest // 1000, 1), longest, points).astype(int))
    columns = list(pair)
    target = sum(grid.counts(run[:, columns]) for run in reference)
    wanted = _free_energy(np.concatenate([run[:, pair[0]] for run in reference]), basin, kt)
    indices = [grid.indices(run[:, columns]) for run in runs]
    seconds, js, errors = [], [], []
    for length in lengths:
        prefix = np.concatenate([i[:length] for i in indices])
        js.append(statistics.js_distance(np.bincount(prefix, minlength=grid.size), np.ravel(target)))
        own = _free_energy(np.concatenate([run[:length, pair[0]] for run in runs]), basin, kt)
        errors.append(abs(own - wanted) if np.isfinite(own) else np.inf)
        seconds.append(len(prefix) * seconds_per_frame)
    return AccuracyCurve(np.array(seconds), np.array(js), np.array(errors))


def _free_energy(phi: Floats, basin: tuple[float, float], kt: float) -> float:
    inside = float(np.mean((phi > basin[0]) & (phi < basin[1])))
    return float(-kt * np.log(inside / (1 - inside))) if 0 < inside < 1 else float("inf")
