"""Output folder of exact chains.

request.json         what the run was asked for
topology.pdb         the molecule as simulated
system.xml           its OpenMM System, where it came with its own force field
molecule.npz         minimised positions
metropolis/          pilot and segments of the chains, plain MD beside them, bursts for rates
metropolised.xtc     frames of the chains, which weigh the same
metropolised.npz     their chains, energies and torsions
conformers.sdf       structure and population of each conformer of a small molecule
summary.json, free_energy.html
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats
from latentmd.io.atomic import write_npz
from latentmd.io.folder import RunFiles
from latentmd.sampling.metropolis.ladders import THIN, Piece
from latentmd.sampling.metropolis.tempering import Counts
from latentmd.systems.protocol import SYSTEM_FILE

SWEEPS = 100  # of a segment at most, and those that are left out at the beginning of a short run
_DISCARD = 5  # of a long run, one part in so many is left out at the beginning


@dataclass(frozen=True)
class SegmentFiles:
    """Segments of all tasks in a folder; how many sweeps one has depends on the wall time that there was."""

    folder: Path
    tasks: int
    _sweeps: dict[Path, int] = field(default_factory=dict, repr=False, compare=False)

    def paths(self, task: int) -> list[Path]:
        """Files of a task, in the order of time."""
        return sorted(self.folder.glob(f"segment-*-{task}.npz"))

    def sweeps(self, task: int) -> int:
        """Sweeps of a task."""
        for path in self.paths(task):
            if path not in self._sweeps:
                self._sweeps[path] = _array(path, "energies").shape[1]
        return sum(self._sweeps[path] for path in self.paths(task))

    @property
    def least(self) -> int:
        """Sweeps that every task has."""
        return min(self.sweeps(task) for task in range(self.tasks))

    def write(self, task: int, piece: Piece) -> None:
        """Write the next segment of a task."""
        kept = {"positions": piece.positions, "energies": piece.energies, "angles": piece.cold}
        arrays: dict[str, object] = {name: np.swapaxes(values, 0, 1) for name, values in kept.items()}
        arrays |= {"end": piece.end, "counts": json.dumps(vars(piece.counts)), "calls": piece.calls}
        write_npz(self.folder / f"segment-{len(self.paths(task)):05d}-{task}.npz", arrays)

    def end(self, task: int) -> Floats | None:
        """Last positions of all replicas of a task in nm, shape (replicas, atoms, 3); None of a task without any."""
        paths = self.paths(task)
        return _array(paths[-1], "end") if paths else None

    def read(self, sweeps: int, name: str) -> Floats:
        """An array of all chains, shape (chains, ...), of the first so many sweeps without the beginning.

        Names are "positions", which are kept every few sweeps, "energies" and "angles".
        """
        thin = THIN if name == "positions" else 1
        part = slice(skipped(sweeps) // thin, sweeps // thin)
        tasks = [np.concatenate([_array(path, name) for path in self.paths(t)], axis=1) for t in range(self.tasks)]
        return np.concatenate([values[:, part] for values in tasks])

    def counts(self) -> tuple[Counts, int]:
        """Counts of moves, and energies that were evaluated, in all segments."""
        total, calls = Counts(), 0
        for path in (path for task in range(self.tasks) for path in self.paths(task)):
            found = json.loads(str(_array(path, "counts")))
            total.update(Counts(**{name: Counter(values) for name, values in found.items()}))
            calls += int(_array(path, "calls"))
        return total, calls


def skipped(sweeps: int) -> int:
    """How many of so many sweeps are left out at the beginning: a fifth, of short runs 100 or half of them."""
    return max(min(SWEEPS, sweeps // (2 * THIN) * THIN), sweeps // (_DISCARD * SWEEPS) * SWEEPS)


def _array(path: Path, name: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file[name])


TOPOLOGY, PAGE, SUMMARY, CHAINS = "topology.pdb", "free_energy.html", "summary.json", "metropolis"
FRAMES, ARRAYS, CONFORMERS = "metropolised.xtc", "metropolised.npz", "conformers.sdf"
FILES = RunFiles("chains", (CHAINS, TOPOLOGY, SYSTEM_FILE, "molecule.npz", PAGE, SUMMARY, FRAMES, ARRAYS, CONFORMERS))
