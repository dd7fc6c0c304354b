"""Paths of a one-step model pinned at both ends: a particle filter guided by the exact bridge of a Markov chain."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentmd.core.paths.steps import Steps

_RESAMPLE_BELOW = 0.5  # effective share of the particles
_LEAST = 1e-30  # of h before the end, so that a cell which the chain takes for a dead end is not one for the model


class PinnedSample(NamedTuple):
    """Paths between two ends.

    Attributes:
        paths: [count, steps + 1, tokens, dim], both ends included where the end is a point.
        log_likelihood: ln of the probability (density, for a point) of the end under the model.
        effective: effective number of particles at each step, [steps].
        ancestors: different particles in the middle of the paths drawn.
    """

    paths: Tensor
    log_likelihood: float
    effective: Tensor
    ancestors: int


class PinnedPaths:
    """Draws paths of a one-step model that end in a point or in a set of cells, with a given number of steps.

    With h_t the bridge function of a Markov chain over cells (Doob's h-transform), a particle takes a step that is
    guided by h_(t+1), and its weight is multiplied by what the guide got wrong and by
    h_(t+1)(cell of z') / h_t(cell of z), which cancels along the path. This is a twisted particle filter (Whiteley &
    Lee 2014): the guide changes its variance, not what it converges to. The last step to a point z_b has weight
    p(z_b | z). Rows of h [steps + 1, cells] have any scale.
    """

    def __init__(self, steps: Steps, h: Tensor) -> None:
        self.model, self.h = steps, h
        self.steps = len(h) - 1

    @torch.no_grad()
    def sample(
        self, start: Tensor, end: Tensor | None, count: int, particles: int, generator: torch.Generator
    ) -> PinnedSample:
        """Draw paths from a point [tokens, dim], or from one for each particle: draws of where paths may start,
        which the filter weighs by how likely the end is from there. `end`: last point; None where h of the last
        step says which cells are it. ValueError: fewer particles than paths, or no particle reaches the end.
        """
        if particles < count:
            raise ValueError(f"{particles} particles for {count} paths; expected at least as many")
        z = start if start.dim() == 3 else start.unsqueeze(0).repeat(particles, 1, 1)
        if len(z) != particles:
            raise ValueError(f"{len(z)} starting points for {particles} particles; expected one for each")
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
                raise ValueError(
                    f"no path of {self.steps} steps arrives at the end; take a longer time or more particles"
                )
            share = torch.softmax(log_weight.double(), dim=0)
            effective.append(1.0 / float((share**2).sum()))
            origin = torch.arange(particles)
            if effective[-1] < _RESAMPLE_BELOW * particles or t == self.steps - 1:
                total += float(torch.logsumexp(log_weight.double(), dim=0)) - math.log(particles)
                origin = systematic(share, particles, generator)
                z, log_weight = z[origin], torch.zeros(particles)
            history.append(z)
            origins.append(origin)
        return self._trace(history, origins, count, total, torch.tensor(effective), generator)

    def _step(self, t: int, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        after = self.h[t + 1].to(z)
        after = after.clamp_min(_LEAST) if t + 1 < self.steps else after
        moved, gain = self.model.guided(z, after.log(), generator)
        return moved, gain - self._log_h(t, z)

    def _log_h(self, t: int, z: Tensor) -> Tensor:
        return self.h[t].to(z).clamp_min(_LEAST).log()[self.model.cell(z)]

    def _trace(
        self, history: list[Tensor], origins: list[Tensor], count: int, total: float, effective: Tensor,
        generator: torch.Generator,
    ) -> PinnedSample:  # fmt: skip
        """Follow particles drawn at the end back to the start."""
        index = torch.randperm(len(history[-1]), generator=generator)[:count]
        paths, middle = [history[-1][index]], 0
        for t in range(self.steps - 1, -1, -1):
            index = origins[t][index]
            paths.append(history[t][index])
            if t == self.steps // 2:
                middle = len(torch.unique(index))
        return PinnedSample(torch.stack(paths[::-1], dim=1), total, effective, middle)


def systematic(share: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Systematic resampling: indices [count], each drawn in proportion to its share."""
    points = (torch.arange(count, dtype=share.dtype) + torch.rand(1, generator=generator, dtype=share.dtype)) / count
    return torch.searchsorted(share.cumsum(0), points).clamp(max=count - 1)
