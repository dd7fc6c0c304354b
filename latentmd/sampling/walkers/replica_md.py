"""Plain MD of all walkers of a process together, with the compiled replica kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from latentmd.replicas.choice import replica_engine
from latentmd.replicas.replicas import Replicas, ReplicaState
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.walkers.jobs import MadeFrames, WalkerJob
from latentmd.sampling.walkers.resume import Arrays
from latentmd.systems.dynamics import advance

_MINIMISATION = 500  # evaluations of the forces at most


@dataclass(frozen=True)
class ReplicaMDJob(WalkerJob):
    """Plain MD of several walkers at once, reported every `chunk` frames of all.

    Random numbers belong to the seed of the run and the number of a walker, so that a walker is the same whichever
    process it is in and whichever others are beside it.
    """

    chunk: int = 100

    def groups(self) -> Iterable[tuple[int, ...]]:
        """Walkers with equally many frames."""

        def done(walker: int) -> int:
            return self.states[walker].frames if walker in self.states else -1

        for _, group in groupby(sorted(self.walkers, key=lambda w: (done(w), w)), key=done):
            yield tuple(group)

    def blocks(self, group: tuple[int, ...], stopped: Callable[[], bool], clock: PhaseClock) -> Iterator[MadeFrames]:
        """Frames in chunks; a stop ends the last one, and leaves the engine in the middle of a frame."""
        interval = self.settings.interval
        with clock("md"):
            engine, done = self._engine(group)
            if done == 0 and not self._advance(engine, self.settings.equilibration, stopped):
                return
        while done < self.settings.frames:
            count, made = min(self.chunk, self.settings.frames - done), 0
            positions = np.empty((count, engine.replicas, len(engine.masses), 3), np.float32)
            energies = np.empty((count, engine.replicas))
            with clock("md"):
                while made < count and self._advance(engine, interval, stopped):
                    positions[made], energies[made] = engine.positions, engine.energies()
                    made += 1
            if made:
                whole = (lambda: _states(group, engine.state())) if made == count else None
                yield MadeFrames(positions[:made], energies[:made], [["md"] * len(group)] * made, whole)
            if made < count:
                return
            done += count

    def _advance(self, engine: Replicas, time: float, stopped: Callable[[], bool]) -> bool:
        """Move all walkers by a time in ps; whether they got there."""
        protocol = self.molecule.protocol

        def step(steps: int) -> None:
            engine.langevin(steps, timestep=protocol.timestep, friction=protocol.friction)

        return advance(step, round(time / protocol.timestep), stopped)

    def _engine(self, walkers: tuple[int, ...]) -> tuple[Replicas, int]:
        """The engine of some walkers at time zero or at their states, and how many frames are done."""
        protocol, states = self.molecule.protocol, [self.states.get(walker) for walker in walkers]
        positions = np.repeat(np.asarray(self.prepared.reference, np.float64)[None], len(walkers), axis=0)
        engine = replica_engine(
            self.molecule.system,
            positions,
            temperature=protocol.temperature,
            seed=self.settings.seed,
            numbers=walkers,
            threads=1,
        )
        first = states[0]
        if first is not None:
            found = [state.arrays for state in states if state is not None]
            x, v = (np.array([arrays[name] for arrays in found]) for name in ("positions", "velocities"))
            engine.restore(ReplicaState(x, v, engine.temperatures, int(first.arrays["draw"])))
            return engine, first.frames
        engine.minimize(_MINIMISATION)
        engine.draw_velocities()
        return engine, 0


def _states(walkers: tuple[int, ...], state: ReplicaState) -> dict[tuple[int, ...], Arrays]:
    """Of each walker alone, since others may be beside it when it goes on."""
    return {
        (walker,): {"positions": x, "velocities": v, "draw": np.array(state.draw)}
        for walker, x, v in zip(walkers, state.positions, state.velocities, strict=True)
    }
