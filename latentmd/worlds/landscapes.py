"""Model landscapes with known answers as engines: where hybrid sampling is tested against exact populations.

Overdamped Langevin dynamics in reduced units: kT = 1, friction 1; "ps" is the unit of time and "kJ/mol" is kT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Bools, Floats
from latentmd.sampling.contracts import Burst, BurstError, Relaxed

_DESCENT = 50  # steps of steepest descent before a proposal is simulated
_THERMALISE = 100  # time steps after it
_FAR = 1e3  # kT above which a simulation counts as exploded


@dataclass(frozen=True)
class Landscape:
    """A potential in units of kT with named states.

    Attributes:
        name: of the landscape.
        value, gradient: of one point (d floats); scalar arithmetic, since bursts are simulated one at a time.
        low, high: box that holds all but a negligible part of the Boltzmann weight.
        timestep: of the integrator.
        states: name → function from positions (n, d) to booleans (n,).
        starts: a point in each of the two deepest basins, shape (2, d).
    """

    name: str
    value: Callable[..., float]
    gradient: Callable[..., tuple[float, ...]]
    low: tuple[float, ...]
    high: tuple[float, ...]
    timestep: float
    states: Mapping[str, Callable[[Floats], Bools]]
    starts: tuple[tuple[float, ...], ...]

    def energies(self, positions: Floats) -> Floats:
        """Potential energies (n,) in kT of positions (n, d)."""
        return np.array([_safely(self.value, row) for row in np.asarray(positions, dtype=np.float64).tolist()])

    def grid(self, points: int = 400) -> tuple[Floats, Floats]:
        """Points (m, d) of a regular grid over the box and their Boltzmann weights (m,), summing to 1."""
        axes = [np.linspace(a, b, points) for a, b in zip(self.low, self.high, strict=True)]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        energies = self.energies(mesh)
        weights = np.exp(-(energies - energies.min()))
        return mesh, weights / weights.sum()

    def populations(self) -> dict[str, float]:
        """Exact equilibrium population of each state, by quadrature."""
        mesh, weights = self.grid()
        return {name: float(weights[inside(mesh)].sum()) for name, inside in self.states.items()}


def _safely(function: Callable[..., float], row: list[float]) -> float:
    try:
        return function(*row)
    except OverflowError:
        return math.inf


def double_well(barrier: float = 5.0, tilt: float = 0.5) -> Landscape:
    """V(x) = barrier (x^2 - 1)^2 + tilt x, with states left and right of zero."""
    return Landscape(
        "double well",
        lambda x: barrier * (x * x - 1) ** 2 + tilt * x,
        lambda x: (4 * barrier * x * (x * x - 1) + tilt,),
        (-2.2,),
        (2.2,),
        0.002,
        {"left": lambda x: np.asarray(x[:, 0] < 0), "right": lambda x: np.asarray(x[:, 0] >= 0)},
        ((-1.0,), (1.0,)),
    )


_MB = (  # A, a, b, c, x0, y0 (Müller and Brown, Theor. Chim. Acta 53, 75, 1979)
    (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
    (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)


def muller_brown(kt: float = 15.0) -> Landscape:
    """Müller–Brown potential over `kt`, with states above and below the line y = x + 1.45, across the main barrier."""

    def value(x: float, y: float) -> float:
        return (
            sum(s * math.exp(a * (x - u) ** 2 + b * (x - u) * (y - v) + c * (y - v) ** 2) for s, a, b, c, u, v in _MB)
            / kt
        )

    def gradient(x: float, y: float) -> tuple[float, float]:
        gx = gy = 0.0
        for s, a, b, c, u, v in _MB:
            dx, dy = x - u, y - v
            term = s * math.exp(a * dx * dx + b * dx * dy + c * dy * dy)
            gx += term * (2 * a * dx + b * dy)
            gy += term * (b * dx + 2 * c * dy)
        return gx / kt, gy / kt

    def upper(x: Floats) -> Bools:
        return np.asarray(x[:, 1] > x[:, 0] + 1.45)

    return Landscape(
        "Müller-Brown",
        value,
        gradient,
        (-1.8, -0.6),
        (1.4, 2.2),
        0.0004,
        {"upper": upper, "lower": lambda x: ~upper(x)},
        ((-0.558, 1.442), (0.623, 0.028)),
    )


@dataclass(frozen=True)
class ToyEngine:
    """Overdamped Langevin dynamics on a landscape in one or two dimensions.

    x <- x - dt V'(x) + sqrt(dt / 2) (r_n + r_{n+1}), whose averages are exact to second order in dt (Leimkuhler and
    Matthews, Appl. Math. Res. Express 2013, 34).

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
        """Steepest descent, then a short simulation."""
        point = [float(v) for v in positions]
        if not _safely(self.landscape.value, point) < _FAR:
            raise BurstError("energy too high to minimise")
        for _ in range(_DESCENT):
            slope = self.landscape.gradient(*point)
            size = math.sqrt(sum(g * g for g in slope))
            step = min(self.landscape.timestep, 0.01 / max(size, 1e-12))
            point = [v - step * g for v, g in zip(point, slope, strict=True)]
        end = self._simulate(point, 1, _THERMALISE, np.random.default_rng(seed))[-1]
        return Relaxed(end, float(self.landscape.energies(end[None])[0]))

    def burst(self, start: Floats, frames: int, seed: int) -> Burst:
        """Simulate one point (d,)."""
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
        dt, gradient = self.landscape.timestep, self.landscape.gradient
        noise = rng.standard_normal((frames * stride + 1, len(point)))
        kicks = (math.sqrt(dt / 2) * (noise[1:] + noise[:-1])).tolist()
        walk = _walk_line if len(point) == 1 else _walk_plane
        try:
            path = np.array(walk(gradient, point, kicks, dt, stride))
        except OverflowError as error:
            raise BurstError("exploded") from error
        if not np.isfinite(path).all():
            raise BurstError("exploded")
        return path


def _walk_line(
    gradient: Callable[..., tuple[float, ...]], point: list[float], kicks: list[list[float]], dt: float, stride: int
) -> list[tuple[float, ...]]:
    path: list[tuple[float, ...]] = []
    (x,) = point
    for step, (kick,) in enumerate(kicks, 1):
        x += kick - dt * gradient(x)[0]
        if step % stride == 0:
            path.append((x,))
    return path


def _walk_plane(
    gradient: Callable[..., tuple[float, ...]], point: list[float], kicks: list[list[float]], dt: float, stride: int
) -> list[tuple[float, ...]]:
    path: list[tuple[float, ...]] = []
    x, y = point
    for step, (kick_x, kick_y) in enumerate(kicks, 1):
        slope_x, slope_y = gradient(x, y)
        x, y = x + kick_x - dt * slope_x, y + kick_y - dt * slope_y
        if step % stride == 0:
            path.append((x, y))
    return path
