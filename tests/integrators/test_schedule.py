"""Alternation inside `simulation.step`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.integrators import LatentIntegrator, alternate
from latentmd.integrators.schedule import AlternationSchedule
from latentmd.units import GAS_CONSTANT

Make = Callable[..., Any]


def test_positions_in_the_cycle() -> None:
    schedule = AlternationSchedule((3, 2))
    assert [schedule.position(step) for step in range(6)] == [(0, 3), (0, 2), (0, 1), (1, 2), (1, 1), (0, 3)]
    assert [schedule.segment(step) for step in range(7)] == ["start", "md", "md", "md", "latent", "latent", "md"]
    for cycle in ((0, 1), 5, (5,), "ab"):
        with pytest.raises(ValueError, match="at least one MD step and one latent step"):
            AlternationSchedule(cycle)
    with pytest.raises(TypeError, match=r"cycle is 2\.5; expected an integer"):
        AlternationSchedule((2.5, 1))


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
    with pytest.raises(ValueError, match="settle_steps is -1; expected 0 or more"):
        alternate(openmm.VerletIntegrator(0.001), latent, settle_steps=-1)
    compound, schedule = alternate(openmm.VerletIntegrator(0.001), latent, (5, 1), relax_iterations=7, max_force=3.0)
    assert isinstance(compound, openmm.CompoundIntegrator)
    assert (schedule.cycle, schedule.relax_iterations, schedule.max_force) == ((5, 1), 7, 3.0)


MD = {
    "Langevin": lambda kelvin: openmm.LangevinIntegrator(kelvin, 1, 0.002),
    "LangevinMiddle": lambda kelvin: openmm.LangevinMiddleIntegrator(kelvin, 1, 0.002),
    "VariableLangevin": lambda kelvin: openmm.VariableLangevinIntegrator(kelvin, 1, 0.001),
    "Brownian": lambda kelvin: openmm.BrownianIntegrator(kelvin, 1, 0.002),
    "NoseHoover": lambda kelvin: openmm.NoseHooverIntegrator(kelvin, 1, 0.002),
    "MTSLangevin": lambda kelvin: openmm.MTSLangevinIntegrator(kelvin, 1, 0.004, [(0, 1)]),
}


def _latent(alanine: Any, ou_bundle: Path) -> LatentIntegrator:
    return LatentIntegrator(350, ou_bundle, system=copy.deepcopy(alanine.system), topology=alanine.topology)


@pytest.mark.parametrize("kind", MD)
def test_md_at_another_temperature_is_refused(alanine: Any, ou_bundle: Path, kind: str) -> None:
    with pytest.raises(ValueError, match="the MD integrator is at 300 K, the model at 350 K; give the MD 350 K"):
        alternate(MD[kind](300.0), _latent(alanine, ou_bundle))
    alternate(MD[kind](350 * unit.kelvin), _latent(alanine, ou_bundle))


@pytest.mark.parametrize("md", [openmm.VerletIntegrator(0.002), openmm.VariableVerletIntegrator(0.001)])
def test_md_without_a_thermostat_has_no_temperature(alanine: Any, ou_bundle: Path, md: openmm.Integrator) -> None:
    alternate(md, _latent(alanine, ou_bundle))


def test_a_temperature_changed_later_is_refused_by_the_next_step(latent_simulation: Make) -> None:
    simulation, _ = latent_simulation(cycle=(2, 1))
    simulation.step(4)
    md = simulation.integrator.getIntegrator(0)
    md.setTemperature(300)
    with pytest.raises(ValueError, match="the MD integrator is at 300 K"):
        simulation.step(1)
    assert simulation.context.getStepCount() == 4
    md.setTemperature(350)
    simulation.step(1)
    with pytest.raises(ValueError, match="set the step size of md_integrator or of latent_integrator"):
        simulation.integrator.setStepSize(0.002)


def test_integrators_exchanged_are_named(alanine: Any, ou_bundle: Path) -> None:
    latent = _latent(alanine, ou_bundle)
    with pytest.raises(TypeError, match="md_integrator is a LatentIntegrator; expected an OpenMM integrator of MD"):
        alternate(latent, alanine.langevin(1))
    with pytest.raises(TypeError, match="latent_integrator is a VerletIntegrator; expected a LatentIntegrator"):
        alternate(alanine.langevin(1), openmm.VerletIntegrator(0.001))


def test_one_seed_serves_openmm_in_all_integrators(alanine: Any, ou_bundle: Path) -> None:
    """Platforms with one random number generator refuse a second seed."""
    latent, md = _latent(alanine, ou_bundle), alanine.langevin(7)
    compound, _ = alternate(md, latent)
    seeds = [openmm.CustomIntegrator.getRandomNumberSeed(latent), compound.getIntegrator(2).getRandomNumberSeed()]
    assert seeds == [md.getRandomNumberSeed()] * 2 and latent.getRandomNumberSeed() == 0
