"""Model landscapes with known answers as engines: where hybrid sampling is tested against exact populations.

The landscapes and their dynamics are worlds of `systems.toy` without inertia; here energies are in kT, so that
"kJ/mol" is kT, and "ps" is the unit of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from latentmd.arrays import Bools, Floats
from latentmd.sampling.contracts import Burst, BurstError, Relaxed
from latentmd.systems.toy.double_well import DoubleWell
from latentmd.systems.toy.langevin import LangevinWorld
from latentmd.systems.toy.muller_brown import MullerBrown

_DESCENT = 50  # steps of steepest descent before a proposal is simulated
_THERMALISE = 100  # time steps after it
_FAR = 1e3  # kT above which a simulation counts as exploded


@dataclass(frozen=True)
class Landscape:
    """A potential with named states and a place to start in each of its deepest basins.

    Attributes:
        world: the potential and its dynamics, without inertia.
        starts: a point in each of the two deepest basins, the deepest first, shape (2, d).
    """

    world: LangevinWorld
    starts: tuple[tuple[float, ...], ...]

    @property
    def low(self) -> tuple[float, ...]:
        """Lower corner of a box that holds all but a negligible part of the Boltzmann weight."""
        return self.world.low

    @property
    def high(self) -> tuple[float, ...]:
        """Upper corner of the box."""
        return self.world.high

    @property
    def timestep(self) -> float:
        """Of the integrator."""
        return self.world.timestep

    @property
    def states(self) -> Mapping[str, Callable[[Floats], Bools]]:
        """Name of each state → function from positions (n, d) to booleans (n,)."""
        names = self.world.basins(np.array(self.starts))
        return {name: partial(self._inside, name) for name in names}

    def _inside(self, name: str, positions: Floats) -> Bools:
        return self.world.basins(np.asarray(positions, dtype=np.float64))[name]

    def energies(self, positions: Floats) -> Floats:
        """Potential energies (n,) in kT of positions (n, d); infinite where the potential overflows."""
        with np.errstate(over="ignore"):
            return self.world.potential(np.asarray(positions, dtype=np.float64)) / self.world.kT

    def grid(self, points: int = 400) -> tuple[Floats, Floats]:
        """Points (m, d) of a regular grid over the box and their Boltzmann weights (m,), summing to 1."""
        return self.world.grid(points)

    def populations(self) -> dict[str, float]:
        """Exact equilibrium population of each state, by quadrature."""
        return self.world.populations()


def double_well(barrier: float = 5.0, tilt: float = 0.5) -> Landscape:
    """V(x) = barrier (x² − 1)² + tilt x in kT, with states left and right of zero; friction 1."""
    world = DoubleWell(barrier=barrier, tilt=tilt, timestep=0.002, inertia=False)
    return Landscape(world, ((-1.0,), (1.0,)))


def muller_brown(kt: float = 15.0) -> Landscape:
    """Müller–Brown potential at a temperature of `kt` in its units, with states on either side of the main barrier.

    The friction of `kt` makes the diffusion constant 1.
    """
    world = MullerBrown(kT=kt, friction=kt, timestep=0.0004, inertia=False)
    return Landscape(world, ((-0.558, 1.442), (0.623, 0.028)))


@dataclass(frozen=True)
class ToyEngine:
    """Overdamped Langevin dynamics on a landscape in one or two dimensions.

    The integrator is that of `systems.toy.langevin` without inertia, whose averages are exact to second order in the
    time step (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34).

    Attributes:
        landscape: the potential.
        stride: time steps between frames.
    """

    landscape: Landscape
    stride: int = 10

    @property
    def interval(self) -> float:
        """Time between frames."""
        return self.stride * self.landscape.timestep

    def relax(self, positions: Floats, seed: int) -> Relaxed:
        """Steepest descent, then a short simulation.

        Args:
            positions: one point (d,).
            seed: of the simulation.

        Raises:
            BurstError: the energy is too high to minimise, or the simulation exploded.
        """
        point = [float(v) for v in positions]
        if not self.landscape.energies(np.array([point]))[0] < _FAR:
            raise BurstError("energy too high to minimise")
        for _ in range(_DESCENT):
            slope = [g / self.landscape.world.kT for g in self.landscape.world.slope(*point)]
            size = math.sqrt(sum(g * g for g in slope))
            step = min(self.landscape.timestep, 0.01 / max(size, 1e-12))
            point = [v - step * g for v, g in zip(point, slope, strict=True)]
        end = self._simulate(point, 1, _THERMALISE, np.random.default_rng(seed))[-1]
        return Relaxed(end, float(self.landscape.energies(end[None])[0]))

    def burst(self, start: Floats, frames: int, seed: int) -> Burst:
        """Simulate one point.

        Args:
            start: (d,).
            frames: number of frames.
            seed: of the noise.

        Raises:
            BurstError: the simulation exploded.
        """
        path = self._simulate([float(v) for v in start], frames, self.stride, np.random.default_rng(seed))
        return Burst(path, self.landscape.energies(path))

    def features(self, positions: Floats) -> Floats:
        """The coordinates themselves (n, d)."""
        return np.asarray(positions, dtype=np.float64)

    def checks(self, positions: Floats) -> Mapping[str, Bools]:
        """Whether points (n, d) are in the box."""
        inside = (positions >= np.array(self.landscape.low)) & (positions <= np.array(self.landscape.high))
        return {"box": np.asarray(inside.all(axis=1))}

    def _simulate(self, point: list[float], frames: int, stride: int, rng: np.random.Generator) -> Floats:
        try:
            path = self.landscape.world.walk(point, frames, stride, rng)
        except OverflowError as error:
            raise BurstError("exploded") from error
        if not np.isfinite(path).all():
            raise BurstError("exploded")
        return path
