"""Walkers that latent steps and MD move by turns: a batch with the replica kernel, or one after another in OpenMM."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import unit

from latentmd.arrays import Doubles, Ints
from latentmd.core.noise import noise_generator
from latentmd.integrators.openmm_integrator import LatentIntegrator
from latentmd.integrators.openmm_provider import COUNT
from latentmd.integrators.schedule import LATENT, MAX_FORCE, MD, SETTLING, Relaxation, alternate
from latentmd.model.propagator import MAX_DRAWS, Propagator
from latentmd.replicas.choice import replica_engine
from latentmd.replicas.replicas import Replicas, ReplicaState
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.run.preparation import Arrays, Prepared
from latentmd.sampling.walkers.alternation import Alternation, Moved
from latentmd.sampling.walkers.folder import State
from latentmd.systems.dynamics import walker_seed
from latentmd.systems.relaxation import SETTLE_FRICTION, SETTLE_STEPS

_PROPOSAL = 2  # purpose of the noise of the first draw of a latent step; further draws follow
_TOLERANCE = 10.0  # kJ/mol/nm, where a minimisation ends if it does not reach the energy before


@dataclass(frozen=True)
class ReplicaAlternateJob(Alternation):
    """Latent steps in one batch, and MD with the replica kernel."""

    def moved(self, group: tuple[int, ...]) -> MovedBatch:
        """Walkers at the minimised structure, or where an earlier session left them."""
        moved = MovedBatch(self.prepared, self.propagator, group, seed=self.settings.seed, limits=self.energies)
        if group[0] in self.states:
            moved.restore(self.states[group[0]])
        return moved


class MovedBatch:
    """Positions, velocities and kinds of walkers, moved by latent steps and by MD; a `Moved`.

    What follows a latent step is what `AlternatingIntegrator.hand_to_md` does: minimisation of structures that MD would
    never show, down to the median energy of MD (by forces where `limits` is None), then a short Langevin run of
    strong friction that counts no time.
    """

    def __init__(
        self, prepared: Prepared, propagator: Propagator, walkers: Sequence[int], seed: int, limits: EnergyRange | None
    ) -> None:
        self.walkers, self.seed, self.limits = list(walkers), seed, limits
        self.propagator, self.molecule = propagator, prepared.molecule
        start = np.repeat(np.asarray(prepared.reference, np.float64)[None], len(self.walkers), axis=0)
        self._engine = self._made(start, self.walkers)
        self._engine.constrain()
        self._engine.draw_velocities()
        self._masses = self._engine.masses
        self.latent_steps = 0
        self.kinds = ["md"] * len(self.walkers)
        self.counts = {"minimised": 0, "replaced_by_md": 0}

    def _made(self, positions: Doubles, numbers: Sequence[int]) -> Replicas:
        temperature = self.molecule.protocol.temperature
        return replica_engine(
            self.molecule.system, positions, temperature=temperature, seed=self.seed, numbers=numbers, threads=1
        )

    @property
    def positions(self) -> Doubles:
        """Positions in nm, shape (walkers, atoms, 3)."""
        return self._engine.positions

    def energies(self) -> Doubles:
        """Potential energies in kJ/mol, shape (walkers,)."""
        return self._engine.energies()

    def arrays(self) -> Arrays:
        """What decides how the walkers go on."""
        state = self._engine.state()
        return {
            "positions": state.positions,
            "velocities": state.velocities,
            "draw": np.array(state.draw),
            "latent steps": np.array(self.latent_steps),
            "kinds": np.array(self.kinds),
        }

    def keep(self, frames: int, cycle: int, ended: bool) -> Callable[[], Arrays]:
        """The function of `Moved.keep`, which is possible after every frame."""
        return self.arrays

    def restore(self, state: State) -> None:
        """Go back to a state that was kept."""
        found, kelvin = state.arrays, self._engine.temperatures
        self._engine.restore(ReplicaState(found["positions"], found["velocities"], kelvin, draw=int(found["draw"])))
        self.latent_steps, self.kinds = int(found["latent steps"]), found["kinds"].tolist()
        self.counts = dict(state.counts)

    def jump(self, duration: float) -> Ints:
        """Make a latent step of so many ps; places of the walkers that stay, as no sound structure was drawn."""
        x = self._engine.positions
        left: Ints = np.arange(len(x))
        for draw in range(MAX_DRAWS):
            step, purpose = self.latent_steps, _PROPOSAL + draw
            noise: Any = _RowNoise([noise_generator(self.seed, self.walkers[k], step, purpose) for k in left])
            proposed = self.propagator.propose(x[left], duration, noise, self._masses)
            sound = np.all(list(self.propagator.checks(proposed).values()), axis=0)
            x[left[sound]] = proposed[sound]
            left = left[~sound]
            if not len(left):
                break
        self.latent_steps += 1
        self.counts["replaced_by_md"] += len(left)
        stay = set(left.tolist())
        self.kinds = [kind if k in stay else "latent" for k, kind in enumerate(self.kinds)]
        self._engine.set_positions(x)
        self._engine.constrain()
        return left

    def run_md(self, rows: Ints, duration: float) -> None:
        """Run MD of so many ps of the walkers in these places, after settling those that a latent step moved last."""
        protocol = self.molecule.protocol
        jumped = np.array([row for row in rows if self.kinds[row] == "latent"], dtype=np.int64)
        if len(jumped):
            self._hand_to_md(jumped)
        engine = self._taken(rows)
        engine.langevin(round(duration / protocol.timestep), timestep=protocol.timestep, friction=protocol.friction)
        self._put(engine, rows)
        if engine.broken().any():
            walker = self.walkers[rows[int(np.argmax(engine.broken()))]]
            raise ValueError(
                f"MD of walker {walker} gave positions that are not finite; its structure after a latent step is too "
                "strained, or the time step is too long for the molecule"
            )

    def _hand_to_md(self, rows: Ints) -> None:
        engine = self._taken(rows)
        engine.draw_velocities()
        self._put(engine, rows)
        for row in rows:
            self.kinds[row] = "md"
        if self.limits is None:
            strained = rows[np.linalg.norm(engine.forces(), axis=2).max(axis=1) > MAX_FORCE]
        else:
            strained = rows[self.limits.above(engine.energies())]
        if len(strained):
            held = self._taken(strained)
            velocities = held.velocities
            enough = None if self.limits is None else self.limits.median
            held.minimize(_MINIMISER_STEPS, tolerance=_TOLERANCE, enough=enough)
            held.set_velocities(velocities)
            held.constrain()
            self._put(held, strained)
            self.counts["minimised"] += len(strained)
            for row in strained:
                self.kinds[row] = "relaxed"
        self._settle(rows)

    def _settle(self, rows: Ints) -> None:
        """Langevin dynamics of strong friction, with the centres of mass put back where they were."""
        engine = self._taken(rows)
        share = self._masses / self._masses.sum()
        before = np.einsum("a,rad->rd", share, engine.positions)
        engine.langevin(SETTLE_STEPS, timestep=self.molecule.protocol.timestep, friction=SETTLE_FRICTION)
        moved = np.einsum("a,rad->rd", share, engine.positions) - before
        engine.set_positions(engine.positions - moved[:, None])
        self._put(engine, rows)

    def _taken(self, rows: Ints) -> Replicas:
        """An engine of some of the walkers: that of all where these are all."""
        if len(rows) == len(self.walkers):
            return self._engine
        state = self._engine.state()
        engine = self._made(state.positions[rows], [self.walkers[row] for row in rows])
        engine.set_velocities(state.velocities[rows])
        engine.draw = state.draw
        return engine

    def _put(self, engine: Replicas, rows: Ints) -> None:
        """Take the walkers of `_taken` back; random numbers that they drew are not drawn again."""
        if engine is self._engine:
            return
        positions, velocities = self._engine.positions, self._engine.velocities
        positions[rows], velocities[rows] = engine.positions, engine.velocities
        self._engine.set_positions(positions)
        self._engine.set_velocities(velocities)
        self._engine.draw = engine.draw


class _RowNoise:
    """Normal numbers of rows, each from a generator of its own."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = generators

    def standard_normal(self, size: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """Normal numbers of a shape (rows, ...)."""
        return np.stack([g.standard_normal(size[1:], dtype=dtype) for g in self._generators])


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
        self.job = job
        protocol = job.molecule.protocol
        self.system = copy.deepcopy(job.molecule.system)
        self.latent = LatentIntegrator(
            protocol.temperature, job.model, job.settings.interval, system=self.system,
            topology=job.molecule.topology, seed=job.settings.seed % 2**31, device=job.settings.device,
        )  # fmt: skip
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
        self.context.setParameter(COUNT, 0)
        self.renew(0)

    def renew(self, frames: int) -> Arrays:
        """Give the next frames a noise stream of their own; return the arrays that a resumed run starts from."""
        state = self.context.getState(positions=True, velocities=True, parameters=True)
        arrays = {
            "positions": state.getPositions(asNumpy=True)._value,
            "velocities": state.getVelocities(asNumpy=True)._value,
            "latent steps": np.array(state.getParameters()[COUNT]),
            "kind": np.array(self.kinds[0]),
        }
        self._begin(frames, arrays)
        return arrays

    def _begin(self, frames: int, arrays: Arrays) -> None:
        """Reinitialise the Context from saved arrays, so that they alone decide how the run goes on."""
        apart = 0 if self.job.prepared.platform == "CPU" else 1  # a Context there has one random number generator
        self.md.setRandomNumberSeed(self._seed(_NOISE + 2 * frames))
        self.compound.getIntegrator(SETTLING).setRandomNumberSeed(self._seed(_NOISE + 2 * frames + apart))
        self.context.reinitialize()
        self.latent.setStream(self.walker)
        self.context.setParameter(COUNT, float(arrays["latent steps"]))
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
        if self.kinds == ["latent"]:
            minimised = self.compound.hand_to_md(self.context, self.relaxation)
            self.counts["minimised"] += minimised
            self.kinds = ["relaxed" if minimised else "md"]
        self.compound.setCurrentIntegrator(MD)
        self.compound.step(round(duration / self.job.molecule.protocol.timestep))
