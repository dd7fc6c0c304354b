"""Latent steps and MD by turns of several walkers at once: latent steps in one batch, MD with the replica kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Doubles, Ints
from latentmd.io.writer import FrameWriter
from latentmd.sampling.run.clock import PhaseClock
from latentmd.sampling.run.processes import Emit
from latentmd.sampling.walkers.cycle import Segment, cycle_plan
from latentmd.sampling.walkers.jobs import Checker, WalkerJob
from latentmd.sampling.walkers.moved_batch import MovedBatch
from latentmd.sampling.walkers.resume import Pacer, State

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator


@dataclass(frozen=True)
class ReplicaAlternateJob(WalkerJob):
    """Latent steps and MD by turns, of the walkers of a batch together.

    A batch depends on the number of walkers alone, and random numbers belong to the seed, the walker and the step, so
    that results depend neither on the number of processes nor on where a run was stopped.

    Attributes:
        model: name or path.
        cycle: length of a cycle, ps.
        batches: the walkers, in the groups that are moved together.
    """

    model: str = ""
    cycle: float = 1000.0
    batches: tuple[tuple[int, ...], ...] = ()

    def run(self, emit: Emit, stopped: Callable[[], bool]) -> None:
        """Move the walkers batch by batch."""
        clock, pacer = PhaseClock(), Pacer()
        with clock("start"):
            from latentmd.model.propagator import Propagator

            propagator = self.arranged(Propagator(self.model, self.settings.device, threads=1))
            failed = self.checker()
        with clock("plain MD for comparison"):
            self.emit_speed(emit)
        for batch in self.batches:
            state = self.states.get(batch[0])
            with ExitStack() as stack:
                writers = [stack.enter_context(self.writer(walker, state)) for walker in batch]
                for moved, frames in self._cycles(propagator, batch, state, clock):
                    with clock("output"):
                        self._write(writers, batch, frames, failed, emit)
                        done = writers[0].frames
                        if done == self.settings.frames or pacer.due():
                            sizes = tuple(writer.size for writer in writers)
                            kept = State(batch, done, sizes, moved.arrays(), dict(moved.counts))
                            emit("state", state=kept)
                    if stopped():
                        return
        emit("phases", seconds=clock.seconds)

    def _cycles(
        self, propagator: Propagator, batch: tuple[int, ...], state: State | None, clock: PhaseClock
    ) -> Iterator[tuple[MovedBatch, list[BatchFrame]]]:
        """The batch after each cycle, from its state on, and the frames of the cycle."""
        with clock("MD"):
            moved = MovedBatch(self.prepared, propagator, batch, seed=self.settings.seed, energies=self.energies)
            if state is not None:
                moved.restore(state)
        plan = cycle_plan(self.cycle, self.settings.burst, self.settings.interval)
        done = 0 if state is None else state.frames
        while done < self.settings.frames:
            frames: list[BatchFrame] = []
            for segment in plan:
                _advance(moved, segment, clock)
                if segment.save:
                    frames.append(BatchFrame(moved.positions, list(moved.kinds), moved.energies()))
            frames = frames[: self.settings.frames - done]
            if self.settings.settle:
                with clock("settling"):
                    self._settle(batch, frames, done)
            done += len(frames)
            yield moved, frames

    def _settle(self, batch: tuple[int, ...], frames: list[BatchFrame], done: int) -> None:
        """Settle the decoded structures of a cycle, all together; the walkers go on from where they were."""
        places = [(i, k) for i, frame in enumerate(frames) for k, kind in enumerate(frame.kinds) if kind == "latent"]
        if not places:
            return
        decoded = np.array([frames[i].positions[k] for i, k in places])
        settled = self.settled(decoded, [batch[k] for _, k in places], [done + i for i, _ in places])
        for (i, k), positions, energy in zip(places, *settled, strict=True):
            frames[i].positions[k], frames[i].energies[k], frames[i].kinds[k] = positions, energy, "settled"

    def _write(
        self,
        writers: list[FrameWriter],
        batch: tuple[int, ...],
        frames: list[BatchFrame],
        failed: Checker,
        emit: Emit,
    ) -> None:
        first = writers[0].frames
        times = self.settings.interval * np.arange(first + 1, first + len(frames) + 1)
        for k, (walker, writer) in enumerate(zip(batch, writers, strict=True)):
            positions = np.array([frame.positions[k] for frame in frames])
            writer.write(positions, times)
            kinds, energies = [f.kinds[k] for f in frames], np.array([f.energies[k] for f in frames])
            rows = zip(times, kinds, energies, failed(positions, energies), strict=True)
            emit("frames", walker=walker, rows=list(rows))


@dataclass(frozen=True)
class BatchFrame:
    """A frame of every walker of a batch.

    Attributes:
        positions: nm, shape (walkers, atoms, 3).
        kinds: of the frame of each walker: "latent", "settled", "md" or "relaxed".
        energies: kJ/mol, shape (walkers,).
    """

    positions: Doubles
    kinds: list[str]
    energies: Doubles


def _advance(moved: MovedBatch, segment: Segment, clock: PhaseClock) -> None:
    """Move a batch by a segment; MD covers the time of walkers for which no sound structure was drawn."""
    left: Ints = np.arange(len(moved.walkers))
    if segment.kind == "latent":
        with clock("latent steps"):
            left = moved.jump(segment.duration)
    if len(left):
        with clock("MD"):
            moved.run_md(left, segment.duration)
