"""Thermodynamic metrics: free energies of states and surfaces, and ranges of potential energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logit

from latentmd.analysis.statistics import Estimate, bootstrap_interval, split_blocks
from latentmd.arrays import Bools, Floats
from latentmd.units import KILOCALORIE, thermal_energy

LEAST_PROBABILITY = 1e-4  # below this a macrostate's free energy is cut off, as in the MDGen analysis


def free_energy_error(reference: Floats, generated: Floats, temperature: float) -> float:
    """Mean over macrostates of |G_generated - G_reference| in kcal/mol of populations, G = -kT ln max(p, least)."""
    kt = thermal_energy(temperature) / KILOCALORIE
    own, md = (-kt * np.log(np.maximum(np.asarray(p, np.float64), LEAST_PROBABILITY)) for p in (generated, reference))
    return float(np.mean(np.abs(own - md)))


def free_energy_surface(counts: Floats, temperature: float) -> Floats:
    """-kT ln p of histogram counts of any shape in kcal/mol, least value zero; nan in empty bins."""
    with np.errstate(divide="ignore"):
        surface = -thermal_energy(temperature) / KILOCALORIE * np.log(counts / np.sum(counts))
    return np.asarray(np.where(counts > 0, surface - np.min(surface), np.nan))


def basin_free_energy(
    inside: Sequence[Bools], temperature: float, rng: np.random.Generator, resamples: int = 500
) -> tuple[Estimate, Estimate]:
    """Population and free energy (kcal/mol) of a basin, from which frames are inside; resampled over runs or blocks."""
    lengths = [len(run) for run in inside]
    block = max(lengths) if len(inside) >= 5 else max(sum(lengths) // 10, 1)
    parts = [inside[r][a:b] for r, a, b in split_blocks(lengths, block)]
    sums = np.array([[np.count_nonzero(p), len(p)] for p in parts], dtype=np.float64)
    population = float(np.float64(sum(np.count_nonzero(run) for run in inside)) / sum(lengths))
    low, high = bootstrap_interval(sums, lambda s: s[0] / s[1], rng, resamples)
    value, upper, lower = (two_state_free_energy(p, temperature) for p in (population, low, high))
    return Estimate(population, low, high), Estimate(value, lower, upper)


def two_state_free_energy(p: float, temperature: float) -> float:
    """-kT ln(p / (1 - p)) in kcal/mol; infinite where the population p is 0 or 1."""
    return float(-thermal_energy(temperature) / KILOCALORIE * logit(p))


def energy_range(reference: Floats) -> tuple[float, float]:
    """The 0.1 and 99.9 % quantiles of MD's potential energies (frames,) in kJ/mol."""
    low, high = np.quantile(reference, [0.001, 0.999]).tolist()
    return low, high


def fraction_inside(energies: Floats, bounds: tuple[float, float]) -> float:
    """Fraction of energies (frames,) within bounds of the same unit, ends included; what is not finite is outside."""
    energies = np.asarray(energies)
    return float(np.mean((energies >= bounds[0]) & (energies <= bounds[1])))
