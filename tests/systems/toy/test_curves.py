"""Circles and lines: the motions they claim, and noise of the stated size."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.curves import Circles, Lines


def test_circles_are_circles_run_at_constant_speed() -> None:
    states = Circles().simulate(10, 40, 0)
    x, v = states[..., :2], states[..., 2:4]
    chord = x[:, 1:] - x[:, :-1]
    # Three points fix a circle; every other point lies on it.
    centre = _centre(x[:, 0], x[:, 5], x[:, 11])
    radius = np.linalg.norm(x - centre[:, None], axis=-1)
    np.testing.assert_allclose(radius, np.broadcast_to(radius[:, :1], radius.shape), rtol=1e-9)
    assert (0.5 <= radius).all() and (radius <= 1.5).all() and (np.abs(centre) <= 0.5 + 1e-9).all()
    assert np.abs(((x - centre[:, None]) * v).sum(-1)).max() < 1e-9
    turn = 2 * np.arcsin(np.linalg.norm(chord, axis=-1) / (2 * radius[:, 1:]))
    np.testing.assert_allclose(turn * radius[:, 1:], np.linalg.norm(v[:, 1:], axis=-1), rtol=1e-9)


def _centre(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    matrix = 2 * np.stack([b - a, c - a], axis=1)
    right = np.stack([(b**2 - a**2).sum(-1), (c**2 - a**2).sum(-1)], axis=1)
    return np.linalg.solve(matrix, right[..., None])[..., 0]


def test_lines_are_straight() -> None:
    states = Lines().simulate(10, 40, 0)
    expected = states[:, :1, :2] + states[:, :1, 2:4] * np.arange(40)[:, None]
    np.testing.assert_allclose(states[..., :2], expected, atol=1e-12)
    speed = np.linalg.norm(states[:, 0, 2:4], axis=-1)
    assert (0.02 <= speed).all() and (speed <= 0.1).all()


@pytest.mark.parametrize("curves", [Circles(noise=0.05), Lines(noise=0.05)])
def test_noise_is_measured_and_energy_is_not(curves: Circles | Lines) -> None:
    states = curves.simulate(100, 40, 0)
    error = curves.observe(states, "coordinates") - states[..., :2]
    assert error.std() == pytest.approx(0.05, rel=0.05)  # 8000 numbers: within six standard errors
    assert abs((error[:, 1:] * error[:, :-1]).mean()) < 5 * 0.05**2 / np.sqrt(error[:, 1:].size)
    energy = curves.energy(states)
    np.testing.assert_allclose(energy, np.broadcast_to(energy[:, :1], energy.shape), rtol=1e-9)
