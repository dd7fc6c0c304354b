"""Points that run along circles or straight lines in the plane, seen with noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from latentmd.arrays import Doubles
from latentmd.core.noise import noise_generator
from latentmd.systems.toy.world import Observed, check_observation


class _Curves:
    """What both kinds of curves share: the state is (x, y, vx, vy, ex, ey), the last two the error of measurement."""

    interval: ClassVar[float] = 1.0
    units: ClassVar[str] = "reduced: frames, lengths of the order of the curves"
    observations: ClassVar[tuple[str, ...]] = ("coordinates",)
    history: ClassVar[dict[str, int]] = {"coordinates": 8}
    angles: ClassVar[tuple[int, ...]] = ()
    quantities: ClassVar[tuple[int, ...] | None] = (0, 1, 2, 3)  # the rest of the state is the error of measurement
    name: ClassVar[str]
    noise: float

    def simulate(self, trajectories: int, frames: int, seed: int) -> Doubles:
        """States [trajectories, frames, 6]."""
        time = self.interval * np.arange(frames, dtype=np.float64)
        out = np.empty((trajectories, frames, 6))
        for i in range(trajectories):
            rng = noise_generator(seed, i)
            out[i, :, :4] = self._path(time, rng)
            out[i, :, 4:] = self.noise * rng.standard_normal((frames, 2))
        return out

    def _path(self, time: Doubles, rng: np.random.Generator) -> Doubles:
        raise NotImplementedError

    def observe(self, states: Doubles, how: str) -> Observed:
        """Measured position [..., 2]: the true one plus the state's error."""
        check_observation(how, self)
        return np.asarray(states[..., :2] + states[..., 4:]).astype(np.float32)

    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """True position and velocity."""
        return {"position": states[..., :2], "velocity": states[..., 2:4]}

    def energy(self, states: Doubles) -> Doubles:
        """Kinetic energy [...] of unit mass, which both motions conserve."""
        energy: Doubles = 0.5 * (states[..., 2:4] ** 2).sum(-1)
        return energy


@dataclass(frozen=True)
class Circles(_Curves):
    """Uniform motion on circles: x(t) = c + r (cos(φ + ω t), sin(φ + ω t)).

    Centre uniform in ±`centre`, radius, turn per frame (rad), sense and phase uniform; each frame is measured with a
    normal error of deviation `noise` that is independent of all others.
    """

    centre: float = 0.5
    radius: tuple[float, float] = (0.5, 1.5)
    angle: tuple[float, float] = (0.1, 0.3)
    noise: float = 0.02

    name: ClassVar[str] = "circles"

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
    """Uniform motion on straight lines: x(t) = a + v (t − t_middle), so that paths stay about the origin.

    The point a is uniform in ±`centre`; the speed, per frame, and the direction are uniform.
    """

    centre: float = 1.0
    speed: tuple[float, float] = (0.02, 0.1)
    noise: float = 0.02

    name: ClassVar[str] = "lines"

    def _path(self, time: Doubles, rng: np.random.Generator) -> Doubles:
        middle = rng.uniform(-self.centre, self.centre, 2)
        direction = rng.uniform(0, 2 * np.pi)
        velocity = rng.uniform(*self.speed) * np.array([np.cos(direction), np.sin(direction)])
        place = middle + velocity * (time - time.mean())[:, None]
        return np.concatenate([place, np.broadcast_to(velocity, place.shape)], axis=-1)
