"""Noise follows the replica: States that come and go in one Context, against what checkpoints promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.core.noise import fingerprint, step_key, visit_key
from latentmd.integrators.openmm_provider import Visits, remembered, visits

Make = Callable[..., Any]
WHOLE = {"positions": True, "velocities": True, "parameters": True, "integratorParameters": True}


def _distances(state: openmm.State) -> np.ndarray:
    x = state.getPositions(asNumpy=True)._value
    return np.linalg.norm(x[:, None] - x[None], axis=-1)


def _nearest(states: list[openmm.State]) -> float:
    """Of the differences between the shapes of two replicas, the largest distance; of the pairs, the least."""
    shapes = [_distances(state) for state in states]
    return min(np.abs(a - b).max() for i, a in enumerate(shapes) for b in shapes[:i])


def _swapped(simulation: app.Simulation, states: list[openmm.State], rounds: int) -> list[openmm.State]:
    for _ in range(rounds):
        for i, state in enumerate(states):
            simulation.context.setState(state)
            simulation.step(1)
            states[i] = simulation.context.getState(**WHOLE)
    return states


@pytest.mark.parametrize("apart", [0, 2], ids=["from one state", "started apart"])
@pytest.mark.parametrize("cycle", [None, (2, 1)], ids=["latent", "alternating"])
def test_states_swapped_by_hand_stay_apart(latent_simulation: Make, apart: int, cycle: Any) -> None:
    simulation, _ = latent_simulation(seed=1, cycle=cycle)
    starts = []
    for _ in range(3):
        simulation.step(apart * (3 if cycle else 1))
        starts.append(simulation.context.getState(**WHOLE))
    for rounds in (3, 9):
        assert _nearest(_swapped(simulation, list(starts), rounds)) > 0.01


@pytest.mark.parametrize("states", [[{"k": k} for k in (0.0, 1e-9, 2e-9)], [{"groups": {0}}] * 3], ids=["k", "groups"])
def test_replica_exchange_keeps_replicas_apart(latent_simulation: Make, states: list[Any]) -> None:
    if not hasattr(app, "ReplicaExchangeSampler"):
        pytest.skip("OpenMM before 8.5 has no ReplicaExchangeSampler")
    simulation, _ = latent_simulation(seed=1)
    force = openmm.CustomExternalForce("k*x")
    force.addGlobalParameter("k", 0.0)
    force.addParticle(0)
    simulation.system.addForce(force)
    simulation.context.reinitialize(preserveState=True)
    sampler = app.ReplicaExchangeSampler(states, simulation, 1)
    for _ in range(4):
        sampler.simulate(1)
        assert _nearest(sampler.replicaConformation) > 0.01


def test_a_checkpoint_repeats_where_a_state_draws_anew(latent_simulation: Make) -> None:
    simulation, _ = latent_simulation(seed=2)
    simulation.step(1)
    checkpoint, state = simulation.context.createCheckpoint(), simulation.context.getState(**WHOLE)
    ends = []
    for load in (None, checkpoint, state, state, checkpoint):
        if isinstance(load, bytes):
            simulation.context.loadCheckpoint(load)
        elif load is not None:
            simulation.context.setState(load)
        simulation.step(2)
        ends.append(simulation.context.getState(positions=True))
    np.testing.assert_array_equal(*(ends[i].getPositions(asNumpy=True)._value for i in (0, 1)))
    np.testing.assert_array_equal(*(ends[i].getPositions(asNumpy=True)._value for i in (0, 4)))
    assert _nearest([ends[0], ends[2], ends[3]]) > 0.01


def _end(simulation: app.Simulation) -> Any:
    simulation.step(2)
    return simulation.context.getState(positions=True).getPositions(asNumpy=True)._value


def test_a_restarted_context_draws_the_same(latent_simulation: Make) -> None:
    simulation, _ = latent_simulation(seed=3)
    start, first = simulation.context.getState(positions=True).getPositions(), _end(simulation)
    simulation.context.reinitialize()
    simulation.context.setPositions(start)
    np.testing.assert_array_equal(_end(simulation), first)


def test_a_step_that_failed_is_made_as_if_it_had_not(latent_simulation: Make) -> None:
    first = _end(latent_simulation(seed=3)[0])
    simulation, latent = latent_simulation(seed=3)
    latent.provider.propagator.sound_step = _failing_once(latent.provider.propagator)
    with pytest.raises(openmm.OpenMMException, match="not this time"):
        simulation.step(1)
    np.testing.assert_array_equal(_end(simulation), first)


def _failing_once(propagator: Any) -> Any:
    original, calls = propagator.sound_step, []

    def step(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not this time")
        return original(*arguments)

    return step


def test_the_key_follows_the_replica() -> None:
    x = np.random.default_rng(0).normal(size=(22, 3))
    key = step_key(1, 2, 3, x, {"latentmd_step": 3.0})
    assert key == step_key(1, 2, 3, x + 2.6, {"latentmd_step": 4.0})  # wherever its molecule is
    moved = x.copy()
    moved[7, 1] += 1e-4
    others = [step_key(1, 2, 3, moved, {}), step_key(1, 2, 3, x, {"k": 0.0}), step_key(1, 2, 3, x, {"k": 1e-9})]
    assert len({key, *others}) == 4
    assert key[1:] == (2, 3) and visit_key(key, 0) == key != visit_key(key, 1)


def test_fingerprints_differ_and_do_not_hang_on_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 10))
    assert len({fingerprint(row) for row in x}) == 3000
    assert fingerprint(x[0]) == fingerprint(x[0] * (1 + 1e-13))


def test_visits_are_forgotten_from_the_oldest() -> None:
    seen = Visits()
    seen.add((1, 0, 0), 0.25)
    assert seen.number((1, 0, 0), 0.25) == 0 and seen.number((1, 0, 0), 0.5) == 1
    for step in range(2**14):
        seen.add((2, 0, step), 0.25)
    assert seen.number((1, 0, 0), 0.5) == 0
    owner = openmm.VerletIntegrator(1)
    with remembered(owner):
        assert visits(seen) is not seen
    assert visits(seen) is seen
