"""Two elastic balls in a box: exact collisions, seen as state or as pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from latentmd.arrays import Doubles
from latentmd.systems.toy.world import Canvas, World, WorldError


@dataclass(frozen=True)
class TwoBalls(World):
    """Two discs that fly freely in the box [0, 1]² and collide elastically with its walls and with each other; the
    state is (x₁, y₁, x₂, y₂, vx₁, vy₁, vx₂, vy₂). Motion is integrated from event to event (Alder & Wainwright 1959):
    the time of the next contact is a root of a linear or a quadratic equation, and at a contact with normal n the balls
    exchange the impulse 2 m₁ m₂ / (m₁ + m₂) ((v₁ − v₂) · n) n. Kinetic energy is kept to rounding.

    Positions start uniform without overlap, velocities uniform over directions with a speed of `speed`. "pixels" are
    pictures of 64 × 64 in which the second ball is half as bright; two tell the velocities, but for collisions.
    """

    masses: tuple[float, float] = (1.0, 1.0)
    radii: tuple[float, float] = (0.1, 0.1)
    speed: float = 0.7
    interval: float = 0.05

    name = "two-balls"
    units = "reduced: width of the box, mass of a ball, time in which a speed of 1 crosses the box"
    observations = ("state", "pixels")
    history = MappingProxyType({"state": 1, "pixels": 2})

    def __post_init__(self) -> None:
        if not (min(self.radii) > 0 and sum(self.radii) < 0.5):
            raise WorldError(f"radii are {self.radii}; expected positive ones with a sum below half the box")

    def _trajectory(self, frames: int, rng: np.random.Generator) -> Doubles:
        low = np.repeat(self.radii, 2)
        place = rng.uniform(low, 1 - low)
        while math.dist(place[:2], place[2:]) <= sum(self.radii):
            place = rng.uniform(low, 1 - low)
        angles = rng.uniform(0, 2 * np.pi, 2)
        velocities = self.speed * np.stack([np.cos(angles), np.sin(angles)], axis=1).reshape(-1)
        return self.integrate(np.concatenate([place, velocities]), frames)

    def integrate(self, start: Doubles, frames: int) -> Doubles:
        """States [frames, 8] of one trajectory from its first state [8]."""
        x, v = start[:4].tolist(), start[4:].tolist()
        out = np.empty((frames, 8))
        for frame in range(frames):
            out[frame] = [*x, *v]
            left = self.interval
            while (event := self._next_event(x, v))[0] < left:
                x = [a + event[0] * b for a, b in zip(x, v, strict=True)]
                v = self._collide(x, v, event[1])
                left -= event[0]
            x = [a + left * b for a, b in zip(x, v, strict=True)]
        return out

    def _next_event(self, x: list[float], v: list[float]) -> tuple[float, int]:
        """Time to the next contact, and the coordinate that meets a wall, or 4 for a contact of the balls."""
        time, which = math.inf, 4
        for axis in range(4):
            if v[axis] != 0:
                radius = self.radii[axis // 2]
                wall = 1 - radius if v[axis] > 0 else radius
                at = max((wall - x[axis]) / v[axis], 0.0)
                time, which = min((time, which), (at, axis))
        dx, dy, ux, uy = x[0] - x[2], x[1] - x[3], v[0] - v[2], v[1] - v[3]
        approach, speed2 = dx * ux + dy * uy, ux * ux + uy * uy
        gap = dx * dx + dy * dy - sum(self.radii) ** 2
        root = approach * approach - speed2 * gap
        if approach < 0 and root > 0:
            time, which = min((time, which), (max(gap / (math.sqrt(root) - approach), 0.0), 4))
        return time, which

    def _collide(self, x: list[float], v: list[float], which: int) -> list[float]:
        if which < 4:
            return [-b if axis == which else b for axis, b in enumerate(v)]
        m1, m2 = self.masses
        nx, ny = x[0] - x[2], x[1] - x[3]
        impulse = 2 * m1 * m2 / (m1 + m2) * ((v[0] - v[2]) * nx + (v[1] - v[3]) * ny) / (nx * nx + ny * ny)
        first, second = impulse / m1, impulse / m2
        return [v[0] - first * nx, v[1] - first * ny, v[2] + second * nx, v[3] + second * ny]

    def _draw(self, states: Doubles) -> Canvas:
        canvas = Canvas(len(states), (0.5, 0.5), 0.5)
        canvas.disc(states[:, :2], self.radii[0])
        canvas.disc(states[:, 2:4], self.radii[1], 0.5)
        return canvas

    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """Positions, velocities, and the kinetic energy of each ball."""
        speed2 = (states[..., 4:].reshape(*states.shape[:-1], 2, 2) ** 2).sum(-1)
        return {
            "position": states[..., :4],
            "velocity": states[..., 4:],
            "kinetic energy": 0.5 * np.asarray(self.masses) * speed2,
        }

    def energy(self, states: Doubles) -> Doubles:
        """Kinetic energy [...]."""
        return np.asarray(self.probes(states)["kinetic energy"].sum(-1))
