"""Populations of the wells of torsions in exact chains, how well they are known, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Doubles, Floats
from latentmd.sampling.metropolis.wells import Well, mirror_pairs
from latentmd.units import percent

LARGEST_RATIO = 1.05  # of the spread of all chains to that within one, at which they agree (Gelman and Rubin 1992)
RAREST = 0.01  # population below which a well need not be known precisely
ENOUGH = round(3 / RAREST)  # independent samples, of which one would have seen a well of that population (95 %)
_DEVIATIONS = 3.0  # standard errors between mirror images that are more than chance


@dataclass(frozen=True)
class Populations:
    """Populations of wells, each array of shape (wells,).

    Samples and mixing are of the indicator function of a well; of the torsion's cosine and sine, whichever are worse,
    where it has one well only.
    """

    wells: tuple[Well, ...]
    values: Doubles  # the share of all frames
    errors: Doubles  # standard errors sqrt(p (1 - p) / effective)
    effective: Doubles  # independent samples
    mixed: Doubles  # spread of all halves of chains over that within one; 1 where all are always or never in the well

    @property
    def counted(self) -> np.ndarray:
        """Wells that have to be known precisely: neither rare nor nearly always taken."""
        return np.flatnonzero((self.values >= RAREST) & (self.values <= 1 - RAREST))

    @property
    def least(self) -> float:
        """Fewest effective samples of a well that has to be known precisely; infinite where there is none."""
        return float(self.effective[self.counted].min(initial=np.inf))

    @property
    def mirrored(self) -> list[tuple[int, int, float]]:
        """Pairs of wells that are mirror images, and how many standard errors their populations are apart."""
        found = []
        for i, j in mirror_pairs(self.wells):
            error = self.errors[i] + self.errors[j]  # they need not be independent
            apart = abs(self.values[i] - self.values[j])
            found.append((i, j, float(apart / error) if error else float(np.inf if apart else 0.0)))
        return found

    @property
    def rings_in_one_shape(self) -> list[str]:
        """Wells of bonds in rings that have no other, which none need have: moves propose the mirror image at most."""
        return [well.name for well in self.wells if well.only and well.turn.ring]

    def independent(self, index: int) -> float:
        """Independent samples of a torsion always in one well; at most those of the slowest well that was left."""
        return min(float(self.effective[index]), self.least)

    def share(self, index: int) -> str:
        """Population of a well in per cent, with its standard error, or a bound where it was always or never taken.

        A well that was never seen in n independent samples has a population of at most 3 / n (95 %). There is no such
        bound for rings, of whose other shapes moves propose the mirror image at most.
        """
        value, bound = float(self.values[index]), 3 / max(self.independent(index), 1.0)
        if 0 < value < 1:
            return f"{100 * value:.3g} ± {100 * self.errors[index]:.2g} %"
        if self.wells[index].turn.ring:
            return "all frames" if value else "unseen"
        if bound >= 1:
            return "not known yet"
        known = f"< {100 * bound:.2g}" if value == 0 else f"> {np.floor(1e4 * (1 - bound)) / 100:.4g}"
        return f"{known} % (95 % sure)"

    def as_json(self) -> dict[str, dict[str, object]]:
        """Values for summary.json, by the name of the well."""
        found: dict[str, dict[str, object]] = {}
        for i, well in enumerate(self.wells):
            value, error, samples = (float(values[i]) for values in (self.values, self.errors, self.effective))
            known = {"value": value, "standard_error": error, "effective_samples": samples, "in_words": self.share(i)}
            found[well.name] = known | {"degrees": [well.low, well.high], "period": well.turn.period}
        return found

    @property
    def logit_errors(self) -> Doubles:
        """Standard errors of ln(p / (1 - p)), shape (wells,); infinite where p is 0 or 1."""
        spread = self.values * (1 - self.values)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 0, self.errors / spread, np.inf)


def populations(angles: Floats, wells: Sequence[Well]) -> Populations:
    """Count wells in torsions (chains, sweeps, torsions) in radians."""
    rows = []
    for well in wells:
        inside = well.inside(angles).astype(np.float64)
        series = [inside]
        if well.only:
            phase = well.turn.degrees(angles) * (2 * np.pi / well.turn.period)
            series = [np.cos(phase), np.sin(phase)]
        share, effective = float(inside.mean()), min(effective_samples(list(one)) for one in series)
        error = np.sqrt(share * (1 - share) / max(effective, 1.0))
        rows.append((share, error, effective, max(_ratio(one) for one in series)))
    values, errors, samples, mixed = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Populations(tuple(wells), values, errors, samples, mixed)


def apart_words(deviation: float) -> str:
    """How far two populations are apart, in standard errors; infinite where one was in all frames and one in none."""
    return f"{deviation:.1f} standard errors apart" if np.isfinite(deviation) else "all frames against none"


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

    Precision is the largest standard error of ln(p / (1 - p)) of a well with a population from 0.01 to 0.99.
    """
    missing, errors = [], found.logit_errors
    filled = np.flatnonzero(found.values > 1 - RAREST)
    for index in np.union1d(found.counted, filled).tolist():
        why, ratio = [], found.mixed[index]
        if ratio > LARGEST_RATIO:
            spread = f"their spread is {ratio:.2f} times that within one ({LARGEST_RATIO} is wanted)"
            why.append(f"parts of the run do not agree, {spread}")
        if index in found.counted and not errors[index] <= precision:
            why.append(f"its free energy has a standard error of {errors[index]:.2f} kT ({precision:g} kT is wanted)")
        if index in filled and found.independent(index) < ENOUGH:
            wanted = f"({ENOUGH} are wanted, to see other wells down to {percent(RAREST)})"
            why.append(f"{found.independent(index):.0f} independent samples {wanted}")
        if why:
            missing.append(f"{found.wells[index].name}: {'; '.join(why)}")
    for i, j, deviation in found.mirrored:
        if deviation > _DEVIATIONS:
            both = f"{found.wells[i].name} and {found.wells[j].name}"
            missing.append(f"{both} are mirror images and should be equal; they are {apart_words(deviation)}")
    return missing
