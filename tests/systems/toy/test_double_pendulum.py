"""Double pendulum: energy, normal modes at small angles, independence of the solver, pictures."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.double_pendulum import DoublePendulum


def test_energy_is_conserved() -> None:
    pendulum = DoublePendulum(masses=(1.0, 2.0), lengths=(1.0, 0.7))
    states = pendulum.simulate(4, 100, 0)
    energy = pendulum.energy(states)
    assert np.abs(energy - energy[:, :1]).max() < 1e-6
    assert np.ptp(energy[:, 0]) > 1  # trajectories differ


def test_small_angles_swing_in_normal_modes() -> None:
    """Equal masses and lengths: ω² = (2 ∓ √2) g / l with θ₂ = ±√2 θ₁."""
    pendulum = DoublePendulum(interval=0.1)
    for sign in (1, -1):
        start = 1e-4 * np.array([1.0, sign * np.sqrt(2), 0.0, 0.0])
        states = pendulum.integrate(start, 60)
        omega = np.sqrt((2 - sign * np.sqrt(2)) * pendulum.gravity)
        expected = np.cos(omega * pendulum.interval * np.arange(60))
        np.testing.assert_allclose(states[:, 0], start[0] * expected, atol=1e-9)
        np.testing.assert_allclose(states[:, 1], start[1] * expected, atol=1e-9)


def test_rate_follows_from_the_energy() -> None:
    """Along the motion dE/dt = 0 at any state and masses, which fixes both accelerations but for one combination;
    the other is the torque of gravity on the whole: dL/dt = −∂V/∂(rotation of everything)."""
    pendulum = DoublePendulum(masses=(1.3, 0.6), lengths=(0.8, 1.1))
    (m1, m2), (l1, l2), g = pendulum.masses, pendulum.lengths, pendulum.gravity
    for state in np.random.default_rng(0).normal(size=(20, 4)) * [2, 2, 3, 3]:
        rate, step = np.array(pendulum._rate(0.0, state)), 1e-5
        change = pendulum.energy(state + step * rate) - pendulum.energy(state - step * rate)
        assert abs(change / (2 * step)) < 1e-4

        def momentum(s: np.ndarray) -> float:
            c = np.cos(s[0] - s[1])
            cross = m2 * l1 * l2 * c * (s[2] + s[3])
            return float((m1 + m2) * l1**2 * s[2] + m2 * l2**2 * s[3] + cross)

        torque = -(m1 + m2) * g * l1 * np.sin(state[0]) - m2 * g * l2 * np.sin(state[1])
        found = (momentum(state + step * rate) - momentum(state - step * rate)) / (2 * step)
        assert found == pytest.approx(torque, abs=1e-4)


def test_coordinates_are_those_of_the_bobs() -> None:
    pendulum = DoublePendulum(lengths=(1.0, 0.5))
    states = np.array([[0.0, 0.0, 1.0, 2.0], [np.pi / 2, np.pi, 0.0, 0.0]])
    expected = [[0, -1, 0, -1.5], [1, 0, 1, 0.5]]
    np.testing.assert_allclose(pendulum.observe(states, "coordinates"), expected, atol=1e-6)


def test_pictures_follow_the_state() -> None:
    """The brightness of the bobs' places is full, and the weighted middle of a picture is that of rods and bobs."""
    pendulum = DoublePendulum()
    states = pendulum.simulate(3, 5, 1)
    pictures = pendulum.observe(states, "pixels").astype(np.float64)
    half = 1.1 * sum(pendulum.lengths)
    middles = (np.arange(64) + 0.5) * 2 * half / 64 - half
    total = pictures.sum((-1, -2))
    x = (pictures.sum(-2) * middles).sum(-1) / total
    y = -(pictures.sum(-1) * middles).sum(-1) / total
    first, second = pendulum.bobs(states)
    # Areas: two discs of radius 0.16, two rods of length 1 and half-brightness, middles halfway along.
    disc, rod = np.pi * 0.16**2, 0.5 * 0.08 * (1 - 0.16)
    rod_middles = rod * (first / 2 * 1.0) + rod * (first + second) / 2
    expected = (disc * (first + second) + rod_middles) / (2 * disc + 2 * rod)
    np.testing.assert_allclose(np.stack([x, y], -1), expected, atol=0.05)
    column = np.floor((second[..., 0] + half) / (2 * half) * 64).astype(int)
    row = np.floor((half - second[..., 1]) / (2 * half) * 64).astype(int)
    i, j = np.indices(column.shape)
    assert (pictures[i, j, row, column] > 0.99).all()


def test_pictures_change_smoothly() -> None:
    """A bob that moves a tenth of a pixel changes the picture by about a tenth of its outline: anti-aliased."""
    pendulum = DoublePendulum()
    at = np.array([[0.3, 0.3, 0, 0], [0.305, 0.3, 0, 0]])
    pictures = pendulum.observe(at, "pixels")
    change = np.abs(pictures[1] - pictures[0])
    assert 0 < change.max() < 0.3


def test_one_frame() -> None:
    assert DoublePendulum().simulate(2, 1, 0).shape == (2, 1, 4)
