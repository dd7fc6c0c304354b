"""Job of a worker process: latent steps and MD by turns, in one OpenMM CompoundIntegrator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openmm
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.sampling.clock import PhaseClock
from latentmd.sampling.processes import Emit, Row
from latentmd.sampling.rollout.cycle import Segment, cycle_plan
from latentmd.sampling.rollout.jobs import WalkerJob
from latentmd.sampling.rollout.latent import check_device
from latentmd.systems.dynamics import walker_seed
from latentmd.systems.relaxation import StopBelow

_LATENT_STREAM = 2  # first stream of walker_seed that is not of plain MD
_MAX_FORCE = 1e4  # kJ/mol/nm, above which a structure is minimised where the model names no range of energies
_MINIMISER_STEPS = 100


@dataclass(frozen=True)
class AlternateJob(WalkerJob):
    """Latent steps and MD by turns, in one CompoundIntegrator.

    Attributes:
        model: name or path.
        cycle: length of a cycle, ps.
        energies: median and upper limit in kJ/mol of what MD shows; None where the model does not name them.
    """

    model: str = ""
    cycle: float = 1000.0
    energies: tuple[float, float] | None = None

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Simulate the walkers one after another."""
        clock = PhaseClock()
        with clock("start"):
            import torch

            check_device(self.settings.device)
            torch.set_num_threads(1)
            engine = _Engine(self)
            failed = self.checker()
        with clock("plain MD for comparison"):
            self.emit_speed(emit)
        plan = cycle_plan(self.cycle, self.settings.burst, self.settings.interval)
        for walker in self.walkers:
            with self.writer(walker) as writer:
                with clock("MD"):
                    engine.start(walker)
                done = 0
                while done < self.settings.frames:
                    frames = [frame for segment in plan for frame in engine.advance(segment, clock)]
                    frames = frames[: self.settings.frames - done]
                    with clock("output"):
                        positions = np.array([frame[0] for frame in frames])
                        times = self.settings.interval * np.arange(done + 1, done + len(frames) + 1)
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
            job.settings.interval,
            system=self.system,
            topology=job.molecule.topology,
            seed=job.settings.seed % 2**31,
            device=job.settings.device,
        )
        self.md = job.molecule.langevin(job.settings.seed)
        self.compound, _ = alternate(self.md, self.latent)
        properties = {"Threads": str(job.prepared.threads)} if job.prepared.platform == "CPU" else {}
        platform = openmm.Platform.getPlatformByName(job.prepared.platform)
        self.context = openmm.Context(self.system, self.compound, platform, properties)
        self.groups = set(range(32)) - {self.latent.getForceGroup()}
        self.kind = "md"
        self.minimised = 0
        self.failures = 0

    def start(self, walker: int) -> None:
        """Put a walker at the minimised structure with its own noise and new velocities."""
        self.md.setRandomNumberSeed(walker_seed(self.job.settings.seed, walker, _LATENT_STREAM) % (2**31 - 2) + 1)
        self.context.reinitialize()
        self.latent.setStream(walker)
        self.context.setPositions(self.job.prepared.reference)
        temperature = self.job.molecule.protocol.temperature
        seed = walker_seed(self.job.settings.seed, walker, _LATENT_STREAM + 1) % (2**31 - 2) + 1
        self.context.setVelocitiesToTemperature(temperature, seed)
        self.kind = "md"

    def advance(self, segment: Segment, clock: PhaseClock) -> list[tuple[Doubles, str, float]]:
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
