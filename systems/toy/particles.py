"""What worlds of like particles share: pairs, minimum image, observation, probes and distributions."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np

from latentmd.arrays import Doubles
from latentmd.systems.toy.world import World

_SOFTNESS = 0.1  # of the sphere in which neighbours are counted, in units of its radius


def minimum_image(displacement: Doubles, box: float) -> Doubles:
    """Nearest periodic image of displacements [..., dimensions] in a cubic box of width `box`."""
    return np.asarray(displacement - box * np.round(displacement / box))


class Pairs:
    """All pairs i < j of n particles in a periodic box; `incidence` [particles, pairs] (±1) sums pair forces."""

    def __init__(self, particles: int) -> None:
        self.first, self.second = np.triu_indices(particles, 1)
        self.incidence = np.zeros((particles, len(self.first)))
        columns = np.arange(len(self.first))
        self.incidence[self.first, columns] = 1.0
        self.incidence[self.second, columns] = -1.0

    def displacements(self, positions: Doubles, box: float) -> Doubles:
        """x_i − x_j of the nearest images, [..., particles, dimensions] → [..., pairs, dimensions]."""
        return minimum_image(positions[..., self.first, :] - positions[..., self.second, :], box)


def particle_probes(states: Doubles, box: float, mass: float, radius: float) -> dict[str, Doubles]:
    """Kinetic energy and density around particles of states [..., particles, 2 · dimensions]: others within `radius`
    over the sphere's volume, each counted by ½ erfc((r − radius) / (0.1 √2 radius)).
    """
    from scipy.special import erfc

    particles, dimensions = states.shape[-2], states.shape[-1] // 2
    pairs = Pairs(particles)
    distance = np.linalg.norm(pairs.displacements(states[..., :dimensions], box), axis=-1)
    counted = 0.5 * erfc((distance - radius) / (math.sqrt(2) * _SOFTNESS * radius))
    volume = math.pi ** (dimensions / 2) / math.gamma(dimensions / 2 + 1) * radius**dimensions
    density = (counted @ np.abs(pairs.incidence).T)[..., None] / volume
    kinetic = 0.5 * mass * (states[..., dimensions:] ** 2).sum(-1, keepdims=True)
    return {
        "kinetic energy": kinetic,
        "local density": density,
        "mean kinetic energy": kinetic.mean(-2),
        "mean density": density.mean(-2),
    }


def neighbour_counts(positions: Doubles, box: float, shells: int) -> Doubles:
    """Neighbours in shells up to half the box, [..., particles, dimensions] → [..., particles, shells]."""
    distance = np.linalg.norm(minimum_image(positions[..., :, None, :] - positions[..., None, :, :], box), axis=-1)
    shell = np.digitize(distance, np.linspace(0, box / 2, shells + 1)) - 1
    counts = np.stack([(shell == i).sum(-1, dtype=np.float64) for i in range(shells)], axis=-1)
    counts[..., 0] -= 1  # a particle is no neighbour of itself
    return counts


def radial_distribution(counts: Doubles, box: float, dimensions: int) -> tuple[Doubles, Doubles]:
    """Middles of the shells, and g(r) of neighbours counted in them [..., particles, shells], as a mean of all."""
    particles, shells = counts.shape[-2:]
    edges = np.linspace(0, box / 2, shells + 1)
    unit = math.pi ** (dimensions / 2) / math.gamma(dimensions / 2 + 1)
    ideal = (particles - 1) * unit * np.diff(edges**dimensions) / box**dimensions
    return 0.5 * (edges[1:] + edges[:-1]), counts.reshape(-1, shells).mean(0) / ideal


def lattice(particles: int, dimensions: int, box: float) -> Doubles:
    """Particles [particles, dimensions] on the first sites of the coarsest square or cubic lattice that holds them."""
    sites = math.ceil(round(particles ** (1 / dimensions), 9))
    grid = np.stack(np.meshgrid(*dimensions * [np.arange(sites)], indexing="ij"), axis=-1).reshape(-1, dimensions)
    chosen = np.round(np.linspace(0, len(grid) - 1, particles)).astype(int)  # vacant sites all through the box
    return np.asarray((grid[chosen] + 0.5) * box / sites)


class PeriodicFluid(World):
    """World of like particles in a periodic box: a state is [..., particles, 2 · dimensions], positions first."""

    observations = ("particles",)
    dimensions: ClassVar[int]  #: of space, 2 or 3
    mass: ClassVar[float]
    neighbourhood: ClassVar[float]  #: radius of the sphere in which a density is counted
    particles: int
    cutoff: float  #: distance beyond which particles do not interact

    @property
    @abstractmethod
    def box(self) -> float:
        """Width of the cubic or square box."""

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs of particles."""
        return Pairs(self.particles)

    @abstractmethod
    def potential(self, x: Doubles) -> Doubles:
        """Potential energy [...] at positions [..., particles, dimensions]."""

    def energy(self, states: Doubles) -> Doubles:
        """Kinetic plus potential energy [...]."""
        x, v = states[..., : self.dimensions], states[..., self.dimensions :]
        return np.asarray(0.5 * self.mass * (v**2).sum((-1, -2)) + self.potential(x))

    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """Kinetic energies and densities (`particle_probes`), and the potential energy per particle [..., 1]."""
        probes = particle_probes(states, self.box, self.mass, self.neighbourhood)
        energy = self.potential(states[..., : self.dimensions])
        return probes | {"mean potential energy": energy[..., None] / self.particles}

    def radial_distribution(self, states: Doubles, bins: int = 50) -> tuple[Doubles, Doubles]:
        """Radial distribution function of states: distances [bins] and g [bins]."""
        frames = states[..., : self.dimensions].reshape(-1, self.particles, self.dimensions)
        counts = np.stack([neighbour_counts(frame, self.box, bins) for frame in frames])
        return radial_distribution(counts, self.box, self.dimensions)
