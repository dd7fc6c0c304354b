"""Paths of a one-step model that agree with what was observed at every step: a particle filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentmd.core.paths.pinned import systematic
from latentmd.core.paths.steps import Steps


class ObservedSample(NamedTuple):
    """One path [steps, tokens, dim] that agrees with the observations, what the observation kept of each of its
    points, and the effective share of the particles at each step.
    """

    path: Tensor
    carried: list[Any]
    effective: Tensor


#: From points [particles, tokens, dim] and the number of a step to ln p(observation | point) [particles], and what is
#: to be kept of each point, by its index.
Observe = Callable[[Tensor, int], tuple[Tensor, Callable[[int], Any]]]


#: Last step before an observation, by its number, of particles z: to z', with the ln of what corrects their weights.
Arrive = Callable[[Tensor, int, torch.Generator], tuple[Tensor, Tensor]]


class ObservedPaths:
    """Draws paths z_1 ... z_N from p(z_1) Π p(z_t | z_(t-1)) p(y_t | z_t) given observations y.

    Steps are defended: where the model can be told where to go, some particles take rare cells, so that a rare
    transition which an observation demands finds particles that made it. One path is drawn from the particles at the
    end and followed back. `every`: latent steps between observations; `stationary`: population of each cell; `arrive`:
    the last step before an observation, where it can be told something of what will be observed.
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
