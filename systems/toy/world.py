"""What every toy world offers, its anti-aliased pictures of discs and rods, and the worlds by name."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from difflib import get_close_matches
from typing import ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmd.arrays import Doubles, Floats
from latentmd.core.noise import noise_generator

Observed = NDArray[np.float32]
SIZE = 64  # pixels along a side of a picture
_CHUNK = 256  # pictures drawn at a time


class WorldError(ValueError):
    """A world, a way of observing it or a parameter that does not exist; the message says what does."""


class World(ABC):
    """A dynamical system with a reference integration, a known energy and ways of observing it.

    States are float64 arrays [..., *state]; what a state holds is documented with each world. Everything but
    `simulate` is a function of states alone, frame by frame, over any leading axes.
    """

    name: ClassVar[str]
    units: ClassVar[str]  #: of time, length and energy, in words
    observations: ClassVar[tuple[str, ...]]  #: ways of observing; the first is the default
    angles: ClassVar[tuple[int, ...]] = ()  #: columns of the flat state in radians, read out as sine and cosine
    quantities: ClassVar[tuple[int, ...] | None] = None  #: other columns that can be told; None for all

    timestep: float  #: of an integration that saves every `stride`-th step; worlds without it state their interval
    stride: int

    @property
    def interval(self) -> float:
        """Time between saved frames, in the world's unit of time."""
        return self.stride * self.timestep

    @property
    def history(self) -> Mapping[str, int]:
        """For each way of observing, how many successive frames tell the state (2 where velocities are not seen)."""
        return dict.fromkeys(self.observations, 1)

    def simulate(self, trajectories: int, frames: int, seed: int) -> Doubles:
        """States [trajectories, frames, *state]; trajectory i of a seed is the same however many are asked for."""
        return np.stack([self._trajectory(frames, noise_generator(seed, i)) for i in range(trajectories)])

    def _trajectory(self, frames: int, rng: np.random.Generator) -> Doubles:
        """States [frames, *state] from a start of the random numbers."""
        raise NotImplementedError

    def check(self, how: str) -> None:
        """Refuse a way of observing that there is not."""
        if how not in self.observations:
            raise WorldError(f"{self.name} cannot be observed as {how!r}; {_suggestion(how, self.observations)}")

    def observe(self, states: Doubles, how: str) -> Observed:
        """What is seen of each state: vectors [..., features], pictures [..., 64, 64] with values from 0 to 1, or
        positions and velocities of particles [..., particles, 2 · dimensions]; WorldError for another way of observing.
        """
        self.check(how)
        states = np.asarray(states)
        if how != "pixels":
            return self._seen(states, how).astype(np.float32)
        flat = states.reshape(-1, states.shape[-1])
        pictures = [self._draw(flat[i : i + _CHUNK]).picture for i in range(0, len(flat), _CHUNK)]
        return np.concatenate(pictures).reshape(*states.shape[:-1], SIZE, SIZE)

    def _seen(self, states: Doubles, how: str) -> Doubles:
        return states

    def _draw(self, states: Doubles) -> Canvas:
        """Pictures of states [frames, size]."""
        raise NotImplementedError

    @abstractmethod
    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """Named targets of linear probes: [..., values] of a frame, or [..., particles, values] of its particles."""

    @abstractmethod
    def energy(self, states: Doubles) -> Doubles:
        """Total energy [...]; of the stochastic worlds the potential energy."""


#: Module and class of each world; a module loads when its world is asked for.
WORLDS = {
    "double-pendulum": ("double_pendulum", "DoublePendulum"),
    "circles": ("curves", "Circles"),
    "lines": ("curves", "Lines"),
    "two-balls": ("two_balls", "TwoBalls"),
    "lennard-jones": ("lennard_jones", "LennardJones"),
    "argon": ("argon", "Argon"),
    "double-well": ("double_well", "DoubleWell"),
    "muller-brown": ("muller_brown", "MullerBrown"),
}


def world(name: str) -> World:
    """The world of a name, at its default parameters.

    Example:
        >>> world("double-pendulum").observations
        ('coordinates', 'pixels')
    """
    if name not in WORLDS:
        raise WorldError(f"no world is called {name!r}; {_suggestion(name, tuple(WORLDS))}")
    module, kind = WORLDS[name]
    return cast(World, getattr(importlib.import_module(f"latentmd.systems.toy.{module}"), kind)())


def _suggestion(found: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(found, known, n=1, cutoff=0.4)
    return (f"did you mean {close[0]!r}? Expected" if close else "expected") + f" one of {', '.join(known)}"


def frame_stack(observations: Observed, history: int) -> Observed:
    """Each frame with the ones before it, oldest first: [trajectories, frames, ...] → [trajectories, frames − history
    + 1, history, ...], a read-only view that takes no memory; with a history of 1 the observations as they are.

    Example:
        >>> frame_stack(np.zeros((5, 20, 64, 64)), 2).shape
        (5, 19, 2, 64, 64)
    """
    if history == 1:
        return observations
    if not 1 <= history <= observations.shape[1]:
        raise WorldError(f"a history of {history} frames was asked of {observations.shape[1]} frames")
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(observations, history, axis=1), -1, 2)


class Canvas:
    """Pictures [frames, 64, 64] of the square |x|, |y| ≤ half about a centre, y upwards. A pixel's value is the share
    of it that a shape covers, from the signed distance of its middle to the outline; of overlapping shapes the
    brightest shows.
    """

    def __init__(self, frames: int, centre: tuple[float, float], half: float) -> None:
        self.pixel = 2 * half / SIZE
        middles = (np.arange(SIZE) + 0.5) * self.pixel - half
        self.x = (centre[0] + middles).astype(np.float32)[None, None, :]
        self.y = (centre[1] - middles).astype(np.float32)[None, :, None]
        self.picture = np.zeros((frames, SIZE, SIZE), dtype=np.float32)

    def disc(self, position: Floats, radius: float, brightness: ArrayLike = 1.0) -> None:
        """Add a disc about each frame's position [frames, 2]; one brightness, or one for each frame [frames]."""
        dx, dy = self.x - _column(position[:, 0]), self.y - _column(position[:, 1])
        self._add(np.sqrt(dx * dx + dy * dy) - np.float32(radius), brightness)

    def rod(self, start: Floats, end: Floats, radius: float, brightness: float = 1.0) -> None:
        """Add a rod with round ends from `start` to `end`, both [frames, 2]."""
        ax, ay = _column(end[:, 0] - start[:, 0]), _column(end[:, 1] - start[:, 1])
        dx, dy = self.x - _column(start[:, 0]), self.y - _column(start[:, 1])
        along = np.clip((dx * ax + dy * ay) / np.maximum(ax * ax + ay * ay, 1e-12), 0, 1)
        dx, dy = dx - along * ax, dy - along * ay
        self._add(np.sqrt(dx * dx + dy * dy) - np.float32(radius), brightness)

    def _add(self, outside: Observed, brightness: ArrayLike) -> None:
        covered = np.clip(0.5 - outside / np.float32(self.pixel), 0, 1)
        np.maximum(self.picture, covered * _column(np.atleast_1d(brightness)), out=self.picture)


def _column(values: Floats) -> Observed:
    return values.astype(np.float32)[:, None, None]
