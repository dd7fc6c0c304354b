"""Lagged windows for training predictors, and random masks of what a path model is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_STRIDES = (2, 4, 5, 8, 10, 16, 20)  # of known frames


def random_masks(batch: int, frames: int, tokens: int, generator: torch.Generator) -> Tensor:
    """What counts as known in each trajectory, [batch, frames, tokens]; never nothing and never everything.

    In equal shares: the first one to four frames (forward simulation), the first and the last (paths), every s-th
    (upsampling), frames at random and, with several tokens, some tokens in all frames (inpainting). At least 2 frames.
    """
    masks = torch.zeros(batch, frames, tokens, dtype=torch.bool)
    kinds = torch.randint(5 if tokens > 1 else 4, (batch,), generator=generator)
    for row, kind in zip(masks, kinds.tolist(), strict=True):
        if kind == 0:
            row[: int(torch.randint(1, min(5, frames), (1,), generator=generator))] = True
        elif kind == 1:
            row[0] = row[-1] = True
        elif kind == 2:
            row[:: _STRIDES[int(torch.randint(len(_STRIDES), (1,), generator=generator))]] = True
        elif kind == 3:
            share = torch.rand(1, generator=generator)
            row[torch.rand(frames, generator=generator) < share] = True
        else:
            hidden = torch.rand(tokens, generator=generator) < torch.rand(1, generator=generator)
            row[:, ~hidden] = True
    empty, full = ~masks.flatten(1).any(dim=1), masks.flatten(1).all(dim=1)
    masks[empty, 0] = True
    masks[full, -1] = False
    return masks


class Windows(NamedTuple):
    """A batch of windows: frames, steps + 1 tensors [batch, ...] in time order, and lag [batch] in frames, float32."""

    frames: tuple[Tensor, ...]
    lag: Tensor


class LaggedWindows:
    """Windows x(t), x(t + τ), …, x(t + K τ) with τ log-uniform over a range, drawn uniformly over start frames.

    A window of K ≥ 1 `steps` lies within one trajectory [frames, ...] of equal spacing; memory maps are read only where
    they are drawn; τ are whole numbers of frames within `lag`. Data are split into training and test sets by giving
    each set its own trajectories: windows of one trajectory overlap, so a split of windows would leak. ValueError: no
    trajectories, shapes that differ, a range without a whole number, or trajectories that are all too short.
    """

    def __init__(self, trajectories: Sequence[NDArray[np.floating]], lag: tuple[float, float], steps: int = 1) -> None:
        self.trajectories = list(trajectories)
        self.steps = steps
        if not self.trajectories:
            raise ValueError("Expected at least one trajectory, found none.")
        shapes = {array.shape[1:] for array in self.trajectories}
        if len(shapes) > 1:
            raise ValueError(f"Frames of all trajectories must have one shape; found {sorted(shapes)}.")
        if steps < 1:
            raise ValueError(f"A window needs at least 1 step, found {steps}.")
        self.shortest = max(1, math.ceil(lag[0] - 1e-6))
        self.longest = math.floor(lag[1] + 1e-6)
        if self.longest < self.shortest:
            raise ValueError(
                f"No whole number of frames lies in the lag range {lag[0]:g} to {lag[1]:g} frames. Widen the range or"
                " use trajectories that were saved more often."
            )
        lengths = [len(array) for array in self.trajectories]
        if max(lengths) <= self.longest * steps:
            raise ValueError(
                f"A window of {steps} step{'s' if steps > 1 else ''} of {self.longest} frames needs more than"
                f" {self.longest * steps} frames; the longest trajectory has {max(lengths)}. Shorten the lag or the"
                " number of steps, or give longer trajectories."
            )
        self._lengths = torch.tensor(lengths, dtype=torch.long)

    def indices(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw where windows lie; every start frame that fits the drawn lag is equally likely.

        Returns trajectory [batch], frame [steps + 1, batch] and lag [batch], all long.
        """
        low, high = math.log(self.shortest - 0.5), math.log(self.longest + 0.5)
        draw = torch.rand(batch, generator=generator, dtype=torch.float64)
        lag = torch.exp(low + (high - low) * draw).round().long().clamp(self.shortest, self.longest)
        lags, which = torch.unique(lag, return_inverse=True)
        starts = (self._lengths - self.steps * lags.unsqueeze(1)).clamp(min=0)  # [lags, trajectories]
        ends = starts.cumsum(dim=1)
        total = ends[:, -1]
        place = torch.rand(batch, generator=generator, dtype=torch.float64)
        place = (place * total[which]).long().clamp(max=total[which] - 1)
        # One search for all lags: the ends of each lag's trajectories follow on those of the lag before.
        before = total.cumsum(0) - total
        row = torch.searchsorted((ends + before.unsqueeze(1)).flatten(), place + before[which], right=True)
        trajectory = row - which * len(self._lengths)
        first = place - (ends - starts).flatten()[row]
        return trajectory, first + torch.arange(self.steps + 1).unsqueeze(1) * lag, lag

    def sample(self, batch: int, generator: torch.Generator) -> Windows:
        """Draw so many windows and read their frames; the generator is of the CPU."""
        which, where, lag = self.indices(batch, generator)
        out = np.empty((self.steps + 1, batch, *self.trajectories[0].shape[1:]), dtype=np.float32)
        trajectory, frame = which.numpy(), where.numpy()
        order = np.argsort(trajectory, kind="stable")
        names, begins = np.unique(trajectory[order], return_index=True)
        for k, own in zip(names, np.split(order, begins[1:]), strict=True):
            out[:, own] = self.trajectories[k][frame[:, own]]
        return Windows(tuple(torch.from_numpy(out).unbind(0)), lag.to(torch.float32))
