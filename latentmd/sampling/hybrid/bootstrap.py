"""From one structure to many: a hot replica, or a model, finds starts that are spread over configuration space."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.contracts import Burst, Scheduler
from latentmd.sampling.engine import MoleculeEngine
from latentmd.sampling.hybrid.explorer import SurrogateExplorer
from latentmd.sampling.hybrid.store import Store
from latentmd.sampling.hybrid.tasks import BURST, RELAX, Task, keyed_rng, keyed_seed, run_burst, run_relax

HOT_FACTOR, HOT_MOST = 3.5, 1100.0  # of the temperature, and K: crosses barriers of 35 kJ/mol in some 40 ps
HOT_WALKERS, HOT_TIME = 4, 100.0  # and ps each
_SPARE = 2  # starts tried for each one wanted, since some do not relax
_POOL = 20  # proposals of a model for each start wanted


class BootstrapError(RuntimeError):
    """A molecule that cannot be simulated; the message says why."""


def hot_frames(
    engine: MoleculeEngine, reference: Floats, store: Store, seed: int, scheduler: Scheduler, stop: Callable[[], bool]
) -> Floats | None:
    """Frames of walkers at high temperature (frames, atoms, 3), from minimised positions; None where stopped.

    Raises:
        BootstrapError: all walkers exploded.
    """
    temperature = min(HOT_FACTOR * engine.molecule.protocol.temperature, HOT_MOST)
    hot = engine.at(max(temperature, engine.molecule.protocol.temperature))
    starts = np.repeat(reference[None].astype(np.float32), HOT_WALKERS, axis=0)
    if not simulate(hot, starts, round(HOT_TIME / engine.interval), store, 0, seed, scheduler, stop):
        return None
    found = [store.read_burst(0, i) for i in range(HOT_WALKERS)]
    frames = [burst.positions for burst in found if isinstance(burst, Burst)]
    if not frames:
        raise BootstrapError(
            f"all {HOT_WALKERS} walkers at {temperature:g} K exploded; check the force field, or pass a shorter "
            "--timestep"
        )
    return np.concatenate(frames)


def model_frames(explorer: SurrogateExplorer, reference: Floats, count: int, seed: int) -> Floats:
    """Structures that a model proposes from one structure (atoms, 3), (count * 20, atoms, 3)."""
    return explorer.propose(reference[None], _POOL * count, keyed_rng(seed, 0, RELAX))


def furthest_first(points: Floats, count: int, first: int = 0) -> list[int]:
    """Indices of `count` of the points (n, k), each as far from those before it as can be.

    The greedy solution of the k-centre problem (Gonzalez, Theor. Comput. Sci. 38, 293, 1985).

    Example:
        >>> furthest_first(np.array([[0.0], [1.0], [5.0], [2.0]]), 3)
        [0, 2, 3]
    """
    chosen = [first]
    nearest = np.sum((points - points[first]) ** 2, axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        np.minimum(nearest, np.sum((points - points[chosen[-1]]) ** 2, axis=1), out=nearest)
    return chosen


def spread_starts(
    engine: MoleculeEngine, reference: Floats, frames: Floats, count: int, seed: int, scheduler: Scheduler
) -> Floats:
    """Relaxed structures (at most count, atoms, 3), far from each other in the torsions.

    Greedy k-centre (Gonzalez 1985): each next structure is the one furthest from all chosen so far; the minimised
    structure itself comes first. Structures that fail a check, before or after relaxation, are left out.

    Raises:
        BootstrapError: not one structure relaxes.
    """
    sound = np.all(list(engine.checks(frames).values()), axis=0)
    pool = np.concatenate([reference[None].astype(np.float64), frames[sound].astype(np.float64)])
    order = furthest_first(engine.features(pool), min(_SPARE * count, len(pool)))
    tasks = [Task(engine, pool[k], 0, keyed_seed(seed, 0, RELAX, i)) for i, k in enumerate(order)]
    kept: list[Floats] = []
    for relaxed in scheduler.map(run_relax, tasks):
        if isinstance(relaxed, str):
            continue
        if all(passed[0] for passed in engine.checks(relaxed.positions[None]).values()):
            kept.append(relaxed.positions)
        if len(kept) == count:
            break
    if not kept:
        raise BootstrapError("not one structure relaxes; check the structure and the force field")
    return np.array(kept)


def simulate(
    engine: MoleculeEngine,
    starts: Floats,
    frames: int,
    store: Store,
    round_: int,
    seed: int,
    scheduler: Scheduler,
    stop: Callable[[], bool],
) -> bool:
    """Simulate what a round of a store still lacks, with the random numbers of that round; False where stopped."""
    missing = [i for i in range(len(starts)) if not store.has_burst(round_, i)]
    tasks = [Task(engine, starts[i], frames, keyed_seed(seed, round_, BURST, i)) for i in missing]
    if stop():
        return False
    for i, burst in zip(missing, scheduler.map(run_burst, tasks), strict=True):
        store.write_burst(round_, i, burst)
        if stop() and i != missing[-1]:
            return False
    return True


def good_bursts(store: Store, round_: int, count: int, skip: int) -> Sequence[Floats]:
    """Positions of the bursts of a round that did not explode, without their first `skip` frames.

    Raises:
        BootstrapError: fewer than two are left, which is too few to train on.
    """
    found = [store.read_burst(round_, i) for i in range(count)]
    kept = [burst.positions[skip:] for burst in found if isinstance(burst, Burst)]
    if len(kept) < 2:
        reasons = sorted({burst for burst in found if isinstance(burst, str)})
        raise BootstrapError(f"{len(found) - len(kept)} of {len(found)} first simulations failed: {', '.join(reasons)}")
    return kept
