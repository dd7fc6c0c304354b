"""Job of a worker process: latent steps and MD by turns, in one OpenMM CompoundIntegrator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.io.writer import FrameWriter
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.run.processes import Emit, Row
from latentmd.sampling.walkers.cycle import Segment, cycle_plan
from latentmd.sampling.walkers.jobs import Checker, WalkerJob
from latentmd.sampling.walkers.resume import Pacer, State
from latentmd.systems.dynamics import walker_seed

#: Streams of walker_seed: first velocities, and noise after a number of frames.
_VELOCITIES, _NOISE = 3, 4
_CYCLES_BETWEEN_SEEDS = 10
_MINIMISER_STEPS = 100

Frame = tuple[Doubles, str, float]  # positions in nm, kind and potential energy in kJ/mol


@dataclass(frozen=True)
class AlternateJob(WalkerJob):
    """Latent steps and MD by turns, in one CompoundIntegrator.

    Attributes:
        model: name or path.
        cycle: length of a cycle, ps.
    """

    model: str = ""
    cycle: float = 1000.0

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Simulate the walkers one after another."""
        clock, pacer = PhaseClock(), Pacer()
        with clock("start"):
            import torch

            torch.set_num_threads(1)
            engine = _Engine(self)
            failed = self.checker()
        with clock("plain MD for comparison"):
            self.emit_speed(emit)
        plan = cycle_plan(self.cycle, self.settings.burst, self.settings.interval)
        for walker in self.walkers:
            state = self.states.get(walker)
            with self.writer(walker, state) as writer:
                with clock("MD"):
                    engine.start(walker, state)
                while writer.frames < self.settings.frames:
                    frames = [frame for segment in plan for frame in engine.advance(segment, clock)]
                    kept = frames[: self.settings.frames - writer.frames]
                    if self.settings.settle:
                        with clock("settling"):
                            kept = self._settle(walker, kept, writer.frames)
                    with clock("output"):
                        self._write(writer, walker, kept, failed, emit)
                        self._renew(engine, writer, len(frames), pacer, emit)
                    if stopped():
                        return
        emit("phases", seconds=clock.seconds)

    def _settle(self, walker: int, frames: list[Frame], done: int) -> list[Frame]:
        """The frames of a cycle, those that were decoded settled; the walker goes on from where it was."""
        places = [i for i, frame in enumerate(frames) if frame[1] == "latent"]
        if not places:
            return frames
        decoded = np.array([frames[i][0] for i in places])
        settled = self.settled(decoded, [walker] * len(places), [done + i for i in places])
        found = {i: (x, "settled", float(energy)) for i, x, energy in zip(places, *settled, strict=True)}
        return [found.get(i, frame) for i, frame in enumerate(frames)]

    def _write(self, writer: FrameWriter, walker: int, frames: list[Frame], failed: Checker, emit: Emit) -> None:
        positions = np.array([frame[0] for frame in frames])
        times = self.settings.interval * np.arange(writer.frames + 1, writer.frames + len(frames) + 1)
        writer.write(positions, times)
        kinds, energies = [f[1] for f in frames], np.array([f[2] for f in frames])
        rows: list[Row] = list(zip(times, kinds, energies, failed(positions, energies), strict=True))
        emit("frames", walker=walker, rows=rows)

    def _renew(self, engine: _Engine, writer: FrameWriter, cycle: int, pacer: Pacer, emit: Emit) -> None:
        """Renew the noise every few cycles, and at the end, where a state can be kept."""
        ended = writer.frames == self.settings.frames
        if not ended and writer.frames % (_CYCLES_BETWEEN_SEEDS * cycle):
            return
        arrays = engine.renew(writer.frames)
        if ended or pacer.due():
            emit("state", state=State((engine.walker,), writer.frames, (writer.size,), arrays, dict(engine.counts)))


class _Engine:
    """The OpenMM Context of an AlternateJob."""

    def __init__(self, job: AlternateJob) -> None:
        from latentmd.integrators.openmm_integrator import LatentIntegrator
        from latentmd.integrators.openmm_provider import COUNT
        from latentmd.integrators.relaxation import Relaxation
        from latentmd.integrators.schedule import alternate

        self.job, self.count_name = job, COUNT
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
        limits = None if job.energies is None else (job.energies.median, job.energies.high)
        self.relaxation = Relaxation(_MINIMISER_STEPS, energies=limits)
        self.walker, self.kind = 0, "md"
        self.counts: dict[str, int] = {}

    def start(self, walker: int, state: State | None) -> None:
        """Put a walker at the minimised structure with new velocities, or at a state of an earlier session."""
        self.walker = walker
        if state is not None:
            self.counts, self.kind = dict(state.counts), str(state.arrays["kind"])
            self._begin(state.frames, state.arrays)
            return
        self.counts, self.kind = {"minimised": 0, "replaced_by_md": 0}, "md"
        self.context.setPositions(self.job.prepared.reference)
        seed = self._seed(_VELOCITIES)
        self.context.setVelocitiesToTemperature(self.job.molecule.protocol.temperature, seed)
        self.context.setParameter(self.count_name, 0)
        self.renew(0)

    def renew(self, frames: int) -> dict[str, NDArray[Any]]:
        """Give the next frames a noise stream of their own; return the arrays that a resumed run starts from."""
        state = self.context.getState(positions=True, velocities=True, parameters=True)
        arrays = {
            "positions": state.getPositions(asNumpy=True)._value,
            "velocities": state.getVelocities(asNumpy=True)._value,
            "latent steps": np.array(state.getParameters()[self.count_name]),
            "kind": np.array(self.kind),
        }
        self._begin(frames, arrays)
        return arrays

    def _begin(self, frames: int, arrays: dict[str, NDArray[Any]]) -> None:
        """Reinitialise the Context from saved arrays, so that they alone decide how the run goes on."""
        from latentmd.integrators.schedule import SETTLING

        apart = 0 if self.job.prepared.platform == "CPU" else 1  # a Context there has one random number generator
        self.md.setRandomNumberSeed(self._seed(_NOISE + 2 * frames))
        self.compound.getIntegrator(SETTLING).setRandomNumberSeed(self._seed(_NOISE + 2 * frames + apart))
        self.context.reinitialize()
        self.latent.setStream(self.walker)
        self.context.setParameter(self.count_name, float(arrays["latent steps"]))
        self.context.setPositions(arrays["positions"])
        self.context.setVelocities(arrays["velocities"])

    def _seed(self, stream: int) -> int:
        return walker_seed(self.job.settings.seed, self.walker, stream) % (2**31 - 2) + 1

    def advance(self, segment: Segment, clock: PhaseClock) -> list[Frame]:
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
        openmm.Integrator.setStepSize(self.latent, duration)  # the Context's own time is not used here
        try:
            self.compound.step(1)
        except openmm.OpenMMException:
            self.counts["replaced_by_md"] += 1  # no sound structure was drawn: MD covers this time instead
            return False
        self.kind = "latent"
        return True

    def _relax_and_run(self, duration: float) -> None:
        from latentmd.integrators.schedule import MD

        if self.kind == "latent":
            minimised = self.compound.hand_to_md(self.context, self.relaxation)
            self.counts["minimised"] += minimised
            self.kind = "relaxed" if minimised else "md"
        self.compound.setCurrentIntegrator(MD)
        self.compound.step(round(duration / self.job.molecule.protocol.timestep))
