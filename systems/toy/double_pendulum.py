"""Double pendulum: two point masses on rigid rods, seen as coordinates of the bobs or as pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from latentmd.arrays import Doubles
from latentmd.systems.toy.world import Canvas, World

_TOLERANCE = 1e-10  # relative and absolute, of the integration


@dataclass(frozen=True)
class DoublePendulum(World):
    """Two masses on rigid massless rods in a plane; the state is (θ₁, θ₂, ω₁, ω₂), angles from straight down; SI.

    With Δ = θ₁ − θ₂, M = m₁ + m₂ and the two angular equations of Lagrange solved for the accelerations

        M l₁ θ̈₁ + m₂ l₂ θ̈₂ cos Δ = −m₂ l₂ ω₂² sin Δ − M g sin θ₁
        l₂ θ̈₂ + l₁ θ̈₁ cos Δ      =  l₁ ω₁² sin Δ − g sin θ₂

    integrated by DOP853 (Hairer, Nørsett & Wanner 1993) at a tolerance of 1e-10.
    E = ½ M l₁² ω₁² + ½ m₂ l₂² ω₂² + m₂ l₁ l₂ ω₁ ω₂ cos Δ − M g l₁ cos θ₁ − m₂ g l₂ cos θ₂.

    Trajectories start at rest from angles uniform in ±`largest_angle`: at 1.5 rad many are chaotic, at 0.1 rad the
    motion is that of two coupled oscillators. "coordinates" are (x₁, y₁, x₂, y₂) of the bobs with the pivot at the
    origin and y upwards; "pixels" are pictures of 64 × 64. Neither shows velocities: two frames do.
    """

    masses: tuple[float, float] = (1.0, 1.0)
    lengths: tuple[float, float] = (1.0, 1.0)
    gravity: float = 9.81
    interval: float = 0.05
    largest_angle: float = 1.5

    name = "double-pendulum"
    units = "s, m, J"
    observations = ("coordinates", "pixels")
    history = MappingProxyType({"coordinates": 2, "pixels": 2})
    angles = (0, 1)

    def _trajectory(self, frames: int, rng: np.random.Generator) -> Doubles:
        angles = rng.uniform(-self.largest_angle, self.largest_angle, 2)
        return self.integrate(np.concatenate([angles, np.zeros(2)]), frames)

    def integrate(self, start: Doubles, frames: int) -> Doubles:
        """States [frames, 4] of one trajectory from its first state [4]; angles are not wrapped."""
        from scipy.integrate import solve_ivp

        if frames == 1:
            return np.array(start[None], dtype=np.float64)
        times = self.interval * np.arange(frames)
        found = solve_ivp(self._rate, (0.0, float(times[-1])), start, "DOP853", times, rtol=_TOLERANCE, atol=_TOLERANCE)
        return np.asarray(found.y.T, dtype=np.float64)

    def _rate(self, time: float, state: Doubles) -> tuple[float, float, float, float]:
        theta1, theta2, omega1, omega2 = state.tolist()
        (m1, m2), (l1, l2), g = self.masses, self.lengths, self.gravity
        total, cos, sin = m1 + m2, math.cos(theta1 - theta2), math.sin(theta1 - theta2)
        first = -m2 * l2 * omega2 * omega2 * sin - total * g * math.sin(theta1)
        second = l1 * omega1 * omega1 * sin - g * math.sin(theta2)
        determinant = total - m2 * cos * cos
        acceleration1 = (first - m2 * cos * second) / (l1 * determinant)
        acceleration2 = (total * second - cos * first) / (l2 * determinant)
        return omega1, omega2, acceleration1, acceleration2

    def bobs(self, states: Doubles) -> tuple[Doubles, Doubles]:
        """Positions [..., 2] m of the two bobs."""
        theta1, theta2 = states[..., 0], states[..., 1]
        l1, l2 = self.lengths
        first = l1 * np.stack([np.sin(theta1), -np.cos(theta1)], axis=-1)
        return first, first + l2 * np.stack([np.sin(theta2), -np.cos(theta2)], axis=-1)

    def _seen(self, states: Doubles, how: str) -> Doubles:
        return np.concatenate(self.bobs(states), axis=-1)

    def _draw(self, states: Doubles) -> Canvas:
        (first, second), reach = self.bobs(states), sum(self.lengths)
        canvas = Canvas(len(states), (0.0, 0.0), 1.1 * reach)
        canvas.rod(np.zeros_like(first), first, 0.02 * reach, 0.5)
        canvas.rod(first, second, 0.02 * reach, 0.5)
        canvas.disc(first, 0.08 * reach)
        canvas.disc(second, 0.08 * reach)
        return canvas

    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """Sines and cosines of both angles, angular velocities (rad/s), energy (J)."""
        theta, omega = states[..., :2], states[..., 2:]
        return {
            "sin": np.sin(theta),
            "cos": np.cos(theta),
            "angular velocity": omega,
            "energy": self.energy(states)[..., None],
        }

    def energy(self, states: Doubles) -> Doubles:
        """Kinetic plus potential energy [...] J; zero potential at the pivot."""
        theta1, theta2, omega1, omega2 = np.moveaxis(np.asarray(states), -1, 0)
        (m1, m2), (l1, l2), g = self.masses, self.lengths, self.gravity
        kinetic = 0.5 * (m1 + m2) * (l1 * omega1) ** 2 + 0.5 * m2 * (l2 * omega2) ** 2
        kinetic = kinetic + m2 * l1 * l2 * omega1 * omega2 * np.cos(theta1 - theta2)
        return np.asarray(kinetic - (m1 + m2) * g * l1 * np.cos(theta1) - m2 * g * l2 * np.cos(theta2))
