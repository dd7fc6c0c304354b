"""How long a molecule takes into and out of its wells, once the populations are known.

Bursts of plain MD start from structures of the exact chains: half of them as they come, half spread evenly over cells.
Within its cell every start is distributed as at equilibrium, whichever cell was picked, so that no basin has to be
looked for and nothing has to be left out at the beginning of a burst. The populations of the cells come from the
chains, and the bursts only say how fast cells exchange (`latentmd.analysis.msm.fit_with_populations`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis.cells import k_means
from latentmd.analysis.msm import fit_with_populations, transition_counts
from latentmd.arrays import Bools, Floats, Ints
from latentmd.sampling.metropolis.folder import ChainsFolder
from latentmd.sampling.metropolis.wells import recorded_torsions
from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.seeds import REVIEW, keyed_rng, keyed_seed

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.populations import Populations
    from latentmd.sampling.metropolis.settings import ChainsRun
    from latentmd.sampling.run.scheduler import Scheduler
    from latentmd.systems.builder import Molecule

STARTS = 128  # bursts of one task
LENGTH = 20.0  # of a burst, ps
INTERVAL = 0.2  # between its frames, ps
LAG = 2.0  # of the Markov model, ps: twice the memory of velocities at a friction of 1/ps
FRICTION = 1.0  # 1/ps, as `latentmd md` has it
_TASKS = 2  # that run side by side
_TOGETHER = 32  # bursts of a task that are made at a time
_CELLS = 60
_RESAMPLES = 20


@dataclass(frozen=True)
class BurstTask:
    """Bursts of plain MD from starts (bursts, atoms, 3) in nm that record torsions, quads (torsions, 4)."""

    molecule: Molecule
    quads: Ints
    starts: Floats
    seed: int
    deadline: Deadline = field(default_factory=Deadline)


def run_bursts(task: BurstTask) -> Floats:
    """Torsions in radians, shape (bursts, frames, torsions), the starts first; nan from where a burst exploded.

    Bursts are made some at a time, and those that are not whole at the deadline are left out.
    """
    frames = round(LENGTH / INTERVAL) + 1
    whole = [np.zeros((0, frames, len(task.quads)), np.float32)]
    for first in range(0, len(task.starts), _TOGETHER):
        found = _bursts(task, first)
        if found.shape[1] < frames:
            break
        whole.append(found)
    return np.concatenate(whole)


def _bursts(task: BurstTask, first: int) -> Floats:
    """Some bursts from number `first` on, with fewer frames where the deadline came."""
    from latentmd.molecule.checks import torsions
    from latentmd.replicas.choice import replica_engine

    protocol = task.molecule.protocol
    starts = task.starts[first : first + _TOGETHER]
    numbers = list(range(first, first + len(starts)))
    engine = replica_engine(
        task.molecule.system, starts, temperature=protocol.temperature, seed=task.seed, numbers=numbers
    )
    engine.constrain()
    engine.draw_velocities()
    found = [torsions(engine.positions, task.quads)]
    for _ in range(round(LENGTH / INTERVAL)):
        if task.deadline.over:
            break
        engine.langevin(round(INTERVAL / protocol.timestep), timestep=protocol.timestep, friction=protocol.friction)
        found.append(torsions(engine.positions, task.quads))
    return np.swapaxes(np.array(found, dtype=np.float32), 0, 1)


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
        from scipy.spatial import cKDTree

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


@dataclass(frozen=True)
class Passages:
    """Mean first-passage times of a well, ps.

    Attributes:
        into, out: from equilibrium outside into it, and from equilibrium inside out of it.
        errors: standard errors of both, by resampling bursts; populations are taken as they are.
        doubled: both at twice the lag; nan where too few bursts connect the cells.
    """

    into: float
    out: float
    errors: tuple[float, float]
    doubled: tuple[float, float]


def passages(
    paths: Sequence[Ints], populations: Floats, inside: Bools, lag: int, interval: float, rng: np.random.Generator
) -> Passages | None:
    """Mean first-passage times into and out of a set of states with known populations; None where nothing crosses.

    Paths hold the state of every frame of each burst, -1 for none; the lag is in frames, the interval in ps.
    """
    counts = transition_counts(paths, lag, len(populations))
    once = _both(counts.sum(axis=0), populations, inside, lag * interval)
    if not np.isfinite(once).all():
        return None
    twice = _both(
        transition_counts(paths, 2 * lag, len(populations)).sum(axis=0), populations, inside, 2 * lag * interval
    )
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=_RESAMPLES)
    draws = np.array([_both(np.tensordot(w, counts, 1), populations, inside, lag * interval) for w in weights])
    errors = np.nanstd(np.where(np.isfinite(draws), draws, np.nan), axis=0, ddof=1)
    return Passages(once[0], once[1], (float(errors[0]), float(errors[1])), (twice[0], twice[1]))


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


def energies_of_bursts(timestep: float) -> float:
    """Energies that the bursts of one task take, with a time step in ps."""
    return STARTS * LENGTH / timestep


def measure(
    run: ChainsRun,
    found: Populations,
    angles: Floats,
    positions: Floats,
    *,
    folder: Path,
    tasks: Scheduler,
    deadline: Deadline,
) -> tuple[dict[str, Any], int]:
    """Mean first-passage times of the wells that have to be known precisely, as JSON values, and the number of bursts.

    Angles (chains, frames, torsions) in radians and positions (chains, frames, atoms, 3) in nm are those of kept
    frames; bursts are kept in the folder, and beyond the deadline there are no more of them, and no more wells.
    """
    flat, rows = angles.reshape(-1, angles.shape[2]), found.counted.tolist()
    if not rows or deadline.over:
        return {}, 0
    cells = Cells.of(flat, np.unique([found.wells[i].turn.torsion for i in rows]), keyed_seed(run.seed, 0, REVIEW, 200))
    labels = cells.of_frames(flat)

    def make() -> dict[str, Any]:
        run.report("bursts for rates")
        picked = pick_starts(labels, _TASKS * STARTS, keyed_rng(run.seed, 0, REVIEW, 201))
        starts = positions.reshape(-1, *positions.shape[2:])[picked].astype(np.float64)
        protocol = replace(run.molecule.protocol, friction=FRICTION)
        molecule = replace(run.molecule, protocol=protocol)
        recorded = recorded_torsions(molecule.topology, run.quads)
        work = [
            BurstTask(molecule, recorded, part, keyed_seed(run.seed, 0, REVIEW, 202 + task), deadline)
            for task, part in enumerate(np.array_split(starts, _TASKS))
        ]
        return {"angles": np.concatenate(list(tasks.map(run_bursts, work)))}

    bursts = ChainsFolder(folder.parent).made_once(
        f"{folder.name}/bursts-{len(flat)}.npz", make, lambda made: len(made["angles"]) == _TASKS * STARTS
    )["angles"]
    if not len(bursts):
        return {}, 0
    visited = cells.of_frames(bursts)
    rng, values = keyed_rng(run.seed, 0, REVIEW, 210), {}
    for i in rows:
        if deadline.over:
            break
        well, count = found.wells[i], len(cells.centres)
        split = np.bincount(labels + count * well.inside(flat), minlength=2 * count) / len(flat)
        paths = np.where(visited < 0, -1, visited + count * well.inside(bursts))
        inside = np.arange(2 * count) >= count
        both = passages(list(paths), split, inside, lag=round(LAG / INTERVAL), interval=INTERVAL, rng=rng)
        values[well.name] = _as_json(both)
    return values, len(bursts)


def _as_json(found: Passages | None) -> dict[str, Any]:
    if found is None:
        return {"into": [None, None], "out": [None, None], "twice_the_lag": [None, None]}
    twice = tuple(t if np.isfinite(t) else None for t in found.doubled)
    return {"into": [found.into, found.errors[0]], "out": [found.out, found.errors[1]], "twice_the_lag": list(twice)}
