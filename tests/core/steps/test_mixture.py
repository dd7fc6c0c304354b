"""The mixture's exact likelihood; its training is tested beside the flow's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentmd.core.steps import MixturePredictor

LAGS = (2.0, 20.0)


def mixture_of_two(perturb: Any) -> MixturePredictor:
    return perturb(MixturePredictor(2, LAGS, components=3, width=16, depth=1))  # type: ignore[no-any-return]


def test_mixture_likelihood_integrates_to_one(perturb: Any) -> None:
    predictor = mixture_of_two(perturb)
    edge = torch.linspace(-8, 8, 321)
    grid = torch.cartesian_prod(edge, edge).reshape(-1, 1, 2)
    z, lag = torch.tensor([[[0.3, -0.7]]]).expand(len(grid), 1, 2), torch.full((len(grid),), 7.0)
    with torch.no_grad():
        total = predictor.log_likelihood(z, lag, grid).exp().sum() * (edge[1] - edge[0]) ** 2
    assert float(total) == pytest.approx(1.0, abs=1e-3)


def test_mixture_likelihood_equals_torch_distributions(perturb: Any) -> None:
    predictor = mixture_of_two(perturb)
    z, lag, future = torch.randn(9, 1, 2), torch.full((9,), 7.0), torch.randn(9, 1, 2)
    with torch.no_grad():
        log_weights, means, factors = predictor.mixture(z, lag)
        parts = torch.distributions.MultivariateNormal(means, scale_tril=factors)
        exact = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=log_weights), parts)
        torch.testing.assert_close(predictor.log_likelihood(z, lag, future), exact.log_prob(future.squeeze(1)))
        torch.testing.assert_close(predictor.mean_step(z, lag).squeeze(1), exact.mean)


def test_mixture_draws_follow_its_density(perturb: Any) -> None:
    predictor = mixture_of_two(perturb)
    z, lag = torch.zeros(40_000, 1, 2), torch.full((40_000,), 7.0)
    noise = torch.randn(40_000, predictor.noise_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        drawn = predictor.step(z, lag, noise).squeeze(1)
        log_weights, means, factors = (part[0] for part in predictor.mixture(z[:1], lag[:1]))
    weights = log_weights.exp()
    mean = weights @ means
    spread = means - mean
    covariance = torch.einsum(
        "m,mij->ij", weights, factors @ factors.transpose(1, 2) + spread[:, :, None] * spread[:, None]
    )
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=5 * float(covariance.diagonal().max() / 40_000) ** 0.5)
    torch.testing.assert_close(torch.cov(drawn.T), covariance, rtol=0.05, atol=0.03)
