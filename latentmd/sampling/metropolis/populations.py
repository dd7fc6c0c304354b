"""Populations of the wells of torsions in exact chains, how well they are known, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Doubles, Floats
from latentmd.sampling.metropolis.wells import Well

LARGEST_RATIO = 1.05  # of the spread of all chains to that within one, at which they agree (Gelman and Rubin 1992)
RAREST = 0.01  # population below which a well need not be known precisely


@dataclass(frozen=True)
class Populations:
    """Populations of wells.

    Attributes:
        wells: what was counted.
        values: populations: the share of all frames, shape (wells,).
        errors: standard errors sqrt(p (1 - p) / effective), shape (wells,).
        effective: effective number of independent samples of each indicator function, shape (wells,).
        mixed: ratio of the spread of all halves of chains to that within one, shape (wells,); 1 for a well that all
            chains are always or never in.
    """

    wells: tuple[Well, ...]
    values: Doubles
    errors: Doubles
    effective: Doubles
    mixed: Doubles

    @property
    def counted(self) -> np.ndarray:
        """Wells that have to be known precisely: neither rare nor nearly always taken."""
        return np.flatnonzero((self.values >= RAREST) & (self.values <= 1 - RAREST))

    @property
    def least(self) -> float:
        """Fewest effective samples of a well that has to be known precisely; infinite where there is none."""
        return float(self.effective[self.counted].min(initial=np.inf))

    @property
    def logit_errors(self) -> Doubles:
        """Standard errors of ln(p / (1 - p)), shape (wells,); infinite where p is 0 or 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                self.values * (1 - self.values) > 0, self.errors / (self.values * (1 - self.values)), np.inf
            )


def populations(angles: Floats, wells: Sequence[Well]) -> Populations:
    """Count wells.

    Args:
        angles: torsions in radians, shape (chains, sweeps, torsions).
        wells: to be counted.
    """
    rows = []
    for well in wells:
        inside = well.inside(angles).astype(np.float64)
        share, effective = float(inside.mean()), effective_samples(list(inside))
        rows.append((share, np.sqrt(share * (1 - share) / max(effective, 1.0)), effective, _ratio(inside)))
    values, errors, samples, mixed = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Populations(tuple(wells), values, errors, samples, mixed)


def _ratio(series: Floats) -> float:
    """Root of the variance of all halves of chains over the mean variance within one, shape (chains, sweeps)."""
    half = series.shape[1] // 2
    halves = np.concatenate([series[:, :half], series[:, half : 2 * half]])
    within, between = halves.var(axis=1, ddof=1).mean(), halves.mean(axis=1).var(ddof=1)
    if within > 0:
        return float(np.sqrt((half - 1) / half + between / within))
    return 1.0 if between == 0 else float("inf")


def unmet_criteria(found: Populations, precision: float) -> list[str]:
    """Sentences that say what keeps the populations from being converged; empty where they are.

    Args:
        found: populations.
        precision: largest standard error of ln(p / (1 - p)) of a well with a population from 0.01 to 0.99.
    """
    missing = []
    if not len(found.counted):
        missing.append("no torsion has been in two wells; the chains may not have moved yet")
    errors = found.logit_errors
    for index in found.counted.tolist():
        name, ratio = found.wells[index].name, found.mixed[index]
        if ratio > LARGEST_RATIO:
            missing.append(f"{name}: the chains do not agree, their spread is {ratio:.2f} times that within one; "
                           f"{LARGEST_RATIO} is wanted")  # fmt: skip
        if not errors[index] <= precision:
            missing.append(f"{name}: its free energy has a standard error of {errors[index]:.2f} kT; {precision:g} kT "
                           "is wanted")  # fmt: skip
    return missing
