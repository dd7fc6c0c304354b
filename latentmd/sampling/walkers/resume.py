"""States of walkers in files, so that a run that was stopped or killed goes on as if it had not been.

The process that writes provenance.csv also writes these files, after the lines of the frames that they cover; the
frames were in the trajectory before. So whatever kills a run, frames and lines up to the last kept state are there,
and what comes after them is dropped and simulated again. It comes out the same, since every job draws the noise that
follows a kept state from a seed that belongs to the frame it is at.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.io.atomic import OutputError, write_npz
from latentmd.sampling.run.preparation import Prepared

_PAUSE = 0.5  # seconds of wall time between kept states of a process


#: Arrays by name.
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class State:
    """State of a group of walkers that are simulated together. Picklable.

    Attributes:
        walkers: their numbers.
        frames: of each, all alike.
        sizes: length of each trajectory file in bytes.
        arrays: what the job needs to go on, by name.
        counts: of what happened so far, by name.
    """

    walkers: tuple[int, ...]
    frames: int
    sizes: tuple[int, ...]
    arrays: Arrays
    counts: dict[str, int] = field(default_factory=dict)

    def size(self, walker: int) -> int:
        """Length of the trajectory file of a walker in bytes."""
        return self.sizes[self.walkers.index(walker)]


#: States by the number of the first walker of their group.
States = dict[int, State]


class Pacer:
    """Says when a state is to be kept: not more often than twice a second."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether enough time has passed since it last said so."""
        if time.monotonic() - self._last < _PAUSE:
            return False
        self._last = time.monotonic()
        return True


class StateFiles:
    """Files of states in the folder of a run, each written whole or not at all; OutputError where that cannot be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, state: State) -> None:
        """Keep a state in place of the earlier one of its group."""
        self.folder.mkdir(exist_ok=True)
        write_npz(
            self.folder / f"walker-{state.walkers[0]:04d}.npz",
            {
                "walkers": state.walkers,
                "frames": state.frames,
                "sizes": state.sizes,
                **{f"array {name}": value for name, value in state.arrays.items()},
                **{f"count {name}": value for name, value in state.counts.items()},
            },
        )

    def read(self) -> States:
        """All states that are there, by the first walker of their group."""
        states = (_state(_read(path)) for path in sorted(self.folder.glob("walker-*.npz")))
        return {state.walkers[0]: state for state in states}

    def same_preparation(self, prepared: Prepared) -> Prepared:
        """Platform, threads and minimised structure of the first session of a run, which the first call keeps."""
        path = self.folder / "prepared.npz"
        if not path.exists():
            self.folder.mkdir(exist_ok=True)
            kept = {"platform": prepared.platform, "threads": prepared.threads, "reference": prepared.reference}
            write_npz(path, kept)
            return prepared
        found = _read(path)
        return replace(
            prepared, platform=str(found["platform"]), threads=int(found["threads"]), reference=found["reference"]
        )


def _state(found: Mapping[str, NDArray[Any]]) -> State:
    def named(kind: str) -> Arrays:
        return {name.removeprefix(kind): value for name, value in found.items() if name.startswith(kind)}

    counts = {name: int(value) for name, value in named("count ").items()}
    walkers, sizes = tuple(found["walkers"].tolist()), tuple(found["sizes"].tolist())
    return State(walkers, int(found["frames"]), sizes, named("array "), counts)


def _read(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(f"{path} cannot be read ({error}); start the run anew with --overwrite") from error


def unfinished(groups: Sequence[tuple[int, ...]], states: States, frames: int) -> list[tuple[int, ...]]:
    """Groups of walkers that have not reached their last frame."""
    return [group for group in groups if group[0] not in states or states[group[0]].frames < frames]
