"""Writing trajectories whose file on disk always ends with a whole frame."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmd.io.atomic import OutputError, replacing


class FrameWriter:
    """Appends frames to an XTC file; after every call the file on disk ends with a whole frame.

    Args:
        path: file to make.
        box: periodic box vectors in nm, shape (3, 3); None for a molecule without a box.

    Attributes:
        frames: how many are in the file.
    """

    def __init__(self, path: str | Path, box: ArrayLike | None = None) -> None:
        from mdtraj.formats import XTCTrajectoryFile

        self.path = Path(path)
        self.frames = 0
        self._box = np.zeros((3, 3), dtype=np.float32) if box is None else np.asarray(box, dtype=np.float32)
        self._good = 0
        self._file = XTCTrajectoryFile(str(path), "w")

    def write(self, positions: NDArray[np.floating[Any]], times: ArrayLike) -> None:
        """Append frames.

        Args:
            positions: nm, shape (frames, atoms, 3).
            times: ps, shape (frames,).

        Raises:
            OutputError: the disk is full or the file cannot be written; it is cut back to its last whole frame.
            ValueError: positions that are not finite.
        """
        xyz = np.ascontiguousarray(positions, dtype=np.float32)
        if not np.all(np.isfinite(xyz)):
            raise ValueError(f"{self.path.name}: positions are not finite after {self.frames} frames; none was added")
        stamps = np.asarray(times, dtype=np.float32)
        numbers = np.arange(self.frames, self.frames + len(xyz), dtype=np.int32)
        try:
            self._file.write(xyz, time=stamps, step=numbers, box=np.repeat(self._box[None], len(xyz), axis=0))
            self._file.flush()
        except (OSError, RuntimeError) as error:
            self._cut()
            raise OutputError(
                f"{self.path}: writing failed after {self.frames} frames ({error}); is the disk full? "
                "The frames written so far are readable"
            ) from error
        self.frames += len(xyz)
        self._good = self.path.stat().st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut(self) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError):
            pass
        os.truncate(self.path, self._good)

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_xtc(path: Path, positions: NDArray[np.floating[Any]], times: ArrayLike) -> None:
    """Write an XTC file whole or not at all.

    Args:
        path: of the file.
        positions: nm, shape (frames, atoms, 3).
        times: ps, shape (frames,).

    Raises:
        OutputError: it cannot be written; an earlier file is as it was.
    """
    with replacing(path) as temporary, FrameWriter(temporary) as writer:
        writer.write(positions, times)
