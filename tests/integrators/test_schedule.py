"""Alternation inside `simulation.step`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.integrators import LatentIntegrator, alternate
from latentmd.integrators.schedule import AlternationSchedule
from latentmd.units import GAS_CONSTANT

Make = Callable[..., Any]


def test_positions_in_the_cycle() -> None:
    schedule = AlternationSchedule((3, 2))
    assert [schedule.position(step) for step in range(6)] == [(0, 3), (0, 2), (0, 1), (1, 2), (1, 1), (0, 3)]
    assert [schedule.segment(step) for step in range(7)] == ["start", "md", "md", "md", "latent", "latent", "md"]
    with pytest.raises(ValueError, match="at least one MD step and one latent step"):
        AlternationSchedule((0, 1))


@pytest.mark.parametrize("chunks", [[25], [1] * 25, [4, 7, 14]])
def test_steps_are_made_by_the_right_integrator(latent_simulation: Make, chunks: list[int]) -> None:
    simulation, latent = latent_simulation(cycle=(10, 1))
    for chunk in chunks:
        simulation.step(chunk)
    # Steps 11 and 22 are latent: 50 ps each, the others 4 fs.
    assert simulation.context.getTime()._value == pytest.approx(2 * 50 + 23 * 0.004)
    assert latent.provider.steps == 2


def test_md_between_latent_steps_has_the_temperature_of_plain_md(latent_simulation: Make, alanine: Any) -> None:
    plain = alanine.langevin(2)
    context = openmm.Context(alanine.system, plain, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(alanine.positions)
    simulation, _ = latent_simulation(cycle=(400, 1))
    for integrator in (plain, simulation.integrator.getIntegrator(0)):
        integrator.setFriction(20)
    masses = np.array([simulation.system.getParticleMass(i)._value for i in range(22)])
    kinetic: dict[str, list[float]] = {"plain": [], "alternating": []}

    def sample(name: str, context: openmm.Context) -> None:
        v = context.getState(velocities=True).getVelocities(asNumpy=True)._value
        kinetic[name].append(0.5 * float(np.sum(masses[:, None] * v * v)))

    plain.step(500)
    for _ in range(40):
        simulation.step(1)  # the frames begin right after the latent step, or half a cycle later
        for _ in range(20):
            plain.step(10)
            simulation.step(10)
            sample("plain", context)
            sample("alternating", simulation.context)
    # At 20/ps velocities lose memory within two frames: 400 independent values each, of 51 degrees of freedom.
    expected = np.mean(kinetic["plain"])
    assert np.mean(kinetic["alternating"]) == pytest.approx(expected, rel=4 * (2 * 2 / 51 / 400) ** 0.5)


def test_settling_shares_the_energy_and_counts_no_time(alanine: Any, ou_bundle: Path) -> None:
    energies: dict[int, list[float]] = {0: [], 50: []}
    for settle_steps, found in energies.items():
        system = copy.deepcopy(alanine.system)
        latent = LatentIntegrator(350, ou_bundle, system=system, topology=alanine.topology)
        compound, schedule = alternate(alanine.langevin(1), latent, (2, 1), settle_steps=settle_steps)
        platform = openmm.Platform.getPlatformByName("Reference")
        simulation = app.Simulation(alanine.topology, system, compound, platform)
        simulation.reporters.append(schedule)
        simulation.context.setPositions(alanine.positions)
        for cycle in range(60):
            simulation.step(3)
            assert simulation.currentStep == 6 * cycle + 3
            simulation.step(2)
            found.append(simulation.context.getState(energy=True).getKineticEnergy()._value)
            simulation.step(1)
        assert simulation.context.getTime()._value == pytest.approx(120 * 50 + 240 * 0.004)
    expected = 0.5 * 51 * GAS_CONSTANT * 350  # kJ/mol
    error = 4 * expected * (2 / 51 / 60) ** 0.5
    assert np.mean(energies[50]) == pytest.approx(expected, abs=error)
    assert np.mean(energies[0]) < expected - error  # the surrogate's bonds are at rest


def test_a_strained_structure_is_relaxed_once(latent_simulation: Make) -> None:
    simulation, _ = latent_simulation(cycle=(2, 1))
    schedule = simulation.reporters[0]
    simulation.step(4)
    relaxed = schedule.relaxations
    schedule.max_force = 1.0
    simulation.step(3)
    assert schedule.relaxations == relaxed + 1
    schedule.relax_iterations = 0
    simulation.step(3)
    assert schedule.relaxations == relaxed + 1


def test_options_reach_the_schedule(alanine: Any, ou_bundle: Path) -> None:
    system = copy.deepcopy(alanine.system)
    latent = LatentIntegrator(350, ou_bundle, system=system, topology=alanine.topology)
    compound, schedule = alternate(openmm.VerletIntegrator(0.001), latent, (5, 1), relax_iterations=7, max_force=3.0)
    assert isinstance(compound, openmm.CompoundIntegrator)
    assert (schedule.cycle, schedule.relax_iterations, schedule.max_force) == ((5, 1), 7, 3.0)
