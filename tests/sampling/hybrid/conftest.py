"""Bursts of a chain with known populations, started out of equilibrium."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentmd.sampling.hybrid.estimates import Bursts

MATRIX = np.array([[0.95, 0.05, 0.0], [0.04, 0.9, 0.06], [0.0, 0.03, 0.97]])


@pytest.fixture(scope="session")
def stationary() -> np.ndarray:
    """Equilibrium of the chain, (4, 5, 10) / 19 by detailed balance."""
    return np.array([4.0, 5.0, 10.0]) / 19


@pytest.fixture(scope="session")
def chain() -> Callable[..., Bursts]:
    """Makes bursts of the chain; its first cell is one state, the others make another."""

    def make(count: int, frames: int, seed: int, starts: tuple[float, float, float] = (0.9, 0.1, 0.0)) -> Bursts:
        rng = np.random.default_rng(seed)
        state = rng.choice(3, size=count, p=starts)
        cumulative = np.cumsum(MATRIX, axis=1)
        paths = np.empty((count, frames), dtype=np.int64)
        for frame in range(frames):
            state = np.minimum((rng.random(count)[:, None] > cumulative[state]).sum(axis=1), 2)
            paths[:, frame] = state
        inside = [np.column_stack([path == 0, path != 0]) for path in paths]
        return Bursts(list(paths), inside, ("first", "rest"), 3, 0.5)

    return make
