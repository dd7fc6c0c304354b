"""Trajectories that are given, and windows of them that a masked trajectory model fills in at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Doubles, Floats
from latentmd.io.trajectory import TrajectoryReader
from latentmd.model.paths import PathSampler

_AT_ONCE = 64  # windows sampled together


@dataclass(frozen=True)
class Window:
    """Intervals between known frames that are drawn together.

    Attributes:
        keep: first and last + 1 of those that are kept; the others lend the kept ones what lies around them.
    """

    first: int
    intervals: int
    keep: tuple[int, int]


def windows(known: int, most: int) -> list[Window]:
    """Windows of at most `most` intervals that keep each interval between known frames (two at least) once.

    Where a window spans three intervals or more, its outermost ones are drawn again by its neighbours.

    Example:
        >>> [(w.first, w.intervals, w.keep) for w in windows(6, 3)]
        [(0, 3, (0, 2)), (1, 3, (2, 3)), (2, 3, (3, 5))]
    """
    total = known - 1
    span = min(most, total)
    edge = 1 if span >= 3 else 0
    result, done = [], 0
    while done < total:
        first = max(0, min(done - edge, total - span))
        stop = total if first + span == total else first + span - edge
        result.append(Window(first, span, (done, stop)))
        done = stop
    return result


def fill_windows(model: PathSampler, known: Tensor, stride: int, every: float, generator: torch.Generator) -> Tensor:
    """Slow axes [(frames − 1) · stride + 1, tokens, k] with frames, `every` ps apart, drawn between the known ones
    [frames, tokens, k], which stay as they were.
    """
    total = (len(known) - 1) * stride + 1
    result = torch.empty(total, *known.shape[1:])
    result[::stride] = known
    plan = windows(len(known), (model.window - 1) // stride)
    for at in range(0, len(plan), _AT_ONCE):
        group = plan[at : at + _AT_ONCE]
        frames = group[0].intervals * stride + 1
        values = torch.zeros(len(group), frames, *known.shape[1:])
        for row, window in zip(values, group, strict=True):
            row[::stride] = known[window.first : window.first + window.intervals + 1]
        mask = torch.zeros(values.shape[:3], dtype=torch.bool)
        mask[:, ::stride] = True
        times = (every * torch.arange(frames)).expand(len(group), -1)
        noise = torch.randn(values.shape, generator=generator)
        drawn = model.sample(values, mask, times, noise)
        for row, window in zip(drawn, group, strict=True):
            a, b = (stride * (edge - window.first) for edge in window.keep)
            result[window.keep[0] * stride : window.keep[1] * stride] = row[a:b]
    result[::stride] = known
    return result


@dataclass(frozen=True)
class Given:
    """A trajectory: positions [frames, atoms, 3] in nm and times [frames] in ps."""

    path: Path
    positions: Floats
    times: Doubles

    @property
    def interval(self) -> float:
        """Time between frames, ps."""
        return float((self.times[-1] - self.times[0]) / (len(self.times) - 1))


def read_given(path: Path, topology: Any, interval: float | None) -> Given:
    """Read a trajectory of a molecule; `interval` in ps for formats without times. TrajectoryError where the file
    cannot be read or does not fit, ValueError for fewer than two frames.
    """
    reader = TrajectoryReader(path, topology, interval=interval)
    spacing = reader.interval
    blocks = list(reader)
    positions = np.concatenate([block.positions for block in blocks])
    if len(positions) < 2:
        raise ValueError(f"{path} has {len(positions)} frame; expected two or more")
    times = np.concatenate([block.times for block in blocks])
    return Given(path, positions, times[0] + spacing * np.arange(len(times)))
