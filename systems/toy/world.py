"""What every toy world offers, and the worlds by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Protocol, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles

Observed = NDArray[np.float32]


class WorldError(ValueError):
    """A world, a way of observing it or a parameter that does not exist; the message says what does."""


class World(Protocol):
    """A dynamical system with a reference integration, a known energy and ways of observing it.

    States are float64 arrays [..., *state]; what a state holds is documented with each world. Everything but
    `simulate` is a function of states alone, frame by frame, over any leading axes.
    """

    @property
    def name(self) -> str:
        """Name by which `world` finds it."""

    @property
    def units(self) -> str:
        """Units of time, length and energy, in words."""

    @property
    def interval(self) -> float:
        """Time between saved frames, in the world's unit of time."""

    @property
    def observations(self) -> tuple[str, ...]:
        """Ways of observing; the first is the default."""

    @property
    def history(self) -> Mapping[str, int]:
        """For each way of observing, how many successive frames tell the state (2 where velocities are not seen)."""

    @property
    def angles(self) -> tuple[int, ...]:
        """Columns of the flat state that are angles in radians, read out of a latent as sine and cosine."""

    @property
    def quantities(self) -> tuple[int, ...] | None:
        """Other columns of the flat state that an observation can tell; None for all that are no angles."""

    def simulate(self, trajectories: int, frames: int, seed: int) -> Doubles:
        """States [trajectories, frames, *state], each trajectory from its own start.

        Trajectory i of a seed is the same however many trajectories are asked for.
        """

    def observe(self, states: Doubles, how: str) -> Observed:
        """What is seen of each state: vectors [..., features], pictures [..., 64, 64] with values from 0 to 1, or
        positions and velocities of particles [..., particles, 2 · dimensions]; WorldError for another way of
        observing.
        """

    def probes(self, states: Doubles) -> dict[str, Doubles]:
        """Named targets of linear probes: [..., values] of a frame, or [..., particles, values] of its particles."""

    def energy(self, states: Doubles) -> Doubles:
        """Total energy [...]; of the stochastic worlds the potential energy."""


class ParticleWorld(World, Protocol):
    """A world of like particles of mass 1 in a cubic periodic box, read out particle by particle."""

    @property
    def box(self) -> float:
        """Width of the box."""

    @property
    def cutoff(self) -> float:
        """Distance beyond which particles do not interact."""

    @property
    def dimensions(self) -> int:
        """Dimensions of space: 2 or 3."""


def of_particles(world: World) -> TypeGuard[ParticleWorld]:
    """Whether a world is one of like particles."""
    return "particles" in world.observations


def _loader(module: str, name: str) -> Callable[[], World]:
    def load() -> World:
        return cast(World, getattr(importlib.import_module(f"latentmd.systems.toy.{module}"), name)())

    return load


#: Worlds by name, at their default parameters; a world's module loads when it is asked for.
WORLDS: dict[str, Callable[[], World]] = {
    "double-pendulum": _loader("double_pendulum", "DoublePendulum"),
    "circles": _loader("curves", "Circles"),
    "lines": _loader("curves", "Lines"),
    "two-balls": _loader("two_balls", "TwoBalls"),
    "lennard-jones": _loader("lennard_jones", "LennardJones"),
    "argon": _loader("argon", "Argon"),
    "double-well": _loader("double_well", "DoubleWell"),
    "muller-brown": _loader("muller_brown", "MullerBrown"),
}


def world(name: str) -> World:
    """The world of a name, at its default parameters.

    Example:
        >>> world("double-pendulum").observations
        ('coordinates', 'pixels')
    """
    if name not in WORLDS:
        raise WorldError(f"no world is called {name!r}; {_suggestion(name, tuple(WORLDS))}")
    return WORLDS[name]()


def check_observation(found: str, world: World) -> None:
    """Refuse a way of observing that a world does not have."""
    if found not in world.observations:
        hint = _suggestion(found, world.observations)
        raise WorldError(f"{world.name} cannot be observed as {found!r}; {hint}")


def _suggestion(found: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(found, known, n=1, cutoff=0.4)
    return (f"did you mean {close[0]!r}? Expected" if close else "expected") + f" one of {', '.join(known)}"


def frame_stack(observations: NDArray[Any], history: int) -> NDArray[Any]:
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
    windows = np.lib.stride_tricks.sliding_window_view(observations, history, axis=1)
    return np.moveaxis(windows, -1, 2)
