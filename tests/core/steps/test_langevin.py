"""The Langevin predictor against processes with known answers: a harmonic oscillator and a double well."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentmd.core.steps import LangevinPredictor

OMEGA, FRICTION, LAG = 1.0, 0.7, 0.25  # dq = p dt, dp = −ω² q dt − γ p dt + √(2 γ) dW, with m = kT = 1


def oscillator_moments(lag: float) -> tuple[Tensor, Tensor]:
    """Exact drift matrix exp(L t) and noise covariance of the oscillator over a lag."""
    generator = torch.tensor([[0.0, 1.0], [-(OMEGA**2), -FRICTION]], dtype=torch.float64)
    drift = torch.linalg.matrix_exp(generator * lag)
    stationary = torch.diag(torch.tensor([1 / OMEGA**2, 1.0], dtype=torch.float64))
    return drift, stationary - drift @ stationary @ drift.T


def harmonic_predictor(substeps: int = 1, lag: float = LAG) -> LangevinPredictor:
    """With the oscillator's own parameters."""
    predictor = LangevinPredictor(2, (lag, lag), 8, substeps=substeps).double()
    with torch.no_grad():  # time in units of the lag, velocities as they are
        predictor.potential.frame.copy_(torch.eye(1) * OMEGA * math.sqrt(lag))
        predictor.log_speed.fill_(math.log(lag))
        predictor.log_friction.fill_(math.log(FRICTION * lag))
        predictor.log_diffusion.fill_(math.log(2 * FRICTION * lag))
    return predictor


def linear_moments(predictor: LangevinPredictor) -> tuple[Tensor, Tensor]:
    """Drift and stationary covariance of a step that is linear in z and noise."""
    eye, n = torch.eye(2, dtype=torch.float64), predictor.noise_size
    with torch.no_grad():
        drift = predictor.step(eye.unsqueeze(1), torch.full((2,), LAG).double(), torch.zeros(2, n)).squeeze(1).T
        noise = torch.eye(n, dtype=torch.float64)
        spread = predictor.step(torch.zeros(n, 1, 2).double(), torch.full((n,), LAG).double(), noise).squeeze(1).T
    # C = A C Aᵀ + B Bᵀ, solved as a linear system
    system = torch.eye(4, dtype=torch.float64) - torch.kron(drift, drift)
    return drift, torch.linalg.solve(system, (spread @ spread.T).flatten()).reshape(2, 2)


def correlation_time(drift: Tensor, stationary: Tensor) -> float:
    """Time at which the position's autocorrelation has its integral: ∫ C(t) dt / C(0), by the trapezoid rule."""
    power, values = torch.eye(2, dtype=torch.float64), []
    for _ in range(400):
        values.append(float((power @ stationary)[0, 0] / stationary[0, 0]))
        power = drift @ power
    return LAG * (sum(values) - 0.5 * values[0])


def test_stationary_variance_and_correlation_time_of_the_oscillator() -> None:
    """Within 2 % of the closed forms at a lag of a quarter of 1/ω; the position's variance is exact for BAOAB."""
    drift, stationary = linear_moments(harmonic_predictor())
    exact, _ = oscillator_moments(LAG)
    covariance = torch.diag(torch.tensor([1.0, 1.0], dtype=torch.float64))
    assert float(stationary[0, 0]) == pytest.approx(1.0, rel=1e-9)
    assert float(stationary[1, 1]) == pytest.approx(1.0, rel=0.02)
    assert correlation_time(drift, stationary) == pytest.approx(correlation_time(exact, covariance), rel=0.02)
    assert correlation_time(exact, covariance) == pytest.approx(FRICTION / OMEGA**2, rel=0.01)


def test_substeps_converge_to_the_exact_transition() -> None:
    exact, _ = oscillator_moments(LAG)
    errors = [float((linear_moments(harmonic_predictor(n))[0] - exact).norm()) for n in (1, 2, 4)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def test_likelihood_is_a_density() -> None:
    """exp of it integrates to one over phase space, for a potential that is not quadratic."""
    torch.manual_seed(0)
    predictor = LangevinPredictor(2, (LAG, LAG), 8).double()
    with torch.no_grad():
        predictor.potential.last.normal_(std=0.5)
        predictor.log_speed.fill_(0.4)
        predictor.log_diffusion.fill_(-0.3)
        predictor.log_slack.fill_(-0.5)
    edge = torch.linspace(-9, 9, 901, dtype=torch.float64)
    grid = torch.cartesian_prod(edge, edge).reshape(-1, 1, 2)
    z = torch.tensor([[[0.4, -0.6]]]).double().expand(len(grid), 1, 2)
    with torch.no_grad():
        density = predictor.log_likelihood(z, torch.full((len(grid),), LAG).double(), grid).exp()
    assert float(density.sum() * (edge[1] - edge[0]) ** 2) == pytest.approx(1.0, abs=1e-3)


def fit(predictor: LangevinPredictor, runs: Tensor, steps: int, rate: float = 1e-2) -> None:
    """Maximum likelihood on all neighbouring pairs of runs [runs, frames, 2]."""
    now, future = runs[:, :-1].reshape(-1, 1, 2), runs[:, 1:].reshape(-1, 1, 2)
    generator = torch.Generator().manual_seed(0)
    lag = predictor.longest
    predictor.match_moments(now, lag, future)
    optimizer = torch.optim.Adam(predictor.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
    for _ in range(steps):
        rows = torch.randint(len(now), (2048,), generator=generator)
        loss = -predictor.log_likelihood(now[rows], torch.full((2048,), lag), future[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def simulate(predictor: LangevinPredictor, start: Tensor, steps: int, seed: int) -> Tensor:
    """Runs [chains, steps, 2] from start [chains, 1, 2]."""
    generator = torch.Generator().manual_seed(seed)
    z, out, lag = start, [], torch.full((len(start),), predictor.longest)
    with torch.no_grad():
        for _ in range(steps):
            z = predictor.step(z, lag, torch.randn(len(z), predictor.noise_size, generator=generator))
            out.append(z.squeeze(1))
    return torch.stack(out, dim=1)


def test_learned_oscillator() -> None:
    """Fitted by likelihood to exact pairs: variance and correlation time within 2 % of the closed forms."""
    drift, noise = oscillator_moments(LAG)
    generator = torch.Generator().manual_seed(0)
    now = torch.randn(200_000, 2, generator=generator, dtype=torch.float64)
    factor = torch.linalg.cholesky(noise)
    future = now @ drift.T + torch.randn(now.shape, generator=generator, dtype=torch.float64) @ factor.T
    predictor = LangevinPredictor(2, (LAG, LAG), 16)
    fit(predictor, torch.stack([now, future], dim=1).float(), 500)
    drawn = simulate(predictor, now.float()[:20_000].unsqueeze(1), 100, 1)[:, 40:, 0].double()
    assert float(drawn.var()) == pytest.approx(1.0, rel=0.02)
    values = [float((drawn[:, 0] * drawn[:, k]).mean() / drawn.var()) for k in range(60)]
    exact = [float(torch.linalg.matrix_power(drift, k)[0, 0]) for k in range(60)]
    decay = [next(k + (c[k] - 0.2) / (c[k] - c[k + 1]) for k in range(59) if c[k + 1] < 0.2) for c in (values, exact)]
    assert decay[0] == pytest.approx(decay[1], rel=0.02)  # time at which the correlation has fallen to 0.2


WELL_LAG = 0.05  # the wells' own frequency is near 5


class DoubleWell(nn.Module):
    """V = 3 (q² − 1)² + 0.4 q in units of kT, times the lag, the unit of time."""

    def forward(self, q: Tensor) -> Tensor:
        return WELL_LAG * (3.0 * (q.square() - 1) ** 2 + 0.4 * q).sum(dim=-1)

    def gradient(self, q: Tensor) -> Tensor:
        return WELL_LAG * (12.0 * q * (q.square() - 1) + 0.4)


def crossings_per_time(runs: Tensor) -> tuple[float, float]:
    """Rate of leaving the left well for the right core (per unit of time spent left), and its deviation over runs."""
    q = runs[..., 0].numpy()
    state = np.where(q < -0.8, -1, np.where(q > 0.8, 1, 0))
    counts = []
    for row in state:
        core = row[row != 0]
        counts.append([(np.diff(core) == 2).sum(), (core[:-1] == -1).sum()])
    jumps, left = np.asarray(counts, dtype=float).T
    blocks = np.array([jumps[i::10].sum() / (left[i::10].sum() * WELL_LAG) for i in range(10)])
    return float(blocks.mean()), float(blocks.std(ddof=1) / math.sqrt(10))


def test_learned_double_well_keeps_populations_and_rates() -> None:
    """Population of the left well against quadrature; rate against fine steps of the exact process, within sampling."""
    grid = torch.linspace(-2.5, 2.5, 5001)
    weight = torch.exp(-DoubleWell()(grid.unsqueeze(1)) / WELL_LAG)
    left = float(weight[grid < 0].sum() / weight.sum())
    generator = torch.Generator().manual_seed(0)
    q = grid[torch.multinomial(weight, 2000, True, generator=generator)]
    start = torch.stack([q, torch.randn(2000, generator=generator)], dim=1).unsqueeze(1)
    exact = harmonic_predictor(4, WELL_LAG).float()
    exact.potential = DoubleWell()  # type: ignore[assignment]
    data = simulate(exact, start, 300, 0)
    predictor = LangevinPredictor(2, (WELL_LAG, WELL_LAG), 32)
    fit(predictor, data, 900)
    found = simulate(predictor, start, 1500, 1)[:, 500:]
    share, reference = ((runs[..., 0] < 0).double().mean(1) for runs in (found, data))
    interval = 3 * math.hypot(float(share.std()), float(reference.std())) / math.sqrt(len(share))
    assert interval < 0.05
    assert float(share.mean()) == pytest.approx(left, abs=interval)
    rate, error = crossings_per_time(found)
    expected, deviation = crossings_per_time(data)
    assert abs(rate - expected) < 3 * math.hypot(error, deviation)
    assert error < 0.05 * rate and deviation < 0.1 * expected


def test_an_odd_token_is_refused() -> None:
    with pytest.raises(ValueError, match="even number"):
        LangevinPredictor(3, (1.0, 1.0))
