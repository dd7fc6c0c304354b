"""Points that run along circles or straight lines in the plane, seen with noise."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from latentmd.arrays import Doubles
from latentmd.systems.toy.world import World


class _Curves(World):
    """What both kinds of curves share: the state is (x, y, vx, vy, ex, ey), the last two the error of measurement."""

    interval = 1.0
    units = "reduced: frames, lengths of the order of the curves"
    observations = ("coordinates",)
    history = MappingProxyType({"coordinates": 8})
    quantities = (0, 1, 2, 3)  # the rest of the state is the error of measurement
    noise: float

    def _trajectory(self, frames: int, rng: np.random.Generator) -> Doubles:
        path = self._path(np.arange(frames, dtype=np.float64), rng)
        return np.concatenate([path, self.noise * rng.standard_normal((frames, 2))], axis=-1)

    @abstractmethod
    def _path(self, time: Doubles, rng: np.random.Generator) -> Doubles:
        """Positions and velocities [frames, 4]."""

    def _seen(self, states: Doubles, how: str) -> Doubles:
        """Measured position [..., 2]: the true one plus the state's error."""
        return states[..., :2] + states[..., 4:]

    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """True position and velocity."""
        return {"position": states[..., :2], "velocity": states[..., 2:4]}

    def energy(self, states: Doubles) -> Doubles:
        """Kinetic energy [...] of unit mass, which both motions conserve."""
        return np.asarray(0.5 * (states[..., 2:4] ** 2).sum(-1))


@dataclass(frozen=True)
class Circles(_Curves):
    """Circles x(t) = c + r (cos(φ + ω t), sin(φ + ω t)), uniform c, r, |ω| and φ, with errors of size `noise`."""

    centre: float = 0.5
    radius: tuple[float, float] = (0.5, 1.5)
    angle: tuple[float, float] = (0.1, 0.3)
    noise: float = 0.02

    name = "circles"

    def _path(self, time: Doubles, rng: np.random.Generator) -> Doubles:
        centre = rng.uniform(-self.centre, self.centre, 2)
        radius = rng.uniform(*self.radius)
        omega = rng.uniform(*self.angle) * rng.choice([-1.0, 1.0])
        phase = rng.uniform(0, 2 * np.pi) + omega * time
        around = radius * np.stack([np.cos(phase), np.sin(phase)], axis=-1)
        tangent = omega * np.stack([-around[:, 1], around[:, 0]], axis=-1)
        return np.concatenate([centre + around, tangent], axis=-1)


@dataclass(frozen=True)
class Lines(_Curves):
    """Lines x(t) = a + v (t − t_middle), with a uniform in ±`centre`, speed per frame and direction uniform."""

    centre: float = 1.0
    speed: tuple[float, float] = (0.02, 0.1)
    noise: float = 0.02

    name = "lines"

    def _path(self, time: Doubles, rng: np.random.Generator) -> Doubles:
        middle = rng.uniform(-self.centre, self.centre, 2)
        direction = rng.uniform(0, 2 * np.pi)
        velocity = rng.uniform(*self.speed) * np.array([np.cos(direction), np.sin(direction)])
        place = middle + velocity * (time - time.mean())[:, None]
        return np.concatenate([place, np.broadcast_to(velocity, place.shape)], axis=-1)
