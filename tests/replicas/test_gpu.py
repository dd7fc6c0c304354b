"""The engine whose Langevin dynamics runs on a GPU: on one where there is one, and by emulation of its kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.arrays import Doubles
from latentmd.replicas import choice, cuda
from latentmd.replicas.choice import engine_in_use, replica_engine
from latentmd.replicas.cuda import CudaEngine, Device, cuda_device
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library
from latentmd.units import GAS_CONSTANT

STEP = {"timestep": 0.002, "friction": 1.0}


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that `replica_engine` finds."""
    if library() is None:
        pytest.skip("the kernel is not installed: there was no C++ compiler")
    if request.param == "gpu":
        found = cuda_device()
        if found is None:
            pytest.skip("no CUDA device, or no CuPy")
        return found
    emulated: Device = request.getfixturevalue("emulated")()
    monkeypatch.setattr(choice, "cuda_device", lambda: emulated)
    return emulated


def _start(molecule: Any, replicas: int) -> Doubles:
    return np.repeat(np.asarray(molecule.positions._value)[None] + 0.3, replicas, axis=0)


def _moving(molecule: Any, numbers: list[int], **options: Any) -> Any:
    start = _start(molecule, len(numbers))
    engine = replica_engine(molecule.system, start, seed=5, numbers=numbers, **options)
    engine.draw_velocities()
    engine.langevin(20, **STEP)
    return engine


def test_a_molecule_gets_the_device(device: Device, peptides: list[Any]) -> None:
    engine = replica_engine(peptides[0].system, _start(peptides[0], 2))
    assert isinstance(engine, CudaEngine)
    assert engine.variant == "CUDA"
    assert engine_in_use().startswith("CUDA for Langevin dynamics")


def test_without_noise_it_moves_as_the_lanes_do(device: Device, peptides: list[Any]) -> None:
    molecule = peptides[0]
    engines = [
        CudaEngine(molecule.system, _start(molecule, 2), device, seed=5),
        ReplicaEngine(molecule.system, _start(molecule, 2), seed=5),
    ]
    for engine in engines:
        engine.draw_velocities()
        engine.langevin(50, timestep=0.001, friction=0.0)
    np.testing.assert_allclose(engines[0].positions, engines[1].positions, atol=2e-5)
    np.testing.assert_allclose(engines[0].energies(), engines[1].energies(), atol=0.05)


def test_a_replica_does_not_know_its_neighbours(device: Device, peptides: list[Any]) -> None:
    both, alone = _moving(peptides[0], [3, 4]), _moving(peptides[0], [4])
    np.testing.assert_array_equal(both.positions[1], alone.positions[0])
    np.testing.assert_array_equal(both.velocities[1], alone.velocities[0])
    assert np.abs(both.positions[0] - both.positions[1]).max() > 1e-3


def test_it_goes_on_from_a_state_bit_for_bit(device: Device, peptides: list[Any]) -> None:
    engine = _moving(peptides[0], [0, 1])
    kept = engine.state()
    engine.langevin(10, **STEP)
    other = replica_engine(peptides[0].system, _start(peptides[0], 2), seed=5, numbers=[0, 1])
    other.restore(kept)
    other.langevin(10, **STEP)
    np.testing.assert_array_equal(engine.positions, other.positions)
    np.testing.assert_array_equal(engine.velocities, other.velocities)


def test_constraints_hold_and_the_centre_rests(device: Device, peptides: list[Any]) -> None:
    engine = _moving(peptides[0], [0, 1])
    i, j = np.asarray(engine.terms.constraints).T
    lengths = np.linalg.norm(engine.positions[:, i] - engine.positions[:, j], axis=2)
    np.testing.assert_allclose(lengths, np.tile(engine.terms.distance, (2, 1)), rtol=1e-7)
    share = engine.masses / engine.masses.sum()
    start = np.einsum("a,rad->rd", share, _start(peptides[0], 2))
    np.testing.assert_allclose(np.einsum("a,rad->rd", share, engine.positions), start, atol=1e-6)


def test_temperatures_are_those_of_each_replica(device: Device, peptides: list[Any]) -> None:
    temperature = np.repeat([200.0, 500.0], 24)
    start = _start(peptides[0], 48)
    engine = replica_engine(peptides[0].system, start, temperature=300.0, seed=2)
    engine.set_temperatures(temperature)
    engine.draw_velocities()
    engine.langevin(300, timestep=0.002, friction=20.0)
    freedom = 3 * start.shape[1] - len(engine.terms.constraints) - 3
    found = (2 * engine.kinetic_energies() / freedom / GAS_CONSTANT).reshape(2, 24).mean(axis=1)
    error = np.array([200.0, 500.0]) * np.sqrt(2 / freedom / 24)
    assert np.all(np.abs(found - [200.0, 500.0]) < 4 * error)


def test_held_torsions_move_in_the_lanes(device: Device, peptides: list[Any]) -> None:
    molecule, quads = peptides[0], np.array([[4, 6, 8, 14]])
    engines = [
        CudaEngine(molecule.system, _start(molecule, 1), device, restraints=quads),
        ReplicaEngine(molecule.system, _start(molecule, 1), restraints=quads),
    ]
    for engine in engines:
        engine.hold(np.array([[1.0]]), 100.0)
        engine.langevin(20, **STEP)
    np.testing.assert_array_equal(engines[0].positions, engines[1].positions)


def test_what_the_device_cannot_take_goes_to_the_lanes(
    device: Device, peptides: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentmd.replicas.terms.MAX_ATOMS", 30)
    assert type(replica_engine(peptides[1].system, _start(peptides[1], 1))) is ReplicaEngine


@pytest.mark.parametrize(("switch", "found"), [("", True), ("cpu", False), ("off", False)])
def test_the_switch_leaves_the_gpu_out(switch: str, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTMD_REPLICAS", switch)
    monkeypatch.setattr(cuda, "CudaDevice", object)
    cuda_device.cache_clear()
    try:
        assert (cuda_device() is not None) == found
    finally:
        cuda_device.cache_clear()


def test_cupy_without_a_device_leaves_the_work_to_the_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise RuntimeError("no CUDA device was found")

    monkeypatch.setattr(cuda, "CudaDevice", none)
    cuda_device.cache_clear()
    try:
        assert cuda_device() is None
    finally:
        cuda_device.cache_clear()
