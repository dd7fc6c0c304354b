"""Bursts of a chain with known populations, started out of equilibrium; a short run of a molecule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.hybrid.estimates import Bursts
from latentmd.sampling.levels import hybrid
from latentmd.sampling.request import HybridSettings

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"
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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of 30 ps without a surrogate, seed 5."""
    out = tmp_path_factory.mktemp("hybrid") / "plain"
    settings = HybridSettings(
        interval=0.1, burst=2.0, relaxation=0.2, lag=0.3, starts=4, cells=20, surrogate=False, hot=False
    )
    result = hybrid(ALANINE, out=out, time="30ps", processes=1, settings=settings, seed=5)
    assert result.status == "budget"
    return out
