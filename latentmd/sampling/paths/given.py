"""The trajectory that `upsample` and `inpaint` fill in: read, checked, and refused where it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.arrays import Doubles, Floats
from latentmd.io.trajectory import TrajectoryReader
from latentmd.molecule.checks import StructureTemplate, bond_lengths
from latentmd.units import format_time

_CUT = 2.0  # bond length over that of the model's molecule at which a molecule is in pieces
_SAME_INTERVAL = 1e-3  # relative
_BLOCK = 5000  # frames checked at once


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


def read_given(path: Path, topology: Any, interval: float | None, template: StructureTemplate) -> Given:
    """Read a trajectory of a molecule.

    Args:
        path: of the file.
        topology: of the molecule, OpenMM or mdtraj.
        interval: ps between frames, for formats without times.
        template: bonds of the molecule.

    Raises:
        TrajectoryError: the file cannot be read, or holds other atoms.
        ValueError: fewer than two frames, another interval than that of the file's times, or a molecule that a
            periodic box cut.
    """
    reader = TrajectoryReader(path, topology, interval=interval)
    spacing = reader.interval
    if interval is not None and abs(spacing - interval) > _SAME_INTERVAL * interval:
        raise ValueError(
            f"--interval is {format_time(interval)}, but {path} has its own times, a frame every "
            f"{format_time(spacing)}: leave the option out"
        )
    blocks = list(reader)
    positions = np.concatenate([block.positions for block in blocks])
    if len(positions) < 2:
        raise ValueError(f"{path} has {len(positions)} frame; expected two or more")
    times = np.concatenate([block.times for block in blocks])
    _refuse_cut(path, positions, template)
    return Given(path, positions, times[0] + spacing * np.arange(len(times)))


def _refuse_cut(path: Path, positions: Floats, template: StructureTemplate) -> None:
    """Refuse frames in which a bond spans a periodic box."""
    for first in range(0, len(positions), _BLOCK):
        lengths = bond_lengths(positions[first : first + _BLOCK], template.bonds)
        worst = (lengths / template.bond_mean).max(axis=1)
        if worst.max() > _CUT:
            frame = int(np.argmax(worst > _CUT))
            raise ValueError(
                f"frame {first + frame} of {path} has a bond of {lengths[frame].max():.2f} nm: the trajectory jumps "
                "across a periodic box without storing it; make molecules whole first, for example with mdtraj's "
                "make_molecules_whole or `gmx trjconv -pbc whole`"
            )
