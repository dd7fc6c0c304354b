"""Populations of Metropolis chains: sets of torsions, how well they are known, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Floats, Ints
from latentmd.sampling.metropolis.chain import TORSION_MOVES

_SETS = 8  # most sets of torsions whose populations are estimated
LARGEST_RATIO = 1.05  # of the spread of all chains to that within one, at which they agree (Gelman and Rubin 1992)
FEWEST_ACCEPTED = 100  # accepted torsion moves of converged chains


@dataclass(frozen=True)
class Samples:
    """Samples of all chains without the first segment of each, which equilibrates.

    Attributes:
        energies: kJ/mol, shape (chains, sweeps).
        angles: torsions about bonds, those of rings included, radians, shape (chains, sweeps, torsions).
        accepted: numbers of accepted Hamiltonian and torsion moves.
    """

    energies: Floats
    angles: Floats
    accepted: tuple[int, int]

    @property
    def shares(self) -> dict[str, float]:
        """Acceptance rate of each kind of move."""
        hamiltonian, torsions = self.accepted
        return {
            "hamiltonian": hamiltonian / self.energies.size,
            "torsions": torsions / (TORSION_MOVES * self.energies.size),
        }


@dataclass(frozen=True)
class Populations:
    """Populations of sets of torsions (k-means on their cosines and sines), largest first.

    Attributes:
        sets: of each frame, shape (chains, sweeps).
        values: populations, shape (sets,).
        errors: standard errors of the populations, by effective samples, shape (sets,).
        effective: least number of effective samples of any set.
        mixed: largest ratio of the spread of all halves of chains to that within one (Gelman and Rubin 1992).
    """

    sets: Ints
    values: Floats
    errors: Floats
    effective: float
    mixed: float


def populations(angles: Floats, rng: np.random.Generator) -> Populations:
    """Cluster torsions into sets and estimate their populations with errors.

    Args:
        angles: radians, shape (chains, sweeps, torsions).
        rng: random generator of the first cluster centres.
    """
    from deeptime.clustering import KMeans

    points = np.concatenate([np.cos(angles), np.sin(angles)], axis=2)
    flat = points.reshape(-1, points.shape[2])
    number = min(_SETS, len(np.unique(flat, axis=0)))
    clustering = KMeans(number, max_iter=50, tolerance=1e-2, fixed_seed=int(rng.integers(2**31)), n_jobs=1)
    _, labels, counts = np.unique(clustering.fit(flat).transform(flat), return_inverse=True, return_counts=True)
    sets = np.argsort(np.argsort(-counts))[labels.ravel()].reshape(angles.shape[:2])
    values, errors, least, mixed = [], [], np.inf, 1.0
    for index in range(len(counts)):
        inside = (sets == index).astype(np.float64)
        effective = effective_samples(list(inside))
        share = inside.mean()
        values.append(share)
        errors.append(np.sqrt(share * (1 - share) / max(effective, 1.0)))
        least, mixed = min(least, effective), max(mixed, _ratio(inside))
    return Populations(sets, np.array(values), np.array(errors), float(least), mixed)


def _ratio(series: Floats) -> float:
    """Root of the variance of all halves of chains over the mean variance within one, shape (chains, sweeps)."""
    half = series.shape[1] // 2
    halves = np.concatenate([series[:, :half], series[:, half : 2 * half]])
    within, between = halves.var(axis=1, ddof=1).mean(), halves.mean(axis=1).var(ddof=1)
    return float(np.sqrt((half - 1) / half + between / within)) if within > 0 else float("inf")


def unmet_criteria(found: Populations, accepted: int, precision: float) -> list[str]:
    """Sentences that say what keeps the populations from being converged; empty where they are.

    Args:
        found: populations.
        accepted: number of accepted torsion moves.
        precision: largest standard error of a free energy that counts as converged, kT.
    """
    missing = []
    if accepted < FEWEST_ACCEPTED:
        missing.append(f"{accepted} moves of the torsions were accepted; {FEWEST_ACCEPTED} are needed")
    if found.mixed > LARGEST_RATIO:
        missing.append(
            f"the chains do not agree yet: their spread is {found.mixed:.2f} times that within one; {LARGEST_RATIO} is "
            "wanted"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = found.errors / (found.values * (1 - found.values))  # of ln(p / (1 - p))
    for index, error in enumerate(errors):
        if not error <= precision:
            missing.append(
                f"free energy of set {index + 1} has a standard error of {error:.2f} kT; {precision:g} kT is wanted"
            )
    return missing
