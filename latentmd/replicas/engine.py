"""Many replicas of one small molecule on the CPU, with the compiled kernel.

Positions and velocities are in double precision, forces in single precision about each replica's centre, energies are
summed in double precision. Random numbers are a function of (seed, replica, draw), and no replica sees another one:
results depend neither on how many replicas there are, nor on their blocks, nor on how many threads.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Unpack

import numpy as np
import openmm

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.replicas import library as lib
from latentmd.replicas.replicas import Replicas, Settings, check_steps
from latentmd.replicas.terms import Terms, read_terms
from latentmd.units import GAS_CONSTANT

#: Positions (replicas, atoms, 3) in nm to: the same on the constraints, energies in kJ/mol (replicas,), and
#: mass-weighted gradients along the constraints in kJ/mol/nm/sqrt(amu) (replicas, atoms, 3).
Evaluate = Callable[[Doubles], tuple[Doubles, Doubles, Doubles]]

_MEMORY = 8  # steps that the curvature is estimated from
_SHORTEST = 1e-4  # fraction of a step below which the curvature is forgotten


class ReplicaEngine(Replicas):
    """Replicas in the lanes of this processor's vector unit, by one thread for each core unless told.

    `variant` is an instruction set of `library.VARIANTS`, the fastest where None. UnsupportedError where the System has
    a force that the kernel does not know, RuntimeError where the kernel is not installed.
    """

    def __init__(
        self,
        system: openmm.System,
        positions: Floats,
        *,
        threads: int | None = None,
        variant: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        found = lib.library()
        if found is None:
            raise RuntimeError("the compiled replica kernel is not installed; install latentmd with a C++ compiler")
        variant = variant or found.variants[-1]
        if variant not in found.variants:
            raise RuntimeError(f"this processor has no {variant}; expected one of {', '.join(found.variants)}")
        self._library, self.variant, self._lanes = found, variant, variant
        self.threads = threads or len(os.sched_getaffinity(0))
        self.terms: Terms = read_terms(system)
        super().__init__(positions, np.asarray(self.terms.mass, np.float64), **settings)
        removers = [f for f in system.getForces() if type(f).__name__ == "CMMotionRemover"]
        momentum_every = removers[0].getFrequency() if removers else 0
        self._prepared = lib.PreparedKernel(self.terms, self.restraints, momentum_every, found.periods)
        self._f = np.zeros(self._x.shape, np.float32)
        self._energy, self._bias = np.zeros((2, len(self._x), found.lanes))
        self._replica = self._laned(self.numbers.astype(np.uint32))
        halves = [self._laned((self.seeds >> np.uint64(shift)).astype(np.uint32)) for shift in (0, 32)]
        self._key = np.ascontiguousarray(np.stack(halves, axis=1))

    def __repr__(self) -> str:
        what = f"{self.replicas} replicas of {self.terms.atoms} atoms"
        return f"{type(self).__name__}({what}, {self.variant}, {self.threads} threads)"

    def _laned(self, values: Floats | Ints) -> np.ndarray:
        """Values (replicas, ...) in the kernel's layout (blocks, ..., lanes); spare lanes repeat the last replica."""
        lanes = self._library.lanes
        blocks = -(-self.replicas // lanes)
        padded = values[np.minimum(np.arange(blocks * lanes), self.replicas - 1)]
        return np.ascontiguousarray(np.moveaxis(padded.reshape(blocks, lanes, *values.shape[1:]), 1, -1))

    def _unlaned(self, values: np.ndarray) -> np.ndarray:
        flat = np.moveaxis(values, -1, 1)
        return np.array(flat.reshape(-1, *flat.shape[2:])[: self.replicas], order="C")  # a copy: the kernel writes on

    @property
    def positions(self) -> Doubles:  # type: ignore[override]
        """Positions in nm, shape (replicas, atoms, 3); a copy."""
        return self._unlaned(self._x)

    @property
    def velocities(self) -> Doubles:  # type: ignore[override]
        """Velocities in nm/ps, shape (replicas, atoms, 3); a copy."""
        return self._unlaned(self._v)

    def set_positions(self, positions: Floats) -> None:
        """Set positions in nm, shape (replicas, atoms, 3)."""
        self._x = self._laned(np.asarray(positions, dtype=np.float64))

    def set_velocities(self, velocities: Floats) -> None:
        """Set velocities in nm/ps, shape (replicas, atoms, 3)."""
        self._v = self._laned(np.asarray(velocities, dtype=np.float64))

    def set_temperatures(self, temperature: float | Floats) -> None:
        """Set the temperature in kelvin, one for all or shape (replicas,)."""
        super().set_temperatures(temperature)
        self._root_kt = self._laned(np.sqrt(GAS_CONSTANT * self.temperatures))

    def hold(self, targets: Floats, stiffness: float | Floats) -> None:
        """Restrain torsions; see `Replicas`."""
        values = np.asarray(targets, dtype=np.float64)
        self._targets = self._laned(np.stack([np.cos(values), np.sin(values)], axis=2).astype(np.float32))
        self._stiffness = self._laned(np.broadcast_to(np.asarray(stiffness, dtype=np.float32), (self.replicas,)))

    def energies(self, positions: Floats | None = None) -> Doubles:
        """Potential energies in kJ/mol, shape (replicas,)."""
        self._evaluate(positions)
        return self._unlaned(self._energy)

    def forces(self, positions: Floats | None = None) -> Floats:
        """Forces in kJ/mol/nm, those of restraints included, shape (replicas, atoms, 3)."""
        self._evaluate(positions)
        return self._unlaned(self._f)

    def constrain(self) -> None:
        """Move positions and velocities onto the constraints."""
        self._run(lib.CONSTRAIN)

    def draw_velocities(self) -> None:
        """Draw Maxwell–Boltzmann velocities without components along constraints."""
        self._run(lib.DRAW, first=self._next(1))

    def langevin(self, steps: int, *, timestep: float, friction: float) -> None:
        """LangevinMiddle dynamics; see `Replicas`."""
        check_steps(steps, timestep)
        self._run(lib.LANGEVIN, steps, self._next(steps), timestep, friction)

    def verlet(self, steps: int, *, timestep: float) -> None:
        """Velocity Verlet with constraints; see `Replicas`."""
        check_steps(steps, timestep)
        self._run(lib.VERLET, steps, timestep=timestep)

    def minimize(
        self, iterations: int = 200, largest_step: float = 0.01, tolerance: float = 3.0, enough: float | None = None
    ) -> Doubles:
        """Go downhill with `lower`; see `Replicas`."""
        self._v[...] = 0.0
        self.constrain()
        start, goal = self.positions, -np.inf if enough is None else enough
        x, energies = lower(start, self._on_constraints, self.masses, iterations, largest_step, tolerance, goal)
        self.set_positions(x)
        self._v[...] = 0.0
        return energies

    def _on_constraints(self, positions: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """Positions on the constraints, their energies, and mass-weighted gradients along the constraints."""
        mass = self.masses[:, None]
        self.set_positions(positions)
        self.constrain()
        self._run(lib.FORCES)
        self.set_velocities(self._unlaned(self._f) / mass)
        self.constrain()
        return self.positions, self._unlaned(self._energy + self._bias), -np.sqrt(mass) * self.velocities

    def _evaluate(self, positions: Floats | None) -> None:
        kept = self._x
        if positions is not None:
            self.set_positions(positions)
        self._run(lib.FORCES)
        self._x = kept

    def _next(self, draws: int) -> int:
        first, self.draw = self.draw, self.draw + draws
        return first

    def _run(self, kind: int, steps: int = 0, first: int = 0, timestep: float = 0.0, friction: float = 0.0) -> None:
        kept = self._energy, self._bias, self._root_kt, self._replica, self._key
        values: tuple[Floats | Ints, ...] = (self._x, self._v, self._f, *kept, self._targets)
        held: dict[str, Floats | Ints] = {"stiffness": self._stiffness} if self._stiffness.any() else {}
        arrays = dict(zip("x v f energy bias root_kT replica key targets".split(), values, strict=True)) | held
        block = lib.BlockStruct(**{name: array.ctypes.data for name, array in arrays.items()})
        structs = ctypes.byref(self._prepared.molecule), ctypes.byref(block)
        numbers = len(self._x), kind, steps, first, timestep, friction
        self._library.handle.latentmd_run(lib.VARIANTS.index(self._lanes), self.threads, *structs, *numbers)


def lower(
    positions: Doubles,
    evaluate: Evaluate,
    mass: Doubles,
    iterations: int,
    largest_step: float,
    tolerance: float,
    enough: float = -np.inf,
) -> tuple[Doubles, Doubles]:
    """Go downhill with L-BFGS (Liu and Nocedal, Math. Program. 45, 503, 1989), never uphill.

    In mass-weighted coordinates SHAKE and RATTLE are orthogonal projections, so that a step along the projected
    gradient goes downhill on the constraints too; with the gradient of plain positions it need not.

    A replica ends below `tolerance`, kJ/mol/nm root mean square of its projected forces, or below the energy `enough`,
    kJ/mol; no atom moves more than `largest_step`, nm, in a step. Returns positions (replicas, atoms, 3) in nm and
    energies (replicas,) in kJ/mol; each depends on its own start alone, and where its energy is not finite it stays.
    """
    width = np.sqrt(mass)[:, None]
    x, energies, gradients = evaluate(positions)
    memory = _Curvature(x.shape)
    share, ended = np.ones(len(x)), ~np.isfinite(energies)
    for _ in range(iterations - 1):
        ended |= (np.sqrt(np.mean((gradients * width) ** 2, axis=(1, 2))) <= tolerance) | (energies < enough)
        if ended.all():
            break
        step = -memory.applied(gradients) / width
        longest = np.linalg.norm(step, axis=2).max(axis=1)
        step = step * np.minimum(1.0, largest_step / np.maximum(longest, 1e-300))[:, None, None] * share[:, None, None]
        tried, found, slopes = evaluate(x + step)
        better = (found < energies) & ~ended
        memory.learn(better, (tried - x) * width, slopes - gradients)
        rows = better[:, None, None]
        x, gradients = np.where(rows, tried, x), np.where(rows, slopes, gradients)
        energies = np.where(better, found, energies)
        share = np.where(better, 1.0, 0.25 * share)
        short = share < _SHORTEST
        ended |= short & ~memory.weights.any(axis=0)
        memory.weights[:, short] = 0.0
        share[short] = 1.0
    return x, energies


class _Curvature:
    """Inverse curvature of every replica from its own last steps; a row without steps leaves gradients as they are."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._steps, self._turns = np.zeros((_MEMORY, *shape)), np.zeros((_MEMORY, *shape))
        self.weights = np.zeros((_MEMORY, shape[0]))  # 1 / (step . change of the gradient); 0 where there is none

    def learn(self, rows: Bools, step: Doubles, turn: Doubles) -> None:
        """Take a step and the change of the gradient along it, where the energy curves upward."""
        along = _dot(step, turn)
        rows = rows & (along > 1e-8 * np.sqrt(_dot(step, step) * _dot(turn, turn)))
        for store, new in ((self._steps, step), (self._turns, turn)):
            store[1:, rows] = store[:-1, rows]
            store[0, rows] = new[rows]
        self.weights[1:, rows] = self.weights[:-1, rows]
        self.weights[0, rows] = 1.0 / along[rows]

    def applied(self, gradients: Doubles) -> Doubles:
        """Gradients times the inverse curvature, by the two-loop recursion."""
        out, factors = gradients.copy(), []
        memory = list(zip(self._steps, self._turns, self.weights, strict=True))
        for step, turn, weight in memory:
            factors.append(weight * _dot(step, out))
            out -= factors[-1][:, None, None] * turn
        last = self.weights[0] * _dot(self._turns[0], self._turns[0])
        out /= np.where(last > 0, last, 1.0)[:, None, None]
        for (step, turn, weight), factor in zip(memory[::-1], factors[::-1], strict=True):
            out += (factor - weight * _dot(turn, out))[:, None, None] * step
        return out


def _dot(a: Doubles, b: Doubles) -> Doubles:
    return np.asarray(np.einsum("rad,rad->r", a, b))
