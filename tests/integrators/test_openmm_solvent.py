"""Steered jumps of a solute: torsions arrive where the model sent them, and nothing is felt outside a jump."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.integrators.openmm_solvent import SolventJumps
from latentmd.model.propagator import Propagator
from latentmd.systems.builder import Protocol, build
from latentmd.systems.bundled import bundled


def _simulation(topology: app.Topology, system: openmm.System, positions: Any, platform: str) -> app.Simulation:
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.002)
    integrator.setRandomNumberSeed(3)
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName(platform))
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(300, 4)
    return simulation


@pytest.fixture(scope="module")
def model(ou_bundle: Any) -> Propagator:
    return Propagator(ou_bundle)


def _copy(system: openmm.System) -> openmm.System:
    return openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))


def test_torsions_arrive_and_the_force_is_gone_afterwards(alanine: Any, model: Propagator) -> None:
    system = _copy(alanine.system)
    jumps = SolventJumps(system, alanine.topology, model, time=50.0, steer=4.0, discard=0.2, seed=1)
    simulation = _simulation(alanine.topology, system, alanine.positions, "Reference")
    bare = openmm.Context(alanine.system, openmm.VerletIntegrator(0.001), simulation.context.getPlatform())
    phases, made = [], []
    for _ in range(3):
        for phase, jump in jumps.jump(simulation):
            phases.append(phase)
            if jump is not None:
                made.append(jump)
        state = simulation.context.getState(positions=True, energy=True)
        bare.setPositions(state.getPositions())
        energy = bare.getState(energy=True).getPotentialEnergy()
        assert state.getPotentialEnergy()._value == pytest.approx(energy._value, abs=1e-3)
    assert phases == (["steer"] * 10 + ["discard"]) * 3
    assert all(jump.missed < np.deg2rad(35) for jump in made), [np.rad2deg(jump.missed) for jump in made]
    assert max(np.abs(np.angle(np.exp(1j * (j.target - j.start)))).max() for j in made) > np.deg2rad(40)
    assert all(np.isfinite(jump.protocol_work) for jump in made)
    assert simulation.context.getTime().value_in_unit(unit.picosecond) == pytest.approx(3 * 4.2)


def test_a_jump_is_repeated_by_its_seed(alanine: Any, model: Propagator) -> None:
    targets = []
    for seed in (1, 1, 2):
        system = _copy(alanine.system)
        jumps = SolventJumps(system, alanine.topology, model, time=50.0, steer=0.2, discard=0.0, seed=seed)
        simulation = _simulation(alanine.topology, system, alanine.positions, "Reference")
        targets.append(next(jump.target for _, jump in list(jumps.jump(simulation)) if jump is not None))
    np.testing.assert_array_equal(targets[0], targets[1])
    assert np.abs(targets[0] - targets[2]).max() > 1e-3


@pytest.mark.slow
def test_water_follows(model: Propagator) -> None:
    """In a small box: the solute arrives, and no water overlaps with it."""
    molecule = build(bundled("alanine_dipeptide"), Protocol(solvent="explicit", temperature=300.0))
    jumps = SolventJumps(molecule.system, molecule.topology, model, time=50.0, steer=1.0, discard=0.1, seed=2)
    assert repr(jumps).endswith("0 jumps made)")
    simulation = _simulation(molecule.topology, molecule.system, molecule.positions, "CPU")
    simulation.minimizeEnergy(maxIterations=50)
    simulation.step(50)
    (jump,) = [jump for _, jump in jumps.jump(simulation) if jump is not None]
    assert jump.missed < np.deg2rad(60)
    state = simulation.context.getState(positions=True, energy=True)
    assert state.getPotentialEnergy()._value < 0
    x = state.getPositions(asNumpy=True)._value
    box = np.diag(state.getPeriodicBoxVectors(asNumpy=True)._value)
    apart = x[22:][None] - x[:22][:, None]
    apart -= box * np.round(apart / box)
    assert np.linalg.norm(apart, axis=2).min() > 0.12


@pytest.mark.parametrize("options", [{"steer": 0.0}, {"discard": -1.0}, {"time": -5.0}])
def test_times_are_positive(alanine: Any, model: Propagator, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected positive times"):
        SolventJumps(_copy(alanine.system), alanine.topology, model, **options)


def test_arguments_of_openmm_and_wrong_ones(alanine: Any, model: Propagator) -> None:
    jumps = SolventJumps(_copy(alanine.system), alanine.topology, model.bundle, steer=0.03 * unit.nanosecond)
    assert jumps.steer == 30.0 and jumps.model.n_atoms == 22
    for options, message in (
        ({"time": "long"}, "time is 'long'; expected a number of picoseconds"),
        ({"atoms": "all"}, "atoms is 'all'; expected indices"),
        ({"model": 5}, "model is a int"),
    ):
        with pytest.raises(TypeError, match=message):
            SolventJumps(_copy(alanine.system), alanine.topology, **{"model": model, **options})


def test_another_molecule_is_refused(model: Propagator) -> None:
    glycine = build(bundled("glycine_dipeptide"))
    with pytest.raises(ValueError, match="covers a molecule of 22 atoms"):
        SolventJumps(glycine.system, glycine.topology, model, atoms=range(glycine.system.getNumParticles()))
