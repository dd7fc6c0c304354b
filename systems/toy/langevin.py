"""Langevin dynamics on a potential in reduced units: bursts, equilibrium samples and exact populations."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from latentmd.arrays import Bools, Doubles
from latentmd.core.noise import noise_generator
from latentmd.systems.toy.world import World, WorldError

_CHUNK = 1000  # time steps whose noise is held at a time
_GRID = 400  # points along each axis of a quadrature


class LangevinWorld(World):
    """One particle of mass 1 at the temperature kT with friction γ.

    With inertia the state is (q, v) and the integrator BAOAB (Leimkuhler & Matthews 2013):

        B: v −= ½ h ∇V   A: q += ½ h v   O: v ← c v + √((1 − c²) kT) ξ, c = exp(−γ h)   A   B

    Without, the state is q and the integrator its limit of high friction, of second order in averages:

        q ← q − h ∇V / γ + √(h kT / (2 γ)) (ξ_n + ξ_{n+1})

    Both have the stationary density exp(−V(q) / kT) of positions, from which every trajectory starts. "state" shows the
    state, "coordinates" the position alone.
    """

    units = "reduced: mass of the particle 1, energy and length of the potential"
    observations = ("state", "coordinates")
    kT: float
    friction: float
    inertia: bool
    low: ClassVar[tuple[float, ...]]  # box that holds all but a negligible part of the Boltzmann weight
    high: ClassVar[tuple[float, ...]]

    @abstractmethod
    def potential(self, q: Doubles) -> Doubles:
        """V at positions [..., dimensions], [...]."""

    @abstractmethod
    def gradient(self, q: Doubles) -> Doubles:
        """∇V at positions [..., dimensions], of the same shape."""

    @abstractmethod
    def basins(self, q: Doubles) -> dict[str, Bools]:
        """For each metastable state, which positions [..., dimensions] belong to it, [...]."""

    @property
    def dimensions(self) -> int:
        """Number of coordinates."""
        return len(self.low)

    @property
    def history(self) -> dict[str, int]:
        """Frames that tell the state."""
        return {"state": 1, "coordinates": 2 if self.inertia else 1}

    def simulate(self, trajectories: int, frames: int, seed: int) -> Doubles:
        """States [trajectories, frames, 2 · dimensions], or [..., dimensions] without inertia, at equilibrium."""
        streams = [noise_generator(seed, i) for i in range(trajectories)]
        states = np.concatenate([self.equilibrium(1, stream) for stream in streams])
        last = _normal(streams, 1, self.dimensions)[0]
        out = np.empty((trajectories, frames, states.shape[1]))
        for frame in range(frames):
            if frame:
                states, last = self._advance(states, _normal(streams, self.stride, self.dimensions), last)
            out[:, frame] = states
        return out

    def propagate(self, states: Doubles, steps: int, seed: int) -> Doubles:
        """States [n, size] after some time steps, a burst of n independent walkers, the same for the same seed. Without
        inertia the spread is that of a burst whose first and last step are half as long.
        """
        stream = noise_generator(seed)
        states = np.array(states, dtype=np.float64)
        expected = (2 if self.inertia else 1) * self.dimensions
        if states.ndim != 2 or states.shape[1] != expected:
            raise WorldError(f"{self.name} was given states of shape {states.shape}; expected [walkers, {expected}]")
        shape = (len(states), self.dimensions)
        last = stream.standard_normal(shape)
        for start in range(0, steps, _CHUNK):
            states, last = self._advance(states, stream.standard_normal((min(_CHUNK, steps - start), *shape)), last)
        return states

    def _advance(self, states: Doubles, noise: Doubles, last: Doubles) -> tuple[Doubles, Doubles]:
        """States after as many time steps as there are rows in the noise [steps, n, dimensions], and its last row."""
        h, d = self.timestep, self.dimensions
        if not self.inertia:
            q, size = states, math.sqrt(h * self.kT / (2 * self.friction))
            for xi in noise:
                q = q - (h / self.friction) * self.gradient(q) + size * (last + xi)
                last = xi
            return q, last
        q, v = states[:, :d], states[:, d:]
        c = math.exp(-self.friction * h)
        size = math.sqrt((1 - c * c) * self.kT)
        slope = self.gradient(q)
        for xi in noise:
            v = v - 0.5 * h * slope
            q = q + 0.5 * h * v
            v = c * v + size * xi
            q = q + 0.5 * h * v
            slope = self.gradient(q)
            v = v - 0.5 * h * slope
        return np.concatenate([q, v], axis=1), noise[-1]

    def grid(self, points: int = _GRID) -> tuple[Doubles, Doubles]:
        """Middles [m, dimensions] of equal cells over the box and their Boltzmann weights [m], which sum to 1."""
        axes = [
            low + (np.arange(points) + 0.5) * (high - low) / points
            for low, high in zip(self.low, self.high, strict=True)
        ]
        middles = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dimensions)
        energies = self.potential(middles)
        weights = np.exp(-(energies - energies.min()) / self.kT)
        return middles, weights / weights.sum()

    def populations(self, points: int = _GRID) -> dict[str, float]:
        """Equilibrium population of each basin, by the midpoint rule on the grid."""
        middles, weights = self.grid(points)
        return {name: float(weights[inside].sum()) for name, inside in self.basins(middles).items()}

    def equilibrium(self, n: int, stream: np.random.Generator) -> Doubles:
        """Independent states [n, size] of the stationary distribution, positions by rejection in the box."""
        lowest = self._minimum()
        rows: list[Doubles] = []
        while len(rows) < n:
            q = stream.uniform(self.low, self.high, (64, self.dimensions))
            rows += list(q[stream.uniform(size=64) < np.exp(-(self.potential(q) - lowest) / self.kT)])
        positions = np.stack(rows[:n])
        if not self.inertia:
            return positions
        return np.concatenate([positions, math.sqrt(self.kT) * stream.standard_normal(positions.shape)], axis=1)

    @abstractmethod
    def _minimum(self) -> float:
        """A lower bound of V, tight enough for rejection sampling."""

    def _seen(self, states: Doubles, how: str) -> Doubles:
        return states if how == "state" else states[..., : self.dimensions]

    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """Position, velocity where there is one, and potential energy [..., 1]."""
        d = self.dimensions
        probes = {"position": states[..., :d], "potential energy": self.energy(states)[..., None]}
        if self.inertia:
            probes["velocity"] = states[..., d:]
        return probes

    def energy(self, states: Doubles) -> Doubles:
        """Potential energy [...]; the total is not conserved."""
        return self.potential(np.asarray(states)[..., : self.dimensions])


def _normal(streams: Sequence[np.random.Generator], steps: int, dimensions: int) -> Doubles:
    """Normal numbers [steps, streams, dimensions], each column from a stream of its own."""
    return np.stack([stream.standard_normal((steps, dimensions)) for stream in streams], axis=1)
