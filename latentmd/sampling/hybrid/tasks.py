"""What runs on a worker: one relaxation, one burst. Picklable, and decided by their arguments alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Floats
from latentmd.core.noise import noise_generator
from latentmd.sampling.contracts import Burst, BurstError, Engine, Relaxed

PLAN, RELAX, BURST, REVIEW, REFINE = range(1, 6)  # what random numbers are for


def keyed_rng(seed: int, round_: int, purpose: int, task: int = 0) -> np.random.Generator:
    """Random numbers that belong to one purpose of one task of one round."""
    return noise_generator(seed, stream=task, step=round_, purpose=purpose)


def keyed_seed(seed: int, round_: int, purpose: int, task: int = 0) -> int:
    """A seed below 2^31 that belongs to one purpose of one task of one round."""
    return int(keyed_rng(seed, round_, purpose, task).integers(2**31 - 1))


@dataclass(frozen=True)
class Task:
    """A structure (...) to relax or to simulate, and the seed."""

    engine: Engine
    start: Floats
    frames: int
    seed: int


def run_relax(task: Task) -> Relaxed | str:
    """The relaxed structure, or the reason why there is none."""
    try:
        relaxed = task.engine.relax(task.start, task.seed)
    except BurstError as error:
        return f"relaxation: {error}"
    if not (np.isfinite(relaxed.positions).all() and np.isfinite(relaxed.energy)):
        return "relaxation: not finite"
    return relaxed


def run_burst(task: Task) -> Burst | str:
    """The burst, or the reason why it is discarded.

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
