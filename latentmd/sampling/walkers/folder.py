"""Files of a run of walkers, and states of walkers, so that one that was stopped or killed goes on as if it had not.

request.json         what the run was asked for
topology.pdb         the molecule as simulated
system.xml           its OpenMM System, where it came with its own force field
walker-0000.xtc      frames of a walker
provenance.csv       a line per frame
model.pt             the model bound to the molecule, where it is one of many molecules
state/               where each walker is, for --resume
summary.json, report.png, evaluation.html

The process that writes provenance.csv also writes the states, after the lines of the frames that they cover; the
frames were in the trajectory before. So whatever kills a run, frames and lines up to the last kept state are there,
and what comes after them is dropped and simulated again. It comes out the same, since every job draws the noise that
follows a kept state from a seed that belongs to the frame it is at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from latentmd.io.atomic import write_npz
from latentmd.io.folder import RunFiles
from latentmd.sampling.models import BOUND
from latentmd.sampling.run.preparation import Arrays, Prepared, made_once, read_arrays
from latentmd.systems.protocol import SYSTEM_FILE

TOPOLOGY, PROVENANCE, SUMMARY, STATE = "topology.pdb", "provenance.csv", "summary.json", "state"
REPORT, PAGE = "report.png", "evaluation.html"
WALKERS = RunFiles(
    "walkers", (TOPOLOGY, SYSTEM_FILE, PROVENANCE, SUMMARY, REPORT, PAGE, "walker-*.xtc", "state-*.pdb", BOUND, STATE)
)
PAUSE = 0.5  # seconds of wall time between kept states of a process


def trajectory_path(folder: Path, walker: int) -> Path:
    """Trajectory file of a walker in a folder."""
    return folder / f"walker-{walker:04d}.xtc"


@dataclass(frozen=True)
class State:
    """Where a group of walkers that are simulated together is, after so many frames of each. Picklable.

    Sizes are those of the trajectory files in bytes; the arrays are what the job needs to go on.
    """

    walkers: tuple[int, ...]
    frames: int
    sizes: tuple[int, ...]
    arrays: Arrays
    counts: dict[str, int] = field(default_factory=dict)


#: States by the number of the first walker of their group.
States = dict[int, State]


def write_state(folder: Path, state: State) -> None:
    """Keep a state in the folder of a run in place of the earlier one of its group, whole or not at all."""
    arrays = {f"array {name}": value for name, value in state.arrays.items()}
    counts = {f"count {name}": value for name, value in state.counts.items()}
    shared = {"walkers": state.walkers, "frames": state.frames, "sizes": state.sizes}
    (folder / STATE).mkdir(exist_ok=True)
    write_npz(folder / STATE / f"walker-{state.walkers[0]:04d}.npz", {**shared, **arrays, **counts})


def read_states(folder: Path) -> States:
    """All states in the folder of a run; OutputError where one cannot be read."""
    states = {}
    for path in sorted((folder / STATE).glob("walker-*.npz")):
        found = read_arrays(path)
        arrays = {name.removeprefix("array "): found[name] for name in found if name.startswith("array ")}
        counts = {name.removeprefix("count "): int(found[name]) for name in found if name.startswith("count ")}
        walkers, sizes = tuple(found["walkers"].tolist()), tuple(found["sizes"].tolist())
        states[walkers[0]] = State(walkers, int(found["frames"]), sizes, arrays, counts)
    return states


def same_preparation(folder: Path, prepared: Prepared) -> Prepared:
    """Platform, threads and minimised structure of the first session of a run, which the first call keeps."""
    names = ("platform", "threads", "reference")
    found = made_once(folder / STATE / "prepared.npz", lambda: {name: getattr(prepared, name) for name in names})
    platform, threads, reference = (found[name] for name in names)
    return replace(prepared, platform=str(platform), threads=int(threads), reference=reference)


def unfinished(groups: Sequence[tuple[int, ...]], states: States, frames: int) -> list[tuple[int, ...]]:
    """Groups of walkers that have not reached their last frame."""
    return [group for group in groups if group[0] not in states or states[group[0]].frames < frames]
