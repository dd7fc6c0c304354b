"""Plain MD at a tenth of the cost of exact chains: what the same time would have bought without them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.metropolis.populations import Populations, populations
from latentmd.sampling.metropolis.wells import Well

if TYPE_CHECKING:
    from latentmd.arrays import Ints
    from latentmd.systems.builder import Molecule

SHARE = 0.1  # of the energies that the chains evaluated
REPLICAS = 16  # of one task: a block of the replica engine
FRAME = 1.0  # ps between frames
FRICTION = 1.0  # of the thermostat, 1/ps, as `latentmd md` has it
EQUILIBRATION = 10.0  # ps that are left out
_SHORTEST = 20  # frames of a replica


@dataclass(frozen=True)
class PlainMD:
    """Task: plain Langevin MD of several replicas from one structure, decided by these values alone.

    Attributes:
        molecule: with temperature, friction and time step.
        quads: torsions to record, shape (torsions, 4).
        start: nm, shape (atoms, 3).
        frames: of each replica, 1 ps apart.
        seed: of all random numbers.
    """

    molecule: Molecule
    quads: Ints
    start: Floats
    frames: int
    seed: int


def run_plain_md(task: PlainMD) -> tuple[Floats, float]:
    """Torsions (replicas, frames, torsions) in radians, and seconds of wall time."""
    from latentmd.molecule.checks import torsions
    from latentmd.replicas.choice import replica_engine

    begin, protocol = time.monotonic(), task.molecule.protocol
    start = np.repeat(np.asarray(task.start, np.float64)[None], REPLICAS, axis=0)
    engine = replica_engine(task.molecule.system, start, temperature=protocol.temperature, seed=task.seed)
    scheme = {"timestep": protocol.timestep, "friction": protocol.friction}
    engine.minimize(200)
    engine.draw_velocities()
    engine.langevin(round(EQUILIBRATION / protocol.timestep), **scheme)
    found = []
    for _ in range(task.frames):
        engine.langevin(round(FRAME / protocol.timestep), **scheme)
        found.append(torsions(engine.positions, task.quads).astype(np.float32))
    return np.swapaxes(np.array(found), 0, 1), time.monotonic() - begin


def frames_for(calls: int, tasks: int, timestep: float) -> int:
    """Frames of each replica that a tenth of `calls` energies pay for.

    Args:
        calls: energies that the chains evaluated.
        tasks: of plain MD side by side.
        timestep: ps.
    """
    steps = SHARE * calls / (tasks * REPLICAS)
    return max(_SHORTEST, int((steps * timestep - EQUILIBRATION) / FRAME))


@dataclass(frozen=True)
class Control:
    """Exact chains beside plain MD.

    Attributes:
        found: populations of plain MD.
        time: simulated by all replicas together, ps.
        by_energies: effective samples of chains over those of plain MD at equal numbers of energies, shape (wells,);
            infinite where plain MD never left or never entered a well.
        by_wall: the same at equal wall time.
    """

    found: Populations
    time: float
    by_energies: Floats
    by_wall: Floats


def compare(
    chains: Populations, angles: Floats, wells: tuple[Well, ...], *, cost: dict[str, float], timestep: float
) -> Control:
    """Compare effective samples, those of plain MD in proportion to its length.

    A run that began in one well and has hardly left it looks as if it had many samples; wells that it did not visit, or
    did not leave, therefore count as none.

    Args:
        chains: populations of exact chains.
        angles: of plain MD, radians, shape (replicas, frames, torsions).
        wells: that were counted.
        cost: "calls" and "seconds" of the chains, and "control seconds" of plain MD; seconds as if one after another.
        timestep: of plain MD, ps.
    """
    found = populations(angles, wells)
    replicas, frames = angles.shape[:2]
    steps = replicas * (frames * FRAME + EQUILIBRATION) / timestep
    seen = (found.values > 0) & (found.values < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(seen, chains.effective / np.maximum(found.effective, 1.0), np.inf)
    gain = np.where((chains.values > 0) & (chains.values < 1), gain, np.nan)
    return Control(
        found, replicas * frames * FRAME, gain * steps / cost["calls"], gain * cost["control seconds"] / cost["seconds"]
    )


def as_json(control: Control, chains: Populations) -> dict[str, Any]:
    """Values for summary.json; the gains are those of the wells that have to be known precisely."""
    rows = chains.counted.tolist()

    def spread(values: Floats) -> dict[str, float | None]:
        finite = values[rows][np.isfinite(values[rows])]
        return {"least": float(finite.min()), "median": float(np.median(finite))} if len(finite) else {}

    return {
        "simulated_ps": control.time,
        "populations": {w.name: float(v) for w, v in zip(control.found.wells, control.found.values, strict=True)},
        "never_visited": [
            w.name for i, w in enumerate(chains.wells) if i in rows and control.found.values[i] in (0, 1)
        ],
        "gain_at_equal_energies": spread(control.by_energies),
        "gain_at_equal_wall_time": spread(control.by_wall),
    }
