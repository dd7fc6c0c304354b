"""Plain MD at a tenth of the cost of exact chains: what the same time would have bought without them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.metropolis.populations import Populations, populations
from latentmd.sampling.metropolis.wells import Well
from latentmd.sampling.run.clock import Deadline
from latentmd.systems.dynamics import advance

if TYPE_CHECKING:
    from latentmd.arrays import Ints
    from latentmd.systems.builder import Molecule

SHARE = 0.1  # of the energies that the chains evaluated
REPLICAS = 16  # of one task: a block of the replica engine
FRAME = 1.0  # ps between frames
FRICTION = 1.0  # of the thermostat, 1/ps, as `latentmd md` has it
EQUILIBRATION = 10.0  # ps that are left out
_SHORTEST = 20  # frames of a replica that are asked for
FEWEST = 5  # frames of a replica that say anything


@dataclass(frozen=True)
class PlainMD:
    """Task: plain Langevin MD of several replicas from one structure, decided by these values alone.

    Attributes:
        quads: torsions to record, shape (torsions, 4).
        start: nm, shape (atoms, 3).
        frames: of each replica, 1 ps apart; fewer at the deadline.
    """

    molecule: Molecule
    quads: Ints
    start: Floats
    frames: int
    seed: int
    deadline: Deadline = field(default_factory=Deadline)


def run_plain_md(task: PlainMD) -> tuple[Floats, float]:
    """Torsions (replicas, frames, torsions) in radians, and seconds of wall time; no frames where there was no time."""
    from latentmd.molecule.checks import torsions
    from latentmd.replicas.choice import replica_engine

    begin, protocol = time.monotonic(), task.molecule.protocol
    start = np.repeat(np.asarray(task.start, np.float64)[None], REPLICAS, axis=0)
    engine = replica_engine(task.molecule.system, start, temperature=protocol.temperature, seed=task.seed)

    def move(duration: float) -> bool:
        def step(steps: int) -> None:
            engine.langevin(steps, timestep=protocol.timestep, friction=protocol.friction)

        return advance(step, round(duration / protocol.timestep), lambda: task.deadline.over)

    engine.minimize(200)
    engine.draw_velocities()
    found: list[Floats] = []
    ready = move(EQUILIBRATION)
    while ready and len(found) < task.frames and move(FRAME):
        found.append(torsions(engine.positions, task.quads).astype(np.float32))
    empty = np.zeros((REPLICAS, 0, len(task.quads)), np.float32)
    return np.swapaxes(np.array(found), 0, 1) if found else empty, time.monotonic() - begin


def frames_for(calls: int, tasks: int, timestep: float) -> int:
    """Frames of each replica that a tenth of the energies of the chains (`calls`) pay for; the time step is in ps."""
    steps = SHARE * calls / (tasks * REPLICAS)
    return max(_SHORTEST, int((steps * timestep - EQUILIBRATION) / FRAME))


@dataclass(frozen=True)
class Control:
    """Exact chains beside plain MD.

    Attributes:
        found: populations of plain MD; its effective samples are those of `independent`.
        time: simulated by all replicas together, ps.
        share: of the energies that the chains evaluated.
        by_energies, by_wall: effective samples of plain MD at the chains' number of energies and wall time, (wells,).
    """

    found: Populations
    time: float
    share: float
    by_energies: Floats
    by_wall: Floats


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


def as_json(control: Control, chains: Populations) -> dict[str, Any]:
    """Values for summary.json; "least" is of the state that is known worst, of those from 1 to 99 %."""
    rows = chains.counted.tolist()

    def least(values: Floats) -> dict[str, Any]:
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
