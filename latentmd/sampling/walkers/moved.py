"""Walkers that a model moves, those of a batch together: latent rollouts, or latent steps and MD by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmd.arrays import Bools, Doubles, Ints
from latentmd.core.noise import noise_generator
from latentmd.model.propagator import MAX_DRAWS, Propagator
from latentmd.replicas.choice import replica_engine
from latentmd.replicas.replicas import Replicas, ReplicaState, Settings
from latentmd.replicas.settle import EnergyRange
from latentmd.sampling.models import mended
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.run.preparation import Arrays, Prepared
from latentmd.sampling.walkers.folder import State
from latentmd.sampling.walkers.jobs import MadeFrames, WalkerJob
from latentmd.sampling.walkers.plan import Segment, cycle_plan
from latentmd.systems.relaxation import SETTLE_FRICTION, SETTLE_STEPS

_TRIES = 12  # times that unsound structures are decoded again
_MENDED = 8  # times that they are settled, drawn anew in between
_BLOCK = 1_000_000  # atoms in the frames that one block of a latent rollout decodes


@dataclass(frozen=True)
class LatentJob(WalkerJob):
    """Latent rollouts of walkers in batches, decoded at every frame.

    Where MD's energies are not known, no force field is: unsound frames alone are settled, by the bonded model of the
    data.
    """

    @cached_property
    def masses(self) -> Doubles:
        """Of the atoms, amu, shape (atoms,)."""
        system = self.molecule.system
        return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Decoded frames of a batch."""
        s, propagator, state = self.settings, self.propagator, self.states.get(group[0])
        steps, lag = propagator.split_time(s.interval)
        if state is None:
            done, slow = 0, propagator.encode(np.repeat(self.prepared.reference[None], len(group), axis=0))
        else:
            done, slow = state.frames, torch.from_numpy(state.arrays["latent"]).to(propagator.device)
        marks = propagator.manifest.landmarks
        block = int(max(1, min(100, _BLOCK // (len(group) * len(self.masses)))))
        while done < s.frames:
            count = min(block, s.frames - done)
            rng = noise_generator(s.seed, group[0], step=done)
            with clock("latent steps"):
                path = propagator.rollout(slow, lag, steps * count, rng, every=steps)
                slow, path = path[-1], path.flatten(0, 1)
            with clock("decoding"):
                decoded = self._decoded(path, rng)
            kept, shape = {group: {"latent": slow.cpu().numpy()}}, (count, len(group))
            frames = np.repeat(np.arange(done, done + count), len(group)).tolist()
            finished = self._mended if self.energies is None else self._finished
            positions, energies, settled = finished(path, decoded, list(group) * count, frames, clock)
            kinds = np.where(settled, "settled", "latent").reshape(shape).tolist()
            left = None if marks is None else marks.distances(path.reshape(*shape, -1).cpu().numpy()) > marks.limit
            yield MadeFrames(positions.reshape(*shape, -1, 3), energies.reshape(shape), kinds, kept, left=left)
            done += count

    def structure_checks(self) -> Callable[[Doubles], dict[str, Bools]]:
        """Of what is written; where no force field is known, against bonds and angles of the data."""
        return self.propagator.checks if self.energies is None else super().structure_checks()

    def _decoded(self, path: Tensor, rng: np.random.Generator) -> Doubles:
        """Structures of latents; where they are to be settled, unsound ones are decoded again, a few times."""
        decoded, rows = self._drawn(path, rng), np.arange(len(path))
        for _ in range(_TRIES if self.settings.settle else 0):
            rows = rows[self._unsound(decoded[rows])]
            if not len(rows):
                break
            decoded[rows] = self._drawn(path[rows], rng)
        return decoded

    def _drawn(self, path: Tensor, rng: np.random.Generator) -> Doubles:
        return self.propagator.decode(path, rng, self.prepared.reference, self.masses)

    def _unsound(self, decoded: Doubles) -> Ints:
        return np.flatnonzero(~np.all(list(self.propagator.checks(decoded).values()), axis=0))

    def _finished(
        self, path: Tensor, decoded: Doubles, walkers: list[int], frames: list[int], clock: PhaseClock
    ) -> tuple[Doubles, Doubles, Bools]:
        """Positions (structures, atoms, 3), settled where that was asked for, energies, and which were settled."""
        if not self.settings.settle:
            with clock("energies"):
                energies = replica_engine(self.molecule.system, decoded).energies()
                return decoded, energies, np.zeros(len(decoded), dtype=bool)
        with clock("settling"):
            return *self.settled(decoded, walkers, frames), np.ones(len(decoded), dtype=bool)

    def _mended(
        self, path: Tensor, decoded: Doubles, walkers: list[int], frames: list[int], clock: PhaseClock
    ) -> tuple[Doubles, Doubles, Bools]:
        """The same where no force field is known: unsound structures settled by the bonded model of the data."""
        settled, known = np.zeros(len(decoded), dtype=bool), self.propagator.manifest.training.get("bonded")
        rows = np.arange(len(decoded))
        with clock("settling"):
            for attempt in range(_MENDED if known and self.settings.settle else 0):
                rows = rows[self._unsound(decoded[rows])]
                if not len(rows):
                    break
                seeds = self.settling_seeds([walkers[k] for k in rows], [frames[k] for k in rows])
                if attempt:  # a chain through a ring stays there: another drawing has to be mended
                    decoded[rows] = self._drawn(path[rows], np.random.default_rng([attempt, *seeds]))
                decoded[rows] = mended(self.propagator, decoded[rows], seeds)
                settled[rows] = True
        return decoded, np.full(len(decoded), np.nan), settled


_PROPOSAL = 2  # purpose of the noise of the first draw of a latent step; further draws follow
_MINIMISER_STEPS = 100
_TOLERANCE = 10.0  # kJ/mol/nm, where a minimisation ends if it does not reach the energy before


@dataclass(frozen=True)
class AlternateJob(WalkerJob):
    """Latent steps and MD by turns, in cycles of so many ps, of the walkers of a batch together.

    A batch depends on the number of walkers alone, and random numbers belong to the seed, the walker and the step, so
    that results depend neither on the number of processes nor on where a run was stopped.
    """

    cycle: float = 1000.0

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Frames cycle by cycle."""
        assert self.energies is not None
        s, state = self.settings, self.states.get(group[0])
        with clock("MD"):
            moved = MovedBatch(self.prepared, self.propagator, group, seed=s.seed, limits=self.energies)
            if state is not None:
                moved.restore(state)
        plan, done = cycle_plan(self.cycle, s.burst, s.interval), 0 if state is None else state.frames
        while done < s.frames:
            made = []
            for segment in plan:
                _advance(moved, segment, clock)
                if segment.save:
                    made.append((moved.positions, moved.energies(), list(moved.kinds)))
            positions, energies, kinds = zip(*made[: s.frames - done], strict=True)
            x, potential = np.array(positions), np.array(energies)
            if s.settle:
                with clock("settling"):
                    self._settle(group, done, (x, potential), kinds)
            done += len(x)
            yield MadeFrames(x, potential, kinds, {group: moved.arrays()}, moved.counts)

    def _settle(
        self, group: tuple[int, ...], done: int, frames: tuple[Doubles, Doubles], kinds: Sequence[list[str]]
    ) -> None:
        """Settle the decoded structures of a cycle, all together; the walkers go on from where they were."""
        places = [(i, k) for i, row in enumerate(kinds) for k, kind in enumerate(row) if kind == "latent"]
        if not places:
            return
        at = tuple(np.transpose(places))
        positions, energies = frames
        positions[at], energies[at] = self.settled(
            positions[at], [group[k] for _, k in places], [done + i for i, _ in places]
        )
        for i, k in places:
            kinds[i][k] = "settled"


def _advance(moved: MovedBatch, segment: Segment, clock: PhaseClock) -> None:
    """Move walkers by a segment; MD covers the time of those for which no sound structure was drawn."""
    left: Ints = np.arange(len(moved.kinds))
    if segment.kind == "latent":
        with clock("latent steps"):
            left = moved.jump(segment.duration)
    if len(left):
        with clock("MD"):
            moved.run_md(left, segment.duration)


class MovedBatch:
    """Positions, velocities and kinds of walkers, moved by latent steps and by MD.

    What follows a latent step is what `AlternatingIntegrator.hand_to_md` does: minimisation of structures that MD would
    never show, down to the median energy of MD, then a short Langevin run of strong friction that counts no time.
    `kinds` say what moved each walker last: "latent", "md", or "relaxed" for MD after a minimisation; `counts` are
    walkers "minimised", and latent steps "replaced_by_md".
    """

    def __init__(
        self, prepared: Prepared, propagator: Propagator, walkers: Sequence[int], seed: int, limits: EnergyRange
    ) -> None:
        self.walkers, self.seed, self.limits = list(walkers), seed, limits
        self.propagator, self.prepared, self.molecule = propagator, prepared, prepared.molecule
        start = np.repeat(np.asarray(prepared.reference, np.float64)[None], len(self.walkers), axis=0)
        self._engine = self._made(start, self.walkers)
        self._engine.constrain()
        self._engine.draw_velocities()
        self._masses = self._engine.masses
        self.latent_steps = 0
        self.kinds = ["md"] * len(self.walkers)
        self.counts = {"minimised": 0, "replaced_by_md": 0}

    def _made(self, positions: Doubles, numbers: Sequence[int]) -> Replicas:
        settings: Settings = {"temperature": self.molecule.protocol.temperature, "seed": self.seed, "numbers": numbers}
        machine = self.prepared.platform, self.prepared.threads
        return replica_engine(self.molecule.system, positions, platform=machine, **settings)

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
        strained = rows[self.limits.above(engine.energies())]
        if len(strained):
            held = self._taken(strained)
            velocities = held.velocities
            held.minimize(_MINIMISER_STEPS, tolerance=_TOLERANCE, enough=self.limits.median)
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
