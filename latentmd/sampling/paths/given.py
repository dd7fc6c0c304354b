"""The trajectory that `upsample` and `inpaint` fill in: read, checked, and refused where it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.arrays import Doubles, Floats
from latentmd.io.trajectory import TrajectoryReader


@dataclass(frozen=True)
class Given:
    """A trajectory.

    Attributes:
        path: of the file.
        positions: nm, shape (frames, atoms, 3).
        times: ps, shape (frames,).
    """

    path: Path
    positions: Floats
    times: Doubles

    @property
    def interval(self) -> float:
        """Time between frames, ps."""
        return float((self.times[-1] - self.times[0]) / (len(self.times) - 1))


def read_given(path: Path, topology: Any, interval: float | None) -> Given:
    """Read a trajectory of a molecule.

    Args:
        path: of the file.
        topology: of the molecule, OpenMM or mdtraj.
        interval: ps between frames, for formats without times.

    Raises:
        TrajectoryError: the file cannot be read, holds other atoms or a molecule that a periodic box cut, or has
            times of another interval.
        ValueError: fewer than two frames.
    """
    reader = TrajectoryReader(path, topology, interval=interval)
    spacing = reader.interval
    blocks = list(reader)
    positions = np.concatenate([block.positions for block in blocks])
    if len(positions) < 2:
        raise ValueError(f"{path} has {len(positions)} frame; expected two or more")
    times = np.concatenate([block.times for block in blocks])
    return Given(path, positions, times[0] + spacing * np.arange(len(times)))
