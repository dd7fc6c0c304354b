"""Two balls: exact collisions, conservation, reversibility, pictures."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.two_balls import TwoBalls
from latentmd.systems.toy.world import WorldError


@pytest.mark.parametrize("masses", [(1.0, 1.0), (1.0, 5.0)])
def test_energy_is_kept_and_balls_stay_apart_and_inside(masses: tuple[float, float]) -> None:
    balls = TwoBalls(masses=masses)
    states = balls.simulate(20, 200, 0)
    energy = balls.energy(states)
    np.testing.assert_allclose(energy, np.broadcast_to(energy[:, :1], energy.shape), rtol=1e-12)
    assert states[..., :4].min() > 0.1 - 1e-9 and states[..., :4].max() < 0.9 + 1e-9
    assert np.linalg.norm(states[..., :2] - states[..., 2:4], axis=-1).min() > 0.2 - 1e-9
    speeds = (states[..., 4:6] ** 2).sum(-1)
    assert np.ptp(speeds, axis=1).min() > 1e-3, "every pair of balls collides at least once"


def test_head_on_collision_of_equal_balls_exchanges_velocities() -> None:
    balls = TwoBalls(interval=0.1)
    states = balls.integrate(np.array([0.3, 0.5, 0.7, 0.5, 1.0, 0.0, 0.0, 0.0]), 5)
    # They touch after 0.2; then the first is at rest in x = 0.5 and the second flies on.
    np.testing.assert_allclose(states[3], [0.5, 0.5, 0.8, 0.5, 0, 0, 1, 0], atol=1e-12)


def test_oblique_collision_keeps_momentum_and_turns_only_the_normal_part() -> None:
    balls = TwoBalls(masses=(1.0, 3.0), interval=0.05)
    start = np.array([0.35, 0.45, 0.65, 0.55, 0.8, 0.1, -0.6, 0.0])
    end = balls.integrate(start, 5)[-1]
    assert np.abs(end[4:] - start[4:]).max() > 0.1
    mass = np.repeat(balls.masses, 2)
    for axis in (0, 1):
        before, after = (mass * start[4:])[axis::2].sum(), (mass * end[4:])[axis::2].sum()
        assert after == pytest.approx(before, abs=1e-12)
    impulse = end[4:6] - start[4:6]
    # Equal radii: at contact the impulse lies along the line of centres, whose length is 0.2.
    relative, gap = start[4:6] - start[6:8], start[:2] - start[2:4]
    a, b, c = relative @ relative, 2 * gap @ relative, gap @ gap - 0.04
    time = (-b - np.sqrt(b * b - 4 * a * c)) / (2 * a)
    normal = gap + time * relative
    assert abs(impulse[0] * normal[1] - impulse[1] * normal[0]) < 1e-12


def test_a_wall_turns_one_component() -> None:
    balls = TwoBalls(interval=0.1)
    states = balls.integrate(np.array([0.85, 0.8, 0.2, 0.2, 1.0, 0.3, 0.0, 0.0]), 2)
    np.testing.assert_allclose(states[1], [0.85, 0.83, 0.2, 0.2, -1.0, 0.3, 0, 0], atol=1e-12)


def test_time_runs_back() -> None:
    balls = TwoBalls(masses=(1.0, 2.0))
    forth = balls.simulate(3, 40, 5)
    for path in forth:
        turned = path[-1] * np.repeat([1.0, -1.0], 4)
        back = balls.integrate(turned, 40)[-1]
        np.testing.assert_allclose(back * np.repeat([1.0, -1.0], 4), path[0], atol=1e-6)


def test_pictures_show_both_balls_where_they_are() -> None:
    balls = TwoBalls(radii=(0.08, 0.12))
    states = balls.simulate(2, 4, 2)
    pictures = balls.observe(states, "pixels").astype(np.float64)
    middles = (np.arange(64) + 0.5) / 64
    bright = np.where(pictures > 0.5, pictures, 0)  # the first ball alone, but for its rim
    x = (bright.sum(-2) * middles).sum(-1) / bright.sum((-1, -2))
    y = 1 - (bright.sum(-1) * middles).sum(-1) / bright.sum((-1, -2))
    np.testing.assert_allclose(np.stack([x, y], -1), states[..., :2], atol=0.005)
    area = np.pi * (0.08**2 + 0.5 * 0.12**2) * 64**2
    np.testing.assert_allclose(pictures.sum((-1, -2)), area, rtol=0.02)


def test_balls_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WorldError, match="sum below half the box"):
        TwoBalls(radii=(0.3, 0.3))
