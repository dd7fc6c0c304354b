"""Thermodynamic metrics against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis import thermodynamics as thermo
from latentmd.units import KILOCALORIE, thermal_energy

KT = thermal_energy(300) / KILOCALORIE


def test_free_energy_error_of_known_populations():
    reference, generated = np.array([0.9, 0.1, 0.0]), np.array([0.5, 0.5, 1e-6])
    expected = KT * np.mean([np.log(0.9 / 0.5), np.log(5.0), 0.0])
    assert thermo.free_energy_error(reference, generated, 300) == pytest.approx(expected, abs=1e-12)
    assert KT == pytest.approx(0.59616, abs=1e-5)


def test_basin_free_energy_and_its_interval():
    rng = np.random.default_rng(0)
    runs = [rng.random(10_000) < 0.2 for _ in range(8)]
    population, result = thermo.basin_free_energy(runs, 300, rng)
    assert population.value == np.mean(runs) and population.low < 0.2 < population.high
    assert result.value == pytest.approx(KT * np.log(4), abs=0.01)
    assert result.low < KT * np.log(4) < result.high
    assert result.high - result.low == pytest.approx(4 * KT / np.sqrt(80_000 * 0.2 * 0.8), rel=0.6)
    assert thermo.basin_free_energy([np.zeros(100, bool)], 300, rng)[1].value == np.inf


def test_free_energy_surface_of_a_harmonic_well():
    x = np.linspace(-1, 1, 21)
    surface = thermo.free_energy_surface(np.exp(-(x**2) / KT), 300)
    np.testing.assert_allclose(surface, x**2, atol=1e-12)
    assert np.isnan(thermo.free_energy_surface(np.array([1.0, 0.0]), 300)[1])


def test_energy_quantiles():
    low, high = thermo.energy_range(np.arange(10_001.0))
    assert (low, high) == (10.0, 9990.0)
    assert thermo.fraction_inside(np.array([10.0, 9990.0, 9991.0, np.nan]), (low, high)) == 0.5
