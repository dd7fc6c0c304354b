"""The GPU kernel: its arithmetic by emulation, against OpenMM; and on a CUDA device where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.arrays import Doubles
from latentmd.replicas.cuda import CudaDevice, CudaReplicas, Device
from latentmd.replicas.terms import read_terms
from latentmd.units import GAS_CONSTANT

Emulated = Callable[..., Device]


def _displaced(molecules: list[Any]) -> list[Doubles]:
    rng = np.random.default_rng(0)
    starts = [np.array(molecule.positions._value) for molecule in molecules]
    return [x - x.mean(axis=0) + rng.normal(scale=0.003, size=x.shape) for x in starts]


def _replicas(molecules: list[Any], device: Device, temperature: Any = 350.0, **options: Any) -> CudaReplicas:
    terms = [read_terms(molecule.system) for molecule in molecules]
    which = np.arange(len(molecules))
    replicas = CudaReplicas(terms, which, seeds=which + 1, temperature=temperature, device=device, **options)
    replicas.set_positions(_displaced(molecules))
    return replicas


def _agrees_with_openmm(molecules: list[Any], replicas: CudaReplicas) -> None:
    energies, forces = replicas.energies(), replicas.forces()
    for molecule, x, energy, force in zip(molecules, _displaced(molecules), energies, forces, strict=True):
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
        context.setPositions(x)
        state = context.getState(getEnergy=True, getForces=True)
        expected = state.getForces(asNumpy=True)._value
        assert energy == pytest.approx(state.getPotentialEnergy()._value, abs=5e-3)
        assert np.sqrt(np.mean((force - expected) ** 2)) < 1e-5 * np.sqrt(np.mean(expected**2))


def test_forces_and_energies_are_those_of_openmm(peptides: list[Any], emulated: Emulated) -> None:
    _agrees_with_openmm(peptides, _replicas(peptides, emulated()))


@pytest.mark.parametrize(("threads", "reverse"), [(1, False), (32, True), (64, False), (None, True)])
def test_no_two_threads_touch_the_same_word(
    peptides: list[Any], emulated: Emulated, threads: int | None, reverse: bool
) -> None:
    runs = [_replicas(peptides, emulated()), _replicas(peptides, emulated(reverse=reverse), threads=threads)]
    for run in runs:
        run.draw_velocities(np.random.default_rng(3))
        run.step(20, timestep=0.002, friction=1.0, every=10)
    for a, b in zip(*(run.positions() + run.velocities() for run in runs), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


def test_a_replica_does_not_know_its_neighbours(peptides: list[Any], emulated: Emulated) -> None:
    both = _replicas(peptides, emulated())
    both.step(10, timestep=0.002, friction=1.0)
    terms = read_terms(peptides[1].system)
    alone = CudaReplicas([terms], np.zeros(1, int), seeds=np.array([2]), temperature=350.0, device=emulated())
    alone.set_positions(_displaced(peptides)[1:])
    alone.step(10, timestep=0.002, friction=1.0)
    np.testing.assert_array_equal(both.positions()[1], alone.positions()[0])


def test_bonds_to_hydrogen_keep_their_lengths(peptides: list[Any], emulated: Emulated) -> None:
    replicas = _replicas(peptides, emulated())
    replicas.draw_velocities(np.random.default_rng(0))
    replicas.step(50, timestep=0.004, friction=1.0)
    for terms, x, v in zip(replicas.molecules, replicas.positions(), replicas.velocities(), strict=True):
        i, j = terms.constraints.T
        np.testing.assert_allclose(np.linalg.norm(x[i] - x[j], axis=1), terms.distance, rtol=1e-5)
        assert np.isfinite(v).all()


def test_velocities_along_bonds_to_hydrogen_are_removed(peptides: list[Any], emulated: Emulated) -> None:
    replicas = _replicas(peptides, emulated())
    replicas.draw_velocities(np.random.default_rng(0))
    for terms, x, v in zip(replicas.molecules, replicas.positions(), replicas.velocities(), strict=True):
        i, j = terms.constraints.T
        along = np.sum((x[i] - x[j]) * (v[i] - v[j]), axis=1) / terms.distance
        assert np.abs(along).max() < 1e-4


def test_the_energy_is_conserved_without_friction(peptides: list[Any], emulated: Emulated) -> None:
    replicas = _replicas(peptides[:1], emulated())
    replicas.draw_velocities(np.random.default_rng(0))
    replicas.step(200, timestep=0.001, friction=10.0)
    totals = []
    for _ in range(20):
        replicas.step(50, timestep=0.0005, friction=0.0)
        kinetic = replicas.kinetic_energies()
        totals.append(kinetic + replicas.energies())
    assert np.std(totals) < 0.02 * np.mean(kinetic)


def test_the_temperature_is_that_of_each_replica(peptides: list[Any], emulated: Emulated) -> None:
    terms = read_terms(peptides[0].system)
    temperature = np.repeat([200.0, 500.0], 24)
    device = emulated()
    replicas = CudaReplicas([terms], np.zeros(48, int), seeds=np.arange(48), temperature=temperature, device=device)
    replicas.set_positions([_displaced(peptides)[0]] * 48)
    replicas.draw_velocities(np.random.default_rng(0))
    replicas.step(300, timestep=0.002, friction=20.0)
    freedom = 3 * terms.atoms - len(terms.constraints)
    found = (2 * replicas.kinetic_energies() / freedom / GAS_CONSTANT).reshape(2, 24).mean(axis=1)
    error = np.array([200.0, 500.0]) * np.sqrt(2 / freedom / 24)
    assert np.all(np.abs(found - [200.0, 500.0]) < 4 * error)


def test_frames_are_the_positions(peptides: list[Any], emulated: Emulated) -> None:
    replicas = _replicas(peptides, emulated())
    frames = replicas.step(20, timestep=0.002, friction=1.0, every=10)
    assert frames is not None
    assert frames.positions.shape == (2, sum(replicas.atoms), 3)
    last = np.concatenate([x - x.mean(axis=0) for x in replicas.positions()])
    np.testing.assert_allclose(frames.positions[-1] * 1e-3, last, atol=6e-4)
    np.testing.assert_allclose(frames.energies[-1], replicas.energies(), atol=1e-2)


def test_resumes_where_it_stopped(peptides: list[Any], emulated: Emulated) -> None:
    once, twice = _replicas(peptides, emulated()), _replicas(peptides, emulated())
    once.step(20, timestep=0.002, friction=1.0, recentre=False)
    for _ in range(2):
        twice.step(10, timestep=0.002, friction=1.0, recentre=False)
    for a, b in zip(once.positions(), twice.positions(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_broken_replica_leaves_the_others_unharmed(peptides: list[Any], emulated: Emulated) -> None:
    broken, whole = _replicas(peptides, emulated()), _replicas(peptides, emulated())
    x = _displaced(peptides)
    broken.set_positions([np.full_like(x[0], np.nan), x[1]])
    for replicas in (broken, whole):
        replicas.step(10, timestep=0.002, friction=1.0)
    assert not np.isfinite(broken.positions()[0]).any()
    np.testing.assert_array_equal(broken.positions()[1], whole.positions()[1])


def test_bad_input_is_refused(peptides: list[Any], emulated: Emulated) -> None:
    terms = [read_terms(peptides[0].system)]
    with pytest.raises(ValueError, match="expected one index below 1"):
        CudaReplicas(terms, np.array([1]), seeds=np.array([0]), temperature=300.0, device=emulated())
    with pytest.raises(ValueError, match="expected one per replica"):
        CudaReplicas(terms, np.array([0]), seeds=np.array([0, 1]), temperature=300.0, device=emulated())
    replicas = CudaReplicas(terms, np.array([0]), seeds=np.array([0]), temperature=300.0, device=emulated())
    with pytest.raises(ValueError, match=r"each of shape \(atoms, 3\)"):
        replicas.set_positions([np.zeros((3, 3))])
    with pytest.raises(ValueError, match="divisor"):
        replicas.step(10, timestep=0.002, friction=1.0, every=3)


@pytest.mark.gpu
def test_the_gpu_agrees_with_openmm(peptides: list[Any]) -> None:
    _agrees_with_openmm(peptides, _replicas(peptides, _gpu()))


@pytest.mark.gpu
def test_the_gpu_repeats_itself(peptides: list[Any]) -> None:
    runs = [_replicas(peptides, _gpu(), threads=threads) for threads in (None, 32)]
    for run in runs:
        run.draw_velocities(np.random.default_rng(3))
        run.step(200, timestep=0.002, friction=1.0)
    for a, b in zip(*(run.positions() for run in runs), strict=True):
        np.testing.assert_array_equal(a, b)


def _gpu() -> Device:
    try:
        return CudaDevice()
    except RuntimeError as error:
        pytest.skip(str(error))
