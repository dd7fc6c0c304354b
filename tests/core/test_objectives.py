"""Objectives against values known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentmd.core.objectives import PerToken, SIGReg, VarianceCovariance, effective_rank, spectral_loss


def white(rows: int, axes: int, seed: int = 0) -> Tensor:
    """Latents with sample mean zero and sample covariance one, exactly."""
    z = torch.randn(rows, axes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = z - z.mean(0)
    whitened: Tensor = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / (rows - 1))).T
    return whitened


def test_variance_covariance_of_whitened_latents_is_zero() -> None:
    found = VarianceCovariance(2.0, 0.5)(white(64, 5))
    assert float(found.variance) == pytest.approx(0, abs=1e-6)
    assert float(found.covariance) == pytest.approx(0, abs=1e-12)
    assert float(found.total) == pytest.approx(0, abs=1e-6)


def test_variance_covariance_known_values() -> None:
    mixed = white(64, 3) @ torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    found = VarianceCovariance(2.0, 0.3)(mixed)  # deviations 0.5, 0.5, 2; C_01 = C_10 = 0.25
    assert float(found.variance) == pytest.approx(1 / 3, abs=1e-5)
    assert float(found.covariance) == pytest.approx(2 * 0.25**2 / 3, abs=1e-9)
    assert float(found.total) == pytest.approx(2 / 3 + 0.3 * 2 * 0.25**2 / 3, abs=2e-5)


def test_variance_has_a_gradient_at_collapse() -> None:
    z = (1e-4 * white(64, 3)).requires_grad_(True)
    VarianceCovariance()(z).total.backward()
    assert z.grad is not None and torch.isfinite(z.grad).all() and z.grad.abs().max() > 1e-6


def gaussian_statistic(deviation: float) -> float:
    """∫ (exp(−s² t² / 2) − exp(−t² / 2))² exp(−t² / 2) dt over [0, 3] for N(0, s²), by quadrature."""
    t = torch.linspace(0, 3, 2001, dtype=torch.float64)
    normal = torch.exp(-0.5 * t**2)
    return float(torch.trapezoid((torch.exp(-0.5 * (deviation * t) ** 2) - normal) ** 2 * normal, t))


@pytest.mark.parametrize("deviation", [0.0, 0.5, 2.0])
def test_sigreg_of_wrong_widths(deviation: float) -> None:
    z = deviation * torch.randn(40_000, 4, generator=torch.Generator().manual_seed(0))
    found = SIGReg(weight=1.0, slices=32)(z)
    assert float(found.covariance) == pytest.approx(gaussian_statistic(deviation), rel=0.03)
    assert float(found.total) == pytest.approx(len(z) * float(found.covariance), rel=1e-5)


def test_sigreg_is_near_zero_for_a_gaussian_and_large_for_collapse() -> None:
    generator = torch.Generator().manual_seed(0)
    regulariser = SIGReg()
    gaussian = float(regulariser(torch.randn(4000, 8, generator=generator)).covariance)
    rank_two = float(regulariser(torch.randn(4000, 2, generator=generator) @ torch.eye(2, 8)).covariance)
    collapsed = float(regulariser(torch.zeros(4000, 8)).covariance)
    # Expectation for N normal samples: (1/N) ∫ (1 − exp(−t²)) exp(−t² / 2) dt = 0.53 / N
    assert gaussian < 5 * 0.53 / 4000
    assert collapsed == pytest.approx(gaussian_statistic(0.0), rel=1e-3)
    assert gaussian < 0.05 * rank_two < 0.05 * collapsed


def test_sigreg_directions_change_and_repeat_with_the_seed() -> None:
    z = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    first, second = SIGReg(seed=1), SIGReg(seed=1)
    values = [float(first(z).total) for _ in range(2)]
    assert values == [float(second(z).total) for _ in range(2)]
    assert values[0] != values[1]


def test_sigreg_goes_on_where_a_checkpoint_left_it() -> None:
    z = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    running, resumed = SIGReg(seed=1), SIGReg(seed=1)
    running(z)
    resumed.load_state_dict(running.state_dict())
    assert float(resumed(z).total) == float(running(z).total)


def test_tokens_are_the_samples_of_an_objective_per_token() -> None:
    z = white(64, 3)
    frames = z.reshape(16, 4 * 3)  # sixteen frames of four tokens
    assert float(PerToken(VarianceCovariance(), 3)(frames).total) == pytest.approx(0, abs=1e-6)
    assert float(VarianceCovariance()(frames).covariance) > 0.1, "of twelve axes from sixteen frames"


def test_effective_rank_known_answers() -> None:
    z = white(200, 6)
    assert float(effective_rank(z)) == pytest.approx(6, abs=1e-6)
    assert float(effective_rank(z[:, :1] @ torch.ones(1, 6, dtype=torch.float64))) == pytest.approx(1, abs=1e-6)
    assert float(effective_rank(z[:, :3] @ torch.eye(3, 6, dtype=torch.float64))) == pytest.approx(3, abs=1e-6)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    scaled = z[:, :2] * torch.tensor([3.0, 1.0], dtype=torch.float64)
    assert float(effective_rank(scaled)) == pytest.approx(math.exp(entropy), abs=1e-6)


def test_spectral_loss_of_an_autoregressive_process_is_minus_vamp2() -> None:
    """x' = ρ x + noise on whitened axes: VAMP-2 = Σ ρ². The minimum is reached by scaling an axis by √ρ."""
    rho = torch.tensor([0.9, 0.5], dtype=torch.float64)
    x, noise = white(4000, 4)[:, :2], white(4000, 4)[:, 2:]
    y = rho * x + torch.sqrt(1 - rho**2) * noise
    best = spectral_loss(x * rho.sqrt(), y * rho.sqrt())
    assert float(best) == pytest.approx(-float((rho**2).sum()), abs=0.02)
    assert float(spectral_loss(x, y)) > float(best)
    assert float(spectral_loss(0.5 * x, 0.5 * y)) > float(best)
