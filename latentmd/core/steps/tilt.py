"""Tilted step of a chain: of several proposals one is taken, by weights against the drift of rollouts."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp
from latentmd.core.steps.angles import HARMONICS, torsion_features


def choose(log_weights: Tensor, uniform: Tensor) -> Tensor:
    """Index [batch] of a proposal, drawn by weights [proposals, batch] from uniform numbers [batch]."""
    return (uniform.unsqueeze(0) > torch.softmax(log_weights, dim=0).cumsum(0)[:-1]).sum(0)


class Tilt(nn.Module):
    """ln w [batch], within ± `limit`, of all torsions of one chain with mask [tokens, slots]: the density of draws from
    equilibrium over that of rollouts.

    A step p(y | x) that is reversible under the density m of its rollouts becomes reversible under m w Z, with
    Z(x) = ∫ p(y | x) w(y) dy, when y is one of many proposals taken with probability proportional to w. To first order
    in ln w, `proposals` K of them multiply m by w to the power (1 − 1/K)(1 + c), c from 0 for motions that a step
    forgets to 1 for those that it keeps. K = 1 is the plain step.
    """

    def __init__(self, mask: Tensor, proposals: int = 2, width: int = 32, limit: float = 2.0) -> None:
        super().__init__()
        self.limit, self.proposals = limit, proposals
        self.mask = nn.Buffer(mask)
        self.network = mlp([mask.numel() * (2 * HARMONICS + 1), width, width, 1], last_zero=True)

    def forward(self, angles: Tensor) -> Tensor:
        """ln w [batch] of torsions [batch, tokens, slots]."""
        features = torsion_features(angles, self.mask.unsqueeze(0)).flatten(1)
        return self.limit * torch.tanh(self.network(features).squeeze(1) / self.limit)

    @torch.jit.export
    def chosen(self, angles: Tensor, uniform: Tensor) -> Tensor:
        """One [batch, tokens, slots] of proposals [proposals · batch, tokens, slots], by uniform numbers [batch]."""
        batch = uniform.shape[0]
        index = choose(self.forward(angles).reshape(-1, batch), uniform)
        return angles[index * batch + torch.arange(batch, device=angles.device)]
