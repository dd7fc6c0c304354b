"""What tests of several encoders look at."""

from __future__ import annotations

import pytest
import torch

from latentmd.systems.toy.two_balls import TwoBalls
from latentmd.systems.toy.world import frame_stack


@pytest.fixture(scope="session")
def stacks() -> torch.Tensor:
    """Stacks of two pictures of two balls, [64, 2, 64, 64]."""
    states = TwoBalls().simulate(8, 9, 0)
    return torch.from_numpy(frame_stack(TwoBalls().observe(states, "pixels"), 2).reshape(-1, 2, 64, 64).copy())
