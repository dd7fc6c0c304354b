"""The deterministic residual predictor learns a conditional mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentmd.core.steps import MLPPredictor, ResidualPredictor

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


def test_every_token_sees_every_other() -> None:
    predictor = MLPPredictor(2, (1.0, 10.0), width=16, tokens=3)
    z = torch.randn(4, 3, 2, requires_grad=True)
    out = predictor.step(z, torch.full((4,), 5.0), torch.zeros(4, 0))
    assert out.shape == z.shape
    (gradient,) = torch.autograd.grad(out[:, 0].sum(), z)
    assert bool((gradient.abs().amax((0, 2)) > 0).all())


def test_the_lag_counts_relative_to_the_longest() -> None:
    """Networks of the same weights agree where lag / longest is the same."""
    torch.manual_seed(0)
    short = MLPPredictor(2, (1.0, 10.0), width=16)
    long = MLPPredictor(2, (10.0, 100.0), width=16)
    long.load_state_dict(short.state_dict())
    z, nothing = torch.randn(4, 1, 2), torch.zeros(4, 0)
    torch.testing.assert_close(
        long.step(z, torch.full((4,), 50.0), nothing), short.step(z, torch.full((4,), 5.0), nothing)
    )
    assert not torch.allclose(
        short.step(z, torch.full((4,), 1.0), nothing), short.step(z, torch.full((4,), 9.0), nothing)
    )
