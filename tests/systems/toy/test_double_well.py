"""Double well: first-passage times against quadrature and Kramers' rate."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.double_well import DoubleWell
from latentmd.systems.toy.muller_brown import MullerBrown
from latentmd.systems.toy.world import WorldError

ALL = [
    DoubleWell(),
    DoubleWell(inertia=False, timestep=0.002),
    MullerBrown(),
    MullerBrown(inertia=False, timestep=2e-4),
]


def test_mean_first_passage_time() -> None:
    world = DoubleWell(barrier=1.0, inertia=False, timestep=0.002, stride=2)
    paths = world.simulate(100, 6000, 1)[..., 0]
    for sign in (1.0, -1.0):  # from −1 to 1, and back
        times = np.array([time for path in (sign * paths).tolist() for time in _passages(path)]) * world.interval
        exact = world.mean_first_passage(-sign, sign)
        # Watching at discrete times puts the target further by 0.58 deviations of a step (Broadie et al. 1997).
        late = world.mean_first_passage(-sign, sign * (1 + 0.58 * np.sqrt(2 * world.interval))) - exact
        assert len(times) > 150
        assert abs(times.mean() - exact - late) < 4 * times.std() / np.sqrt(len(times))


def _passages(path: list[float]) -> list[int]:
    """Frames from each first arrival at −1 to the next arrival at 1, for starts in the first two thirds."""
    times, since = [], None
    for frame, x in enumerate(path):
        if since is None and x <= -1 and frame < 2 * len(path) // 3:
            since = frame
        elif since is not None and x >= 1:
            times.append(frame - since)
            since = None
    return times


def test_mean_first_passage_against_kramers_and_symmetry() -> None:
    symmetric = DoubleWell(tilt=0.0, inertia=False, barrier=8.0)
    there, back = symmetric.mean_first_passage(-1, 1), symmetric.mean_first_passage(1, -1)
    assert there == pytest.approx(back, rel=1e-6)
    # Kramers at high friction: γ 2π / (ω₀ ω_b) exp(ΔV / kT) with ω₀² = 8 B, ω_b² = 4 B; corrections of order 1/B.
    kramers = 2 * np.pi / np.sqrt(32 * 64) * np.exp(8)
    assert there == pytest.approx(kramers, rel=0.1)
    assert symmetric.mean_first_passage(0.5, 0.5) == 0.0


def test_first_passage_with_inertia_is_refused() -> None:
    with pytest.raises(WorldError, match="without inertia only"):
        DoubleWell().mean_first_passage(-1, 1)
