"""What answers the latent force: closed by default, the same for the same counters, safe where it fails."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latentmd.integrators import openmm_provider as keys
from latentmd.integrators.openmm_provider import ANSWERED, FAILED, LatentProvider, LatentStepError
from latentmd.integrators.openmm_selection import select
from latentmd.model.file import BundleError, read_manifest
from latentmd.units import thermal_energy


@pytest.fixture(scope="module")
def provider(alanine: Any, ou_bundle: Path) -> LatentProvider:
    manifest = read_manifest(ou_bundle)
    return LatentProvider(ou_bundle, select(alanine.system, alanine.topology, manifest), "cpu")


def _state(x: np.ndarray, mode: int, step: int = 0, time: float = 50.0, **foreign: float) -> Any:
    """A State as the provider reads it: positions and parameters."""
    values = {keys.MODE: mode, keys.KT: thermal_energy(350), keys.TIME: time}
    parameters = {**values, **foreign, keys.SEED: 1, keys.STREAM: 0, keys.COUNT: step, keys.WORD: 0.5}
    return SimpleNamespace(getParameters=lambda: parameters, getPositions=lambda **_: SimpleNamespace(_value=x.copy()))


@pytest.fixture
def x(alanine: Any) -> np.ndarray:
    return np.array(alanine.positions._value)


def test_the_gate_is_closed_by_default(provider: LatentProvider, x: np.ndarray) -> None:
    energy, force = provider.respond(_state(x, keys.IDLE))
    assert energy == 0.0 and not np.any(force)


def test_the_counters_decide_the_step(provider: LatentProvider, x: np.ndarray) -> None:
    first, again, other = (provider.respond(_state(x, keys.POSITIONS, step))[1] for step in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert first.shape == (22, 3) and np.isfinite(first).all()


def test_a_step_keeps_centre_of_mass_and_constraints(provider: LatentProvider, x: np.ndarray) -> None:
    energy, displacement = provider.respond(_state(x, keys.POSITIONS))
    assert energy == ANSWERED
    moved = x + displacement
    masses = np.array(provider.selection.masses)
    np.testing.assert_allclose(masses @ moved, masses @ x, atol=1e-9)
    assert provider.projector.residual(moved) < 1e-7
    velocities = provider.respond(_state(x, keys.VELOCITIES))[1]
    np.testing.assert_allclose(masses @ velocities, 0, atol=1e-9)


def test_velocities_are_given_once_and_after_a_step(provider: LatentProvider, x: np.ndarray) -> None:
    provider.respond(_state(x, keys.POSITIONS))
    assert provider.respond(_state(x, keys.VELOCITIES))[0] == 0.0
    assert provider.respond(_state(x, keys.VELOCITIES))[0] == FAILED


def test_a_failure_is_told_when_the_gate_is_closed(provider: LatentProvider, x: np.ndarray) -> None:
    energy, force = provider.respond(_state(x, keys.POSITIONS, time=0.5))
    assert energy == FAILED and not np.any(force)
    assert "cannot make a step of 0.5 ps" in str(provider.last_error)
    with pytest.raises(LatentStepError, match=r"cannot make a step of 0\.5 ps"):
        provider(_state(x, keys.IDLE))
    assert provider.respond(_state(x, keys.IDLE))[0] == 0.0
    x[2] = np.nan
    assert provider.respond(_state(x, keys.POSITIONS))[0] == FAILED
    assert "load an earlier state" in str(provider.respond(_state(x, keys.IDLE)))


@pytest.mark.parametrize(
    "name, text",
    [
        ("AndersenTemperature", "AndersenThermostat"),
        ("MonteCarloTemperature", "the barostat is at 300 K, the model at 350 K"),
        ("AnisotropicMonteCarloTemperature", "the barostat is at 300 K"),
        ("MembraneMonteCarloTemperature", "the barostat is at 300 K"),
    ],
)
def test_another_temperature_in_the_context_is_refused(
    provider: LatentProvider, x: np.ndarray, name: str, text: str
) -> None:
    assert provider.respond(_state(x, keys.POSITIONS, **{name: 300.0}))[0] == FAILED
    assert text in str(provider.respond(_state(x, keys.IDLE)))


def test_a_pickled_provider_makes_the_same_step(provider: LatentProvider, x: np.ndarray) -> None:
    copy = pickle.loads(pickle.dumps(provider))
    steps = [p.respond(_state(x, keys.POSITIONS, 9))[1] for p in (provider, copy)]
    np.testing.assert_array_equal(*steps)


def test_another_file_than_expected_is_refused(provider: LatentProvider, ou_bundle: Path) -> None:
    with pytest.raises(BundleError, match="the saved System was made with aaaaaaaaaaaa"):
        LatentProvider(ou_bundle, provider.selection, "cpu", sha256=64 * "a")
