"""Plain MD of all walkers of a process together, with the compiled replica kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from latentmd.arrays import Doubles, Floats
from latentmd.replicas.choice import replica_engine
from latentmd.replicas.replicas import Replicas, ReplicaState
from latentmd.sampling.run.processes import Emit
from latentmd.sampling.walkers.jobs import WalkerJob
from latentmd.sampling.walkers.resume import Pacer, State
from latentmd.systems.dynamics import advance

_MINIMISATION = 500  # evaluations of the forces at most


@dataclass(frozen=True)
class ReplicaMDJob(WalkerJob):
    """Plain MD of several walkers at once.

    Random numbers belong to the seed of the run and the number of a walker, so that a walker is the same whichever
    process it is in and whichever others are beside it.

    Attributes:
        chunk: frames of all walkers between reports.
    """

    chunk: int = 100

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Simulate the walkers, those with equally many frames together."""
        begin = time.perf_counter()

        def done(walker: int) -> int:
            return self.states[walker].frames if walker in self.states else -1

        for _, group in groupby(sorted(self.walkers, key=lambda w: (done(w), w)), key=done):
            if not self._run_group(list(group), emit, stopped):
                return
        emit("phases", seconds={"md": time.perf_counter() - begin})

    def _run_group(self, walkers: list[int], emit: Emit, stopped: Callable[[], bool]) -> bool:
        """Simulate walkers from their states to the end; False where the run was stopped."""
        engine, done = self._engine(walkers)
        if done == 0 and not self._advance(engine, self.settings.equilibration, stopped):
            return False
        failed, pacer = self.checker(), Pacer()
        with ExitStack() as stack:
            writers = [stack.enter_context(self.writer(walker, self.states.get(walker))) for walker in walkers]
            for times, positions, energies, whole in self._blocks(engine, done, stopped):
                for k, (walker, writer) in enumerate(zip(walkers, writers, strict=True)):
                    writer.write(positions[:, k], times)
                    rows = zip(
                        times, ["md"] * len(times), energies[:, k], failed(positions[:, k], energies[:, k]), strict=True
                    )
                    emit("frames", walker=walker, rows=list(rows))
                done += len(times)
                if whole and (done == self.settings.frames or pacer.due()):
                    state = engine.state()
                    for k, (walker, writer) in enumerate(zip(walkers, writers, strict=True)):
                        arrays = {"positions": state.positions[k], "velocities": state.velocities[k]}
                        kept = State((walker,), done, (writer.size,), {**arrays, "draw": np.array(state.draw)})
                        emit("state", state=kept)
        return not stopped()

    def _advance(self, engine: Replicas, time: float, stopped: Callable[[], bool]) -> bool:
        """Move all walkers by a time in ps; whether they got there."""
        protocol = self.molecule.protocol

        def step(steps: int) -> None:
            engine.langevin(steps, timestep=protocol.timestep, friction=protocol.friction)

        return advance(step, round(time / protocol.timestep), stopped)

    def _engine(self, walkers: list[int]) -> tuple[Replicas, int]:
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

    def _blocks(
        self, engine: Replicas, done: int, stopped: Callable[[], bool]
    ) -> Iterator[tuple[Doubles, Floats, Doubles, bool]]:
        """Times (frames,), positions (frames, walkers, atoms, 3) and energies (frames, walkers) in chunks.

        Also whether a chunk is whole: a stop ends the last one, and leaves the engine in the middle of a frame.
        """
        interval = self.settings.interval
        while done < self.settings.frames:
            count = min(self.chunk, self.settings.frames - done)
            positions = np.empty((count, engine.replicas, len(engine.masses), 3), np.float32)
            energies = np.empty((count, engine.replicas))
            made = 0
            while made < count and self._advance(engine, interval, stopped):
                positions[made], energies[made] = engine.positions, engine.energies()
                made += 1
            if made:
                times = interval * np.arange(done + 1, done + made + 1, dtype=np.float64)
                yield times, positions[:made], energies[:made], made == count
            if made < count:
                return
            done += count
