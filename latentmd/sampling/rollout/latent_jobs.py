"""Jobs of worker processes with a model: latent rollouts, and latent steps by turns with MD."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import openmm
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.sampling.rollout.jobs import WalkerJob
from latentmd.sampling.workers import Emit, Row
from latentmd.systems.builder import Molecule
from latentmd.systems.dynamics import walker_seed
from latentmd.systems.relaxation import StopBelow

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator


_LATENT_STREAM = 2  # of walker_seed; 0 and 1 are those of plain MD
_MAX_FORCE = 1e4  # kJ/mol/nm, above which a structure is minimised where the model names no range of energies
_MINIMISER_STEPS = 100
_BLOCK = 1_000_000  # atoms in the frames that one block of a latent rollout decodes


@dataclass(frozen=True)
class Segment:
    """Part of a cycle: "latent" or "md", ps, and whether a frame is saved at its end."""

    kind: str
    duration: float
    save: bool


def cycle_plan(length: float, burst: float, interval: float) -> list[Segment]:
    """Segments of one cycle: latent steps, the last of them shortened so that MD ends the cycle exactly.

    Args:
        length: ps, a multiple of the interval.
        burst: MD at the end, ps.
        interval: between saved frames, ps.

    Example:
        >>> [(s.kind, s.duration) for s in cycle_plan(300.0, 2.0, 100.0)]
        [('latent', 100.0), ('latent', 100.0), ('latent', 98.0), ('md', 2.0)]
    """
    plan, now, turn = [], 0.0, length - burst
    for frame in range(1, round(length / interval) + 1):
        end = frame * interval
        if now < turn - 1e-9:
            step = min(end, turn)
            plan.append(Segment("latent", step - now, step > end - 1e-9))
            now = step
        if now < end - 1e-9:
            plan.append(Segment("md", end - now, True))
            now = end
    return plan


def check_device(device: str) -> None:
    """Refuse a device that torch does not see.

    Raises:
        ValueError: and what to use.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is cuda, but torch sees no CUDA device here; use --device cpu or auto")


class Clock:
    """Wall time by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start


@dataclass(frozen=True)
class LatentJob(WalkerJob):
    """Latent rollouts of walkers in batches, decoded at every frame.

    Attributes:
        model: name or path of the bundle.
        device: of the model.
        batches: the walkers, in the groups that are rolled out together.
    """

    model: str = ""
    device: str = "cpu"
    batches: tuple[tuple[int, ...], ...] = ()

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Roll out, decode and write batch by batch, block by block."""
        clock = Clock()
        with clock("start"):
            from latentmd.model.propagator import Propagator

            check_device(self.device)
            propagator = Propagator(self.model, self.device, threads=1)
            context = self.molecule.context(self.molecule.langevin(self.seed), self.platform, self.threads)
            failed = self.checker()
        with clock("plain MD for comparison"):
            self.emit_speed(emit)
        for batch in self.batches:
            with ExitStack() as stack:
                writers = [stack.enter_context(self.writer(walker)) for walker in batch]
                for first, frames in self._blocks(propagator, batch, clock):
                    times = self.interval * np.arange(first + 1, first + len(frames) + 1)
                    for column, (walker, writer) in enumerate(zip(batch, writers, strict=True)):
                        with clock("energies"):
                            energies = [_energy_at(context, frame) for frame in frames[:, column]]
                            checks = failed(frames[:, column])
                        with clock("output"):
                            writer.write(frames[:, column], times)
                            rows = zip(times, ["latent"] * len(frames), energies, checks, strict=True)
                            emit("frames", walker=walker, rows=list(rows))
                    if stopped():
                        return
        emit("phases", seconds=clock.seconds)

    def _blocks(self, propagator: Propagator, batch: tuple[int, ...], clock: Clock) -> Iterator[tuple[int, Doubles]]:
        """First frame and positions (frames, walkers, atoms, 3) of one block after another."""
        from latentmd.core.noise import noise_generator

        masses = _masses(self.molecule)
        steps, lag = propagator.split_time(self.interval)
        rng = noise_generator(self.seed, batch[0])
        slow = propagator.encode(np.repeat(self.reference[None], len(batch), axis=0))
        block = int(max(1, min(100, _BLOCK // (len(batch) * len(masses)))))
        for first in range(0, self.frames, block):
            count = min(block, self.frames - first)
            with clock("latent steps"):
                path = propagator.rollout(slow, lag, steps * count, rng, every=steps)
                slow = path[-1]
            with clock("decoding"):
                decoded = propagator.decode(path.flatten(0, 1), rng, self.reference, masses)
            yield first, decoded.reshape(count, len(batch), len(masses), 3)


@dataclass(frozen=True)
class AlternateJob(WalkerJob):
    """Latent steps and MD by turns, in one CompoundIntegrator.

    Attributes:
        model: name or path of the bundle.
        device: of the model.
        cycle: ps.
        burst: MD at the end of each cycle, ps.
        energies: median and upper limit in kJ/mol of what MD shows; None where the model does not name them.
    """

    model: str = ""
    device: str = "cpu"
    cycle: float = 1000.0
    burst: float = 2.0
    energies: tuple[float, float] | None = None

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Simulate the walkers one after another."""
        clock = Clock()
        with clock("start"):
            import torch

            check_device(self.device)
            torch.set_num_threads(1)
            engine = _Engine(self)
            failed = self.checker()
        with clock("plain MD for comparison"):
            self.emit_speed(emit)
        plan = cycle_plan(self.cycle, self.burst, self.interval)
        for walker in self.walkers:
            with self.writer(walker) as writer:
                with clock("MD"):
                    engine.start(walker)
                done = 0
                while done < self.frames:
                    frames = [frame for segment in plan for frame in engine.advance(segment, clock)]
                    frames = frames[: self.frames - done]
                    with clock("output"):
                        positions = np.array([frame[0] for frame in frames])
                        times = self.interval * np.arange(done + 1, done + len(frames) + 1)
                        writer.write(positions, times)
                        kinds, energies = [f[1] for f in frames], [f[2] for f in frames]
                        rows: list[Row] = list(zip(times, kinds, energies, failed(positions), strict=True))
                        emit("frames", walker=walker, rows=rows)
                    done += len(frames)
                    if stopped():
                        return
        emit("phases", seconds=clock.seconds)
        emit("counts", minimised=engine.minimised, replaced_by_md=engine.failures)


class _Engine:
    """The OpenMM Context of an AlternateJob."""

    def __init__(self, job: AlternateJob) -> None:
        from latentmd.integrators.openmm_integrator import LatentIntegrator
        from latentmd.integrators.schedule import alternate

        self.job = job
        protocol = job.molecule.protocol
        self.system = copy.deepcopy(job.molecule.system)
        self.latent = LatentIntegrator(
            protocol.temperature,
            job.model,
            job.interval,
            system=self.system,
            topology=job.molecule.topology,
            seed=job.seed % 2**31,
            device=job.device,
        )
        self.md = job.molecule.langevin(job.seed)
        self.compound, _ = alternate(self.md, self.latent)
        properties = {"Threads": str(job.threads)} if job.platform == "CPU" else {}
        platform = openmm.Platform.getPlatformByName(job.platform)
        self.context = openmm.Context(self.system, self.compound, platform, properties)
        self.groups = set(range(32)) - {self.latent.getForceGroup()}
        self.kind = "md"
        self.minimised = 0
        self.failures = 0

    def start(self, walker: int) -> None:
        """Put a walker at the minimised structure with its own noise and new velocities."""
        self.md.setRandomNumberSeed(walker_seed(self.job.seed, walker, _LATENT_STREAM) % (2**31 - 2) + 1)
        self.context.reinitialize()
        self.latent.setStream(walker)
        self.context.setPositions(self.job.reference)
        temperature = self.job.molecule.protocol.temperature
        seed = walker_seed(self.job.seed, walker, _LATENT_STREAM + 1) % (2**31 - 2) + 1
        self.context.setVelocitiesToTemperature(temperature, seed)
        self.kind = "md"

    def advance(self, segment: Segment, clock: Clock) -> list[tuple[Doubles, str, float]]:
        """Run a segment; its frame as (positions, kind, energy) where it ends with one."""
        if segment.kind == "latent":
            with clock("latent steps"):
                latent = self._jump(segment.duration)
        if segment.kind == "md" or not latent:
            with clock("MD"):
                self._relax_and_run(segment.duration)
        if not segment.save:
            return []
        state = self.context.getState(positions=True, energy=True, groups=self.groups)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return [(state.getPositions(asNumpy=True)._value, self.kind, energy)]

    def _jump(self, duration: float) -> bool:
        from latentmd.integrators.schedule import LATENT

        self.compound.setCurrentIntegrator(LATENT)
        self.latent.setStepSize(duration)
        try:
            self.compound.step(1)
        except openmm.OpenMMException:
            self.failures += 1  # no sound structure was drawn: MD covers this time instead
            return False
        self.kind = "latent"
        return True

    def _relax_and_run(self, duration: float) -> None:
        from latentmd.integrators.schedule import MD

        self.compound.setCurrentIntegrator(MD)
        if self.kind == "latent":
            self.kind = "relaxed" if self._minimise_if_needed() else "md"
            self.compound.settle(self.context)
        self.compound.step(round(duration / self.job.molecule.protocol.timestep))

    def _minimise_if_needed(self) -> bool:
        """Minimise a structure that MD would not show, down to MD's median energy, and keep its velocities."""
        limits = self.job.energies
        if limits is None:
            forces = self.context.getState(forces=True, groups=self.groups).getForces(asNumpy=True)._value
            if float(np.max(np.linalg.norm(forces, axis=1))) <= _MAX_FORCE:
                return False
            openmm.LocalEnergyMinimizer.minimize(self.context, maxIterations=_MINIMISER_STEPS)
        else:
            if self._energy() <= limits[1]:
                return False
            openmm.LocalEnergyMinimizer.minimize(
                self.context, maxIterations=_MINIMISER_STEPS, reporter=StopBelow(limits[0])
            )
        self.context.applyConstraints(1e-8)
        self.context.applyVelocityConstraints(1e-8)
        self.minimised += 1
        return True

    def _energy(self) -> float:
        state = self.context.getState(energy=True, groups=self.groups)
        return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def _energy_at(context: openmm.Context, positions: Doubles) -> float:
    context.setPositions(positions)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def _masses(molecule: Molecule) -> Doubles:
    system = molecule.system
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
