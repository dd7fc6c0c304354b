"""Plain MD beside exact chains: what the same time would have bought without them, and how fast wells exchange.

A tenth of the energies that the chains evaluated goes to plain MD from one structure. Bursts of plain MD start from
structures of the exact chains: half of them as they come, half spread evenly over cells. Within its cell every start
is distributed as at equilibrium, whichever cell was picked, so that no basin has to be looked for and nothing has to be
left out at the beginning of a burst. The populations of the cells come from the
chains, and the bursts only say how fast cells exchange (`latentmd.analysis.msm.fit_with_populations`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import call

import numpy as np
from scipy.spatial import cKDTree

from latentmd.analysis.msm import fit_with_populations, k_means, transition_counts
from latentmd.arrays import Bools, Floats, Ints
from latentmd.molecule.checks import torsions
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.metropolis.populations import Populations, populations
from latentmd.sampling.metropolis.segments import CHAINS
from latentmd.sampling.metropolis.settings import ChainsRun
from latentmd.sampling.metropolis.wells import Well, recorded_torsions
from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.preparation import made_once
from latentmd.sampling.run.scheduler import Scheduler
from latentmd.sampling.run.seeds import REVIEW, keyed_rng, keyed_seed
from latentmd.systems.dynamics import advance
from latentmd.systems.molecule import Molecule

SHARE = 0.1  # of the energies that the chains evaluated
REPLICAS = 16  # of one task: a block of the replica engine
FRAME = 1.0  # ps between frames
FRICTION = 1.0  # of the thermostat, 1/ps, as `latentmd md` has it
EQUILIBRATION = 10.0  # ps that are left out
_SHORTEST = 20  # frames of a replica that are asked for
FEWEST = 5  # frames of a replica that say anything


def run_plain_md(
    molecule: Molecule, quads: Ints, start: Floats, seed: int, *, frames: int, deadline: Deadline
) -> tuple[Floats, float]:
    """Plain Langevin MD of several replicas from one structure (atoms, 3) in nm, with fewer frames at the deadline.

    Torsions (replicas, frames, torsions) in radians of each ps, and seconds of wall time.
    """
    begin, protocol = time.monotonic(), molecule.protocol
    starts = np.repeat(np.asarray(start, np.float64)[None], REPLICAS, axis=0)
    engine = replica_engine(molecule.system, starts, temperature=protocol.temperature, seed=seed)

    def move(duration: float) -> bool:
        def step(steps: int) -> None:
            engine.langevin(steps, timestep=protocol.timestep, friction=protocol.friction)

        return advance(step, round(duration / protocol.timestep), lambda: deadline.over)

    engine.minimize(200)
    engine.draw_velocities()
    found: list[Floats] = []
    ready = move(EQUILIBRATION)
    while ready and len(found) < frames and move(FRAME):
        found.append(torsions(engine.positions, quads).astype(np.float32))
    empty = np.zeros((REPLICAS, 0, len(quads)), np.float32)
    return np.swapaxes(np.array(found), 0, 1) if found else empty, time.monotonic() - begin


def frames_for(calls: int, tasks: int, timestep: float) -> int:
    """Frames of each replica that a tenth of the energies of the chains (`calls`) pay for; the time step is in ps."""
    steps = SHARE * calls / (tasks * REPLICAS)
    return max(_SHORTEST, int((steps * timestep - EQUILIBRATION) / FRAME))


@dataclass(frozen=True)
class Control:
    """Exact chains beside plain MD."""

    found: Populations  # populations of plain MD; its effective samples are those of `independent`
    time: float  # simulated by all replicas together, ps
    share: float  # of the energies that the chains evaluated
    by_energies: Floats  # effective samples of plain MD at the chains' number of energies, shape (wells,)
    by_wall: Floats  # the same at their wall time


def independent(angles: Floats, well: Well, share: float, effective: float) -> float:
    """Effective samples of a well in plain MD that began in one place; angles (replicas, frames, torsions) in radians.

    A replica that never leaves its well looks like a sample, and sixteen like sixteen. Each passage there and back is
    worth 1 / (2 p (1 - p)) samples of a two-state process with population p, the `share`; the estimate `effective` from
    correlations counts where it is lower.
    """
    inside = well.inside(angles).astype(np.int8)
    entries = np.count_nonzero(np.diff(inside, axis=1) == 1)
    return float(min(effective, entries / (2 * share * (1 - share)))) if 0 < share < 1 else float("nan")


def compare(
    chains: Populations, angles: Floats, wells: tuple[Well, ...], *, cost: dict[str, float], timestep: float
) -> Control:
    """Extrapolate the effective samples of plain MD in proportion to its length; angles as of `independent`.

    Cost has "calls" and "seconds" of the chains and "control seconds" of plain MD, as if one after another.
    """
    found = populations(angles, wells)
    pairs = zip(wells, chains.values, found.effective, strict=True)
    effective = np.array([independent(angles, well, p, n) for well, p, n in pairs])
    found = replace(found, effective=effective)
    replicas, frames = angles.shape[:2]
    steps = replicas * (frames * FRAME + EQUILIBRATION) / timestep
    by_energies, by_wall = cost["calls"] / steps, cost["seconds"] / cost["control seconds"]
    time = replicas * frames * FRAME
    return Control(found, time, 1 / by_energies, effective * by_energies, effective * by_wall)


def as_json(control: Control, chains: Populations) -> dict[str, object]:
    """Values for summary.json; "least" is of the state that is known worst, of those from 1 to 99 %."""
    rows = chains.counted.tolist()

    def least(values: Floats) -> dict[str, object]:
        if not rows:
            return {}
        worst = min(rows, key=lambda i: values[i])
        return {"state": chains.wells[worst].name, "effective_samples": float(values[worst])}

    return {
        "simulated_ps": control.time,
        "populations": {w.name: float(v) for w, v in zip(control.found.wells, control.found.values, strict=True)},
        "least_of_chains": least(chains.effective),
        "least_at_equal_energies": least(control.by_energies),
        "least_at_equal_wall_time": least(control.by_wall),
    }


STARTS = 128  # bursts of one task
LENGTH = 20.0  # of a burst, ps
INTERVAL = 0.2  # between its frames, ps
LAG = 2.0  # of the Markov model, ps: twice the memory of velocities at a friction of 1/ps
_TASKS = 2  # that run side by side
_TOGETHER = 32  # bursts of a task that are made at a time
_CELLS = 60
_RESAMPLES = 20


def run_bursts(molecule: Molecule, quads: Ints, starts: Floats, seed: int, deadline: Deadline) -> Floats:
    """Torsions (bursts, frames, torsions) in radians of bursts of plain MD from starts (bursts, atoms, 3) in nm.

    The starts come first, and nan from where a burst exploded. Bursts are made some at a time, and those that are not
    whole at the deadline are left out.
    """
    frames = round(LENGTH / INTERVAL) + 1
    whole = [np.zeros((0, frames, len(quads)), np.float32)]
    for first in range(0, len(starts), _TOGETHER):
        numbers = list(range(first, min(first + _TOGETHER, len(starts))))
        protocol, x = molecule.protocol, starts[numbers]
        engine = replica_engine(molecule.system, x, temperature=protocol.temperature, seed=seed, numbers=numbers)
        engine.constrain()
        engine.draw_velocities()
        found = [torsions(engine.positions, quads)]
        while len(found) < frames and not deadline.over:
            engine.langevin(round(INTERVAL / protocol.timestep), timestep=protocol.timestep, friction=protocol.friction)
            found.append(torsions(engine.positions, quads))
        if len(found) < frames:
            break
        whole.append(np.swapaxes(np.array(found, dtype=np.float32), 0, 1))
    return np.concatenate(whole)


@dataclass(frozen=True)
class Cells:
    """Cells of configuration space: nearest centres (cells, 2 columns) in the cosines and sines of some torsions."""

    columns: Ints
    centres: Floats

    @classmethod
    def of(cls, angles: Floats, columns: Ints, seed: int) -> Cells:
        """Put centres by k-means on some columns of torsions (frames, torsions) in radians."""
        points = _circles(angles, columns)
        number = min(_CELLS, len(np.unique(points, axis=0)))
        fitted = k_means(points, number, seed, sweeps=30, tolerance=1e-2, threads=1)
        return cls(columns, np.asarray(fitted.cluster_centers))

    def of_frames(self, angles: Floats) -> Ints:
        """Cell of each frame of torsions (..., torsions) in radians, shape (...); -1 where they are not finite."""
        points = _circles(angles, self.columns)
        finite = np.asarray(np.isfinite(points).all(axis=-1))
        nearest = cKDTree(self.centres).query(np.where(finite[..., None], points, 0.0))[1]
        return np.where(finite, nearest, -1)


def _circles(angles: Floats, columns: Ints) -> Floats:
    chosen = np.asarray(angles, dtype=np.float64)[..., columns]
    return np.concatenate([np.cos(chosen), np.sin(chosen)], axis=-1)


def pick_starts(cells: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Frames for `count` bursts, given the cell of each frame: half at random, half with every cell alike."""
    even = []
    for cell in rng.permutation(np.resize(np.unique(cells), count - count // 2)):
        even.append(rng.choice(np.flatnonzero(cells == cell)))
    return np.concatenate([rng.integers(len(cells), size=count // 2), np.array(even, dtype=np.int64)])


def passages(
    paths: Sequence[Ints], populations: Floats, inside: Bools, lag: int, interval: float, rng: np.random.Generator
) -> dict[str, list[float | None]]:
    """Mean first-passage times in ps into and out of a set of states with known populations, as JSON values.

    Paths hold the state of every frame of each burst, -1 for none; the lag is in frames, the interval in ps. Times are
    from equilibrium on the other side, with standard errors by resampling bursts (populations are taken as they are);
    "twice_the_lag" has both at twice the lag. None stands for what too few bursts cross.
    """

    def times(counts: Floats, lag: int) -> tuple[float, float]:
        return _both(counts, populations, inside, lag * interval)

    counts = transition_counts(paths, lag, len(populations))
    once = times(counts.sum(axis=0), lag)
    if not np.isfinite(once).all():
        return {name: [None, None] for name in ("into", "out", "twice_the_lag")}
    twice = times(transition_counts(paths, 2 * lag, len(populations)).sum(axis=0), 2 * lag)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=_RESAMPLES)
    draws = np.array([times(np.tensordot(w, counts, 1), lag) for w in weights])
    errors = np.nanstd(np.where(np.isfinite(draws), draws, np.nan), axis=0, ddof=1).tolist()
    later = [t if np.isfinite(t) else None for t in twice]
    return {"into": [once[0], errors[0]], "out": [once[1], errors[1]], "twice_the_lag": later}


def _both(counts: Floats, populations: Floats, inside: Bools, lag_time: float) -> tuple[float, float]:
    """Times into and out of a set, nan where the model does not hold states of both kinds."""
    model = fit_with_populations(counts, populations)
    within = inside[model.active]
    found = []
    for target in (np.flatnonzero(within), np.flatnonzero(~within)):
        others = np.setdiff1d(np.arange(len(within)), target)
        if not len(target) or not len(others):
            return float("nan"), float("nan")
        share = model.stationary[others]
        found.append(float(share @ model.passage_times(target, lag_time)[others] / share.sum()))
    return found[0], found[1]


def measure(
    run: ChainsRun, found: Populations, angles: Floats, positions: Floats, *, tasks: Scheduler, deadline: Deadline
) -> tuple[dict[str, object], int]:
    """Mean first-passage times of the wells that have to be known precisely, as JSON values, and the number of bursts.

    Angles (chains, frames, torsions) in radians and positions (chains, frames, atoms, 3) in nm are those of kept
    frames; beyond the deadline there are no more of them, and no more wells.
    """
    flat, rows = angles.reshape(-1, angles.shape[2]), found.counted.tolist()
    if not rows or deadline.over:
        return {}, 0
    cells = Cells.of(flat, np.unique([found.wells[i].turn.torsion for i in rows]), keyed_seed(run.seed, 0, REVIEW, 200))
    labels = cells.of_frames(flat)

    def make() -> dict[str, object]:
        run.report("bursts for rates")
        picked = pick_starts(labels, _TASKS * STARTS, keyed_rng(run.seed, 0, REVIEW, 201))
        starts = positions.reshape(-1, *positions.shape[2:])[picked].astype(np.float64)
        molecule = replace(run.molecule, protocol=replace(run.molecule.protocol, friction=FRICTION))
        recorded = recorded_torsions(molecule.topology, run.quads)
        seeds = [keyed_seed(run.seed, 0, REVIEW, 202 + task) for task in range(_TASKS)]
        parts = zip(np.array_split(starts, _TASKS), seeds, strict=True)
        work = [partial(run_bursts, molecule, recorded, part, seed, deadline=deadline) for part, seed in parts]
        return {"angles": np.concatenate(list(tasks.map(call, work)))}

    path = run.folder / CHAINS / f"bursts-{len(flat)}.npz"
    bursts = made_once(path, make, lambda made: len(made["angles"]) == _TASKS * STARTS)["angles"]
    if not len(bursts):
        return {}, 0
    visited = cells.of_frames(bursts)
    rng = keyed_rng(run.seed, 0, REVIEW, 210)
    values: dict[str, object] = {}
    for i in rows:
        if deadline.over:
            break
        well, count = found.wells[i], len(cells.centres)
        split = np.bincount(labels + count * well.inside(flat), minlength=2 * count) / len(flat)
        paths = np.where(visited < 0, -1, visited + count * well.inside(bursts))
        inside, lag = np.arange(2 * count) >= count, round(LAG / INTERVAL)
        values[well.name] = passages(list(paths), split, inside, lag=lag, interval=INTERVAL, rng=rng)
    return values, len(bursts)
