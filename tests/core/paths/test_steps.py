"""Steps of particles: guided and defended draws, weighted, have the law of the model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.core.paths.filters import PinnedPaths
from latentmd.core.paths.steps import FreeSteps, MixtureSteps

PERSISTENCE, STEPS = 0.8, 6


class _Wells:
    """Arrives in the well at -1 or at 1 with a narrow Gaussian, in that at 1 with probability 0.2."""

    noise_size = 1

    def __init__(self) -> None:
        self.flow = self

    def lag(self, lag: Tensor) -> Tensor:
        return lag

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        return torch.tensor([0.8, 0.2]).log().expand(len(z), 2)

    def cell(self, z: Tensor) -> Tensor:
        return (z.flatten(1)[:, 0] > 0).long()

    def context(self, z: Tensor, cell: Tensor) -> Tensor:
        return 2.0 * cell.to(z.dtype).reshape(-1, 1, 1) - 1.0

    def sample(self, c: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        return c + 0.1 * noise.reshape(c.shape)

    def moments(self, c: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return c, torch.full_like(c, math.log(0.1))


def _weighted_share(gain: Tensor, chosen: Tensor) -> float:
    return float(gain.exp()[chosen].sum() / len(gain))


def test_guided_steps_weigh_what_the_guide_changed() -> None:
    steps, z = MixtureSteps(_Wells(), 1.0), torch.zeros(20_000, 1, 1)
    log_h = torch.tensor([0.01, 1.0]).log()
    moved, gain = steps.guided(z, log_h, torch.Generator().manual_seed(0))
    up = steps.cell(moved) == 1
    assert float(up.float().mean()) == pytest.approx(0.2 / 0.208, abs=0.01)
    assert _weighted_share(gain - log_h[steps.cell(moved)], up) == pytest.approx(0.2, rel=0.02)


def test_defended_steps_take_rare_cells_and_weigh_them_down() -> None:
    steps, z = MixtureSteps(_Wells(), 1.0), torch.zeros(20_000, 1, 1)
    moved, gain = steps.defended(z, torch.tensor([0.1, 0.9]), torch.Generator().manual_seed(0))
    up = steps.cell(moved) == 1
    assert float(up.float().mean()) == pytest.approx(0.8 * 0.2 + 0.2 * 0.9, abs=0.01)
    assert _weighted_share(gain, up) == pytest.approx(0.2, rel=0.04)


def test_arrival_at_a_point_has_the_density_of_its_cell() -> None:
    steps = MixtureSteps(_Wells(), 1.0)
    found = steps.log_arrival(torch.zeros(3, 1, 1), torch.tensor([[1.1]]))
    exact = math.log(0.2) - 0.5 - math.log(0.1) - 0.5 * math.log(2 * math.pi)
    assert found.tolist() == pytest.approx([exact] * 3, abs=1e-5)


class _Autoregressive:
    """z' = 0.8 z + 0.6 ε, whose stationary deviation is one."""

    step_noise = 1

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return PERSISTENCE * z + math.sqrt(1 - PERSISTENCE**2) * noise.reshape(z.shape)

    def log_arrival(self, z: Tensor, lag: Tensor, end: Tensor) -> Tensor:
        spread = math.sqrt(1 - PERSISTENCE**2)
        deviation = (end.flatten() - PERSISTENCE * z.flatten(1)[:, 0]) / spread
        return -0.5 * deviation.square() - math.log(spread) - 0.5 * math.log(2 * math.pi)


def _side(z: Tensor) -> Tensor:
    return (z.flatten(1)[:, 0] > 0).long()


def test_free_steps_find_the_probability_of_an_end() -> None:
    steps = FreeSteps(_Autoregressive(), _side, 1.0)
    h = torch.ones(STEPS + 1, 2)
    h[-1, 0] = 0.0
    h[STEPS // 2, 0] = 0.5  # a guide of its own mind
    start = torch.tensor([[-1.0]])
    drawn = PinnedPaths(steps, h).sample(start, None, 500, 20_000, torch.Generator().manual_seed(1))
    assert bool((drawn.paths[:, -1] > 0).all())
    mean, spread = PERSISTENCE**STEPS, math.sqrt(1 - PERSISTENCE ** (2 * STEPS))
    assert math.exp(drawn.log_likelihood) == pytest.approx(0.5 * math.erfc(mean / spread / math.sqrt(2)), rel=0.03)


def test_free_steps_end_in_a_point_with_its_density() -> None:
    steps, end = FreeSteps(_Autoregressive(), _side, 1.0), torch.tensor([[1.5]])
    h = torch.ones(STEPS + 1, 2)
    drawn = PinnedPaths(steps, h).sample(torch.tensor([[-1.0]]), end, 500, 20_000, torch.Generator().manual_seed(1))
    assert bool((drawn.paths[:, -1] == 1.5).all())
    mean, variance = -(PERSISTENCE**STEPS), 1 - PERSISTENCE ** (2 * STEPS)
    exact = -0.5 * (1.5 - mean) ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)
    assert drawn.log_likelihood == pytest.approx(exact, abs=0.03)


def test_free_steps_cannot_be_defended() -> None:
    steps = FreeSteps(_Autoregressive(), _side, 1.0)
    moved, gain = steps.defended(torch.zeros(4, 1, 1), torch.ones(2), torch.Generator().manual_seed(0))
    assert moved.shape == (4, 1, 1) and gain.tolist() == [0.0] * 4


class _TwoCells(_Wells):
    """Arrives in cell 1 with the probability that z itself holds."""

    def log_weights(self, z: Tensor, g: Tensor) -> Tensor:
        p = z.flatten(1)
        return torch.cat([1 - p, p], dim=1).log()


def test_rows_of_a_mixture_are_means_over_the_points_of_a_cell() -> None:
    points = torch.tensor([0.1, 0.3, 0.9]).reshape(3, 1, 1)
    matrix = MixtureSteps(_TwoCells(), 1.0).matrix(points, np.array([0, 0, 1]))
    assert matrix == pytest.approx(np.array([[0.8, 0.2], [0.1, 0.9]]), abs=1e-6)


def test_a_cell_without_points_keeps_its_walker() -> None:
    matrix = MixtureSteps(_TwoCells(), 1.0).matrix(torch.tensor([[[0.5]]]), np.array([0]))
    assert matrix[1].tolist() == [0.0, 1.0]
    free = FreeSteps(_Autoregressive(), lambda z: torch.zeros(len(z), dtype=torch.long), 1.0, cells=2)
    assert free.matrix(torch.zeros(5, 1, 1), np.zeros(5, dtype=np.int64)).tolist() == [[1.0, 0.0], [0.0, 1.0]]
