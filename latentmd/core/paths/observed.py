"""Paths of a one-step model that agree with what was observed at every step: a particle filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentmd.core.paths.pinned import systematic

_DEFENSIVE = 0.2  # share of the proposals that goes to cells by their equilibrium populations


class ObservedSample(NamedTuple):
    """One path that agrees with the observations.

    Attributes:
        path: [steps, tokens, dim].
        carried: what the observation kept of each of its points, one entry a step.
        effective: effective share of the particles at each step, [steps].
    """

    path: Tensor
    carried: list[Any]
    effective: Tensor


#: From points [particles, tokens, dim] and the number of a step to ln p(observation | point) [particles], and what is
#: to be kept of each point, by its index.
Observe = Callable[[Tensor, int], tuple[Tensor, Callable[[int], Any]]]


class ObservedPaths:
    """Draws paths z_1 ... z_N from p(z_1) Π p(z_t | z_(t-1)) p(y_t | z_t) given observations y.

    The step model is a mixture over cells m, p(z' | z) = Σ_m π_m(z) p_m(z' | z). Cells are proposed from
    q_m = 0.8 π_m(z) + 0.2 w_m with w the equilibrium populations, and weights are multiplied by π_m / q_m, so that a
    rare transition which an observation demands finds particles that made it (defensive importance sampling;
    Hesterberg 1995). One path is drawn from the particles at the end and followed back.

    Args:
        predictor: has `lag`, `log_weights`, `cell`, `context` and `flow`, as `FlowPredictor`.
        lag: of a latent step, ps.
        every: latent steps between observations.
        stationary: equilibrium population of each cell [cells].
    """

    def __init__(self, predictor: Any, lag: float, every: int, stationary: Tensor) -> None:
        self.predictor, self.time, self.every, self.stationary = predictor, lag, every, stationary

    @torch.no_grad()
    def sample(self, starts: Tensor, observe: Observe, steps: int, generator: torch.Generator) -> ObservedSample:
        """Draw a path.

        Args:
            starts: draws of p(z_1), one for each particle, [particles, tokens, dim].
            observe: the observations.
            steps: how many there are.
            generator: decides the path.
        """
        z, log_weight = starts, torch.zeros(len(starts))
        history, origins, kept, effective = [], [], [], []
        for t in range(steps):
            if t:
                for _ in range(self.every):
                    z, gain = self._step(z, generator)
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

    def _step(self, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        p = self.predictor
        g = p.lag(torch.full((len(z),), self.time))
        own = p.log_weights(z, g)
        proposal = (1 - _DEFENSIVE) * own.exp() + _DEFENSIVE * self.stationary
        cell = torch.multinomial(proposal, 1, generator=generator)
        gain = (own.gather(1, cell) - proposal.gather(1, cell).log()).squeeze(1)
        noise = torch.randn(len(z), int(p.flow.noise_size), generator=generator)
        return p.flow.sample(p.context(z, cell.squeeze(1)), g, noise), gain
