"""Thermodynamic metrics: free energies, energy ranges, kinetic temperature and kinetic-energy distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.analysis.statistics import bootstrap_interval, split_blocks
from latentmd.arrays import Floats, Ints

#: Molar gas constant in kJ/(mol K): CODATA 2018, exact.
GAS_CONSTANT = 8.31446261815324e-3
KCAL = 4.184  # kJ per kcal
LEAST_PROBABILITY = 1e-4  # below this a macrostate's free energy is cut off, as in the MDGen analysis


def free_energy(probability: Floats, temperature: float, least: float = LEAST_PROBABILITY) -> Floats:
    """G = -kT ln max(p, least) in kcal/mol, elementwise.

    Args:
        probability: populations.
        temperature: kelvin.
        least: smallest population told apart from zero.
    """
    kt = GAS_CONSTANT * temperature / KCAL
    return np.asarray(-kt * np.log(np.maximum(np.asarray(probability, dtype=np.float64), least)))


def free_energy_error(reference: Floats, generated: Floats, temperature: float) -> float:
    """Mean over macrostates of |G_generated - G_reference| in kcal/mol, from two vectors of populations."""
    difference = free_energy(generated, temperature) - free_energy(reference, temperature)
    return float(np.mean(np.abs(difference)))


def free_energy_surface(counts: Floats, temperature: float) -> Floats:
    """-kT ln p of a histogram in kcal/mol, least value zero; nan in empty bins."""
    with np.errstate(divide="ignore"):
        surface = -GAS_CONSTANT * temperature / KCAL * np.log(counts / np.sum(counts))
    return np.asarray(np.where(counts > 0, surface - np.min(surface), np.nan))


@dataclass(frozen=True)
class BasinFreeEnergy:
    """Population of a basin and the free energy against everything else.

    Attributes:
        population: fraction of frames in the basin.
        value: -kT ln(p / (1 - p)) in kcal/mol; infinite where the basin is empty or holds everything.
        low, high: 95 % interval of the free energy in kcal/mol.
        population_low, population_high: 95 % interval of the population.
    """

    population: float
    value: float
    low: float
    high: float
    population_low: float
    population_high: float


def basin_free_energy(
    inside: Sequence[NDArray[np.bool_]], temperature: float, rng: np.random.Generator, resamples: int = 500
) -> BasinFreeEnergy:
    """Free energy of a basin against the rest, resampled over runs (over ten blocks where there are fewer than five).

    Args:
        inside: whether each frame is in the basin, one array per run.
        temperature: kelvin.
        rng: random generator of the resampling.
        resamples: bootstrap resamples.
    """
    lengths = [len(run) for run in inside]
    block = max(lengths) if len(inside) >= 5 else max(sum(lengths) // 10, 1)
    parts = [inside[r][a:b] for r, a, b in split_blocks(lengths, block)]
    sums = np.array([[np.count_nonzero(p), len(p)] for p in parts], dtype=np.float64)
    total = np.array([sum(np.count_nonzero(run) for run in inside), sum(lengths)], dtype=np.float64)
    low, high = bootstrap_interval(sums, lambda s: s[0] / s[1], rng, resamples)
    value, upper, lower = (_two_state(p, temperature) for p in (total[0] / total[1], low, high))
    return BasinFreeEnergy(float(total[0] / total[1]), value, lower, upper, low, high)


def _two_state(p: float, temperature: float) -> float:
    if not np.isfinite(p):
        return float("nan")
    if p <= 0 or p >= 1:
        return float("inf") if p <= 0 else float("-inf")
    return float(-GAS_CONSTANT * temperature / KCAL * np.log(p / (1 - p)))


def energy_range(reference: Floats, low: float = 0.001, high: float = 0.999) -> tuple[float, float]:
    """The 0.1 and 99.9 % quantiles of MD's potential energies, kJ/mol."""
    a, b = np.quantile(reference, [low, high])
    return float(a), float(b)


def fraction_inside(energies: Floats, bounds: tuple[float, float]) -> float:
    """Fraction of energies within the bounds, both ends included; a non-finite energy is outside."""
    energies = np.asarray(energies)
    return float(np.mean((energies >= bounds[0]) & (energies <= bounds[1])))


def atom_degrees_of_freedom(
    positions: Floats, masses: Floats, constraints: Ints, remove_centre: bool = False
) -> Floats:
    """Degrees of freedom that each atom keeps under distance constraints, shape (atoms,).

    With v = M^(-1/2) u, a constraint's gradient rows A = J M^(-1/2) forbid u in their row space, so atom i keeps
    3 - sum over its three components of diag(A^T (A A^T)^-1 A). They add up to 3 N - number of constraints, and
    <sum_i m_i v_i^2> over any group of atoms is kT times the group's sum.

    Args:
        positions: nm, shape (atoms, 3).
        masses: amu, shape (atoms,); an atom without mass keeps none.
        constraints: constrained pairs, shape (constraints, 2).
        remove_centre: the motion of the centre of mass is removed too.
    """
    moving = masses > 0
    root = np.where(moving, 1 / np.sqrt(np.where(moving, masses, 1.0)), 0.0)
    n = len(masses)
    rows = np.zeros((len(constraints) + 3 * remove_centre, n, 3))
    for row, (i, j) in enumerate(constraints):
        unit = (positions[i] - positions[j]) / np.linalg.norm(positions[i] - positions[j])
        rows[row, i], rows[row, j] = unit * root[i], -unit * root[j]
    for axis in range(3 * remove_centre):
        rows[len(constraints) + axis, :, axis] = np.sqrt(np.maximum(masses, 0.0))
    kept = 3.0 * moving
    if len(rows):
        basis = np.linalg.qr(rows.reshape(len(rows), -1).T)[0]
        kept = kept - np.sum(basis**2, axis=1).reshape(n, 3).sum(axis=1)
    return np.asarray(kept)


def kinetic_temperature(velocities: Floats, masses: Floats, freedom: Floats) -> float:
    """T = <sum m v^2> / (R sum of degrees of freedom) in kelvin.

    Args:
        velocities: nm/ps, shape (frames, atoms, 3).
        masses: amu, shape (atoms,).
        freedom: degrees of freedom per atom, shape (atoms,), from `atom_degrees_of_freedom`.
    """
    twice_kinetic = np.sum(masses[:, None] * np.square(velocities, dtype=np.float64), axis=(1, 2))
    return float(np.mean(twice_kinetic) / (GAS_CONSTANT * np.sum(freedom)))


def element_temperatures(
    velocities: Floats, masses: Floats, freedom: Floats, elements: Sequence[str]
) -> dict[str, float]:
    """Kinetic temperature of the atoms of each element in kelvin; equipartition makes them equal."""
    names = np.array(elements)
    return {
        name: kinetic_temperature(velocities[:, names == name], masses[names == name], freedom[names == name])
        for name in sorted(set(elements))
    }


def kinetic_energy_test(kinetic: Floats, freedom: float, temperature: float) -> tuple[float, float]:
    """Kolmogorov-Smirnov test of kinetic energies against the canonical Gamma(freedom / 2, kT) distribution.

    Args:
        kinetic: independent samples of the kinetic energy in kJ/mol.
        freedom: degrees of freedom of the system.
        temperature: kelvin.

    Returns:
        (statistic, p-value); Shirts, JCTC 9, 909 (2013) and physical_validation test the same hypothesis.
    """
    from scipy.stats import gamma, kstest

    result: Any = kstest(kinetic, gamma(freedom / 2, scale=GAS_CONSTANT * temperature).cdf)
    return float(result.statistic), float(result.pvalue)
