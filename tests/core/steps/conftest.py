"""A process known in closed form, and the training of a small predictor on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

TAU = 10.0  # ps


class OrnsteinUhlenbeck:
    """dx = −x/τ dt + √(2/τ) dW: unit variance, autocorrelation exp(−t/τ)."""

    @staticmethod
    def decay(lag: Tensor | float) -> Tensor:
        return torch.exp(-torch.as_tensor(lag) / TAU)

    def pairs(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(x, lag, x') of two independent coordinates [batch, 1, 2], lags log-uniform from 2 to 20 ps."""
        lag = 2.0 * 10.0 ** torch.rand(batch, generator=generator)
        x, xi = torch.randn(2, batch, 1, 2, generator=generator)
        a = self.decay(lag).reshape(-1, 1, 1)
        return x, lag, a * x + torch.sqrt(1 - a**2) * xi


@pytest.fixture(scope="session")
def ou() -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck()


@pytest.fixture(scope="session")
def fit() -> Callable[[nn.Module, Callable[[torch.Generator], Tensor], int], None]:
    """Minimises a loss with Adam at a one-cycle rate, as training does."""

    def run(model: nn.Module, loss: Callable[[torch.Generator], Tensor], steps: int) -> None:
        generator = torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(model.parameters(), 4e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1, pct_start=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            value = loss(generator)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.eval()

    return run
