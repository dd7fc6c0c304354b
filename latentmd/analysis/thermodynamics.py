"""Thermodynamic metrics: free energies of states and surfaces, and ranges of potential energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmd.analysis.statistics import bootstrap_interval, split_blocks
from latentmd.arrays import Floats
from latentmd.units import KILOCALORIE, thermal_energy

LEAST_PROBABILITY = 1e-4  # below this a macrostate's free energy is cut off, as in the MDGen analysis


def free_energy(probability: Floats, temperature: float, least: float = LEAST_PROBABILITY) -> Floats:
    """G = -kT ln max(p, least) in kcal/mol, elementwise."""
    kt = thermal_energy(temperature) / KILOCALORIE
    return np.asarray(-kt * np.log(np.maximum(np.asarray(probability, dtype=np.float64), least)))


def free_energy_error(reference: Floats, generated: Floats, temperature: float) -> float:
    """Mean over macrostates of |G_generated - G_reference| in kcal/mol, from two vectors of populations."""
    difference = free_energy(generated, temperature) - free_energy(reference, temperature)
    return float(np.mean(np.abs(difference)))


def free_energy_surface(counts: Floats, temperature: float) -> Floats:
    """-kT ln p of histogram counts of any shape in kcal/mol, least value zero; nan in empty bins."""
    with np.errstate(divide="ignore"):
        surface = -thermal_energy(temperature) / KILOCALORIE * np.log(counts / np.sum(counts))
    return np.asarray(np.where(counts > 0, surface - np.min(surface), np.nan))


@dataclass(frozen=True)
class BasinFreeEnergy:
    """Population of a basin and its free energy -kT ln(p / (1 - p)) against everything else in kcal/mol, infinite where
    the basin is empty or holds everything, each with its 95 % interval.
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

    `inside` says of each frame (frames,) of each run whether it is in the basin.
    """
    lengths = [len(run) for run in inside]
    block = max(lengths) if len(inside) >= 5 else max(sum(lengths) // 10, 1)
    parts = [inside[r][a:b] for r, a, b in split_blocks(lengths, block)]
    sums = np.array([[np.count_nonzero(p), len(p)] for p in parts], dtype=np.float64)
    total = np.array([sum(np.count_nonzero(run) for run in inside), sum(lengths)], dtype=np.float64)
    low, high = bootstrap_interval(sums, lambda s: s[0] / s[1], rng, resamples)
    value, upper, lower = (_two_state(p, temperature) for p in (total[0] / total[1], low, high))
    return BasinFreeEnergy(
        float(total[0] / total[1]), value, lower, high=upper, population_low=low, population_high=high
    )


def _two_state(p: float, temperature: float) -> float:
    if not np.isfinite(p):
        return float("nan")
    if p <= 0 or p >= 1:
        return float("inf") if p <= 0 else float("-inf")
    return float(-thermal_energy(temperature) / KILOCALORIE * np.log(p / (1 - p)))


def energy_range(reference: Floats, low: float = 0.001, high: float = 0.999) -> tuple[float, float]:
    """The 0.1 and 99.9 % quantiles of MD's potential energies (frames,) in kJ/mol."""
    a, b = np.quantile(reference, [low, high])
    return float(a), float(b)


def fraction_inside(energies: Floats, bounds: tuple[float, float]) -> float:
    """Fraction of energies (frames,) within bounds of the same unit, ends included; what is not finite is outside."""
    energies = np.asarray(energies)
    return float(np.mean((energies >= bounds[0]) & (energies <= bounds[1])))
