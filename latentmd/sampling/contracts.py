"""Interfaces of hybrid sampling: an engine of unbiased dynamics, and a surrogate that proposes structures.

Positions are arrays of shape (n, ...): (n, atoms, 3) in nm for molecules, (n, dimensions) in reduced units for toy
systems. The core never looks inside a configuration; it hands whole ones on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from latentmd.arrays import Bools, Floats


class BurstError(RuntimeError):
    """A simulation that went wrong. It is discarded, its reason (the message, short) counted, and the run goes on."""


@dataclass(frozen=True)
class Relaxed:
    """A structure after minimisation and thermalisation.

    Attributes:
        positions: of the structure at the end, shape (...).
        energy: its potential energy in kJ/mol, thermal motion included: the trust gate compares it with the energies
            of frames of bursts.
    """

    positions: Floats
    energy: float


@dataclass(frozen=True)
class Burst:
    """A short unbiased simulation.

    Attributes:
        positions: shape (frames, ...), stored and used in this dtype; the start is not included.
        energies: potential energies in kJ/mol, shape (frames,).
    """

    positions: Floats
    energies: Floats


class Engine(Protocol):
    """Unbiased dynamics of the real system. Picklable, and without state: arguments alone decide the result."""

    @property
    def interval(self) -> float:
        """Time between the frames of a burst, ps."""
        ...

    def relax(self, positions: Floats, seed: int) -> Relaxed:
        """Minimise one proposed structure (...) and simulate it briefly, so that a burst can start there.

        Raises:
            BurstError: there is no sound structure near it.
        """
        ...

    def burst(self, start: Floats, frames: int, seed: int) -> Burst:
        """Simulate one structure (...) at constant temperature without any bias, with velocities drawn afresh.

        All frames are returned; the caller leaves the first ones, the relaxation time, out of the statistics.

        Args:
            start: structure, shape (...).
            frames: number of frames, one interval apart.
            seed: of velocities and noise.

        Raises:
            BurstError: the simulation exploded.
        """
        ...

    def features(self, positions: Floats) -> Floats:
        """Model-free physical coordinates (n, k), continuous, such as sine and cosine of the torsions."""
        ...

    def checks(self, positions: Floats) -> Mapping[str, Bools]:
        """Named structure checks, true (n,) where a configuration passes; empty where there are none."""
        ...


class Explorer(Protocol):
    """The surrogate: it proposes structures, and no statistics are taken from it."""

    def features(self, positions: Floats) -> Floats:
        """Slow latent coordinates (n, k) of configurations."""
        ...

    def propose(self, starts: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Decoded end points of latent rollouts.

        Args:
            starts: real configurations, shape (m, ...), taken in turn.
            count: number of proposals.
            rng: random generator.

        Returns:
            Configurations, shape (count, ...).
        """
        ...

    def disagreement(self, latents: Floats) -> Floats | None:
        """Disagreement (n,) of an ensemble about where features (n, k) go next; None where there is no ensemble."""
        ...

    def error(self, trajectories: Sequence[Floats]) -> float:
        """Prediction error, positive, on unbiased trajectories (frames, ...) that were not trained on."""
        ...

    def refine(self, trajectories: Sequence[Floats], seed: int) -> Explorer:
        """A new explorer trained on unbiased trajectories (frames, ...), or itself where it cannot be trained.

        The sequence reads from disk on access. Equal arguments must give an equal explorer: a resumed run repeats this.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write all that a loader, given the same folder, needs to make an equal explorer."""
        ...


LoadExplorer = Callable[[Path], Explorer]
