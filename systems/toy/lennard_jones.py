"""Lennard-Jones particles in a periodic box, in two dimensions and reduced units, at constant energy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Doubles
from latentmd.core.noise import noise_generator
from latentmd.systems.toy.particles import PeriodicFluid, lattice
from latentmd.systems.toy.world import WorldError

_RESCALE = 20  # time steps between rescalings of the velocities while the fluid settles


@dataclass(frozen=True)
class LennardJones(PeriodicFluid):
    """Particles with U_sf(r) = U(r) − U(r_c) − (r − r_c) U'(r_c) for r < r_c, U(r) = 4 (r⁻¹² − r⁻⁶) (Allen & Tildesley
    2017, 5.2.3), by velocity Verlet over all pairs (Swope et al. 1982). States are (x, y, vx, vy), inside the box; the
    density is per area. Trajectories settle from a lattice for `settle` time units with rescaled velocities and no
    total momentum, and then run free.
    """

    particles: int = 32
    density: float = 0.5
    temperature: float = 1.0
    cutoff: float = 2.5
    timestep: float = 0.005
    stride: int = 10
    settle: float = 5.0

    name = "lennard-jones"
    units = "reduced Lennard-Jones: σ, ε, mass of a particle, k = 1"
    dimensions = 2
    mass = 1.0
    neighbourhood = 2.0

    def __post_init__(self) -> None:
        if self.particles < 2:
            raise WorldError(f"{self.particles} particles were asked for; expected at least 2")
        if not self.cutoff <= self.box / 2:
            raise WorldError(
                f"the cutoff is {self.cutoff:g}; {self.particles} particles at density {self.density:g} fill a box of "
                f"{self.box:.3g} and allow at most half of it: take more particles, or a lower density or cutoff"
            )

    @property
    def box(self) -> float:
        """Width of the square box."""
        return math.sqrt(self.particles / self.density)

    def simulate(self, trajectories: int, frames: int, seed: int) -> Doubles:
        """States [trajectories, frames, particles, 4]."""
        x = np.tile(lattice(self.particles, 2, self.box), (trajectories, 1, 1))
        v = np.stack([noise_generator(seed, i).standard_normal((self.particles, 2)) for i in range(trajectories)])
        v = self._at_temperature(v - v.mean(-2, keepdims=True))  # no drift of the whole
        for _ in range(round(self.settle / (self.timestep * _RESCALE))):
            x, v = self.verlet(x, v, _RESCALE)
            v = self._at_temperature(v)
        out = np.empty((trajectories, frames, self.particles, 4))
        for frame in range(frames):
            if frame:
                x, v = self.verlet(x, v, self.stride)
            out[:, frame, :, :2], out[:, frame, :, 2:] = x % self.box, v
        return out

    def verlet(self, x: Doubles, v: Doubles, steps: int) -> tuple[Doubles, Doubles]:
        """Positions and velocities [..., particles, 2] after velocity-Verlet steps; positions are not wrapped."""
        force = self.forces(x)
        for _ in range(steps):
            v = v + 0.5 * self.timestep * force
            x = x + self.timestep * v
            force = self.forces(x)
            v = v + 0.5 * self.timestep * force
        return x, v

    def _at_temperature(self, v: Doubles) -> Doubles:
        """Velocities scaled to Σ v² = (2 N − 2) kT: the momentum takes two degrees of freedom."""
        target = (2 * self.particles - 2) * self.temperature
        return np.asarray(v * np.sqrt(target / (v**2).sum((-1, -2), keepdims=True)))

    def forces(self, x: Doubles) -> Doubles:
        """−∇U [..., particles, 2] at positions [..., particles, 2]."""
        across = np.moveaxis(x, -1, 0)  # one dimension at a time is several times faster
        arrow = across.take(self.pairs.first, -1) - across.take(self.pairs.second, -1)
        arrow -= self.box * np.round(arrow / self.box)
        r2 = (arrow**2).sum(0)
        inside = r2 < self.cutoff**2
        inverse2 = 1 / np.where(inside, r2, 1.0)
        sixth = inverse2 * inverse2 * inverse2
        over_r = 24 * (2 * sixth * sixth - sixth) * inverse2 + self._slope() * np.sqrt(inverse2)  # −U'_sf / r
        return np.moveaxis((np.where(inside, over_r, 0.0) * arrow) @ self.pairs.incidence.T, 0, -1)

    def _slope(self) -> float:
        """U'(r_c)."""
        return float(-24 * (2 * self.cutoff**-12 - self.cutoff**-6) / self.cutoff)

    def potential(self, x: Doubles) -> Doubles:
        """Potential energy [...] at positions [..., particles, 2]."""
        r = np.sqrt((self.pairs.displacements(x, self.box) ** 2).sum(-1))
        r = np.where(r < self.cutoff, r, self.cutoff)
        at_cutoff = 4 * (self.cutoff**-12 - self.cutoff**-6)
        energy: Doubles = 4 * (r**-12 - r**-6) - at_cutoff - (r - self.cutoff) * self._slope()
        return np.asarray(energy.sum(-1))
