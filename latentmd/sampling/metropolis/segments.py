"""Files of the segments of exact chains: one npz file per segment and task, written whole or not at all."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats
from latentmd.io.atomic import write_npz
from latentmd.sampling.errors import RunError
from latentmd.sampling.metropolis.ladders import Piece
from latentmd.sampling.metropolis.tempering import Counts

_DISCARD = 5  # one segment in so many is left out at the beginning, at least one


@dataclass(frozen=True)
class SegmentFiles:
    """Segments of all tasks in a folder.

    Attributes:
        folder: of the files.
        tasks: number of tasks, each with several chains.
    """

    folder: Path
    tasks: int

    def path(self, number: int, task: int) -> Path:
        """File of segment `number` of a task."""
        return self.folder / f"segment-{number:04d}-{task}.npz"

    def complete(self, number: int) -> bool:
        """Whether segment `number` of every task is there."""
        return all(self.path(number, task).exists() for task in range(self.tasks))

    def write(self, number: int, task: int, piece: Piece) -> None:
        """Write a segment.

        Args:
            number: of the segment.
            task: that made it.
            piece: what it left.
        """
        arrays = {
            "positions": np.swapaxes(piece.positions, 0, 1),
            "energies": np.swapaxes(piece.energies, 0, 1),
            "angles": np.swapaxes(piece.cold, 0, 1),
            "end": piece.end,
            "counts": np.array(json.dumps(vars(piece.counts))),
            "calls": np.array(piece.calls),
        }
        write_npz(self.path(number, task), arrays)

    def end(self, number: int, task: int) -> Floats:
        """Last positions of all replicas of a task in nm, shape (replicas, atoms, 3)."""
        return self._array(number, task, "end")

    def skipped(self, number: int) -> int:
        """How many of `number` segments are left out at the beginning."""
        return max(1, number // _DISCARD)

    def read(self, number: int, name: str) -> NDArray[Any]:
        """An array of all chains, shape (chains, ...), without the first of `number` segments."""
        first = self.skipped(number)
        tasks = [
            np.concatenate([self._array(n, task, name) for n in range(first, number)], axis=1)
            for task in range(self.tasks)
        ]
        return np.concatenate(tasks)

    def counts(self, number: int) -> tuple[Counts, int]:
        """Counts of moves and energies evaluated in all of `number` segments."""
        total, calls = Counts(), 0
        for n in range(number):
            for task in range(self.tasks):
                found = json.loads(str(self._array(n, task, "counts")))
                total.update(Counts(**{name: Counter(values) for name, values in found.items()}))
                calls += int(self._array(n, task, "calls"))
        return total, calls

    def _array(self, number: int, task: int, name: str) -> NDArray[Any]:
        path = self.path(number, task)
        try:
            with np.load(path, allow_pickle=False) as file:
                return np.asarray(file[name])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{path} cannot be read ({error}); delete it and all later segments, and resume") from error
