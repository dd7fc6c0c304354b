"""Anti-aliased pictures of discs and rods, many frames at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmd.arrays import Floats

SIZE = 64  # pixels along a side

Single = NDArray[np.float32]


class Canvas:
    """Pictures [frames, 64, 64] of the square |x|, |y| ≤ half about a centre, y upwards. A pixel's value is the share
    of it that a shape covers, from the signed distance of its middle to the outline; of overlapping shapes the
    brightest shows.
    """

    def __init__(self, frames: int, centre: tuple[float, float], half: float) -> None:
        self.pixel = 2 * half / SIZE
        middles = (np.arange(SIZE) + 0.5) * self.pixel - half
        self.x = (centre[0] + middles).astype(np.float32)[None, None, :]
        self.y = (centre[1] - middles).astype(np.float32)[None, :, None]
        self.picture = np.zeros((frames, SIZE, SIZE), dtype=np.float32)

    def disc(self, position: Floats, radius: float, brightness: ArrayLike = 1.0) -> None:
        """Add a disc about each frame's position [frames, 2]; one brightness, or one for each frame [frames]."""
        dx, dy = self.x - _column(position[:, 0]), self.y - _column(position[:, 1])
        self._add(np.sqrt(dx * dx + dy * dy) - np.float32(radius), brightness)

    def rod(self, start: Floats, end: Floats, radius: float, brightness: float = 1.0) -> None:
        """Add a rod with round ends from `start` to `end`, both [frames, 2]."""
        ax, ay = _column(end[:, 0] - start[:, 0]), _column(end[:, 1] - start[:, 1])
        dx, dy = self.x - _column(start[:, 0]), self.y - _column(start[:, 1])
        along = np.clip((dx * ax + dy * ay) / np.maximum(ax * ax + ay * ay, 1e-12), 0, 1)
        dx, dy = dx - along * ax, dy - along * ay
        self._add(np.sqrt(dx * dx + dy * dy) - np.float32(radius), brightness)

    def _add(self, outside: Single, brightness: ArrayLike) -> None:
        covered = np.clip(0.5 - outside / np.float32(self.pixel), 0, 1)
        np.maximum(self.picture, covered * _column(np.atleast_1d(brightness)), out=self.picture)


def _column(values: Floats) -> Single:
    return values.astype(np.float32)[:, None, None]
