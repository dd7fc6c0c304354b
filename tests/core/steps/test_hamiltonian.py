"""Hamiltonian predictors: symplectic, reversible, of order two, and bounded in energy where the answer is known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from latentmd.core.steps import GeneralHamiltonianPredictor, HamiltonianPredictor

LAGS = (0.1, 1.0)
Predictor = HamiltonianPredictor | GeneralHamiltonianPredictor


def random_predictor(general: bool, tokens: int = 2, **options: Any) -> Predictor:
    """Of four degrees of freedom, with a potential far from quadratic, in float64."""
    torch.manual_seed(0)
    kind = GeneralHamiltonianPredictor if general else HamiltonianPredictor
    predictor = kind(4, LAGS, 16, tokens, **options).double()
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return predictor


def phase_map(predictor: Predictor, lag: float = 1.0) -> Any:
    """The step as a function of (q₁ … q₄, p₁ … p₄)."""

    def step(x: Tensor) -> Tensor:
        z = x.reshape(2, 2, 2).permute(1, 0, 2).reshape(1, 2, 4)
        out = predictor.step(z, x.new_full((1,), lag), x.new_zeros(1, 0))
        return out.reshape(2, 2, 2).permute(1, 0, 2).flatten()

    return step


def symplectic_defect(predictor: Predictor) -> float:
    """Largest entry of |JᵀΩJ − Ω| over a few states."""
    eye, zero = torch.eye(4).double(), torch.zeros(4, 4).double()
    omega = torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)])
    states = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jacobians = [torch.autograd.functional.jacobian(phase_map(predictor), state) for state in states]
    return max(float((j.T @ omega @ j - omega).abs().max()) for j in jacobians)


def test_leapfrog_is_symplectic_and_euler_is_not() -> None:
    assert symplectic_defect(random_predictor(False)) < 1e-12
    assert symplectic_defect(random_predictor(False, substeps=3)) < 1e-12
    assert symplectic_defect(random_predictor(False, scheme="euler")) > 1e-2


def test_implicit_midpoint_is_symplectic_to_the_error_of_its_iteration() -> None:
    assert symplectic_defect(random_predictor(True, iterations=40)) < 1e-6
    assert symplectic_defect(random_predictor(True, iterations=2)) > 1e-4


@pytest.mark.parametrize("general", [False, True])
def test_reversible(general: bool) -> None:
    predictor = random_predictor(general, **({"iterations": 60} if general else {}))
    z = torch.randn(6, 2, 4, dtype=torch.float64)
    lag, nothing = torch.full((6,), 1.0).double(), torch.zeros(6, 0)
    there = predictor.step(z, lag, nothing)
    torch.testing.assert_close(predictor.step(there, -lag, nothing), z, rtol=0, atol=1e-9)
    assert (there - z).abs().max() > 0.1
    if not general:  # also in the other sense: turning the momenta round
        turned = there.clone()
        turned[..., 2:] *= -1
        back = predictor.step(turned, lag, nothing)
        back[..., 2:] *= -1
        torch.testing.assert_close(back, z, rtol=0, atol=1e-9)


@pytest.mark.parametrize("general", [False, True])
def test_order_two_in_the_step(general: bool) -> None:
    """The error of a fixed latent time falls fourfold when the number of substeps doubles."""
    options: dict[str, Any] = {"iterations": 30} if general else {}
    z = torch.randn(4, 2, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def after(substeps: int) -> Tensor:
        predictor = random_predictor(general, substeps=substeps, **options)
        with torch.no_grad():
            return predictor.step(z, torch.ones(4).double(), torch.zeros(4, 0))

    exact = after(512)
    errors = [float((after(n) - exact).norm()) for n in (4, 8, 16)]
    orders = [torch.log2(torch.tensor(a / b)).item() for a, b in pairwise(errors)]
    assert orders == pytest.approx([2.0, 2.0], abs=0.1)


class PendulumPotential(nn.Module):
    """V = 1 − cos q, in place of a learned one."""

    def forward(self, q: Tensor) -> Tensor:
        return (1 - q.cos()).sum(dim=-1)

    def gradient(self, q: Tensor) -> Tensor:
        return q.sin()


def drift(predictor: Predictor, z: Tensor, energy: Any, steps: int = 10_000) -> tuple[float, float]:
    """Largest |E − E₀| / E₀ over all steps, and the trend: mean of the last tenth over that of the first."""
    lag, nothing = torch.ones(len(z)).double(), torch.zeros(len(z), 0)
    energies = [energy(z)]
    with torch.no_grad():
        for _ in range(steps):
            z = predictor.step(z, lag, nothing)
            energies.append(energy(z))
    series = torch.stack(energies)
    tenth = steps // 10
    trend = (series[-tenth:].mean(0) / series[:tenth].mean(0) - 1).abs().max()
    return float((series / series[0] - 1).abs().max()), float(trend)


def test_energy_stays_bounded_for_ten_thousand_steps() -> None:
    """Leapfrog of step h: E oscillates by at most (h ω)² / 4 for the oscillator, with no trend; Euler blows up."""
    z = torch.tensor([[[1.0, 0.0]], [[0.5, 0.8]]]).double()
    oscillator = HamiltonianPredictor(2, LAGS, 8, step=0.1).double()
    assert float(softplus(oscillator.raw_step.detach())) == pytest.approx(0.1)
    largest, trend = drift(oscillator, z, lambda z: 0.5 * z.square().sum((1, 2)))
    assert 1e-4 < largest < 0.1**2 / 4 * 1.01
    assert trend < 1e-4
    euler = HamiltonianPredictor(2, LAGS, 8, step=0.1, scheme="euler").double()
    assert drift(euler, z, lambda z: 0.5 * z.square().sum((1, 2)), 1000)[0] > 1000
    pendulum = HamiltonianPredictor(2, LAGS, 8, step=0.1).double()
    pendulum.potential = PendulumPotential()  # type: ignore[assignment]
    largest, trend = drift(pendulum, 0.2 * z, lambda z: 0.5 * z[:, 0, 1] ** 2 + 1 - z[:, 0, 0].cos())
    assert largest < 0.1**2 / 4 * 1.05
    assert trend < 1e-4


def test_learned_pendulum_keeps_its_physical_energy() -> None:
    """Fitted to one-step pairs of a pendulum, 10⁴ of its steps keep the pendulum's own energy within a few percent."""
    torch.manual_seed(0)
    exact = HamiltonianPredictor(2, LAGS, 8, step=0.2, substeps=20).double()
    exact.potential = PendulumPotential()  # type: ignore[assignment]
    learned = HamiltonianPredictor(2, LAGS, 24, step=0.1).double()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(learned.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=601)
    lag, nothing = torch.ones(256).double(), torch.zeros(256, 0)
    for _ in range(600):
        z = 0.7 * torch.randn(256, 1, 2, generator=generator, dtype=torch.float64)
        loss = (learned.step(z, lag, nothing) - exact.step(z, lag, nothing)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    z = torch.tensor([[[0.4, 0.0]], [[0.2, 0.3]]]).double()
    largest, trend = drift(learned, z, lambda z: 0.5 * z[:, 0, 1] ** 2 + 1 - z[:, 0, 0].cos())
    assert largest < 0.05
    assert trend < 1e-3


@pytest.mark.parametrize("general", [False, True])
def test_energy_is_nearly_kept_by_a_step(general: bool) -> None:
    """H of the predictor itself changes by the third power of the step."""
    z = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    changes = []
    for step in (0.1, 0.05):
        predictor = random_predictor(general)
        with torch.no_grad():
            predictor.raw_step.copy_(torch.log(torch.expm1(torch.tensor(step))))
            after = predictor.step(z, torch.ones(5).double(), torch.zeros(5, 0))
            changes.append(float((predictor.energy(after) - predictor.energy(z)).norm()))
    assert changes[0] / changes[1] == pytest.approx(8.0, rel=0.25)


def test_an_odd_token_is_refused() -> None:
    for kind in (HamiltonianPredictor, GeneralHamiltonianPredictor):
        with pytest.raises(ValueError, match="even number"):
            kind(3, LAGS)
