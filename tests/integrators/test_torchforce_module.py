"""The TorchScript latent force against the Python provider."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentmd.core.noise import CounterNoise, step_key
from latentmd.integrators.openmm_provider import (
    ANSWERED,
    IDLE,
    POSITIONS,
    SELECTION,
    VELOCITIES,
    LatentProvider,
)
from latentmd.integrators.openmm_seat import latent_force_module
from latentmd.integrators.openmm_selection import select
from latentmd.integrators.torchforce_module import FAILURES, philox_normals
from latentmd.model import file as bundle
from latentmd.units import thermal_energy

KT = thermal_energy(350)


@pytest.fixture(scope="module")
def provider(alanine: Any, ou_bundle: Path) -> LatentProvider:
    manifest = bundle.read_manifest(ou_bundle)
    return LatentProvider(ou_bundle, select(alanine.system, alanine.topology, manifest), "cpu")


@pytest.fixture(scope="module")
def module(provider: LatentProvider) -> Any:
    return latent_force_module(provider)


def _ask(module: Any, x: Any, mode: int, step: int, time: float = 120.0) -> tuple[float, Any]:
    values = [torch.tensor(float(v), dtype=torch.float64) for v in (mode, KT, time, 5, 2, step)]
    energy, forces = module(torch.as_tensor(x), *values)
    assert forces.is_contiguous() and forces.shape == x.shape
    return float(energy), forces.numpy()


@pytest.mark.parametrize("key", [(0, 0, 0, 0), (7, 3, 12345, 2), (2**31 - 1, 5, 10**9, 11)])
def test_noise_is_bit_equal(key: tuple[int, int, int, int]) -> None:
    source = CounterNoise(*key)
    np.testing.assert_array_equal(bundle.script(philox_normals)(*key, 0, 10).numpy(), source.standard_normal((10,)))
    np.testing.assert_array_equal(bundle.script(philox_normals)(*key, 3, 7).numpy(), source.standard_normal((7,)))


def test_steps_are_those_of_the_python_provider(provider: LatentProvider, module: Any, alanine: Any) -> None:
    x = np.asarray(alanine.positions._value)
    before = provider.draws
    for step in range(40):
        key = step_key(5, 2, step, x, {})
        expected = provider._propose(x, 120.0, key)
        energy, displacement = _ask(module, x, POSITIONS, step)
        assert energy == ANSWERED
        np.testing.assert_allclose(x + displacement, expected, atol=1e-5)
        _, velocities = _ask(module, x, VELOCITIES, step)
        still = provider.selection.remove_momentum
        np.testing.assert_allclose(
            velocities,
            provider.projector.draw_velocities(expected, KT, CounterNoise(*key, purpose=1), still),
            atol=1e-4,
        )
        assert np.all(_ask(module, x, SELECTION, step)[1] == 1.0)
        assert _ask(module, x, IDLE, step) == (0.0, pytest.approx(np.zeros_like(x)))
    assert provider.draws > before + 40  # structures were turned down, by both alike


@pytest.mark.parametrize(("fault", "failure"), [("nan", 1), ("time", 2), ("mirror", 7)])
def test_failures_are_reported_as_energy(module: Any, alanine: Any, fault: str, failure: int) -> None:
    x = np.array(alanine.positions._value)
    if fault == "nan":
        x[3, 1] = np.nan
    if fault == "mirror":
        x = -x
    energy, forces = _ask(module, x, POSITIONS, 0, 1.0 if fault == "time" else 120.0)
    assert energy == failure and np.all(forces == 0)
    assert FAILURES[failure]


def test_a_molecule_across_the_faces_of_a_periodic_box(provider: LatentProvider, alanine: Any, ou_bundle: Path) -> None:
    selection = dataclasses.replace(provider.selection, periodic=True)
    module = latent_force_module(LatentProvider(ou_bundle, selection, "cpu"))
    x, box = np.array(alanine.positions._value), np.array([[3.0, 0, 0], [0.5, 3.0, 0], [0, 0.4, 2.5]])
    values = [torch.tensor(float(v), dtype=torch.float64) for v in (POSITIONS, KT, 50.0, 1, 0, 0)]
    whole = module(torch.as_tensor(x), torch.as_tensor(box), *values)[1]
    x[::2] += box[0] - 2 * box[2]
    broken = module(torch.as_tensor(x), torch.as_tensor(box), *values)[1]
    np.testing.assert_allclose(broken.numpy(), whole.numpy(), atol=1e-5)
