"""Starting structures: hot walkers, or a model, find structures that are spread over configuration space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.contracts import Burst
from latentmd.sampling.hybrid.store import Store
from latentmd.sampling.hybrid.tasks import RELAX, BurstWork, keyed_rng, keyed_seed, relax_all, simulate_missing

if TYPE_CHECKING:
    from latentmd.sampling.hybrid.explorer import SurrogateExplorer
    from latentmd.sampling.request import HybridRun
    from latentmd.sampling.scheduler import Scheduler

HOT_FACTOR = 3.5  # temperature of the hot walkers over that of the run: crosses 35 kJ/mol in some 40 ps
HOT_MOST = 1100.0  # highest temperature of the hot walkers, K
HOT_WALKERS = 4  # number of hot walkers
HOT_TIME = 100.0  # length of each, ps
_SPARE = 2  # structures tried for each start wanted, since some do not relax
_POOL = 20  # proposals of a model for each start wanted


class BootstrapError(RuntimeError):
    """A molecule that cannot be simulated; the message says why."""


def hot_frames(run: HybridRun, store: Store, tasks: Scheduler) -> Floats | None:
    """Frames of walkers at high temperature, from the minimised structure; None where the run was asked to stop.

    Args:
        run: the request and the engine.
        store: keeps the walkers.
        tasks: runs them.

    Returns:
        Positions in nm, shape (frames, atoms, 3).

    Raises:
        BootstrapError: all walkers exploded.
    """
    engine = run.engine
    temperature = min(HOT_FACTOR * engine.molecule.protocol.temperature, HOT_MOST)
    hot = engine.at(max(temperature, engine.molecule.protocol.temperature))
    starts = np.repeat(run.reference[None].astype(np.float32), HOT_WALKERS, axis=0)
    work = BurstWork(hot, starts, round(HOT_TIME / engine.interval), run.seed, round_=0)
    if not simulate_missing(work, store, tasks, run.stop):
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
    """Structures that a model proposes from one structure.

    Args:
        explorer: the surrogate.
        reference: structure in nm, shape (atoms, 3).
        count: starts wanted.
        seed: of the run.

    Returns:
        Positions in nm, shape (20 count, atoms, 3).
    """
    return explorer.propose(reference[None], _POOL * count, keyed_rng(seed, 0, RELAX))


def furthest_first(points: Floats, count: int, first: int = 0) -> list[int]:
    """Choose points, each as far from those before it as can be.

    The greedy solution of the k-centre problem (Gonzalez, Theor. Comput. Sci. 38, 293, 1985).

    Args:
        points: shape (n, k).
        count: how many to choose.
        first: index of the first one.

    Returns:
        Indices, in the order of choice.

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


def spread_starts(run: HybridRun, frames: Floats, tasks: Scheduler) -> Floats:
    """Relaxed structures far from each other in the torsions, at most as many as a round has starts.

    Greedy k-centre (Gonzalez 1985): each next structure is the one furthest from all chosen so far; the minimised
    structure itself comes first. Structures that fail a check, before or after relaxation, are left out.

    Args:
        run: the request and the engine.
        frames: to choose from, nm, shape (frames, atoms, 3).
        tasks: runs the relaxations.

    Returns:
        Positions in nm, shape (starts, atoms, 3).

    Raises:
        BootstrapError: not one structure relaxes.
    """
    engine, count, seed = run.engine, run.settings.starts, run.seed
    sound = np.all(list(engine.checks(frames).values()), axis=0)
    pool = np.concatenate([run.reference[None].astype(np.float64), frames[sound].astype(np.float64)])
    order = furthest_first(engine.features(pool), min(_SPARE * count, len(pool)))
    seeds = [keyed_seed(seed, 0, RELAX, i) for i in range(len(order))]
    kept: list[Floats] = []
    for relaxed in relax_all(engine, pool[order], seeds, tasks):
        if isinstance(relaxed, str):
            continue
        if all(passed[0] for passed in engine.checks(relaxed.positions[None]).values()):
            kept.append(relaxed.positions)
        if len(kept) == count:
            break
    if not kept:
        raise BootstrapError("not one structure relaxes; check the structure and the force field")
    return np.array(kept)


def good_bursts(store: Store, round_: int, count: int) -> list[Burst]:
    """The bursts of a round that did not explode.

    Args:
        store: of the run.
        round_: number of the round.
        count: bursts of the round.

    Raises:
        BootstrapError: fewer than two are left, which is too few to train on.
    """
    found = [store.read_burst(round_, i) for i in range(count)]
    kept = [burst for burst in found if isinstance(burst, Burst)]
    if len(kept) < 2:
        reasons = sorted({burst for burst in found if isinstance(burst, str)})
        raise BootstrapError(f"{len(found) - len(kept)} of {len(found)} first simulations failed: {', '.join(reasons)}")
    return kept
