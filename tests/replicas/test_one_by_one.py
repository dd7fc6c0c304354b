"""OpenMM in place of the compiled engine: the same interface, and the choice between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.replicas import choice
from latentmd.replicas.choice import replica_engine, unsupported
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library
from latentmd.replicas.one_by_one import OneByOne
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled


@pytest.fixture(scope="module")
def dipeptide() -> Any:
    return build(bundled("alanine_dipeptide"))


def _start(molecule: Any, replicas: int) -> np.ndarray:
    return np.repeat(np.asarray(molecule.positions._value)[None], replicas, axis=0)


def test_every_method_of_the_compiled_engine_is_there() -> None:
    public = {name for name in vars(ReplicaEngine) if not name.startswith("_")}
    assert public <= set(dir(OneByOne)) | {"positions", "velocities"}


def test_velocities_belong_to_the_number_of_a_replica(dipeptide: Any) -> None:
    def run(numbers: list[int]) -> np.ndarray:
        engine = OneByOne(dipeptide.system, _start(dipeptide, len(numbers)), seed=3, numbers=numbers)
        engine.minimize(30)
        engine.draw_velocities()
        return engine.velocities

    whole = run([0, 1, 2])
    np.testing.assert_array_equal(run([2])[0], whole[2])
    assert np.abs(whole[0] - whole[1]).max() > 1e-4


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_noise_of_dynamics_is_decided_by_seed_number_and_draw(dipeptide: Any, platform: str) -> None:
    """Neither by earlier calls, nor by who is beside; an odd number of normal numbers comes first."""

    def moved(numbers: list[int], seed: int) -> Any:
        start = _start(dipeptide, len(numbers))
        engine = OneByOne(dipeptide.system, start, platform=(platform, 1), seed=seed, numbers=numbers)
        engine.minimize(30)
        engine.draw_velocities()
        engine.langevin(3, timestep=0.002, friction=1.0)
        engine.langevin(4, timestep=0.002, friction=1.0)
        return engine.positions

    both = moved([0, 1], 3)
    np.testing.assert_array_equal(moved([1], 3)[0], both[1])
    assert np.abs(moved([1], 4)[0] - both[1]).max() > 1e-6


def test_dynamics_keep_constraints_and_differ_between_replicas(dipeptide: Any) -> None:
    engine = OneByOne(dipeptide.system, _start(dipeptide, 2), seed=3)
    engine.minimize(30)
    engine.draw_velocities()
    engine.langevin(20, timestep=0.002, friction=1.0)
    rows = [dipeptide.system.getConstraintParameters(c) for c in range(dipeptide.system.getNumConstraints())]
    for i, j, length in rows:
        apart = np.linalg.norm(engine.positions[:, i] - engine.positions[:, j], axis=1)
        np.testing.assert_allclose(apart, length._value, rtol=1e-6)
    assert np.abs(engine.positions[0] - engine.positions[1]).max() > 1e-4


def test_hamiltonian_moves_are_accepted_and_restored(dipeptide: Any) -> None:
    engine = OneByOne(dipeptide.system, _start(dipeptide, 3), temperature=300.0)
    engine.minimize(100)
    engine.draw_velocities()
    engine.langevin(200, timestep=0.002, friction=5.0)
    accepted = [engine.hamiltonian(5, timestep=0.001, rng=np.random.default_rng(k)) for k in range(5)]
    assert np.mean(accepted) > 0.6
    state = engine.state()
    before = engine.energies()
    engine.verlet(5, timestep=0.001)
    engine.restore(state)
    np.testing.assert_array_equal(engine.energies(), before)


def test_the_choice_names_what_is_lost(dipeptide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(dipeptide.system))
    if library() is not None:
        assert unsupported(system) == ""
        assert isinstance(replica_engine(system, _start(dipeptide, 2)), ReplicaEngine)
    system.addForce(openmm.CustomExternalForce("x"))
    assert isinstance(replica_engine(system, _start(dipeptide, 1)), OneByOne) and unsupported(system)
    monkeypatch.setattr(choice, "library", lambda: None)
    assert "no C++ compiler" in unsupported(dipeptide.system)
    assert isinstance(replica_engine(dipeptide.system, _start(dipeptide, 1)), OneByOne)


@pytest.mark.parametrize("force", [openmm.MonteCarloBarostat(1.0, 300.0), openmm.AndersenThermostat(300.0, 1.0)])
def test_a_system_with_a_thermostat_or_a_barostat_is_refused(dipeptide: Any, force: openmm.Force) -> None:
    system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(dipeptide.system))
    system.addForce(openmm.XmlSerializer.clone(force))
    with pytest.raises(ValueError, match=f"{type(force).__name__}.*removeForce"):
        replica_engine(system, _start(dipeptide, 1))


def test_a_broken_replica_is_left_out(dipeptide: Any) -> None:
    x = _start(dipeptide, 2)
    x[1] = np.nan
    engine = OneByOne(dipeptide.system, x)
    engine.draw_velocities()
    engine.langevin(5, timestep=0.002, friction=1.0)
    np.testing.assert_array_equal(engine.broken(), [False, True])
    assert np.isfinite(engine.energies()[0]) and np.isnan(engine.energies()[1])
