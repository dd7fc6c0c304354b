"""Plain full-atom MD of independent walkers: the reference, and the source of training data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from latentmd.systems.builder import Molecule

EQUILIBRATION = 100.0  # ps before the first saved frame


@dataclass(frozen=True)
class Frames:
    """A run of consecutive frames: times in ps (frames,), positions in nm (frames, atoms, 3), energies in kJ/mol."""

    times: NDArray[np.float64]
    positions: NDArray[np.float32]
    energies: NDArray[np.float64]


def walker_seed(seed: int, walker: int, stream: int = 0) -> int:
    """A seed per (run, walker, stream) that does not collide between neighbouring runs."""
    return int(np.random.SeedSequence([seed, walker, stream]).generate_state(1)[0] & 0x7FFFFFFF)


def run_md(
    molecule: Molecule,
    frames: int,
    interval: float,
    *,
    seed: int,
    walker: int = 0,
    platform: str | None = None,
    chunk: int = 1000,
    threads: int = 1,
) -> Iterator[Frames]:
    """Simulate one walker and yield its frames in chunks.

    The walker is minimised, given Maxwell–Boltzmann velocities and equilibrated for 100 ps first; time zero is then.

    Args:
        molecule: what to simulate, with its protocol.
        frames: number of frames to save.
        interval: time between frames in ps, a multiple of the time step.
        seed, walker: together determine all randomness of the walker.
        platform: OpenMM platform; the fastest one by default.
        chunk: frames per yielded block.
        threads: threads of the CPU platform.

    Raises:
        ValueError: the interval is not a multiple of the time step.
    """
    timestep = molecule.protocol.timestep
    steps = round(interval / timestep)
    if steps < 1 or abs(steps * timestep - interval) > 1e-9:
        raise ValueError(f"interval {interval} ps is not a multiple of the time step {timestep} ps")
    integrator = molecule.langevin(walker_seed(seed, walker))
    context = molecule.context(integrator, platform, threads)
    _start(molecule, context, walker_seed(seed, walker, 1))
    integrator.step(round(EQUILIBRATION / timestep))
    done = 0
    while done < frames:
        count = min(chunk, frames - done)
        positions = np.empty((count, molecule.system.getNumParticles(), 3), dtype=np.float32)
        energies = np.empty(count)
        for i in range(count):
            integrator.step(steps)
            state = context.getState(positions=True, energy=True)
            positions[i] = state.getPositions(asNumpy=True)._value
            energies[i] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        times = interval * np.arange(done + 1, done + count + 1, dtype=np.float64)
        yield Frames(times, positions, energies)
        done += count


def _start(molecule: Molecule, context: openmm.Context, seed: int) -> None:
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=500)
    context.setVelocitiesToTemperature(molecule.protocol.temperature * unit.kelvin, seed % (2**31 - 2) + 1)
