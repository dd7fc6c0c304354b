"""Chains with known answers."""

from __future__ import annotations

import numpy as np
import pytest

LEAVING = (0.02, 0.05)  # two-state chain: probability per step of leaving state 0 and state 1


@pytest.fixture(scope="session")
def two_state_chain() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    runs = []
    for start in (0, 1, 0, 0):
        draws = rng.random(100_000)
        path = np.empty(100_000, dtype=np.int64)
        state = start
        for t, u in enumerate(draws):
            path[t] = state
            if u < LEAVING[state]:
                state = 1 - state
        runs.append(path)
    return runs
