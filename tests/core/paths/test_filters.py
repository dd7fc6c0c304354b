"""Pinned paths against Gaussian bridges, and paths given observations against the smoother of a Gaussian process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.core.paths.filters import ObservedPaths, PinnedPaths
from latentmd.core.paths.steps import MixtureSteps

PERSISTENCE, STEPS = 0.8, 8


class _Flow:
    """z' = a z + sqrt(1 − a²) noise, whatever the cell."""

    noise_size = 1

    def moments(self, c: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return PERSISTENCE * c, torch.full_like(c, 0.5 * math.log(1 - PERSISTENCE**2))

    def sample(self, c: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        mean, log_scale = self.moments(c, g)
        return mean + log_scale.exp() * noise.reshape(mean.shape)


class _Gaussian:
    """An autoregressive process with one cell, or, to test the correction, with wrong cells and a wrong guide."""

    def __init__(self, cells: int) -> None:
        self.cells, self.flow = cells, _Flow()

    def lag(self, lag: Tensor) -> Tensor:
        return lag

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        return torch.full((len(z), self.cells), -math.log(self.cells))

    def cell(self, z: Tensor) -> Tensor:
        return (z.flatten(1)[:, 0] > 0).long() * (self.cells - 1)

    def context(self, z: Tensor, cell: Tensor) -> Tensor:
        return z


def _bridge_moments(start: float, end: float, t: int) -> tuple[float, float]:
    """Mean and variance of an Ornstein–Uhlenbeck bridge at step t."""
    a, b = PERSISTENCE**t, PERSISTENCE ** (STEPS - t)
    forward, backward = 1 - a * a, 1 - b * b
    variance = 1 / (1 / forward + b * b / backward)
    return variance * (a * start / forward + b * end / backward), variance


def test_paths_between_points_follow_the_gaussian_bridge() -> None:
    start, end = torch.tensor([[1.5]]), torch.tensor([[-1.0]])
    pinned = PinnedPaths(MixtureSteps(_Gaussian(1), 1.0), torch.ones(STEPS + 1, 1))
    drawn = pinned.sample(start, end, 4000, 40_000, torch.Generator().manual_seed(0))
    assert drawn.paths.shape == (4000, STEPS + 1, 1, 1)
    assert bool((drawn.paths[:, 0] == start).all()) and bool((drawn.paths[:, -1] == end).all())
    for t in (2, 4, 6):
        mean, variance = _bridge_moments(1.5, -1.0, t)
        values = drawn.paths[:, t, 0, 0]
        assert float(values.mean()) == pytest.approx(mean, abs=0.05)
        assert float(values.var()) == pytest.approx(variance, rel=0.12)
    spread = 1 - PERSISTENCE ** (2 * STEPS)
    exact = -0.5 * (-1.0 - PERSISTENCE**STEPS * 1.5) ** 2 / spread - 0.5 * math.log(2 * math.pi * spread)
    assert drawn.log_likelihood == pytest.approx(exact, abs=0.05)


def test_an_end_of_cells_has_the_probability_of_the_cells() -> None:
    h = torch.ones(STEPS + 1, 2)
    h[-1, 0] = 0.0  # arrive above zero
    drawn = PinnedPaths(MixtureSteps(_SignCells(), 1.0), h).sample(
        torch.tensor([[-1.0]]), None, 500, 20_000, torch.Generator().manual_seed(1)
    )
    assert bool((drawn.paths[:, -1] > 0).all())
    mean, spread = -(PERSISTENCE**STEPS), math.sqrt(1 - PERSISTENCE ** (2 * STEPS))
    exact = 0.5 * math.erfc(-mean / spread / math.sqrt(2))
    assert drawn.log_likelihood == pytest.approx(math.log(exact), abs=0.05)


class _SignCells(_Gaussian):
    """The same process written as a mixture over the sign of where it arrives (truncated normals)."""

    def __init__(self) -> None:
        super().__init__(2)
        self.flow = _Truncated()  # type: ignore[assignment]

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        ratio = PERSISTENCE * z.flatten(1) / math.sqrt(1 - PERSISTENCE**2)
        above = 0.5 * torch.erfc(-ratio / math.sqrt(2))
        return torch.cat([1 - above, above], dim=1).clamp_min(1e-12).log()

    def context(self, z: Tensor, cell: Tensor) -> Tensor:
        return torch.cat([z, cell.to(z.dtype).reshape(-1, 1, 1)], dim=-1)


class _Truncated(_Flow):
    def sample(self, c: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        z, above = c[..., :1].double(), c[..., 1:].double()
        scale = math.sqrt(1 - PERSISTENCE**2)
        mean = PERSISTENCE * z
        below = 0.5 * torch.erfc(mean / scale / math.sqrt(2))  # probability of arriving below zero
        u = 0.5 * torch.erfc(-noise.double().reshape(mean.shape) / math.sqrt(2))
        p = torch.where(above > 0, below + u * (1 - below), u * below).clamp(1e-12, 1 - 1e-12)
        return (mean + scale * math.sqrt(2) * torch.erfinv(2 * p - 1)).float()


def test_a_wrong_guide_changes_no_expectation() -> None:
    tilt = torch.linspace(1.0, 3.0, STEPS + 1).unsqueeze(1) ** torch.tensor([1.0, -1.0])
    drawn = PinnedPaths(MixtureSteps(_SignCells(), 1.0), tilt).sample(
        torch.tensor([[1.5]]), torch.tensor([[-1.0]]), 4000, 60_000, torch.Generator().manual_seed(2)
    )
    assert float(drawn.effective.min()) > 100
    # The arrival density of this double is the untruncated one, which the weight of the cell multiplies; compare shape.
    mean, _ = _bridge_moments(1.5, -1.0, 4)
    assert float(drawn.paths[:, 4].mean()) == pytest.approx(mean, abs=0.25)


def test_many_starts_are_weighed_by_how_likely_the_end_is_from_each() -> None:
    h = torch.ones(STEPS + 1, 2)
    h[-1, 0] = 0.0  # arrive above zero
    starts = torch.tensor([-2.0, 2.0]).repeat(20_000).reshape(-1, 1, 1)
    drawn = PinnedPaths(MixtureSteps(_SignCells(), 1.0), h).sample(
        starts, None, 4000, 40_000, torch.Generator().manual_seed(3)
    )
    spread = math.sqrt(1 - PERSISTENCE ** (2 * STEPS))
    above = [0.5 * math.erfc(-sign * 2 * PERSISTENCE**STEPS / spread / math.sqrt(2)) for sign in (-1, 1)]
    assert drawn.log_likelihood == pytest.approx(math.log(sum(above) / 2), abs=0.05)
    assert float((drawn.paths[:, 0] > 0).float().mean()) == pytest.approx(above[1] / sum(above), abs=0.03)


def test_bad_input_is_refused() -> None:
    pinned = PinnedPaths(MixtureSteps(_Gaussian(1), 1.0), torch.ones(3, 1))
    point = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="at least as many"):
        pinned.sample(point, point, 5, 4, torch.Generator())
    nowhere = torch.ones(3, 2)
    nowhere[-1] = 0.0
    with pytest.raises(ValueError, match="longer time or more paths"):
        PinnedPaths(MixtureSteps(_SignCells(), 1.0), nowhere).sample(
            point, None, 2, 8, torch.Generator().manual_seed(0)
        )


CORRELATION, NOISE = 0.7, 0.5
OBSERVED = torch.tensor([0.4, -0.6, 1.2, 0.3])


class _CorrelatedFlow:
    noise_size = 1

    def sample(self, c: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        return CORRELATION * c + math.sqrt(1 - CORRELATION**2) * noise.reshape(c.shape)


class _Correlated:
    """An autoregressive process written as a mixture of two equal cells, with their true or uneven weights."""

    def __init__(self) -> None:
        self.flow = _CorrelatedFlow()

    def lag(self, lag: Tensor) -> Tensor:
        return lag

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        return torch.log(torch.tensor([0.9, 0.1])).expand(len(z), 2)

    def cell(self, z: Tensor) -> Tensor:
        return (z.flatten(1)[:, 0] > 0).long()

    def context(self, z: Tensor, cell: Tensor) -> Tensor:
        return z


def _observe(z: Tensor, t: int) -> tuple[Tensor, Any]:
    return -0.5 * (z.flatten() - OBSERVED[t]) ** 2 / NOISE**2, lambda i: float(z.flatten()[i])


def _smoothed() -> np.ndarray[Any, Any]:
    """Posterior means of the process by its precision matrix."""
    steps = len(OBSERVED)
    covariance = CORRELATION ** np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    precision = np.linalg.inv(covariance) + np.eye(steps) / NOISE**2
    return np.asarray(np.linalg.solve(precision, OBSERVED.numpy() / NOISE**2))


def test_paths_follow_the_smoother() -> None:
    generator = torch.Generator().manual_seed(0)
    model = ObservedPaths(MixtureSteps(_Correlated(), 1.0), 1, torch.tensor([0.5, 0.5]))
    drawn = []
    for _ in range(400):
        starts = torch.randn(200, 1, 1, generator=generator)
        found = model.sample(starts, _observe, len(OBSERVED), generator)
        assert found.carried == pytest.approx(found.path.flatten().tolist())
        drawn.append(found.path.flatten())
    mean = torch.stack(drawn).mean(dim=0).numpy()
    assert mean == pytest.approx(_smoothed(), abs=0.08)
    assert float(found.effective.min()) > 0.1


def test_a_rare_cell_that_an_observation_demands_is_found() -> None:
    class _Jumps(_Correlated):
        def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
            return torch.log(torch.tensor([1 - 1e-6, 1e-6])).expand(len(z), 2)

        def context(self, z: Tensor, cell: Tensor) -> Tensor:
            return cell.to(z.dtype).reshape(-1, 1, 1) * 10

    def observe(z: Tensor, t: int) -> tuple[Tensor, Any]:
        target = 7.0 if t else 0.0  # 0.7 of ten
        return -0.5 * (z.flatten() - target) ** 2 / 0.5**2, lambda i: None

    model = ObservedPaths(MixtureSteps(_Jumps(), 1.0), 1, torch.tensor([0.5, 0.5]))
    found = model.sample(torch.zeros(200, 1, 1), observe, 2, torch.Generator().manual_seed(1))
    assert abs(float(found.path[1]) - 7.0) < 2.0
