"""Files of the segments of Metropolis chains: one npz file per segment and chain, written whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats
from latentmd.io.atomic import write_npz
from latentmd.sampling.hybrid.store import read_arrays
from latentmd.sampling.metropolis.chain import Piece
from latentmd.sampling.metropolis.populations import Samples


@dataclass(frozen=True)
class SegmentFiles:
    """Segments of all chains in a folder.

    Attributes:
        folder: of the files.
        chains: number of chains.
    """

    folder: Path
    chains: int

    def path(self, number: int, chain: int) -> Path:
        """File of segment `number` of a chain."""
        return self.folder / f"segment-{number:04d}-{chain}.npz"

    def complete(self, number: int) -> bool:
        """Whether segment `number` of every chain is there."""
        return all(self.path(number, chain).exists() for chain in range(self.chains))

    def write(self, number: int, chain: int, piece: Piece, angles: Floats) -> None:
        """Write a segment.

        Args:
            number: of the segment.
            chain: that it belongs to.
            piece: its samples.
            angles: torsions in radians, shape (sweeps, torsions).
        """
        arrays = {
            "positions": piece.positions.astype(np.float32),
            "energies": piece.energies,
            "angles": angles,
            "end": piece.positions[-1],
            "accepted": np.array(piece.accepted),
        }
        write_npz(self.path(number, chain), arrays)

    def end(self, number: int, chain: int) -> Floats:
        """Last positions of a segment in nm, shape (atoms, 3)."""
        return read_arrays(self.path(number, chain))["end"]

    def read(self, number: int, name: str) -> NDArray[Any]:
        """An array of all chains, shape (chains, ...), without the first of `number` segments of each."""

        def array(chain: int, segment: int) -> NDArray[Any]:
            with np.load(self.path(segment, chain), allow_pickle=False) as file:
                return np.asarray(file[name])

        return np.array([np.concatenate([array(chain, n) for n in range(1, number)]) for chain in range(self.chains)])

    def samples(self, number: int) -> Samples:
        """Samples of `number` segments of every chain."""
        energies, angles, accepted = (self.read(number, name) for name in ("energies", "angles", "accepted"))
        return Samples(energies, angles, (int(accepted[:, 0::2].sum()), int(accepted[:, 1::2].sum())))
