"""Particle filters: paths of a one-step model pinned at both ends, and paths that agree with what was observed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmd.core.paths.steps import Steps

_RESAMPLE_BELOW = 0.5  # effective share of the particles
_LEAST = 1e-30  # of h before the end, so that a cell which the chain takes for a dead end is not one for the model


class PinnedSample(NamedTuple):
    """Paths between two ends."""

    paths: Tensor  #: [count, steps + 1, tokens, dim], both ends included where the end is a point
    log_likelihood: float  #: ln of the probability (density, for a point) of the end under the model
    effective: Tensor  #: number of particles at each step
    ancestors: int  #: number of different particles in the middle of the paths drawn


class PinnedPaths:
    """Draws paths of a one-step model that end in a point or in a set of cells: a twisted particle filter (Whiteley &
    Lee 2014) guided by the bridge function h_t of a chain over cells (Doob's h-transform), whose rows [steps + 1,
    cells] have any scale. Weights are multiplied by what the guide got wrong and by h_(t+1)(cell of z') / h_t(cell of
    z), which cancels along the path; the last step to a point z_b has weight p(z_b | z).
    """

    def __init__(self, steps: Steps, h: Tensor) -> None:
        self.model, self.h = steps, h
        self.steps = len(h) - 1

    @torch.no_grad()
    def sample(
        self, start: Tensor, end: Tensor | None, count: int, particles: int, generator: torch.Generator
    ) -> PinnedSample:
        """Paths from a point [tokens, dim], or one per particle, to `end` or cells of h; ValueError: none arrives."""
        if particles < count:
            raise ValueError(f"{particles} particles for {count} paths; expected at least as many")
        z = start if start.dim() == 3 else start.unsqueeze(0).repeat(particles, 1, 1)
        history, origins, effective = [z], [], []
        log_weight, total = self._log_h(0, z), 0.0
        for t in range(self.steps):
            if end is not None and t == self.steps - 1:
                log_weight = log_weight + self.model.log_arrival(z, end) - self._log_h(t, z)
                z = end.unsqueeze(0).repeat(particles, 1, 1)
            else:
                z, gain = self._step(t, z, generator)
                log_weight = log_weight + gain
            if not bool(torch.isfinite(log_weight).any()):
                raise ValueError(f"no path of {self.steps} steps arrives at the end; take a longer time or more paths")
            share = torch.softmax(log_weight.double(), dim=0)
            effective.append(1.0 / float((share**2).sum()))
            origin = torch.arange(particles)
            if effective[-1] < _RESAMPLE_BELOW * particles or t == self.steps - 1:
                total += float(torch.logsumexp(log_weight.double(), dim=0)) - math.log(particles)
                origin = systematic(share, particles, generator)
                z, log_weight = z[origin], torch.zeros(particles)
            history.append(z)
            origins.append(origin)
        index = torch.randperm(particles, generator=generator)[:count]
        paths, middle = [history[-1][index]], 0
        for t in range(self.steps - 1, -1, -1):  # follow particles drawn at the end back to the start
            index = origins[t][index]
            paths.append(history[t][index])
            if t == self.steps // 2:
                middle = len(torch.unique(index))
        return PinnedSample(torch.stack(paths[::-1], dim=1), total, torch.tensor(effective), middle)

    def _step(self, t: int, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        after = self.h[t + 1].to(z)
        after = after.clamp_min(_LEAST) if t + 1 < self.steps else after
        moved, gain = self.model.guided(z, after.log(), generator)
        return moved, gain - self._log_h(t, z)

    def _log_h(self, t: int, z: Tensor) -> Tensor:
        return self.h[t].to(z).clamp_min(_LEAST).log()[self.model.cell(z)]


def systematic(share: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Systematic resampling: indices [count], each drawn in proportion to its share."""
    points = (torch.arange(count, dtype=share.dtype) + torch.rand(1, generator=generator, dtype=share.dtype)) / count
    return torch.searchsorted(share.cumsum(0), points).clamp(max=count - 1)


class ObservedSample(NamedTuple):
    """One path [steps, tokens, dim], what was kept of its points, and the effective share of particles, each step."""

    path: Tensor
    carried: list[NDArray[np.floating]]
    effective: Tensor


#: From points [particles, tokens, dim] and the number of a step to ln p(observation | point) [particles], and what is
#: to be kept of each point, by its index.
Observe = Callable[[Tensor, int], tuple[Tensor, Callable[[int], NDArray[np.floating]]]]
#: Last step before an observation, by its number, of particles z: to z', with the ln of what corrects their weights.
Arrive = Callable[[Tensor, int, torch.Generator], tuple[Tensor, Tensor]]


class ObservedPaths:
    """Draws paths z_1 ... z_N from p(z_1) Π p(z_t | z_(t-1)) p(y_t | z_t) given observations y, `every` so many steps.
    Some particles are told to take rare cells (`stationary`: population of each), so that a rare transition which an
    observation demands is found. `arrive`: the last step before an observation, told something of it.
    """

    def __init__(self, steps: Steps, every: int, stationary: Tensor, arrive: Arrive | None = None) -> None:
        self.model, self.every, self.stationary, self.arrive = steps, every, stationary, arrive

    @torch.no_grad()
    def sample(self, starts: Tensor, observe: Observe, steps: int, generator: torch.Generator) -> ObservedSample:
        """Draw a path of as many observations as `steps`; starts [particles, tokens, dim] are draws of p(z_1)."""
        z, log_weight = starts, torch.zeros(len(starts))
        history, origins, kept, effective = [], [], [], []
        for t in range(steps):
            if t:
                for left in reversed(range(self.every)):
                    if left or self.arrive is None:
                        z, gain = self.model.defended(z, self.stationary, generator)
                    else:
                        z, gain = self.arrive(z, t, generator)
                    log_weight = log_weight + gain
            likelihood, keep = observe(z, t)
            share = torch.softmax((log_weight + likelihood).double(), dim=0)
            effective.append(1.0 / float((share**2).sum()) / len(z))
            origin = systematic(share, len(z), generator)
            history.append(z)
            origins.append(origin)
            kept.append({int(i): keep(int(i)) for i in torch.unique(origin)})
            z, log_weight = z[origin], torch.zeros(len(z))
        index = int(torch.randint(len(z), (1,), generator=generator))
        path, carried = [], []
        for t in range(steps - 1, -1, -1):
            index = int(origins[t][index])
            path.append(history[t][index])
            carried.append(kept[t][index])
        return ObservedSample(torch.stack(path[::-1]), carried[::-1], torch.tensor(effective))
