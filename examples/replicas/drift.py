"""Drift of the total energy without a thermostat, engine and OpenMM: `python drift.py [--steps 1000000]`.

Alanine dipeptide in OBC2, 1 fs steps with constrained bonds to hydrogen, from structures equilibrated at 300 K.
OpenMM's CPU platform computes forces in single precision and integrates in double, as its mixed precision does; its
Reference platform is double throughout.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm

from latentmd.arrays import Doubles
from latentmd.replicas.engine import ReplicaEngine
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.units import GAS_CONSTANT

TEMPERATURE, TIMESTEP, SAMPLES = 300.0, 0.001, 200  # K, ps, readings of the energy


def engine_energies(engine: ReplicaEngine, steps: int) -> Doubles:
    """Total energies in kJ/mol, shape (samples, replicas)."""
    energies = []
    for _ in range(SAMPLES):
        engine.verlet(steps // SAMPLES, timestep=TIMESTEP)
        energies.append(engine.energies() + engine.kinetic_energies())
    return np.array(energies)


def openmm_energies(system: Any, platform: str, start: tuple[Doubles, Doubles], steps: int) -> Doubles:
    """Total energies in kJ/mol of one copy, shape (samples, 1)."""
    properties = {"Threads": "1"} if platform == "CPU" else {}
    integrator = openmm.VerletIntegrator(TIMESTEP)
    integrator.setConstraintTolerance(1e-8)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
    context.setPositions(start[0])
    context.setVelocities(start[1])
    energies = []
    for _ in range(SAMPLES):
        integrator.step(steps // SAMPLES)
        state = context.getState(energy=True)
        energies.append([state.getPotentialEnergy()._value + state.getKineticEnergy()._value])
    return np.array(energies)


def report(name: str, energies: Doubles, steps: int, freedom: int) -> None:
    """Print the slopes in kT per ns and degree of freedom: mean, its error over copies, and scatter about the line."""
    time = np.linspace(0, steps * TIMESTEP * 1e-3, len(energies))
    scale = GAS_CONSTANT * TEMPERATURE * freedom
    fits = np.array([np.polyfit(time, column, 1) for column in energies.T])
    slopes = fits[:, 0] / scale
    scatter = np.std(energies - np.outer(time, fits[:, 0]) - fits[:, 1])
    error = slopes.std(ddof=1) / len(slopes) ** 0.5 if len(slopes) > 1 else float("nan")
    print(f"{name:22} {len(slopes):6} {slopes.mean():12.2e} {error:10.1e} {scatter:12.4f}", flush=True)


def main() -> None:
    """Run all three from the same start and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--copies", type=int, default=3, help="Of OpenMM, one after another.")
    options = parser.parse_args()
    molecule = build(bundled("alanine_dipeptide"))
    system = copy.deepcopy(molecule.system)
    kinds = [isinstance(force, openmm.CMMotionRemover) for force in system.getForces()]
    for index in reversed(np.flatnonzero(kinds).tolist()):
        system.removeForce(index)
    x = np.repeat(np.asarray(molecule.positions._value)[None], 16, axis=0)
    engine = ReplicaEngine(system, x, temperature=TEMPERATURE, seed=1, threads=1)
    engine.minimize(200)
    engine.draw_velocities()
    engine.langevin(20_000, timestep=TIMESTEP, friction=10.0)
    starts = list(zip(engine.positions, engine.velocities, strict=True))[: options.copies]
    freedom = 3 * system.getNumParticles() - system.getNumConstraints()
    print(f"{options.steps:,} steps of 1 fs; slope in kT per ns and degree of freedom, scatter in kJ/mol")
    print(f"{'':22} copies        slope      error      scatter")
    report("replica engine", engine_energies(engine, options.steps), options.steps, freedom)
    for platform in ("Reference", "CPU"):
        runs: list[Callable[[], Doubles]] = [
            lambda s=s, p=platform: openmm_energies(system, p, s, options.steps)  # type: ignore[misc]
            for s in starts
        ]
        report(f"OpenMM {platform}", np.concatenate([run() for run in runs], axis=1), options.steps, freedom)


if __name__ == "__main__":
    main()
