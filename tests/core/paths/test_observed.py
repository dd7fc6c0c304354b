"""Paths given observations against the smoother of a linear Gaussian process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.core.paths.observed import ObservedPaths
from latentmd.core.paths.steps import MixtureSteps

PERSISTENCE, NOISE = 0.7, 0.5
OBSERVED = torch.tensor([0.4, -0.6, 1.2, 0.3])


class _Flow:
    noise_size = 1

    def sample(self, c: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        return PERSISTENCE * c + math.sqrt(1 - PERSISTENCE**2) * noise.reshape(c.shape)


class _Gaussian:
    """An autoregressive process written as a mixture of two equal cells, with their true or uneven weights."""

    def __init__(self) -> None:
        self.flow = _Flow()

    def lag(self, lag: Tensor) -> Tensor:
        return lag

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        return torch.log(torch.tensor([0.9, 0.1])).expand(len(z), 2)

    def context(self, z: Tensor, cell: Tensor) -> Tensor:
        return z


def _observe(z: Tensor, t: int) -> tuple[Tensor, Any]:
    return -0.5 * (z.flatten() - OBSERVED[t]) ** 2 / NOISE**2, lambda i: float(z.flatten()[i])


def _smoothed() -> np.ndarray[Any, Any]:
    """Posterior means of the process by its precision matrix."""
    steps = len(OBSERVED)
    covariance = PERSISTENCE ** np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    precision = np.linalg.inv(covariance) + np.eye(steps) / NOISE**2
    return np.asarray(np.linalg.solve(precision, OBSERVED.numpy() / NOISE**2))


def test_paths_follow_the_smoother() -> None:
    generator = torch.Generator().manual_seed(0)
    model = ObservedPaths(MixtureSteps(_Gaussian(), 1.0), 1, torch.tensor([0.5, 0.5]))
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
    class _Jumps(_Gaussian):
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
