"""Trajectories of a world as training sees them: what is observed, what is read out, what a frame shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.systems.toy.world import World, frame_stack
from latentmd.training.world_config import WorldConfig

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sample:
    """Independent trajectories; every list has one array per trajectory, with the same number of frames.

    Attributes:
        states: of the world, [frames, *state].
        observations: what the encoder gets, [frames, ...] or with a history [frames, history, ...], float32.
        seen: the newest frame of each observation, [frames, ...].
        quantities: what is read out of the latent, [frames, quantities].
        probes: targets of linear probes by name, each a list of arrays [frames, values].
    """

    states: list[Floats]
    observations: list[NDArray[np.float32]]
    seen: list[Floats]
    quantities: list[Floats]
    probes: dict[str, list[Floats]]


@dataclass(frozen=True)
class WorldData:
    """Training and held-out trajectories of a world, from seeds of their own."""

    world: World
    train: Sample
    test: Sample

    def energies(self, quantities: Floats) -> Floats:
        """Physical energy of the states that read-outs [..., quantities] describe, [...]."""
        shape = self.train.states[0].shape[1:]
        return self.world.energy(vector_state(self.world, quantities, shape))

    def energy_scale(self) -> float:
        """Scale of every drift: the energy's deviation over the training frames, or its size if all have the same."""
        energies = np.concatenate([self.world.energy(s) for s in self.train.states])
        return float(energies.std() if energies.std() > 1e-6 * abs(energies.mean()) else abs(energies.mean()))

    def quantity_names(self) -> list[str]:
        """Names of what is read out of the latent: columns of the flat state, angles as sine and cosine."""
        angles, others = _columns(self.world, int(np.prod(self.train.states[0].shape[1:])))
        return [f"{kind}({i})" for kind in ("sin", "cos") for i in angles] + [str(i) for i in others]


def world_data(world: World, config: WorldConfig) -> WorldData:
    """Simulate and observe; the two sets have seeds that follow from the configuration's."""
    train, test = (int(s) for s in np.random.SeedSequence(config.seed).generate_state(2))
    return WorldData(
        world,
        _sample(world, world.simulate(config.data.train, config.data.frames, train), config.observe),
        _sample(world, world.simulate(config.data.test, config.data.frames, test), config.observe),
    )


def _sample(world: World, states: Floats, how: str) -> Sample:
    history = world.history[how]
    observed = world.observe(states, how)
    states = states[:, history - 1 :]
    probes = {name: values for name, values in world.probes(states).items() if values.ndim == 3}
    return Sample(
        list(states),
        list(frame_stack(observed, history)),
        list(observed[:, history - 1 :]),
        list(state_vector(world, states)),
        {name: list(values) for name, values in probes.items()},
    )


@dataclass(frozen=True)
class _Columns:
    """Which columns of a flat state are read out of a latent: angles as sine and cosine, and others as they are."""

    angles: tuple[int, ...] = ()
    others: tuple[int, ...] | None = None  # None for all that are no angles


#: Worlds of whose states not every column can be read out as it is.
_COLUMNS = {
    "double-pendulum": _Columns(angles=(0, 1)),
    "circles": _Columns(others=(0, 1, 2, 3)),  # the rest of the state is the error of measurement
    "lines": _Columns(others=(0, 1, 2, 3)),
}


def _columns(world: World, size: int) -> tuple[list[int], list[int]]:
    columns = _COLUMNS.get(world.name, _Columns())
    others = columns.others or tuple(i for i in range(size) if i not in columns.angles)
    return list(columns.angles), list(others)


def state_vector(world: World, states: Floats) -> Floats:
    """States [..., frames, *state] as vectors [..., frames, quantities] that change smoothly."""
    flat = states.reshape(*states.shape[:2], -1)
    angles, others = _columns(world, flat.shape[-1])
    return np.concatenate([np.sin(flat[..., angles]), np.cos(flat[..., angles]), flat[..., others]], axis=-1)


def vector_state(world: World, vectors: Floats, shape: Sequence[int]) -> Floats:
    """The inverse of `state_vector`, to states [..., *shape]; sine and cosine need not be on the circle."""
    size = int(np.prod(shape))
    angles, others = _columns(world, size)
    n = len(angles)
    flat = np.zeros((*vectors.shape[:-1], size))
    flat[..., angles] = np.arctan2(vectors[..., :n], vectors[..., n : 2 * n])
    flat[..., others] = vectors[..., 2 * n :]
    return flat.reshape(*vectors.shape[:-1], *shape)
