"""The deterministic residual predictor learns a conditional mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentmd.core.steps import ResidualPredictor

LAGS = (2.0, 20.0)


def test_residual_predictor_starts_as_identity_and_learns_the_mean(ou: Any, fit: Any) -> None:
    torch.manual_seed(0)
    predictor = ResidualPredictor(2, LAGS, 24)
    x, lag, _ = ou.pairs(64, torch.Generator().manual_seed(0))
    assert torch.equal(predictor.step(x, lag, torch.zeros(64, 0)), x)

    def loss(generator: torch.Generator) -> Tensor:
        x, lag, y = ou.pairs(512, generator)
        return (predictor.step(x, lag, torch.zeros(512, 0)) - y).square().mean()

    fit(predictor, loss, 250)
    with torch.no_grad():
        found = predictor.step(torch.ones(1, 1, 2), torch.tensor([5.0]), torch.zeros(1, 0))
    torch.testing.assert_close(found, ou.decay(5.0).expand(1, 1, 2), rtol=0, atol=0.1)
