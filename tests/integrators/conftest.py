"""Simulations with a LatentIntegrator on the closed-form surrogate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def latent_simulation(alanine: Any, ou_bundle: Path) -> Callable[..., Any]:
    """make(platform="Reference", seed=0, step=50.0, cycle=None) → (Simulation at the minimum, LatentIntegrator)."""
    import openmm
    from openmm import app

    from latentmd.integrators import LatentIntegrator, alternate

    def make(
        platform: str = "Reference", seed: int = 0, step: float = 50.0, cycle: tuple[int, int] | None = None
    ) -> Any:
        system = copy.deepcopy(alanine.system)
        latent = LatentIntegrator(350, ou_bundle, step, system=system, topology=alanine.topology, seed=seed)
        schedule = None
        integrator: Any = latent
        if cycle:
            integrator, schedule = alternate(alanine.langevin(1), latent, cycle)
        properties = {"Threads": "1"} if platform == "CPU" else {}
        simulation = app.Simulation(
            alanine.topology, system, integrator, openmm.Platform.getPlatformByName(platform), properties
        )
        if schedule:
            simulation.reporters.append(schedule)
        simulation.context.setPositions(alanine.positions)
        simulation.context.setVelocitiesToTemperature(350, 1)
        return simulation, latent

    return make


@pytest.fixture
def snapshot() -> Callable[[Any], dict[str, Any]]:
    """snapshot(context) → positions, velocities, forces and energy over all groups, time, steps and parameters."""

    def take(context: Any) -> dict[str, Any]:
        state = context.getState(positions=True, velocities=True, forces=True, energy=True, parameters=True)
        return {
            "x": np.array(state.getPositions(asNumpy=True)._value),
            "v": np.array(state.getVelocities(asNumpy=True)._value),
            "f": np.array(state.getForces(asNumpy=True)._value),
            "energy": state.getPotentialEnergy()._value,
            "time": state.getTime()._value,
            "steps": state.getStepCount(),
            "parameters": dict(state.getParameters()),
        }

    return take
