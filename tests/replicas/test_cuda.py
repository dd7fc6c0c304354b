"""The GPU kernel: its arithmetic by emulation, against OpenMM; and on a CUDA device where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.arrays import Doubles, Floats
from latentmd.replicas.cuda import CudaDevice, CudaReplicas, Device
from latentmd.replicas.terms import read_terms
from latentmd.units import GAS_CONSTANT

Emulated = Callable[..., Device]
STEP = {"timestep": 0.002, "friction": 1.0}
KELVIN = np.array(350.0)


def _displaced(molecule: Any, replicas: int = 2) -> Doubles:
    rng, x = np.random.default_rng(0), np.array(molecule.positions._value)
    return x - x.mean(axis=0) + rng.normal(scale=0.003, size=(replicas, *x.shape))


def _drawn(molecule: Any, kelvin: Any = KELVIN, replicas: int = 2) -> Doubles:
    mass = np.asarray(read_terms(molecule.system).mass)
    width = np.sqrt(GAS_CONSTANT * np.reshape(kelvin, (-1, 1, 1)) / mass[:, None])
    return np.asarray(np.random.default_rng(3).normal(size=(replicas, len(mass), 3)) * width)


def _kernel(molecule: Any, device: Device, replicas: int = 2, **options: Any) -> CudaReplicas:
    return CudaReplicas(read_terms(molecule.system), np.arange(replicas) + 1, device, **options)


def _run(kernel: CudaReplicas, molecule: Any, steps: int) -> tuple[Floats, Floats]:
    return kernel.run(_displaced(molecule), _drawn(molecule), KELVIN, steps=steps, **STEP)


def _agrees_with_openmm(molecules: list[Any], device: Device) -> None:
    for molecule in molecules:
        kernel, x = _kernel(molecule, device), _displaced(molecule)
        kernel.run(x, 0 * x, KELVIN)
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
        for frame, energy, force in zip(x, kernel.energies[:, 0], kernel.forces, strict=True):
            context.setPositions(frame)
            state = context.getState(getEnergy=True, getForces=True)
            expected = state.getForces(asNumpy=True)._value
            assert energy == pytest.approx(state.getPotentialEnergy()._value, abs=5e-3)
            assert np.sqrt(np.mean((force - expected) ** 2)) < 1e-5 * np.sqrt(np.mean(expected**2))


def test_forces_and_energies_are_those_of_openmm(peptides: list[Any], emulated: Emulated) -> None:
    _agrees_with_openmm(peptides, emulated())


@pytest.mark.parametrize(("threads", "reverse"), [(1, False), (32, True), (64, False), (None, True)])
def test_no_two_threads_touch_the_same_word(
    peptides: list[Any], emulated: Emulated, threads: int | None, reverse: bool
) -> None:
    for molecule in peptides:
        plain, turned = _kernel(molecule, emulated()), _kernel(molecule, emulated(reverse=reverse), threads=threads)
        for a, b in zip(_run(plain, molecule, 20), _run(turned, molecule, 20), strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)


def test_a_replica_does_not_know_its_neighbours(peptides: list[Any], emulated: Emulated) -> None:
    molecule = peptides[1]
    x, v = _displaced(molecule), _drawn(molecule)
    both = _kernel(molecule, emulated()).run(x, v, KELVIN, steps=10, **STEP)
    alone = CudaReplicas(read_terms(molecule.system), np.array([2]), emulated())
    for a, b in zip(both, alone.run(x[1:], v[1:], KELVIN, steps=10, **STEP), strict=True):
        np.testing.assert_array_equal(a[1], b[0])


def test_bonds_to_hydrogen_keep_their_lengths(peptides: list[Any], emulated: Emulated) -> None:
    for molecule in peptides:
        terms, begin = read_terms(molecule.system), (_displaced(molecule), _drawn(molecule))
        x, v = _kernel(molecule, emulated()).run(*begin, KELVIN, steps=50, timestep=0.004, friction=1.0)
        i, j = terms.constraints.T
        np.testing.assert_allclose(np.linalg.norm(x[:, i] - x[:, j], axis=2), [terms.distance] * 2, rtol=1e-5)
        assert np.isfinite(v).all()


def test_velocities_along_bonds_to_hydrogen_are_removed(peptides: list[Any], emulated: Emulated) -> None:
    for molecule in peptides:
        terms = read_terms(molecule.system)
        x, v = _run(_kernel(molecule, emulated()), molecule, 0)
        i, j = terms.constraints.T
        along = np.sum((x[:, i] - x[:, j]) * (v[:, i] - v[:, j]), axis=2) / terms.distance
        assert np.abs(along).max() < 1e-4


def test_the_energy_is_conserved_without_friction(peptides: list[Any], emulated: Emulated) -> None:
    kernel = _kernel(peptides[0], emulated(), replicas=1)
    begin = _displaced(peptides[0], 1), _drawn(peptides[0], replicas=1)
    x, v = kernel.run(*begin, KELVIN, steps=200, timestep=0.001, friction=10.0)
    totals = []
    for _ in range(20):
        x, v = kernel.run(x, v, KELVIN, steps=50, timestep=0.0005)
        totals.append(kernel.energies.sum())
    assert np.std(totals) < 0.02 * kernel.energies[0, 1]


def test_the_temperature_is_that_of_each_replica(peptides: list[Any], emulated: Emulated) -> None:
    molecule, kelvin = peptides[0], np.repeat([200.0, 500.0], 24)
    terms, kernel = read_terms(molecule.system), _kernel(molecule, emulated(), replicas=48)
    begin = np.repeat(_displaced(molecule, 1), 48, axis=0), _drawn(molecule, kelvin, 48)
    kernel.run(*begin, kelvin, steps=300, timestep=0.002, friction=20.0)
    freedom = 3 * terms.atoms - len(terms.constraints)
    found = (2 * kernel.energies[:, 1] / freedom / GAS_CONSTANT).reshape(2, 24).mean(axis=1)
    error = np.array([200.0, 500.0]) * np.sqrt(2 / freedom / 24)
    assert np.all(np.abs(found - [200.0, 500.0]) < 4 * error)


def test_resumes_where_it_stopped(peptides: list[Any], emulated: Emulated) -> None:
    for molecule in peptides:
        kernel = _kernel(molecule, emulated())
        once, half = _run(kernel, molecule, 20), _run(kernel, molecule, 10)
        for a, b in zip(once, kernel.run(*half, KELVIN, steps=10, first=10, project=False, **STEP), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_broken_replica_leaves_the_others_unharmed(peptides: list[Any], emulated: Emulated) -> None:
    kernel, x, v = _kernel(peptides[0], emulated()), _displaced(peptides[0]), _drawn(peptides[0])
    whole, _ = kernel.run(x, v, KELVIN, steps=10, **STEP)
    x[0] = np.nan
    broken, _ = kernel.run(x, v, KELVIN, steps=10, **STEP)
    assert not np.isfinite(broken[0]).any()
    np.testing.assert_array_equal(broken[1], whole[1])


@pytest.mark.gpu
def test_the_gpu_agrees_with_openmm(peptides: list[Any]) -> None:
    _agrees_with_openmm(peptides, _gpu())


@pytest.mark.gpu
def test_the_gpu_repeats_itself(peptides: list[Any]) -> None:
    for molecule in peptides:
        one, two = (_kernel(molecule, _gpu(), threads=threads) for threads in (None, 32))
        for a, b in zip(_run(one, molecule, 200), _run(two, molecule, 200), strict=True):
            np.testing.assert_array_equal(a, b)


def _gpu() -> Device:
    try:
        return CudaDevice()
    except RuntimeError as error:
        pytest.skip(str(error))
