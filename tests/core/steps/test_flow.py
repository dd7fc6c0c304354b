"""Stochastic predictors against processes known in closed form."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latentmd.core.steps import ConditionalFlow, FlowPredictor, MixturePredictor
from latentmd.worlds.evaluation import rollout

LAGS = (2.0, 20.0)


@pytest.fixture(scope="module", params=["flow", "cells", "mixture"])
def trained(request: pytest.FixtureRequest, ou: Any, fit: Any) -> Any:
    """A small predictor trained for a few hundred steps on the Ornstein–Uhlenbeck process."""
    torch.manual_seed(0)
    if request.param == "mixture":
        mixture = MixturePredictor(2, LAGS, components=3, width=24, depth=2)

        def likelihood(generator: torch.Generator) -> Tensor:
            x, lag, y = ou.pairs(512, generator)
            return -mixture.log_likelihood(x, lag, y).mean()

        fit(mixture, likelihood, 350)
        return mixture
    centres = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]) if request.param == "cells" else None
    flow = FlowPredictor(2, LAGS, width=32, depth=2, solver_steps=6, centres=centres)

    def loss(generator: torch.Generator) -> Tensor:
        x, lag, y = ou.pairs(512, generator)
        noise, u = torch.randn(x.shape, generator=generator), torch.rand(len(x), generator=generator)
        return torch.stack(flow.loss(x, lag, y, noise, u)).sum()

    fit(flow, loss, 500)
    return flow


@pytest.mark.parametrize("lag", [3.0, 15.0])
@pytest.mark.parametrize("start", [-1.2, 0.0, 1.0])
def test_one_step_has_the_conditional_mean_and_variance(trained: Any, ou: Any, lag: float, start: float) -> None:
    """4000 draws: standard error of a mean below 0.016, of a deviation below 0.011; the rest is the fit."""
    z = torch.full((4000, 1, 2), start)
    lags = torch.full((4000,), lag)
    noise = torch.randn(4000, trained.noise_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        drawn = trained.step(z, lags, noise).squeeze(1)
        mean = trained.mean_step(z[:1], lags[:1]).flatten()
    expected = torch.full((2,), float(ou.decay(lag)) * start)
    width = math.sqrt(1 - float(ou.decay(lag)) ** 2)
    torch.testing.assert_close(drawn.mean(0), expected, rtol=0, atol=0.1)
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.1)
    torch.testing.assert_close(drawn.std(0), torch.full((2,), width), rtol=0.1, atol=0)
    assert abs(float(torch.corrcoef(drawn.T)[0, 1])) < 0.1


def test_rollout_has_the_stationary_variance_and_autocorrelation(trained: Any, ou: Any) -> None:
    """600 walkers, 60 steps of 5 ps: standard errors below 0.03 for the mean, variance and correlations."""
    lag, generator = 5.0, torch.Generator().manual_seed(2)
    start = torch.randn(600, 1, 2, generator=generator)
    path = torch.stack([start, *rollout(trained, start, lag, 60, generator)]).squeeze(2)
    settled = path[20:]
    assert settled.mean(dim=(0, 1)).abs().max() < 0.15
    variance = settled.var(dim=(0, 1))
    torch.testing.assert_close(variance, torch.ones(2), rtol=0.2, atol=0)
    for steps in (1, 2, 4):
        correlation = (path[20:-steps] * path[20 + steps :]).mean(dim=(0, 1)) / variance
        torch.testing.assert_close(correlation, ou.decay(steps * lag).expand(2), rtol=0, atol=0.1)


def test_cells_give_rare_jumps_their_frequency(fit: Any) -> None:
    """Two wells at ±2 of width 0.3; the sign flips with p(τ) = (1 − exp(−2 τ / 100)) / 2."""
    centres = torch.tensor([[2.0], [-2.0]])
    torch.manual_seed(0)
    flow = FlowPredictor(1, LAGS, width=24, depth=1, solver_steps=3, centres=centres)

    def flip(lag: Tensor) -> Tensor:
        return (1 - torch.exp(-2 * lag / 100)) / 2

    def loss(generator: torch.Generator) -> Tensor:
        lag = LAGS[0] * (LAGS[1] / LAGS[0]) ** torch.rand(1024, generator=generator)
        side = torch.where(torch.rand(1024, generator=generator) < 0.5, 2.0, -2.0)
        end = torch.where(torch.rand(1024, generator=generator) < flip(lag), -side, side)
        x, y = ((s + 0.3 * torch.randn(1024, generator=generator)).reshape(-1, 1, 1) for s in (side, end))
        noise, u = torch.randn(x.shape, generator=generator), torch.rand(1024, generator=generator)
        return torch.stack(flow.loss(x, lag, y, noise, u)).sum()

    fit(flow, loss, 300)
    for lag in (4.0, 20.0):
        z, noise = torch.full((20_000, 1, 1), 2.0), torch.randn(20_000, 2, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            drawn = flow.step(z, torch.full((20_000,), lag), noise).flatten()
        expected = float(flip(torch.tensor(lag)))
        assert float((drawn < 0).float().mean()) == pytest.approx(expected, rel=0.2)
        assert drawn[drawn < 0].mean() == pytest.approx(-2.0, abs=0.1)
        assert drawn[drawn > 0].std() == pytest.approx(0.3, abs=0.06)


def test_conditional_flow_learns_a_correlated_gaussian(fit: Any) -> None:
    """y | c ~ N((c, −c), Σ) with Σ = [[0.5, 0.3], [0.3, 0.5]]: the diagonal scale alone cannot, the flow must."""
    factor = torch.linalg.cholesky(torch.tensor([[0.5, 0.3], [0.3, 0.5]]))
    torch.manual_seed(0)
    flow = ConditionalFlow(2, 1, 0, 32, 2, solver_steps=6)

    def loss(generator: torch.Generator) -> Tensor:
        c = torch.randn(512, 1, 1, generator=generator)
        y = torch.cat([c, -c], dim=-1) + torch.randn(512, 1, 2, generator=generator) @ factor.T
        noise, u = torch.randn(y.shape, generator=generator), torch.rand(512, generator=generator)
        return torch.stack(flow.loss(y, c, torch.zeros(512, 0), noise, u)).sum()

    fit(flow, loss, 500)
    noise = torch.randn(5000, 2, generator=torch.Generator().manual_seed(1))
    for value in (-1.0, 0.5):
        with torch.no_grad():
            y = flow.sample(torch.full((5000, 1, 1), value), torch.zeros(5000, 0), noise).squeeze(1)
        torch.testing.assert_close(y.mean(0), torch.tensor([value, -value]), rtol=0, atol=0.1)
        torch.testing.assert_close(torch.cov(y.T), factor @ factor.T, rtol=0, atol=0.08)


def test_flow_of_several_tokens_keeps_each_token_its_own_target() -> None:
    """The loss at a perfect mean is that of the noise alone, and noise_size counts all tokens."""
    predictor = FlowPredictor(3, LAGS, 16, 1, tokens=4)
    assert predictor.noise_size == 12 + 1
    z, lag = torch.randn(5, 4, 3), torch.full((5,), 4.0)
    assert predictor.step(z, lag, torch.randn(5, 13)).shape == z.shape
    assert [part.shape for part in predictor.loss(z, lag, z, torch.randn(5, 4, 3), torch.rand(5))] == 4 * [()]
