"""Plain full-atom MD of independent walkers: the reference, and the source of training data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from latentmd.core.noise import child_seed
from latentmd.systems.builder import Molecule
from latentmd.systems.parametrise import barostat_fault, thermostat_fault

EQUILIBRATION = 100.0  # ps before the first saved frame
_STEPS_BETWEEN_SEEDS = 5000
_FIRST_STREAM = 16  # of `child_seed`, for the noise between saved frames
_SLICE = 0.1  # seconds of wall time between looks at whether to stop


@dataclass(frozen=True)
class Phase:
    """Where a walker is after a number of saved frames: positions in nm and velocities in nm/ps, shape (atoms, 3)."""

    frames: int
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


@dataclass(frozen=True)
class Frames:
    """Consecutive frames: ps (frames,), nm (frames, atoms, 3), kJ/mol; `end`, if a run can begin after them."""

    times: NDArray[np.float64]
    positions: NDArray[np.float32]
    energies: NDArray[np.float64]
    end: Phase | None = None


def never() -> bool:
    """Do not stop."""
    return False


def advance(step: Callable[[int], object], steps: int, stopped: Callable[[], bool]) -> bool:
    """Make steps in slices of about a tenth of a second until `stopped` says so; say whether all were made."""
    size = 10
    while steps > 0:
        if stopped():
            return False
        count, begin = min(size, steps), time.monotonic()
        step(count)
        steps -= count
        took = time.monotonic() - begin
        size = 2 * size if took < _SLICE / 2 else max(1, size // 2) if took > _SLICE else size
    return True


def frames_between_seeds(interval: float, timestep: float) -> int:
    """Frames after which the noise of a walker gets a new seed: those of about 5000 steps; both times in ps."""
    return max(1, round(_STEPS_BETWEEN_SEEDS / max(1, round(interval / timestep))))


@dataclass(frozen=True)
class MdSettings:
    """How one walker is simulated; interval, a multiple of the time step, and equilibration before time zero in ps.

    `seed` and `walker` together determine all randomness of the walker; blocks have at most `chunk` frames.
    """

    frames: int
    interval: float
    seed: int
    walker: int = 0
    platform: str | None = None
    threads: int = 1
    chunk: int = 1000
    equilibration: float = EQUILIBRATION


def run_md(
    molecule: Molecule, settings: MdSettings, start: Phase | None = None, stopped: Callable[[], bool] = never
) -> Iterator[Frames]:
    """Simulate one walker and yield its frames in chunks.

    The walker is minimised, given Maxwell–Boltzmann velocities and equilibrated first; time zero is then. Every few
    thousand steps its noise gets a new seed and OpenMM's Context starts afresh from positions and velocities. Frames
    that end there say where the walker is, and a run that starts there (`start`) goes on as this one does: to the last
    bit on the Reference platform, and on the CPU platform with one thread. `stopped` is asked ten times a second; once
    it is true, the frames that are whole are yielded.
    """
    if fault := thermostat_fault(molecule.system) or barostat_fault(molecule.system):
        raise ValueError(fault)
    timestep, interval = molecule.protocol.timestep, settings.interval
    steps = round(interval / timestep)
    if steps < 1 or abs(steps * timestep - interval) > 1e-9:
        raise ValueError(f"interval {interval} ps is not a multiple of the time step {timestep} ps")
    seeds = settings.seed, settings.walker
    integrator = molecule.langevin(child_seed(*seeds, 0))
    context = molecule.context(integrator, settings.platform, settings.threads)
    if start is None:
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=500)
        context.setVelocitiesToTemperature(molecule.protocol.temperature, child_seed(*seeds, 1) % (2**31 - 2) + 1)
        if not advance(integrator.step, round(settings.equilibration / timestep), stopped):
            return
        start = _phase(context, 0)
    every = frames_between_seeds(interval, timestep)
    while start.frames < settings.frames:
        part = start.frames // every
        integrator.setRandomNumberSeed(child_seed(*seeds, _FIRST_STREAM + part) % (2**31 - 2) + 1)
        context.reinitialize()  # so that the seed counts
        context.setPositions(start.positions)
        context.setVelocities(start.velocities)
        done, end = start.frames, min(settings.frames, (part + 1) * every)
        while done < end:
            count = min(settings.chunk, end - done)
            positions, energies = _simulate(context, count, steps, stopped)
            times = interval * np.arange(done + 1, done + len(energies) + 1, dtype=np.float64)
            done += len(energies)
            if done == end:
                start = _phase(context, done)
            if len(energies):
                yield Frames(times, positions, energies, start if done == end else None)
            if len(energies) < count:
                return


def _simulate(
    context: openmm.Context, count: int, steps: int, stopped: Callable[[], bool]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Positions (count, atoms, 3) and energies (count,) of frames `steps` steps apart, fewer where it was stopped."""
    positions = np.empty((count, context.getSystem().getNumParticles(), 3), dtype=np.float32)
    energies = np.empty(count)
    for i in range(count):
        if not advance(context.getIntegrator().step, steps, stopped):
            return positions[:i], energies[:i]
        state = context.getState(positions=True, energy=True)
        positions[i] = state.getPositions(asNumpy=True)._value
        energies[i] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return positions, energies


def _phase(context: openmm.Context, frames: int) -> Phase:
    state = context.getState(positions=True, velocities=True)
    return Phase(frames, state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value)
