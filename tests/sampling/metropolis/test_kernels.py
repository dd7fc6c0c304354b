"""Kernel densities on a torus: normalised, floored, and those of their draws."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.metropolis.blocks import TorsionKernels


def kernels(torsions: int, width: float = 0.3) -> TorsionKernels:
    centres = np.random.default_rng(0).uniform(-np.pi, np.pi, (2, 7, torsions))
    return TorsionKernels(centres, width)


def test_the_density_integrates_to_one() -> None:
    grid = np.linspace(-np.pi, np.pi, 120, endpoint=False)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    for group in (0, 1):
        density = np.exp(kernels(2).log_density(points, np.full(len(points), group)))
        assert density.mean() * (2 * np.pi) ** 2 == pytest.approx(1.0, abs=1e-6)


def test_draws_have_the_density() -> None:
    """The mean logarithm of the density over draws is its negative entropy by quadrature."""
    one = kernels(1, 0.2)
    grid = np.linspace(-np.pi, np.pi, 4000, endpoint=False)[:, None]
    for group in (0, 1):
        log = one.log_density(grid, np.full(len(grid), group))
        drawn = one.draw(np.full(40_000, group), np.random.default_rng(group + 1))
        found = one.log_density(drawn, np.full(len(drawn), group))
        error = found.std() / np.sqrt(len(found))
        assert abs(found.mean() - (np.exp(log) * log).mean() * 2 * np.pi) < 4 * error


def test_no_place_is_left_out() -> None:
    far = TorsionKernels(np.zeros((1, 5, 3)), 0.1)
    log = far.log_density(np.full((1, 3), np.pi), np.zeros(1))
    assert log[0] == pytest.approx(np.log(far.floor) - 3 * np.log(2 * np.pi), abs=1e-6)
