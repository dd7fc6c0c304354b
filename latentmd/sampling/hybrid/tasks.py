"""Tasks of workers: a relaxation, or some bursts. Picklable, and a function of their arguments alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from latentmd.arrays import Floats
from latentmd.core.noise import noise_generator
from latentmd.sampling.contracts import Burst, BurstError, Engine, Relaxed
from latentmd.sampling.scheduler import Scheduler

PLAN, RELAX, BURST, REVIEW, REFINE = range(1, 6)  # purposes of random numbers
BATCH = 32  # bursts that one worker simulates together


def keyed_rng(seed: int, round_: int, purpose: int, task: int = 0) -> np.random.Generator:
    """Random generator that belongs to one purpose of one task of one round.

    Args:
        seed: of the run.
        round_: number of the round.
        purpose: `PLAN`, `RELAX`, `BURST`, `REVIEW` or `REFINE`.
        task: number of the task.
    """
    return noise_generator(seed, stream=task, step=round_, purpose=purpose)


def keyed_seed(seed: int, round_: int, purpose: int, task: int = 0) -> int:
    """Seed below 2^31 that belongs to one purpose of one task of one round. Arguments as for `keyed_rng`.

    Args:
        seed: of the run.
        round_: number of the round.
        purpose: one of the purposes of this module.
        task: number of the task.
    """
    return int(keyed_rng(seed, round_, purpose, task).integers(2**31 - 1))


@dataclass(frozen=True)
class Task:
    """A structure to relax or to simulate.

    Attributes:
        engine: unbiased dynamics.
        start: structure, shape (...).
        frames: of the burst; not used by a relaxation.
        seed: of velocities and noise.
    """

    engine: Engine
    start: Floats
    frames: int
    seed: int


def run_relax(task: Task) -> Relaxed | str:
    """Relax a structure; the relaxed structure, or the reason why there is none."""
    try:
        relaxed = task.engine.relax(task.start, task.seed)
    except BurstError as error:
        return f"relaxation: {error}"
    if not (np.isfinite(relaxed.positions).all() and np.isfinite(relaxed.energy)):
        return "relaxation: not finite"
    return relaxed


def run_burst(task: Task) -> Burst | str:
    """Simulate a burst; the burst, or the reason why it is discarded.

    Raises:
        ValueError: the engine returned another number of frames than asked for.
    """
    try:
        burst = task.engine.burst(task.start, task.frames, task.seed)
    except BurstError as error:
        return str(error)
    if len(burst.positions) != task.frames or len(burst.energies) != task.frames:
        raise ValueError(
            f"the engine returned {len(burst.positions)} frames and {len(burst.energies)} energies; expected "
            f"{task.frames} of each"
        )
    if not (np.isfinite(burst.positions).all() and np.isfinite(burst.energies).all()):
        return "not finite"
    return burst


@runtime_checkable
class BatchEngine(Protocol):
    """An engine that relaxes or simulates several structures at once."""

    def bursts(self, starts: Floats, frames: int, seeds: Sequence[int]) -> list[Burst | str]:
        """Simulate a burst from each structure; the bursts, or the reasons why they are discarded.

        Args:
            starts: structures, shape (bursts, ...).
            frames: of each burst.
            seeds: of velocities and noise, one for each burst, which alone decides it.
        """
        ...

    def relaxations(self, starts: Floats, seeds: Sequence[int]) -> list[Relaxed | str]:
        """Relax structures; the relaxed ones, or the reasons why there are none.

        Args:
            starts: structures, shape (structures, ...).
            seeds: of velocities and noise, one for each structure, which alone decides it.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """Structures that one worker simulates or relaxes together.

    Attributes:
        engine: unbiased dynamics.
        starts: structures, shape (bursts, ...).
        frames: of each burst; not used by relaxations.
        seeds: of velocities and noise, one for each structure.
    """

    engine: Engine
    starts: Floats
    frames: int
    seeds: tuple[int, ...]

    def tasks(self) -> list[Task]:
        """The structures one by one."""
        return [
            Task(self.engine, start, self.frames, seed) for start, seed in zip(self.starts, self.seeds, strict=True)
        ]


def run_batch(batch: Batch) -> list[Burst | str]:
    """Simulate bursts, at once where the engine can; the bursts, or the reasons why they are discarded."""
    if isinstance(batch.engine, BatchEngine):
        return batch.engine.bursts(batch.starts, batch.frames, batch.seeds)
    return [run_burst(task) for task in batch.tasks()]


def run_relaxations(batch: Batch) -> list[Relaxed | str]:
    """Relax structures, at once where the engine can; the relaxed ones, or the reasons why there are none."""
    if not isinstance(batch.engine, BatchEngine):
        return [run_relax(task) for task in batch.tasks()]
    found = batch.engine.relaxations(batch.starts, batch.seeds)
    return [f"relaxation: {result}" if isinstance(result, str) else result for result in found]


def relax_all(engine: Engine, starts: Floats, seeds: Sequence[int], tasks: Scheduler) -> Iterator[Relaxed | str]:
    """Relaxed structures in the order of the starts, or the reasons why there are none.

    Args:
        engine: relaxes.
        starts: structures, shape (structures, ...).
        seeds: of velocities and noise, one for each structure.
        tasks: runs them.
    """
    for found in tasks.map(run_relaxations, _batches(engine, starts, 0, seeds)):
        yield from found


def _batches(engine: Engine, starts: Floats, frames: int, seeds: Sequence[int]) -> list[Batch]:
    size = BATCH if isinstance(engine, BatchEngine) else 1
    return [
        Batch(engine, np.asarray(starts)[k : k + size], frames, tuple(seeds[k : k + size]))
        for k in range(0, len(starts), size)
    ]


class BurstStore(Protocol):
    """Keeps the bursts of rounds."""

    def has_burst(self, round_: int, task: int) -> bool:
        """Whether a burst was simulated, discarded or not."""
        ...

    def write_burst(self, round_: int, task: int, burst: Burst | str) -> None:
        """Keep a burst.

        Args:
            round_: number of the round.
            task: number of the burst in it.
            burst: or the reason why it was discarded.
        """
        ...


@dataclass(frozen=True)
class BurstWork:
    """Bursts of a round.

    Attributes:
        engine: unbiased dynamics.
        starts: structures, shape (bursts, ...).
        frames: of each burst.
        seed: of the run.
        round_: number of the round, which keys the random numbers.
    """

    engine: Engine
    starts: Floats
    frames: int
    seed: int
    round_: int


def simulate_missing(work: BurstWork, store: BurstStore, tasks: Scheduler, stop: Callable[[], bool]) -> bool:
    """Simulate the bursts of a round that the store does not hold yet; False where the run was stopped first.

    Args:
        work: the bursts.
        store: keeps each as soon as it is there.
        tasks: runs them.
        stop: whether the run was asked to stop, looked at between bursts.
    """
    missing = [i for i in range(len(work.starts)) if not store.has_burst(work.round_, i)]
    if stop():
        return False
    seeds = [keyed_seed(work.seed, work.round_, BURST, i) for i in missing]
    batches = _batches(work.engine, np.asarray(work.starts)[missing], work.frames, seeds)
    numbers = iter(missing)
    for batch, bursts in zip(batches, tasks.map(run_batch, batches), strict=True):
        for burst in bursts:
            store.write_burst(work.round_, next(numbers), burst)
        if stop() and batch is not batches[-1]:
            return False
    return True
