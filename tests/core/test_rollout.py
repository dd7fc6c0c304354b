"""Rollouts: stride, seeds, and equality with stepping by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentmd.core.rollout import rollout


class Walk(nn.Module):
    """z' = z + lag + noise."""

    noise_size: int = 2

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return z + lag.reshape(-1, 1, 1) + noise.unsqueeze(1)


def test_rollout_equals_stepping_by_hand() -> None:
    z0 = torch.zeros(3, 1, 2)
    generator = torch.Generator().manual_seed(5)
    by_hand, path = z0, []
    for _ in range(6):
        by_hand = by_hand + 2.0 + torch.randn(3, 2, generator=generator).unsqueeze(1)
        path.append(by_hand)
    found = list(rollout(Walk(), z0, 2.0, 6, torch.Generator().manual_seed(5)))
    torch.testing.assert_close(torch.stack(found), torch.stack(path))
    strided = list(rollout(Walk(), z0, 2.0, 6, torch.Generator().manual_seed(5), every=3))
    torch.testing.assert_close(torch.stack(strided), torch.stack(path[2::3]))
    assert torch.equal(z0, torch.zeros(3, 1, 2))
