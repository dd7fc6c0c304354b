"""Trajectories of a world as training sees them: what is observed, what is read out, what a frame shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats
from latentmd.systems.toy.particles import PeriodicFluid, neighbour_counts
from latentmd.systems.toy.world import World, frame_stack
from latentmd.worlds.config import WorldConfig

_SHELLS = 24  # of the neighbours of a particle, up to half the box


@dataclass(frozen=True)
class Sample:
    """Independent trajectories; every list has one array per trajectory, with the same number of frames."""

    states: list[Doubles]
    observations: list[NDArray[np.float32]]  #: of the encoder, [frames, ...] or [frames, history, ...]
    seen: list[Floats]  #: what the verification decoder reconstructs, [frames, ...]: the newest of an observation
    quantities: list[Doubles]  #: read out of the latent, [frames, quantities] or [frames, particles, quantities]
    probes: dict[str, list[Doubles]]  #: targets by name, [frames, values] or [frames, particles, values]


@dataclass(frozen=True)
class WorldData:
    """Training and held-out trajectories of a world, from seeds of their own."""

    world: World
    train: Sample
    test: Sample

    @property
    def fluid(self) -> PeriodicFluid | None:
        """The world where it is one of like particles, read out particle by particle."""
        return self.world if isinstance(self.world, PeriodicFluid) else None

    def states(self, quantities: Doubles) -> Doubles:
        """States [..., *state] that read-outs [..., quantities] describe."""
        return vector_state(self.world, quantities, self.train.states[0].shape[1:])

    def energies(self, quantities: Doubles) -> Doubles:
        """Physical energy [...] of read-outs [..., quantities]; of particles the mean kinetic energy of each."""
        if self.fluid:
            return np.asarray(quantities[..., 0].mean(-1))
        return self.world.energy(self.states(quantities))

    def energy_scale(self) -> float:
        """Scale of every drift: the energy's deviation over the training frames, or its size if all have the same."""
        if self.fluid:
            energies = self.energies(np.concatenate(self.train.quantities))
        else:
            energies = self.world.energy(np.concatenate(self.train.states))
        return float(energies.std() if energies.std() > 1e-6 * abs(energies.mean()) else abs(energies.mean()))

    def quantity_names(self) -> list[str]:
        """Names of what is read out of the latent: columns of the flat state, angles as sine and cosine."""
        if self.fluid:
            return ["kinetic energy", *(f"neighbours in shell {i}" for i in range(_SHELLS))]
        angles, others = _columns(self.world, self.train.states[0][0].size)
        return [f"{kind}({i})" for kind in ("sin", "cos") for i in angles] + [str(i) for i in others]


def world_data(world: World, config: WorldConfig) -> WorldData:
    """Simulate and observe; the two sets have seeds that follow from the configuration's."""
    train, test = (int(s) for s in np.random.SeedSequence(config.seed).generate_state(2))
    return WorldData(
        world,
        _sample(world, world.simulate(config.data.train, config.data.frames, train), config.observe),
        _sample(world, world.simulate(config.data.test, config.data.frames, test), config.observe),
    )


def _sample(world: World, states: Doubles, how: str) -> Sample:
    history = world.history[how]
    observed = world.observe(states, how)
    states = states[:, history - 1 :]
    if isinstance(world, PeriodicFluid):
        quantities = _particle_quantities(world, states)
        seen: Floats = quantities
    else:
        quantities, seen = state_vector(world, states), observed[:, history - 1 :]
    probes = {name: list(values) for name, values in world.probes(states).items()}
    return Sample(list(states), list(frame_stack(observed, history)), list(seen), list(quantities), probes)


def _particle_quantities(world: PeriodicFluid, states: Doubles) -> Doubles:
    """Kinetic energy of each particle (mass 1), neighbours by shells of distance, [..., particles, 1 + shells]."""
    out = np.empty((*states.shape[:-1], 1 + _SHELLS), dtype=np.float32)
    out[..., 0] = 0.5 * (states[..., world.dimensions :] ** 2).sum(-1)
    for run, counts in zip(states, out, strict=True):
        counts[..., 1:] = neighbour_counts(run[..., : world.dimensions], world.box, _SHELLS)
    return out


def _columns(world: World, size: int) -> tuple[list[int], list[int]]:
    """Columns of a flat state of so many numbers that are read out as angles, and those read out as they are."""
    return list(world.angles), list(world.quantities or tuple(i for i in range(size) if i not in world.angles))


def state_vector(world: World, states: Doubles) -> Doubles:
    """States [trajectories, frames, *state] as vectors [trajectories, frames, quantities] that change smoothly."""
    flat = states.reshape(*states.shape[:2], -1)
    angles, others = _columns(world, flat.shape[-1])
    return np.concatenate([np.sin(flat[..., angles]), np.cos(flat[..., angles]), flat[..., others]], axis=-1)


def vector_state(world: World, vectors: Doubles, shape: Sequence[int]) -> Doubles:
    """States [..., *shape] of read-outs [..., quantities]; sine and cosine need not be on the circle."""
    size = int(np.prod(shape))
    angles, others = _columns(world, size)
    n = len(angles)
    flat = np.zeros((*vectors.shape[:-1], size))
    flat[..., angles] = np.arctan2(vectors[..., :n], vectors[..., n : 2 * n])
    flat[..., others] = vectors[..., 2 * n :]
    return flat.reshape(*vectors.shape[:-1], *shape)
