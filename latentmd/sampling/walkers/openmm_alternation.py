"""Latent steps and MD by turns in one OpenMM CompoundIntegrator, one walker after another."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import openmm
from openmm import unit

from latentmd.arrays import Doubles, Ints
from latentmd.sampling.walkers.alternation import Alternation, Moved
from latentmd.sampling.walkers.resume import Arrays, State
from latentmd.systems.dynamics import walker_seed

#: Streams of walker_seed: first velocities, and noise after a number of frames.
_VELOCITIES, _NOISE = 3, 4
_CYCLES_BETWEEN_SEEDS = 10
_MINIMISER_STEPS = 100


@dataclass(frozen=True)
class AlternateJob(Alternation):
    """Latent steps and MD by turns, in one CompoundIntegrator."""

    @cached_property
    def engine(self) -> _Engine:
        """The Context, for one walker after another."""
        import torch

        torch.set_num_threads(1)
        return _Engine(self)

    def load(self) -> None:
        """Load the model and make the Context."""
        assert self.engine

    def moved(self, group: tuple[int, ...]) -> Moved:
        """The Context with a walker at the minimised structure, or where an earlier session left it."""
        self.engine.start(group[0], self.states.get(group[0]))
        return self.engine


class _Engine:
    """The OpenMM Context of an AlternateJob."""

    def __init__(self, job: AlternateJob) -> None:
        from latentmd.integrators.openmm_integrator import LatentIntegrator
        from latentmd.integrators.openmm_provider import COUNT
        from latentmd.integrators.schedule import Relaxation, alternate

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
        self.walker, self.kinds = 0, ["md"]
        self.counts: dict[str, int] = {}

    def start(self, walker: int, state: State | None) -> None:
        """Put a walker at the minimised structure with new velocities, or at a state of an earlier session."""
        self.walker = walker
        if state is not None:
            self.counts, self.kinds = dict(state.counts), [str(state.arrays["kind"])]
            self._begin(state.frames, state.arrays)
            return
        self.counts, self.kinds = {"minimised": 0, "replaced_by_md": 0}, ["md"]
        self.context.setPositions(self.job.prepared.reference)
        seed = self._seed(_VELOCITIES)
        self.context.setVelocitiesToTemperature(self.job.molecule.protocol.temperature, seed)
        self.context.setParameter(self.count_name, 0)
        self.renew(0)

    def renew(self, frames: int) -> Arrays:
        """Give the next frames a noise stream of their own; return the arrays that a resumed run starts from."""
        state = self.context.getState(positions=True, velocities=True, parameters=True)
        arrays = {
            "positions": state.getPositions(asNumpy=True)._value,
            "velocities": state.getVelocities(asNumpy=True)._value,
            "latent steps": np.array(state.getParameters()[self.count_name]),
            "kind": np.array(self.kinds[0]),
        }
        self._begin(frames, arrays)
        return arrays

    def _begin(self, frames: int, arrays: Arrays) -> None:
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

    def keep(self, frames: int, cycle: int, ended: bool) -> Callable[[], Arrays] | None:
        """Renew the noise every few cycles, and at the end, where a state can be kept; as `Moved.keep`."""
        if not ended and frames % (_CYCLES_BETWEEN_SEEDS * cycle):
            return None
        arrays = self.renew(frames)
        return lambda: arrays

    @property
    def positions(self) -> Doubles:
        """Positions in nm, shape (1, atoms, 3)."""
        return np.array(self.context.getState(positions=True).getPositions(asNumpy=True)._value)[None]

    def energies(self) -> Doubles:
        """Potential energy in kJ/mol, shape (1,)."""
        state = self.context.getState(energy=True, groups=self.groups)
        return np.array([state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)])

    def jump(self, duration: float) -> Ints:
        """Make a latent step of so many ps; [0] where no sound structure was drawn."""
        from latentmd.integrators.schedule import LATENT

        self.compound.setCurrentIntegrator(LATENT)
        openmm.Integrator.setStepSize(self.latent, duration)  # the Context's own time is not used here
        try:
            self.compound.step(1)
        except openmm.OpenMMException:
            self.counts["replaced_by_md"] += 1  # no sound structure was drawn: MD covers this time instead
            return np.array([0])
        self.kinds = ["latent"]
        return np.array([], dtype=np.int64)

    def run_md(self, rows: Ints, duration: float) -> None:
        """Run MD of so many ps, after what `hand_to_md` does where a latent step moved the walker last."""
        from latentmd.integrators.schedule import MD

        if self.kinds == ["latent"]:
            minimised = self.compound.hand_to_md(self.context, self.relaxation)
            self.counts["minimised"] += minimised
            self.kinds = ["relaxed" if minimised else "md"]
        self.compound.setCurrentIntegrator(MD)
        self.compound.step(round(duration / self.job.molecule.protocol.timestep))
