"""Writing trajectories whose file on disk always ends with a whole frame."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from mdtraj.formats import XTCTrajectoryFile
from numpy.typing import ArrayLike, NDArray

from latentmd.arrays import Floats
from latentmd.io.atomic import LEFTOVER, OutputError, replacing
from latentmd.io.formats import ascii_path

_PART = 1 << 24  # bytes copied at a time


class FrameWriter(AbstractContextManager["FrameWriter"]):
    """Appends frames to an XTC file; after every call the file on disk ends with a whole frame.

    An XTC file is its frames one after another. Frames are encoded in a hidden file beside it and then appended, since
    the library that encodes them can only begin a file. Of a file that is there the first `frames` in `size` bytes are
    kept; a process that still writes to the old file writes into nothing, since the kept frames become a new file.
    """

    def __init__(self, path: str | Path, box: ArrayLike | None = None, frames: int = 0, size: int = 0) -> None:
        self.path = Path(path)
        self.frames, self.size = frames, size
        self._box = np.zeros((3, 3), dtype=np.float32) if box is None else np.asarray(box, dtype=np.float32)
        self._block = self.path.with_name(f".{self.path.stem}.block{LEFTOVER}{os.getpid()}.xtc")
        with replacing(self.path) as kept, kept.open("wb") as file:
            if size:
                _copy_head(self.path, file, size)
        self._file = self.path.open("ab", buffering=0)

    def write(self, positions: Floats, times: ArrayLike, box: ArrayLike | None = None) -> None:
        """Append frames [frames, atoms, 3] in nm at times in ps, in their own `box` [3, 3] where given.

        OutputError where the disk is full: the file is then cut back to its last whole frame.
        """
        xyz = np.ascontiguousarray(positions, dtype=np.float32)
        if not np.all(np.isfinite(xyz)):
            raise ValueError(f"{self.path.name}: positions are not finite after {self.frames} frames; none was added")
        try:
            data = self._encoded(xyz, np.asarray(times, np.float32), np.asarray(self._box if box is None else box))
            while data:
                data = data[self._file.write(data) or 0 :]
        except (OSError, RuntimeError) as error:
            self._file.truncate(self.size)
            self._file.close()
            raise OutputError(
                f"{self.path}: writing failed after {self.frames} frames ({error}); is the disk full? "
                "The frames written so far are readable"
            ) from error
        self.frames += len(xyz)
        self.size = self._file.tell()

    def _encoded(self, xyz: NDArray[np.float32], times: NDArray[np.float32], box: Floats) -> memoryview:
        boxes = np.repeat(box[None].astype(np.float32), len(xyz), axis=0)
        numbers = np.arange(self.frames, self.frames + len(xyz), dtype=np.int32)
        try:
            with ascii_path(self._block) as name, XTCTrajectoryFile(name, "w") as block:
                block.write(xyz, time=times, step=numbers, box=boxes)
            return memoryview(self._block.read_bytes())
        finally:
            self._block.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _copy_head(source: Path, target: BinaryIO, size: int) -> None:
    """Copy the first bytes of a file; OutputError where it is shorter."""
    with source.open("rb") as file:
        while size and (part := file.read(min(size, _PART))):
            target.write(part)
            size -= len(part)
    if size:
        raise OutputError(f"{source} is {size} bytes shorter than it was; start the run anew with --overwrite")


def write_xtc(path: Path, positions: Floats, times: ArrayLike) -> None:
    """Write frames [frames, atoms, 3] in nm at times in ps as an XTC file, whole or not at all."""
    with replacing(path) as temporary, FrameWriter(temporary) as writer:
        writer.write(positions, times)
